//! Stress tests: many threads on one table.

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

const THREADS: usize = 8;
const LEASES: usize = 200_000;

#[test]
fn held_open_two_equal_nodes_never_differ_by_more_than_one() {
    let bench = Bench::new(2);
    let start = Barrier::new(THREADS + 1);
    let done = AtomicBool::new(false);
    let look = || {
        let table = bench.pool.table();
        let counts: Vec<_> = table.members().map(|(_, node)| node.in_flight).collect();
        assert!(counts[0].abs_diff(counts[1]) <= 1, "{counts:?}");
    };
    let lease_many = || {
        start.wait();
        (0..LEASES / THREADS).map(|_| bench.lease().expect("a node")).collect::<Vec<_>>()
    };
    let held: Vec<Lease> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(lease_many)).collect();
        let watcher = scope.spawn(|| {
            start.wait();
            while !done.load(Ordering::Relaxed) {
                look();
            }
        });
        let held = threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
        done.store(true, Ordering::Relaxed);
        watcher.join().expect("never more than one");
        held
    });
    look();
    let tickets: HashSet<_> = held.iter().map(|lease| lease.slot.ticket).collect();
    assert_eq!(tickets.len(), LEASES, "each once");
    let counted: u32 = ["a", "b"].map(|name| bench.snapshot(name).in_flight).iter().sum();
    assert_eq!(counted as usize, LEASES, "none lost");
    let mut held = held;
    thread::scope(|scope| {
        while !held.is_empty() {
            let some = held.split_off(held.len() - LEASES / THREADS);
            scope.spawn(|| drop(some));
        }
    });
    assert!(bench.pool.is_idle());
    assert_eq!(bench.snapshot("a").in_flight + bench.snapshot("b").in_flight, 0);
}

/// The work of one thread: leases that end in every way, some in a panic.
fn live(bench: &Bench, seed: u64, rounds: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut held = Vec::new();
    for _ in 0..rounds {
        if let Ok(lease) = bench.lease() {
            held.push(lease);
        }
        if held.len() > random.usize(0..20) {
            let lease = held.swap_remove(random.usize(0..held.len()));
            match random.u8(0..8) {
                0 => drop(lease),
                1 => drop(lease.settle(Outcome::Http5xx, bench.now)),
                2 => {
                    let doomed = thread::scope(|scope| {
                        let die = || {
                            let _lease = lease;
                            std::panic::resume_unwind(Box::new("as meant"));
                        };
                        scope.spawn(die).join()
                    });
                    assert!(doomed.is_err());
                }
                _ => {
                    lease.good_head(bench.now);
                    lease.settle(Outcome::Ok, bench.now);
                }
            }
        }
    }
}

#[test]
fn panics_and_reloads_lose_no_lease() {
    let bench = Bench::with(4, |health| health.max_fails = 0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (bench, done) = (&bench, &done);
        let workers: Vec<_> =
            (0..THREADS as u64).map(|seed| scope.spawn(move || live(bench, seed, 4_000))).collect();
        scope.spawn(move || {
            let mut random = fastrand::Rng::with_seed(99);
            while !done.load(Ordering::Relaxed) {
                let mut conf = bench.conf.clone();
                conf.nodes.retain(|_| random.bool());
                bench.pool.configure(&conf, bench.now);
                bench.pool.tick(bench.now);
            }
            bench.pool.configure(&bench.conf, bench.now);
        });
        let ends: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ends.iter().all(Result::is_ok));
    });
    assert!(bench.pool.is_idle());
    assert_eq!(bench.keys().len(), 4, "no lease is left behind");
}
