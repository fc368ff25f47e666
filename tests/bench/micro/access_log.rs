//! Benchmark of an access-log line for a request with two attempts.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use evenkeel::access_log::{Entry, Second, line};
use evenkeel::balance::By;
use evenkeel::config::LogFormat;
use evenkeel::journey::Tried;
use evenkeel::outcome::Outcome;

use crate::counts::Case;

const FORMATS: [(&str, LogFormat); 2] = [("main", LogFormat::Main), ("json", LogFormat::Json)];

pub(crate) fn bench(c: &mut Criterion) {
    let entry = entry();
    let mut group = c.benchmark_group("access log");
    for (name, format) in FORMATS {
        group.bench_function(name, |b| b.iter(|| black_box(line(format, black_box(&entry)))));
    }
    group.finish();
}

pub(crate) fn cases() -> Vec<Case> {
    let one = |(name, format)| {
        Case::new(format!("access log/{name}"), move || {
            let entry = entry();
            move || line(format, black_box(&entry))
        })
    };
    FORMATS.map(one).into()
}

fn entry() -> Entry {
    let now = Instant::now();
    let attempt = |node: &str, status, outcome| Tried {
        node: node.into(),
        by: By::LeastInFlight,
        status: Some(status),
        outcome,
        began: now,
        ended: now,
    };
    Entry {
        key: None,
        client: Some("192.168.0.7".into()),
        at: (Arc::new(Second::of(&jiff::Zoned::now())), 500),
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        protocol: "HTTP/1.1",
        status: 200,
        bytes_sent: 48_213,
        referer: String::new(),
        user_agent: "OpenAI/Python 1.55.0".to_owned(),
        forwarded_for: String::new(),
        pool: Some("vllm".into()),
        class: None,
        attempts: vec![attempt("a", 500, Outcome::Http5xx), attempt("b", 200, Outcome::Ok)],
        ttft: Some(Duration::from_millis(87)),
        total: Duration::from_secs(12),
        queue: Duration::ZERO,
        request_id: "d2cc5ed1c1cd49122c0d331454f028c9".to_owned(),
        note: None,
    }
}
