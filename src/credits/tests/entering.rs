//! How members come in, and what happens to a ledger that is lost.

use super::world::{Fate, TERMS, World};
use crate::credits::Standing;

#[test]
fn the_first_waits_until_the_ledger_has_settled() {
    let mut world = World::new(1, &[8]);
    world.enter(0);
    let standing = |world: &World| world.gateways[0].as_ref().map(|gateway| gateway.member.standing());
    assert_eq!(standing(&world), Some(Standing::Settling));
    world.pass(TERMS.settle_ms - 1);
    world.exchange(0, Fate::Answered);
    assert_eq!((standing(&world), world.limits(0)), (Some(Standing::Settling), 0));
    world.pass(1);
    world.rounds(2);
    assert_eq!((standing(&world), world.limits(0)), (Some(Standing::Joined), 4));
}

#[test]
fn a_newcomer_gets_its_part_when_the_others_know_of_it() {
    let mut world = World::settled(2, &[30]);
    let at = world.join();
    world.enter(at);
    assert_eq!(world.counter(at, 0).limit, 0, "the others do not know of it");
    world.rounds(6);
    assert!(world.counter(at, 0).limit > 0);
    world.rounds(10);
    assert!(world.counter(at, 0).limit >= 6, "{}", world.counter(at, 0).limit);
}

#[test]
fn after_a_loss_nothing_moves_until_all_have_come() {
    let mut world = World::settled(3, &[9]);
    world.counter(0, 0).waiting = 2;
    world.counter(0, 0).grant();
    let before = [0, 1, 2].map(|at| world.counter(at, 0).limit);
    world.ledger.lose();
    world.counter(0, 0).waiting = 9;
    // the third is cut off for a minute
    for _ in 0..600 {
        world.pass(100);
        for at in [0, 1] {
            world.exchange(at, Fate::Answered);
            world.ask(at);
        }
        world.exchange(2, Fate::Lost);
    }
    assert_eq!([0, 1, 2].map(|at| world.counter(at, 0).limit), before);
    world.rounds(5);
    assert_eq!(world.counter(0, 0).in_use, 9);
}

#[test]
fn a_call_that_comes_late_undoes_nothing() {
    let mut world = World::settled(2, &[9]);
    world.exchange(0, Fate::Answered);
    world.counter(0, 0).waiting = 5;
    world.exchange(0, Fate::Delayed);
    world.exchange(0, Fate::Answered);
    let held = world.ledger.audit().expect("sums");
    world.arrive();
    assert_eq!(world.ledger.audit().expect("sums"), held);
}

#[test]
fn who_leaves_gives_back_what_is_freed() {
    let mut world = World::settled(2, &[8]);
    world.counter(0, 0).waiting = 3;
    world.rounds(2);
    world.gateways[0].as_mut().expect("it lives").member.prepare_to_leave();
    world.counter(1, 0).waiting = 20;
    world.rounds(3);
    assert_eq!((world.counter(0, 0).in_use, world.counter(1, 0).in_use), (3, 5));
    world.counter(0, 0).in_use = 1;
    world.rounds(3);
    assert_eq!((world.counter(0, 0).in_use, world.counter(1, 0).in_use), (1, 7));
}
