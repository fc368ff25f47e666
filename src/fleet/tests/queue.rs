//! The queue: who gets the slot that comes back, who is woken, and what happens to those who leave.

use super::*;
use crate::fleet::{Admission, Ask, Changed, Or, Profile, Waiter, Want};

/// A request that waits, with the future that it sleeps on.
pub(super) struct Waiting {
    waiter: Option<Box<Waiter>>,
    changed: Changed,
    ask: Ask,
}

fn admission(is_repeated: bool) -> Admission {
    if is_repeated { Admission::Repeated } else { Admission::Below(usize::MAX) }
}

impl Bench {
    fn wish(&self, want: Want, admission: Admission) -> Ask {
        Ask { want, admission, profile: Profile::default(), news: self.pool.news() }
    }

    /// It finds nothing now.
    pub(super) fn waits_for(&self, want: Want, is_repeated: bool) -> Waiting {
        self.waits_with(self.wish(want, admission(is_repeated)))
    }

    /// It finds nothing now.
    pub(super) fn waits_with(&self, ask: Ask) -> Waiting {
        let mut waiter = None;
        let found = self.pool.wait(&mut waiter, ask.clone(), self.now);
        assert!(!matches!(found, Some(Ok(_))), "it finds {found:?}");
        let changed = waiter.as_ref().expect("a place").changed();
        Waiting { waiter, changed, ask }
    }

    pub(super) fn waits(&self) -> Waiting {
        self.waits_for(Want::other_than(Vec::new()), false)
    }

    fn one_slot_each(count: usize) -> Self {
        let one = |node| config::Node { max_in_flight: MaxInFlight::Fixed(1), ..node };
        Self::of(conf(nodes(count).into_iter().map(one).collect()))
    }
}

impl Waiting {
    pub(super) fn is_woken(&mut self) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::Pin::new(&mut self.changed).poll(&mut context).is_ready()
    }

    /// Looks again.
    pub(super) fn look(&mut self, bench: &Bench) -> Option<Lease> {
        let ask = Ask { news: bench.pool.news(), ..self.ask.clone() };
        bench.pool.wait(&mut self.waiter, ask, bench.now)?.ok()
    }
}

fn woken(waiting: &mut [Waiting]) -> Vec<bool> {
    waiting.iter_mut().map(Waiting::is_woken).collect()
}

#[test]
fn a_slot_goes_to_the_one_who_has_waited_longest_and_nobody_else_is_woken() {
    let bench = Bench::one_slot_each(2);
    let mut held = vec![bench.on("a"), bench.on("b")];
    let mut waiting: Vec<_> = (0..3).map(|_| bench.waits()).collect();
    drop(held.pop());
    assert_eq!(woken(&mut waiting), [true, false, false]);
    held.pop().expect("a").settle(Outcome::Ok, bench.now);
    assert_eq!(woken(&mut waiting), [true, true, false]);
    let leases: Vec<_> = waiting.iter_mut().filter_map(|one| one.look(&bench)).collect();
    assert_eq!(leases.len(), 2);
}

#[test]
fn the_count_does_not_dip_and_nobody_who_comes_takes_the_slot() {
    let bench = Bench::one_slot_each(1);
    let held = bench.on("a");
    let mut waiting = bench.waits();
    drop(held);
    assert_eq!(bench.snapshot("a").in_flight, 1, "it was handed over");
    assert_eq!(bench.lease().expect_err("it is taken"), Refusal::Full);
    let lease = waiting.look(&bench).expect("its slot");
    assert_eq!((bench.snapshot("a").in_flight, bench.queue()), (1, 0));
    drop(lease);
    assert!(bench.lease().is_ok());
}

#[test]
fn one_that_was_sent_before_goes_first() {
    let bench = Bench::one_slot_each(2);
    let (a, _b) = (bench.on("a"), bench.on("b"));
    let mut first = bench.waits();
    let mut repeated: Vec<_> = (0..2).map(|_| bench.waits_for(Want::other_than(Vec::new()), true)).collect();
    drop(a);
    assert_eq!((first.is_woken(), woken(&mut repeated)), (false, vec![true, false]));
}

#[test]
fn one_who_leaves_is_gone_at_once_and_passes_on_what_it_was_granted() {
    let bench = Bench::one_slot_each(1);
    let held = bench.on("a");
    let mut waiting: Vec<_> = (0..4).map(|_| bench.waits()).collect();
    drop(waiting.remove(0));
    assert_eq!(bench.queue(), 3);
    drop(held);
    assert_eq!(woken(&mut waiting), [true, false, false]);
    drop(waiting.remove(0));
    assert_eq!(woken(&mut waiting), [true, false], "the next has it");
    assert_eq!(bench.snapshot("a").attempts.iter().sum::<u64>(), 1, "nothing was sent");
    drop(waiting);
    assert_eq!((bench.snapshot("a").in_flight, bench.queue()), (0, 0));
}

/// The nodes that it can use were found out before.
#[test]
fn one_that_hears_the_news_late_looks_again_at_once() {
    let bench = Bench::one_slot_each(1);
    let _held = bench.on("a");
    let mut waiter = None;
    let old = bench.wish(Want::other_than(Vec::new()), admission(false));
    bench.pool.configure(&bench.conf, bench.now);
    for ask in [old.clone(), old] {
        assert!(matches!(bench.pool.wait(&mut waiter, ask.clone(), bench.now), Some(Err(Refusal::Full))));
        let changed = waiter.as_ref().expect("a place").changed();
        assert!(Waiting { waiter: None, changed, ask }.is_woken());
    }
}

#[test]
fn a_full_queue_takes_nobody_but_those_who_were_sent_before() {
    let bench = Bench::one_slot_each(1);
    let _held = bench.on("a");
    let join = |admission| {
        let mut waiter = None;
        let want = Want::other_than(Vec::new());
        let refusal =
            bench.pool.wait(&mut waiter, bench.wish(want, admission), bench.now).expect("a pool").err();
        (waiter, refusal)
    };
    let first = join(Admission::Below(1));
    let second = join(Admission::Below(1));
    let third = join(Admission::Repeated);
    let refusals = [&first, &second, &third].map(|(waiter, refusal)| (waiter.is_some(), *refusal));
    let (full, none) = (Some(Refusal::Full), Some(Refusal::QueueFull));
    assert_eq!((refusals, bench.queue()), ([(true, full), (false, none), (true, full)], 2));
}

#[test]
fn the_queue_tells_how_long_it_takes() {
    let mut bench = Bench::one_slot_each(1);
    let mut held = Some(bench.on("a"));
    let mut waiting: Vec<_> = (0..10).map(|_| bench.waits()).collect();
    for _ in 0..5 {
        bench.pass(2.0);
        held.take().expect("held").settle(Outcome::Ok, bench.now);
        held = waiting.remove(0).look(&bench);
    }
    assert_eq!(bench.pool.queue_time(), seconds(10.0));
}

#[test]
fn one_that_cannot_use_a_slot_does_not_keep_it_from_another() {
    let bench = Bench::one_slot_each(2);
    let (a, b) = (bench.on("a"), bench.on("b"));
    let mut picky = bench.waits_for(Want::other_than(vec![a.key()]), true);
    let mut other = bench.waits();
    drop(a);
    assert_eq!((picky.is_woken(), other.is_woken()), (false, true));
    drop(b);
    let lease = picky.look(&bench).expect("the other node");
    assert_eq!(&*lease.node().name, "b");
}

#[test]
fn one_that_only_one_node_will_do_for_waits_for_that() {
    let bench = Bench::one_slot_each(2);
    let (a, b) = (bench.on("a"), bench.on("b"));
    let home = Want::Home { key: a.key(), in_line: false, is_last_chance: false };
    let mut bound = bench.waits_for(home, false);
    drop(b);
    assert!(!bound.is_woken());
    let _b = bench.on("b");
    drop(a);
    assert_eq!(&*bound.look(&bench).expect("its node").node().name, "a");
}

#[test]
fn a_change_lets_all_look_again() {
    let mut bench = Bench::new(2);
    bench.bring_to_probing("a");
    let nothing = || Want::Any { avoid: Vec::new(), or: Or::Nothing };
    let mut waiting: Vec<_> = (0..3).map(|_| bench.waits_for(nothing(), false)).collect();
    bench.serve("a");
    assert_eq!(woken(&mut waiting), [true; 3]);
    assert!(waiting.iter_mut().all(|one| one.look(&bench).is_none()));
    assert_eq!(woken(&mut waiting), [false; 3], "what they know is no news");
}

/// They may have been asleep since before the refusal.
#[test]
fn a_node_usable_again_after_a_refusal_takes_as_many_as_it_has_room_for() {
    let two = config::Node { max_in_flight: MaxInFlight::Fixed(2), ..node("a", "10.0.0.1", 1) };
    let mut bench = Bench::of(conf(vec![two]));
    bench.on("a").settle(Outcome::Connect, bench.now);
    let mut waiting: Vec<_> = (0..3).map(|_| bench.waits()).collect();
    bench.pool.tick(bench.now);
    assert_eq!(woken(&mut waiting), [false; 3]);
    bench.pass(1.0);
    bench.pool.tick(bench.now);
    assert_eq!(woken(&mut waiting), [true, true, false]);
}

#[test]
fn a_reload_that_raises_the_cap_lets_more_in_and_keeps_the_rest_in_line() {
    let mut bench = Bench::one_slot_each(1);
    let _held = bench.on("a");
    let mut waiting: Vec<_> = (0..5).map(|_| bench.waits()).collect();
    bench.conf.nodes[0].max_in_flight = MaxInFlight::Fixed(3);
    bench.pool.configure(&bench.conf, bench.now);
    let got: Vec<_> = waiting.iter_mut().map(|one| one.look(&bench)).collect();
    let has_lease = got.iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!((has_lease, bench.queue()), (vec![true, true, false, false, false], 3));
}

/// Most requests want the same: one is looked at for all of them, though there is a node with room that none of them can use.
#[test]
fn the_cost_of_a_slot_does_not_depend_on_the_number_of_those_who_wait() {
    let looks = |count: usize| {
        let bench = Bench::one_slot_each(3);
        let held = [bench.on("a"), bench.on("b")];
        let tried: Vec<_> =
            bench.keys().into_iter().filter(|(_, name)| name == "c").map(|(key, _)| key).collect();
        let waiting: Vec<_> =
            (0..count).map(|_| bench.waits_for(Want::other_than(tried.clone()), true)).collect();
        let before = bench.pool.table().looks;
        drop(held);
        let looks = bench.pool.table().looks - before;
        drop(waiting);
        looks
    };
    assert_eq!(looks(1000), looks(10));
}

/// The full node would be tried first, because its failure is longer ago.
#[test]
fn among_nodes_already_tried_one_with_room_beats_a_full_one() {
    let mut bench = Bench::one_slot_each(2);
    bench.conf.nodes[1].max_in_flight = MaxInFlight::Fixed(2);
    bench.pool.configure(&bench.conf, bench.now);
    let (on_a, on_b) = (bench.on("a"), bench.on("b"));
    let tried = vec![on_a.key(), on_b.key()];
    let again = || Want::Any {
        avoid: vec![tried.clone()],
        or: Or::Tried { tried: tried.clone(), skipped: Vec::new(), is_last_chance: false },
    };
    let find = || {
        bench.pool.wait(&mut None, bench.wish(again(), admission(true)), bench.now).expect("any node").ok()
    };
    let first = find().expect("b has room");
    assert_eq!(&*first.node().name, "b");
    assert!(find().is_none(), "both are full");
    drop(on_a);
    assert_eq!(&*find().expect("a has room").node().name, "a");
}

/// Threads that come, wait, leave and are served, while the cap changes: it is never exceeded, and everyone is served.
#[test]
fn with_many_threads_no_cap_is_exceeded_and_nobody_is_forgotten() {
    use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
    use std::thread;

    const CAP: i64 = 5;
    const THREADS: usize = 16;
    const ROUNDS: usize = 400;
    let bench = Bench::of(conf(
        nodes(2)
            .into_iter()
            .map(|node| config::Node { max_in_flight: MaxInFlight::Fixed(CAP as usize), ..node })
            .collect(),
    ));
    let [held, most] = [const { AtomicI64::new(0) }; 2];
    let served = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    let work = |seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..ROUNDS {
            let mut waiter = None;
            let is_patient = random.u8(0..8) > 0;
            let lease = loop {
                let want = Want::other_than(Vec::new());
                match bench.pool.wait(&mut waiter, bench.wish(want, admission(random.bool())), bench.now) {
                    Some(Ok(lease)) => break Some(lease),
                    _ if !is_patient => break None,
                    _ => {}
                }
                let mut changed = waiter.as_ref().expect("a place").changed();
                let thread = thread::current();
                let waker = std::task::Waker::from(Arc::new(Unpark(thread)));
                let mut context = std::task::Context::from_waker(&waker);
                while std::pin::Pin::new(&mut changed).poll(&mut context).is_pending() {
                    thread::park();
                }
            };
            drop(waiter);
            let Some(lease) = lease else { continue };
            most.fetch_max(held.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if random.bool() {
                thread::yield_now();
            }
            held.fetch_sub(1, Ordering::SeqCst);
            lease.settle(Outcome::Ok, bench.now);
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS as u64).map(|seed| scope.spawn(move || work(seed))).collect();
        scope.spawn(|| {
            let mut conf = bench.conf.clone();
            while !done.load(Ordering::Relaxed) {
                for cap in [1, CAP as usize] {
                    conf.nodes[0].max_in_flight = MaxInFlight::Fixed(cap);
                    bench.pool.configure(&conf, bench.now);
                    let counts = bench.pool.table().members().map(|(_, node)| node.in_flight).max();
                    assert!(counts <= Some(CAP as u32));
                }
                thread::yield_now();
            }
        });
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        done.store(true, Ordering::Relaxed);
    });
    assert!(most.into_inner() <= 2 * CAP);
    assert!(served.into_inner() >= THREADS * ROUNDS * 3 / 4);
    assert_eq!((bench.snapshot("a").in_flight, bench.snapshot("b").in_flight, bench.queue()), (0, 0, 0));
}

struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
