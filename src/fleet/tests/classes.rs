//! Classes: who goes first, what a lower class is sure of, and the slots that are kept for the highest.

use proptest::collection::vec;
use proptest::prelude::*;

use super::queue::Waiting;
use super::*;
use crate::config::{Class, Shares};
use crate::fleet::Waiter;

const CLASSES: [Class; 3] = Class::ALL;

fn of(class: Class) -> Profile {
    Profile { class, ..Profile::default() }
}

/// One node with this cap, and a pool with this reserve.
fn capped(cap: usize, reserve: f64) -> Bench {
    let one = |node| config::Node { max_in_flight: MaxInFlight::Fixed(cap), ..node };
    let mut conf = conf(nodes(1).into_iter().map(one).collect());
    conf.queue.reserve = reserve;
    Bench::of(conf)
}

impl Bench {
    fn lease_as(&self, class: Class) -> Result<Lease, Refusal> {
        self.pool.lease_by(of(class), &[], self.now)
    }

    fn ask_as(&self, class: Class, admission: Admission) -> Ask {
        Ask { want: Want::other_than(Vec::new()), admission, profile: of(class), news: self.pool.news() }
    }

    fn waits_as(&self, class: Class) -> Waiting {
        self.waits_with(self.ask_as(class, Admission::Below(usize::MAX)))
    }
}

/// Of these the one that has a slot.
fn granted(bench: &Bench, waiting: &mut Vec<(Class, Waiting)>) -> Option<(Class, Lease)> {
    let place = waiting.iter_mut().position(|(_, one)| one.is_woken())?;
    let (class, mut one) = waiting.remove(place);
    Some((class, one.look(bench).expect("its slot")))
}

#[test]
fn the_highest_class_goes_first_and_within_it_who_was_sent_before() {
    let bench = capped(1, 0.0);
    let held = bench.lease().expect("a slot");
    let mut waiting: Vec<_> =
        [Class::Batch, Class::Normal, Class::Interactive].map(|class| (class, bench.waits_as(class))).into();
    let repeated = bench.waits_with(bench.ask_as(Class::Normal, Admission::Repeated));
    waiting.push((Class::Normal, repeated));
    assert_eq!(bench.pool.snapshot(bench.now).queue_by_class, [1, 2, 1]);
    let mut order = Vec::new();
    let mut held = Some(held);
    while let Some((class, lease)) = {
        drop(held.take());
        granted(&bench, &mut waiting)
    } {
        order.push((class, waiting.len()));
        held = Some(lease);
    }
    let want = [(Class::Interactive, 3), (Class::Normal, 2), (Class::Normal, 1), (Class::Batch, 0)];
    assert_eq!(order, want);
    // the repeated one was the second of all
    assert_eq!(bench.pool.snapshot(bench.now).queue_by_class, [0; 3]);
}

#[test]
fn a_queue_full_of_batch_takes_those_above_it() {
    let bench = capped(1, 0.0);
    let _held = bench.lease().expect("a slot");
    let join = |class| {
        let mut waiter = None;
        let found = bench.pool.wait(&mut waiter, bench.ask_as(class, Admission::Below(2)), bench.now);
        (waiter, found.expect("a pool").err())
    };
    let (full, queue_full) = (Some(Refusal::Full), Some(Refusal::QueueFull));
    let mut waiters: Vec<Option<Box<Waiter>>> = Vec::new();
    for (class, want) in [
        (Class::Batch, full),
        (Class::Batch, full),
        (Class::Batch, queue_full),
        (Class::Normal, full),
        (Class::Interactive, full),
        // one above it and one of its own
        (Class::Normal, queue_full),
        (Class::Interactive, full),
        (Class::Interactive, queue_full),
        (Class::Batch, queue_full),
    ] {
        let (waiter, refusal) = join(class);
        assert_eq!(refusal, want, "{class:?}");
        waiters.push(waiter);
    }
}

#[test]
fn the_reserve_is_for_interactive_requests_alone() {
    let bench = capped(10, 0.2);
    let others: Vec<_> = (0..8).map(|_| bench.lease_as(Class::Normal).expect("a slot")).collect();
    for class in [Class::Normal, Class::Batch] {
        assert_eq!(bench.lease_as(class).expect_err("the rest is reserved"), Refusal::Full);
    }
    let key = others[0].key();
    let bound = Ask {
        want: Want::Home { key, in_line: false, is_last_chance: false },
        ..bench.ask_as(Class::Batch, Admission::Repeated)
    };
    assert!(matches!(bench.pool.wait(&mut None, bound, bench.now), Some(Err(Refusal::Full))));
    let first: Vec<_> = (0..2).map(|_| bench.lease_as(Class::Interactive).expect("a slot")).collect();
    assert_eq!(bench.lease_as(Class::Interactive).expect_err("a cap is a cap"), Refusal::Full);
    let mut waiting = bench.waits_as(Class::Batch);
    drop(first);
    assert!(!waiting.is_woken(), "nor do those who wait get it");
    drop(others);
    assert!(waiting.is_woken());
}

#[test]
fn a_reload_changes_the_reserve() {
    let mut bench = capped(10, 0.0);
    let held: Vec<_> = (0..10).map(|_| bench.lease_as(Class::Batch).expect("a slot")).collect();
    let _waiting: Vec<_> = (0..3).map(|_| bench.waits_as(Class::Batch)).collect();
    bench.conf.queue.reserve = 0.5;
    bench.pool.configure(&bench.conf, bench.now);
    drop(held);
    let free =
        |bench: &Bench| (0..).map_while(|_| bench.lease_as(Class::Normal).ok()).collect::<Vec<_>>().len();
    assert_eq!((bench.snapshot("a").in_flight, free(&bench)), (3, 2));
    bench.conf.queue.reserve = 0.0;
    bench.pool.configure(&bench.conf, bench.now);
    assert_eq!(free(&bench), 7, "three are granted");
}

/// Those above it hold all of the reserve all of the time.
#[test]
fn a_class_whose_share_is_due_gets_a_slot_of_the_reserve() {
    let bench = capped(4, 0.5);
    let mut held: std::collections::VecDeque<_> =
        (0..4).map(|_| bench.lease_as(Class::Interactive).expect("a slot")).collect();
    let mut waiting: Vec<_> = vec![(Class::Batch, bench.waits_as(Class::Batch))];
    for round in 1..=11 {
        waiting.push((Class::Interactive, bench.waits_as(Class::Interactive)));
        drop(held.pop_front());
        let (class, lease) = granted(&bench, &mut waiting).expect("a slot");
        held.push_back(lease);
        if class == Class::Batch {
            assert_eq!(round, 11, "after ten others");
            return;
        }
    }
    panic!("it starves");
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Come(usize),
    End(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![3 => (0_usize..3).prop_map(Act::Come), 2 => (0_usize..64).prop_map(Act::End)]
}

/// The grants since a class began to wait, and its own among them.
#[derive(Clone, Copy, Default)]
struct Wait {
    all: u32,
    own: u32,
}

proptest! {
    /// Whatever comes and ends, and with a reserve too: among the slots granted while a class waits it has its share, less one.
    #[test]
    fn no_class_starves(
        acts in vec(act(), 1..400),
        rush in 0_usize..200,
        cap in 1_usize..6,
        reserve in prop_oneof![Just(0.0), Just(0.5)],
        normal in 1_u32..=45,
        batch in 1_u32..=45,
    ) {
        let mut bench = capped(cap, reserve);
        let shares = [0.0, f64::from(normal) / 100.0, f64::from(batch) / 100.0];
        bench.conf.queue.shares = Shares { normal: shares[1], batch: shares[2] };
        bench.pool.configure(&bench.conf, bench.now);
        let rush = (0..rush).flat_map(|_| [Act::Come(0), Act::Come(0), Act::End(0)]);
        let (mut held, mut waiting) = (Vec::new(), Vec::new());
        let mut waits = [Wait::default(); 3];
        let numbers = |waiting: &Vec<(Class, Waiting)>| {
            CLASSES.map(|class| waiting.iter().filter(|(other, _)| *other == class).count())
        };
        for act in acts.into_iter().chain(rush) {
            let mut note = |class: Class, before: [usize; 3]| {
                for place in 0..3 {
                    waits[place].all += u32::from(before[place] > 0);
                    waits[place].own += u32::from(before[place] > 0 && place == class.place());
                }
            };
            match act {
                Act::Come(class) => match bench.lease_as(CLASSES[class]) {
                    Ok(lease) => {
                        held.push(lease);
                        note(CLASSES[class], numbers(&waiting));
                    }
                    Err(_) => waiting.push((CLASSES[class], bench.waits_as(CLASSES[class]))),
                },
                Act::End(_) if held.is_empty() => {}
                Act::End(place) => {
                    let place = place % held.len();
                    drop(held.swap_remove(place));
                }
            }
            loop {
                let before = numbers(&waiting);
                let Some((class, lease)) = granted(&bench, &mut waiting) else { break };
                held.push(lease);
                note(class, before);
            }
            prop_assert!(held.len() <= cap);
            for (place, left) in numbers(&waiting).into_iter().enumerate() {
                let Wait { all, own } = waits[place];
                prop_assert!(
                    f64::from(own) >= (shares[place] * f64::from(all)).floor() - 1.0,
                    "{:?} has {own} of {all}", CLASSES[place]
                );
                if left == 0 {
                    waits[place] = Wait::default();
                }
            }
            // nobody waits beside a slot that it may use
            let open = if reserve > 0.0 { cap - (cap / 2 + cap % 2).min(cap - 1) } else { cap };
            let [interactive, normal, batch] = numbers(&waiting);
            prop_assert!(interactive == 0 || held.len() == cap);
            prop_assert!(normal + batch == 0 || held.len() >= open);
        }
    }
}
