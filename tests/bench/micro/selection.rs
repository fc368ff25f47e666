//! Benchmark of choosing among 2 to 4096 nodes, by each policy, and releasing the node again, without the lock.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use evenkeel::balance::{Candidate, Candidates, Preference, Tier, Turn, choose, name_hash};
use evenkeel::config::Balance;

use crate::counts::Case;

const SIZES: [u32; 4] = [2, 16, 256, 4096];

const POLICIES: [(&str, Balance); 5] = [
    ("least_in_flight", Balance::LeastInFlight),
    ("least_work", Balance::LeastWork),
    ("round_robin", Balance::RoundRobin),
    ("random", Balance::Random),
    ("affinity", Balance::Affinity),
];

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("selection");
    for (name, policy) in POLICIES {
        for count in SIZES {
            group.bench_function(BenchmarkId::new(name, count), |b| b.iter(choice(policy, count)));
        }
    }
    group.bench_function("affinity, weights", |b| b.iter(of(Balance::Affinity, mixed(16))));
    group.finish();
}

pub(crate) fn cases() -> Vec<Case> {
    let usual = SIZES
        .map(|count| Case::new(format!("selection/{count}"), move || choice(Balance::LeastInFlight, count)));
    let others = POLICIES[1..].iter().flat_map(|(name, policy)| {
        [16, 4096].map(|count| Case::new(format!("selection/{name}/{count}"), move || choice(*policy, count)))
    });
    usual.into_iter().chain(others).collect()
}

fn choice(policy: Balance, count: u32) -> impl FnMut() -> Option<usize> {
    of(policy, (0..count).map(|number| candidate(policy, number)).collect())
}

fn of(policy: Balance, mut candidates: Candidates) -> impl FnMut() -> Option<usize> {
    let mut turn = Turn::default();
    let mut number = 0_u64;
    move || {
        number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let last = Tier::BusyLastResort;
        let candidates = black_box(&mut candidates);
        let chosen = if policy == Balance::Affinity {
            Preference { key: number, bound: 1.2 }.choose(candidates, last, &[], &mut turn)?.place
        } else {
            choose(policy, candidates, last, &[], &mut turn, (number >> 11) as f64 / (1_u64 << 53) as f64)?
        };
        // the loads stay unequal, and the updates by a lease are counted too
        candidates.update(chosen, |candidate| candidate.in_flight += 1);
        candidates.update(chosen, |candidate| candidate.in_flight -= 1);
        Some(chosen)
    }
}

fn candidate(policy: Balance, number: u32) -> Candidate {
    let in_flight = number.wrapping_mul(2_654_435_761) % 200;
    Candidate {
        in_flight,
        elsewhere: 0,
        work: (policy == Balance::LeastWork).then(|| f64::from(in_flight) * 500.0),
        limit: 256,
        inverse_rate: 1.0,
        tier: Tier::Usable,
        turn: Candidate::NO_TURN,
        name: name_hash(&number.to_string()),
    }
}

/// Of three speeds.
fn mixed(count: u32) -> Candidates {
    let with_weight = |number: u32| {
        let inverse_rate = [1.0, 0.5, 1.5][number as usize % 3];
        Candidate { inverse_rate, ..candidate(Balance::Affinity, number) }
    };
    (0..count).map(with_weight).collect()
}
