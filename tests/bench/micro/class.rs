//! Benchmark of what classes and deadlines cost where nobody waits: the fields of a request, and a lease in a pool with a reserve.

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use evenkeel::fleet::{Fleet, Profile};
use evenkeel::outcome::Outcome;
use evenkeel::route;
use http::{HeaderMap, HeaderValue};

use crate::counts::Case;

const NODES: usize = 16;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("class");
    group.bench_function("none", |b| b.iter(once(None, None, 0.0)));
    group.bench_function("said", |b| b.iter(once(Some("interactive"), None, 0.0)));
    group.bench_function("reserve", |b| b.iter(once(Some("interactive"), None, 0.1)));
    group.bench_function("deadline", |b| b.iter(once(Some("batch"), Some("2026-11-22T08:48:10Z"), 0.1)));
    group.finish();
}

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("class", || once(Some("interactive"), None, 0.0))]
}

/// The parts of a request that its class costs, and its lease.
fn once(class: Option<&'static str>, deadline: Option<&'static str>, reserve: f64) -> impl FnMut() {
    let mut config = super::config_of(NODES);
    config.pools[0].queue.reserve = reserve;
    config.pools[0]
        .nodes
        .iter_mut()
        .for_each(|node| node.max_in_flight = evenkeel::config::MaxInFlight::Fixed(64));
    let fleet = Fleet::first(config, Instant::now());
    let mut headers: HeaderMap = ["host", "user-agent", "accept", "authorization", "content-type"]
        .map(|name| (http::HeaderName::from_static(name), HeaderValue::from_static("x")))
        .into_iter()
        .collect();
    headers.extend(
        class.map(|class| (http::HeaderName::from_static("x-priority"), HeaderValue::from_static(class))),
    );
    headers.extend(
        deadline
            .map(|at| (http::HeaderName::from_static("x-request-deadline"), HeaderValue::from_static(at))),
    );
    move || {
        let member = &fleet.pools[0];
        let profile: Profile = route::profile(&member.conf, black_box(&headers), "10.0.0.1", None, None);
        let _ = black_box(route::deadline(&member.conf, black_box(&headers)));
        let now = Instant::now();
        match member.pool.lease_by(profile, &[], now) {
            Ok(lease) => _ = black_box(lease.settle(Outcome::Ok, now)),
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
}
