//! Stress tests: many threads on one table.

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::fleet::Waiter;

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

const CLIENTS: usize = 2000;
const REQUESTS: u32 = 6;

/// The most that each node may have, while a reload changes its cap: what was taken below a higher one may end in peace.
struct Bounds(parking_lot::Mutex<Vec<Bound>>);

#[derive(Clone, Copy)]
struct Bound {
    most: u32,
    /// The cap that the file has, which holds now or any moment.
    wanted: u32,
}

impl Bounds {
    fn want(&self, caps: &[u32]) {
        for (bound, cap) in self.0.lock().iter_mut().zip(caps) {
            *bound = Bound { most: bound.most.max(*cap), wanted: *cap };
        }
    }

    /// Nobody has been let in above a cap.
    fn check(&self, bench: &Bench) {
        let table = bench.pool.table();
        for ((_, node), bound) in table.members().zip(self.0.lock().iter_mut()) {
            assert!(node.in_flight <= bound.most, "{} of {}", node.in_flight, bound.most);
            bound.most = bound.most.min(node.in_flight).max(node.limit).max(bound.wanted);
        }
    }
}

enum State {
    Idle,
    Waiting(Box<Waiter>),
    /// For so many turns yet.
    Held(Lease, u8),
}

struct Client {
    state: State,
    failed: Vec<Key>,
    left: u32,
}

impl Client {
    /// Asks for a slot, waits for it, leaves, or gives it back.
    fn turn(&mut self, bench: &Bench, bounds: &Bounds, random: &mut fastrand::Rng) {
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => self.ask(None, bench, bounds, random),
            State::Waiting(_) if random.u8(0..50) == 0 => {
                self.end();
                State::Idle
            }
            State::Waiting(waiter) => {
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                let changed = std::pin::pin!(waiter.changed()).poll(&mut context);
                if changed.is_ready() {
                    self.ask(Some(waiter), bench, bounds, random)
                } else {
                    State::Waiting(waiter)
                }
            }
            State::Held(lease, 0) => {
                self.give_back(lease, bench, random);
                State::Idle
            }
            State::Held(lease, turns) => State::Held(lease, turns - 1),
        };
    }

    fn ask(
        &mut self,
        mut waiter: Option<Box<Waiter>>,
        bench: &Bench,
        bounds: &Bounds,
        random: &mut fastrand::Rng,
    ) -> State {
        let is_repeated = !self.failed.is_empty();
        let ask = Ask {
            want: Want::other_than(self.failed.clone()).sorted(),
            admission: if is_repeated { Admission::Repeated } else { Admission::Below(usize::MAX) },
            profile: Profile { class: config::Class::ALL[random.usize(0..3)], ..Profile::default() },
            news: bench.pool.news(),
        };
        match bench.pool.wait(&mut waiter, ask, bench.now) {
            Some(Ok(lease)) => {
                bounds.check(bench);
                State::Held(lease, random.u8(0..4))
            }
            _ => waiter.map_or(State::Idle, State::Waiting),
        }
    }

    fn give_back(&mut self, lease: Lease, bench: &Bench, random: &mut fastrand::Rng) {
        match random.u8(0..8) {
            0 => drop(lease),
            1 if self.failed.len() < 2 => {
                // it is repeated elsewhere
                self.failed.push(lease.key());
                lease.settle(Outcome::Reset, bench.now);
                return;
            }
            _ => drop(lease.settle(Outcome::Ok, bench.now)),
        }
        self.end();
    }

    fn end(&mut self) {
        self.failed.clear();
        self.left -= 1;
    }
}

#[test]
fn two_thousand_clients_never_exceed_a_cap_that_changes() {
    let capped = |caps: &[u32]| {
        let mut conf = conf(nodes(4));
        conf.health.max_fails = 0;
        conf.queue.reserve = 0.2;
        for (node, cap) in conf.nodes.iter_mut().zip(caps) {
            node.max_in_flight = MaxInFlight::Fixed(*cap as usize);
        }
        conf
    };
    let bench = Bench::of(capped(&[4; 4]));
    let bounds = Bounds(parking_lot::Mutex::new(vec![Bound { most: 4, wanted: 4 }; 4]));
    thread::scope(|scope| {
        let (bench, bounds, capped) = (&bench, &bounds, &capped);
        let work = |seed| {
            move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let client = |_| Client { state: State::Idle, failed: Vec::new(), left: REQUESTS };
                let mut clients: Vec<_> = (0..CLIENTS / THREADS).map(client).collect();
                while !clients.is_empty() {
                    clients.iter_mut().for_each(|client| client.turn(bench, bounds, &mut random));
                    clients.retain(|client| client.left > 0);
                    // one thread of them reloads: that is one at a time in the gateway too
                    if seed == 0 {
                        let caps: Vec<_> = (0..4).map(|_| random.u32(1..12)).collect();
                        bounds.want(&caps);
                        bench.pool.configure(&capped(&caps), bench.now);
                        bounds.check(bench);
                    }
                }
            }
        };
        let workers: Vec<_> = (0..THREADS as u64).map(|seed| scope.spawn(work(seed))).collect();
        let ends: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        assert!(ends.iter().all(Result::is_ok));
    });
    assert!(bench.pool.is_idle());
    assert_eq!(bench.queue(), 0);
}
