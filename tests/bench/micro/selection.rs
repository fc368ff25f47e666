//! Benchmark of choosing among 2 to 4096 nodes and releasing the node again, without the lock.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use evenkeel::balance::{Candidate, Candidates, Tier, Turn, choose};
use evenkeel::config::Balance;

use crate::counts::Case;

const SIZES: [u32; 4] = [2, 16, 256, 4096];

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("selection");
    for count in SIZES {
        group.bench_function(BenchmarkId::from_parameter(count), |b| b.iter(choice(count)));
    }
    group.finish();
}

pub(crate) fn cases() -> Vec<Case> {
    SIZES.map(|count| Case::new(format!("selection/{count}"), move || choice(count))).into()
}

fn choice(count: u32) -> impl FnMut() -> Option<usize> {
    let mut candidates: Candidates = (0..count).map(candidate).collect();
    let mut turn = Turn::default();
    move || {
        let last = Tier::BusyLastResort;
        let chosen = choose(Balance::LeastInFlight, black_box(&mut candidates), last, &[], &mut turn, 0.5)?;
        // the loads stay unequal, and the updates by a lease are counted too
        candidates.update(chosen, |candidate| candidate.in_flight += 1);
        candidates.update(chosen, |candidate| candidate.in_flight -= 1);
        Some(chosen)
    }
}

fn candidate(number: u32) -> Candidate {
    let in_flight = number.wrapping_mul(2_654_435_761) % 200;
    Candidate {
        in_flight,
        tokens: None,
        limit: 256,
        inverse_rate: 1.0,
        tier: Tier::Usable,
        turn: Candidate::NO_TURN,
        name: 0,
    }
}
