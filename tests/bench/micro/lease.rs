//! Benchmark of taking and releasing a lease with its report, which takes the pool's lock twice, shared by all threads.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use evenkeel::config::MaxInFlight;
use evenkeel::fleet::{Admission, Allow, Ask, Fleet, Flow, Lease, Pool, Profile, Refusal, Waiter, Want};
use evenkeel::outcome::Outcome;

use crate::counts::Case;

const NODES: usize = 16;

pub(crate) fn bench(c: &mut Criterion) {
    let fleet = Fleet::first(super::config_of(NODES), Instant::now());
    let pool = &fleet.pools[0].pool;
    let mut group = c.benchmark_group("lease");
    for threads in [1, 2, 4] {
        // of all threads together
        group.throughput(Throughput::Elements(threads));
        group.bench_function(BenchmarkId::new("threads", threads), |b| {
            b.iter_custom(|times| together(threads, || (0..times).for_each(|_| once(pool))));
        });
    }
    group.finish();
}

pub(crate) fn cases() -> Vec<Case> {
    let prepare = || {
        let fleet = Fleet::first(super::config_of(NODES), Instant::now());
        move || once(&fleet.pools[0].pool)
    };
    vec![
        Case::new("lease", prepare),
        Case::new("credit/1000", credit),
        Case::new("queue/4096", queue),
        Case::new("queue/4096 of 2 flows", || queue_of(2)),
        Case::new("queue/4096 of 1000 flows", || queue_of(1000)),
    ]
}

/// A gateway of a cluster hears of the load that others have put on each of 1000 nodes.
fn credit() -> impl FnMut() {
    let (mut config, now) = (super::config_of(1000), Instant::now());
    config.pools[0].nodes.iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Fixed(64));
    let fleet = Fleet::first_in(Some(Arc::default()), config, now);
    let keys: Vec<_> = fleet.pools[0].pool.shares(now).iter().map(|share| share.key).collect();
    let mut round = 0;
    move || {
        round += 1;
        let loads = (0_u32..).map(|number| (number * 7 + round) % 40);
        let allow = |elsewhere| Allow { held: Some(20), elsewhere };
        let allowed: Vec<_> = keys.iter().copied().zip(loads.map(allow)).collect();
        black_box(fleet.pools[0].pool.credit(&allowed, Instant::now()));
    }
}

/// Among so many requests that wait one ends, the next gets its slot, and another joins them.
fn queue() -> impl FnMut() {
    let (fleet, now) = (full(), Instant::now());
    let mut held = all_slots(&fleet, now);
    let mut waiting: VecDeque<_> = (0..4096).map(|_| wait(&fleet, now)).collect();
    move || {
        let now = Instant::now();
        held.pop_front().expect("a lease").settle(Outcome::Ok, now);
        let next = waiting.pop_front();
        let lease = fleet.pools[0].pool.wait(&mut next.flatten(), anything(), now);
        held.push_back(lease.and_then(Result::ok).expect("its slot"));
        waiting.push_back(wait(&fleet, now));
    }
}

/// The number of the request that has a slot.
struct Next {
    number: usize,
    woken: Arc<Mutex<Option<usize>>>,
}

impl Wake for Next {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().expect("one thread") = Some(self.number);
    }
}

/// The same among several flows with answers of unlike lengths.
fn queue_of(flows: usize) -> impl FnMut() {
    let (fleet, now) = (full(), Instant::now());
    let woken = Arc::default();
    let asks = move |number: usize| {
        let profile = Profile { flow: Some(Flow::new((number % flows) as u64 + 1)), ..Profile::default() };
        Ask { profile, ..anything() }
    };
    let joins = {
        let (fleet, woken) = (Arc::clone(&fleet), Arc::clone(&woken));
        move |number: usize, now: Instant| {
            let mut waiter = None;
            let found = fleet.pools[0].pool.wait(&mut waiter, asks(number), now);
            assert!(matches!(found, Some(Err(Refusal::Full))), "{found:?}");
            let changed = waiter.as_ref().expect("a place").changed();
            let waker = Waker::from(Arc::new(Next { number, woken: Arc::clone(&woken) }));
            assert!(std::pin::pin!(changed).poll(&mut Context::from_waker(&waker)).is_pending());
            waiter
        }
    };
    let mut held: VecDeque<_> = all_slots(&fleet, now).into_iter().map(|lease| (0, lease)).collect();
    let mut waiting: Vec<_> = (0..4096).map(|number| joins(number, now)).collect();
    move || {
        let now = Instant::now();
        let (number, mut lease) = held.pop_front().expect("a lease");
        lease.worked(1 + number as u64 % 500, now);
        lease.settle(Outcome::Ok, now);
        let next = woken.lock().expect("one thread").take().expect("one has it");
        let lease = fleet.pools[0].pool.wait(&mut waiting[next], asks(next), now);
        held.push_back((next, lease.and_then(Result::ok).expect("its slot")));
        waiting[next] = joins(next, now);
    }
}

/// A fleet whose nodes serve one request at a time.
fn full() -> Arc<Fleet> {
    let mut config = super::config_of(NODES);
    config.pools[0].nodes.iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Fixed(1));
    Arc::new(Fleet::first(config, Instant::now()))
}

fn all_slots(fleet: &Fleet, now: Instant) -> VecDeque<Lease> {
    std::iter::from_fn(|| fleet.pools[0].pool.lease(&[], now).ok()).collect()
}

fn anything() -> Ask {
    Ask {
        want: Want::other_than(Vec::new()),
        admission: Admission::Below(usize::MAX),
        profile: Profile::default(),
        news: 0,
    }
}

fn wait(fleet: &Fleet, now: Instant) -> Option<Box<Waiter>> {
    let mut waiter = None;
    let found = fleet.pools[0].pool.wait(&mut waiter, anything(), now);
    assert!(matches!(found, Some(Err(Refusal::Full))), "{found:?}");
    waiter
}

fn once(pool: &Arc<Pool>) {
    let now = Instant::now();
    match pool.lease(&[], now) {
        Ok(lease) => _ = black_box(lease.settle(Outcome::Ok, now)),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

/// Measures from the moment at which all threads are ready to the end of the last one.
fn together(threads: u64, work: impl Fn() + Sync) -> Duration {
    let barrier = Barrier::new(threads as usize);
    std::thread::scope(|scope| {
        let run = || {
            barrier.wait();
            let began = Instant::now();
            work();
            began.elapsed()
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_default()).max().unwrap_or_default()
    })
}
