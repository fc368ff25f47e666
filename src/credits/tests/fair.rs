//! Units get where they are needed.

use proptest::prelude::*;

use super::world::{Fate, World};
use crate::credits::{Row, Total, aim};

#[test]
fn idle_units_are_divided_and_one_part_stays_in_the_ledger() {
    let world = World::settled(3, &[8, 32, 2]);
    assert_eq!([0, 1, 2].map(|name| world.limits(name)), [6, 24, 0]);
}

#[test]
fn a_lone_waiter_gets_what_others_hold_idle() {
    for cap in [1, 2, 3, 8] {
        let mut world = World::settled(3, &[cap]);
        world.counter(1, 0).waiting = cap;
        world.rounds(3);
        assert_eq!(world.counter(1, 0).in_use, cap, "of {cap}");
    }
}

#[test]
fn a_burst_finds_a_part_in_the_ledger_at_its_first_exchange() {
    let mut world = World::settled(3, &[8]);
    let counter = world.counter(0, 0);
    counter.waiting = 4;
    counter.grant();
    assert_eq!((counter.in_use, counter.waiting), (2, 2));
    world.exchange(0, Fate::Answered);
    assert_eq!(world.counter(0, 0).in_use, 4);
}

#[test]
fn units_follow_demand() {
    let mut world = World::settled(3, &[32]);
    for (at, waiting) in [(0, 80), (1, 15), (2, 5)] {
        world.counter(at, 0).waiting = waiting;
    }
    world.rounds(10);
    let first = [0, 1, 2].map(|at| world.counter(at, 0).in_use);
    assert_eq!(first.iter().sum::<u32>(), 32);
    // requests end, and others come
    for round in 0..200 {
        for at in 0..3 {
            let counter = world.counter(at, 0);
            if counter.in_use > 0 && round % 3 == 0 {
                counter.in_use -= 1;
                counter.waiting += 1;
                counter.grant();
            }
        }
        world.rounds(1);
    }
    let [a, b, c] = [0, 1, 2].map(|at| world.counter(at, 0).in_use);
    assert!((24..=27).contains(&a) && (4..=6).contains(&b) && (1..=3).contains(&c), "{a} {b} {c}");
}

/// Two units, five gateways with requests: each has its turn.
#[test]
fn nobody_starves() {
    let mut world = World::settled(5, &[2]);
    let mut served = [0; 5];
    for at in 0..5 {
        world.counter(at, 0).waiting = 1000;
    }
    for _ in 0..300 {
        world.rounds(1);
        for (at, served) in served.iter_mut().enumerate() {
            let counter = world.counter(at, 0);
            *served += counter.in_use;
            counter.in_use = 0;
            counter.grant();
        }
    }
    assert!(served.iter().all(|served| *served >= 60), "{served:?}");
}

#[test]
fn an_interactive_request_elsewhere_goes_before_a_batch_request_here() {
    let mut world = World::settled(2, &[8]);
    world.counter(0, 0).waiting = 60;
    world.rounds(5);
    assert_eq!(world.counter(0, 0).in_use, 8);
    world.counter(1, 0).urgent = 1;
    world.rounds(2);
    // one request ends: its unit is not for the 52 that wait here
    let counter = world.counter(0, 0);
    counter.in_use -= 1;
    counter.grant();
    assert_eq!(counter.in_use, 7);
    world.rounds(2);
    assert_eq!((world.counter(1, 0).in_use, world.counter(1, 0).urgent), (1, 0));
}

proptest! {
    /// The parts at which all aim fit into the cap; alike demand gets alike parts.
    #[test]
    fn all_can_have_what_they_aim_at(
        cap in 1..200_u32,
        rows in prop::collection::vec((0..40_u32, 0..6_u32, 0..60_u32), 1..8),
    ) {
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(in_use, urgent, waiting)| Row { held: in_use, in_use, urgent, waiting })
            .collect();
        let mut total = Total::default();
        rows.iter().for_each(|row| total.add(row));
        prop_assume!(total.held <= u64::from(cap));
        let members = rows.len() as u32;
        let aims: Vec<_> = rows.iter().map(|row| aim(cap, row, &total.without(row), members)).collect();
        let claims: u32 = aims.iter().map(|aim| aim.claim).sum();
        let fractions = members;
        prop_assert!(claims <= cap + fractions, "{claims} of {cap}: {aims:?}");
        for (row, aim) in rows.iter().zip(&aims) {
            prop_assert!(aim.claim <= aim.keep && (row.demand() == 0 || aim.claim > 0 || total.starved > 0));
        }
    }

    /// Whatever the demand, after some rounds nothing moves any more, and nobody waits while a unit is idle.
    #[test]
    fn it_comes_to_rest(cap in 1..40_u32, waiting in prop::collection::vec((0..4_u32, 0..30_u32), 2..6)) {
        let mut world = World::settled(waiting.len(), &[cap]);
        for (at, (urgent, others)) in waiting.iter().enumerate() {
            let counter = world.counter(at, 0);
            (counter.urgent, counter.waiting) = (*urgent, *others);
            counter.grant();
        }
        world.rounds(20);
        let want: u32 = waiting.iter().map(|(urgent, others)| urgent + others).sum();
        prop_assert_eq!(world.in_use(0), want.min(cap));
        let limits = |world: &mut World| -> Vec<u32> {
            (0..waiting.len()).map(|at| world.counter(at, 0).limit).collect()
        };
        let before = limits(&mut world);
        world.rounds(10);
        prop_assert_eq!(before, limits(&mut world));
    }
}
