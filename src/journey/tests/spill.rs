//! Requests that go to another pool, where they would have to wait in their own.

use super::*;
use crate::balance::By;
use crate::config::Class;
use crate::fleet::{Member, Order, Profile};
use crate::journey::{Conversation, Other};

/// Two pools of a node each, of which the first spills over into the second.
struct Pools {
    own: Member,
    other: Member,
    why: By,
    now: Instant,
}

impl Pools {
    fn new(own: &str, other: &str) -> Self {
        let pools = format!(
            "own: {{ nodes: [{{ address: 127.0.0.1:2, max_in_flight: 1 }}], spill: other{own} }}\n  \
             other: {{ nodes: [{{ address: 127.0.0.1:3, max_in_flight: 1 }}], models: off{other} }}"
        );
        let text = format!("server: {{ listen: 127.0.0.1:1 }}\npools:\n  {pools}\n");
        let now = Instant::now();
        let mut pools = Fleet::first(Config::parse(&text, "a test").expect("a valid config"), now).pools;
        let other = pools.pop().expect("two pools");
        Self { own: pools.remove(0), other, why: By::Spill, now }
    }

    fn trip(&self) -> Trip {
        let mut journey = Journey::new(self.own.clone(), true, Repeat::Allowed);
        journey.may_spill_to(Some(Other {
            member: self.other.clone(),
            repeat: Repeat::Allowed,
            why: self.why,
            profile: None,
        }));
        Trip { journey, now: self.now }
    }

    fn order(&self, member: &Member, order: Order) {
        let node = member.pool.snapshot(self.now).nodes[0].id.name.to_string();
        let _ = member.pool.obey(&node, order, self.now).expect("a node");
    }
}

/// The pool in which it gets a node at once, if it does.
fn pool_of(trip: &mut Trip) -> Option<(String, Attempt)> {
    let Seek::Leased(attempt) = trip.seek() else { return None };
    let name = attempt.node().pool.to_string();
    assert_eq!(name, **trip.journey.member().pool.name(), "it is a request of that pool");
    Some((name, attempt))
}

#[test]
fn what_would_wait_for_a_slot_spills_over_if_the_other_pool_has_one() {
    let pools = Pools::new("", "");
    let (name, _first) = pool_of(&mut pools.trip()).expect("a node");
    assert_eq!(name, "own");
    let mut second = pools.trip();
    let (name, _lease) = pool_of(&mut second).expect("a node");
    assert_eq!((&*name, second.journey.spilled()), ("other", Some(By::Spill)));
    let mut third = pools.trip();
    assert!(matches!(third.seek(), Seek::Wait { .. }), "both are full: it waits in its own");
    let counts = [&pools.own, &pools.other].map(|member| member.pool.snapshot(pools.now));
    assert_eq!(counts.each_ref().map(|pool| pool.queue), [1, 0]);
    assert_eq!(counts.each_ref().map(|pool| pool.counters.spills), [1, 0]);
    drop((second, _lease));
    assert!(matches!(third.seek(), Seek::Wait { .. }), "it has its turn here");
}

#[test]
fn a_full_queue_refuses_what_cannot_spill_over() {
    let pools = Pools::new(", queue: { size: 0 }", "");
    let _leases = [pool_of(&mut pools.trip()), pool_of(&mut pools.trip())];
    assert!(matches!(pools.trip().seek(), Seek::Stop(Ending::Failed(failure)) if failure.status == 429));
}

#[test]
fn a_pool_without_a_node_spills_over_at_once() {
    for order in [Order::Drain, Order::Eject(None)] {
        let pools = Pools::new("", "");
        pools.order(&pools.own, order);
        assert_eq!(pool_of(&mut pools.trip()).map(|(name, _)| name).as_deref(), Some("other"), "{order:?}");
        pools.order(&pools.other, order);
        assert!(matches!(pools.trip().seek(), Seek::Wait { .. }), "{order:?}");
    }
}

/// An ejected node that accepts connections is the last resort: a node that is up is better.
#[test]
fn a_pool_whose_last_resort_is_left_spills_over() {
    let pools = Pools::new(", health: { max_fails: 1 }", "");
    let mut trip = pools.trip();
    let attempt = trip.sent();
    assert!(matches!(trip.fails(attempt, Outcome::Reset), Step::Node(_)));
    let (name, _lease) = pool_of(&mut trip).expect("a node");
    assert_eq!(name, "other", "its own failed it");
    let (name, _last) = pool_of(&mut pools.trip()).expect("the last resort");
    assert_eq!(name, "own", "the other one is full");
}

#[test]
fn what_is_bound_or_has_begun_stays() {
    let pools = Pools::new("", "");
    pools.order(&pools.own, Order::Drain);
    let mut bound = pools.trip();
    bound.journey.converse(Conversation { named: Some(crate::fleet::StoredId::of("r")), is_stored: false });
    assert!(matches!(bound.seek(), Seek::Wait { .. }));
    let mut opened = pools.trip();
    opened.journey.open_early();
    assert!(matches!(opened.seek(), Seek::Leased(_)), "a head of the gateway's own binds nothing");
    let mut begun = pools.trip();
    begun.journey.begin(Continuity::Never);
    assert!(matches!(begun.seek(), Seek::Wait { .. }), "the client has a part of a stream");
}

/// Each pool has its own rules for classes, sizes and sessions.
#[test]
fn the_other_pool_places_it_by_its_own_rules() {
    let pools = Pools::new("", ", balance: least_work");
    pools.order(&pools.own, Order::Drain);
    let mut trip = pools.trip();
    let other = Other {
        member: pools.other.clone(),
        repeat: Repeat::Allowed,
        why: By::Spill,
        profile: Some(Profile { class: Class::Batch, ..Profile::default() }),
    };
    assert!(!other.places_like(&pools.own) && other.places_like(&pools.other));
    trip.journey.may_spill_to(Some(other));
    let (name, _lease) = pool_of(&mut trip).expect("a node");
    assert_eq!((&*name, trip.journey.profile().class), ("other", Class::Batch));
}

/// A share of a model is no overflow: its requests wait for a slot, but not for a node.
#[test]
fn a_split_model_has_another_pool_for_ruins_alone() {
    let pools = Pools { why: By::Split, ..Pools::new("", "") };
    let first = pool_of(&mut pools.trip()).expect("a node");
    assert!(matches!(pools.trip().seek(), Seek::Wait { .. }));
    drop(first);
    let mut trip = pools.trip();
    let attempt = trip.sent();
    assert!(matches!(trip.fails(attempt, Outcome::Connect), Step::Node(_)));
    let (name, _lease) = pool_of(&mut trip).expect("a node");
    assert_eq!((&*name, trip.journey.spilled()), ("other", Some(By::Split)));
    assert_eq!(pools.own.pool.snapshot(pools.now).counters.spills, 0, "it did not spill over");
}

/// One step is all: a request of a pool to which others have spilled goes no further with them.
#[test]
fn it_spills_over_once() {
    let pools = Pools::new("", "");
    pools.order(&pools.own, Order::Drain);
    let mut trip = pools.trip();
    let (_, attempt) = pool_of(&mut trip).expect("a node");
    let mut attempt = attempt;
    trip.journey.send(&mut attempt, trip.now);
    assert!(matches!(trip.fails(attempt, Outcome::Connect), Step::Node(_)));
    let Seek::Wait { .. } = trip.seek() else { panic!("it waits where it is") };
    assert_eq!(**trip.journey.member().pool.name(), *"other");
}
