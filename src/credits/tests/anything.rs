//! Any order of requests, exchanges and disasters.

use proptest::prelude::*;

use super::world::{Fate, World};
use crate::credits::MemberId;

#[derive(Debug, Clone)]
enum Event {
    Begin {
        at: usize,
        name: u64,
        urgent: bool,
    },
    End {
        at: usize,
        name: u64,
    },
    Exchange {
        at: usize,
        fate: Fate,
    },
    Ask {
        at: usize,
    },
    Arrive,
    Pass {
        ms: u64,
    },
    Lose,
    LoseTotals,
    LoseRows {
        of: u64,
    },
    Kill {
        at: usize,
    },
    Join,
    Deafen {
        at: usize,
        can_be_asked: bool,
    },
    /// This one is cut off, and no other.
    Split {
        at: usize,
    },
}

/// Those that know of all holdings must not all die or be cut off: nobody could tell a ledger that was lost of what it had.
const KILLED_MOST: usize = 2;

fn event() -> impl Strategy<Value = Event> {
    let at = 0..4_usize;
    let name = 0..3_u64;
    let fate = prop_oneof![
        8 => Just(Fate::Answered),
        1 => Just(Fate::Unheard),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Delayed),
        1 => Just(Fate::Garbage),
    ];
    prop_oneof![
        16 => (at.clone(), name.clone(), any::<bool>())
            .prop_map(|(at, name, urgent)| Event::Begin { at, name, urgent }),
        10 => (at.clone(), name).prop_map(|(at, name)| Event::End { at, name }),
        30 => (at.clone(), fate).prop_map(|(at, fate)| Event::Exchange { at, fate }),
        3 => at.clone().prop_map(|at| Event::Ask { at }),
        2 => Just(Event::Arrive),
        10 => prop_oneof![Just(20_u64), Just(600), Just(2100)].prop_map(|ms| Event::Pass { ms }),
        1 => Just(Event::Lose),
        1 => Just(Event::LoseTotals),
        1 => (2..8_u64).prop_map(|of| Event::LoseRows { of }),
        1 => at.clone().prop_map(|at| Event::Kill { at }),
        1 => Just(Event::Join),
        1 => at.clone().prop_map(|at| Event::Split { at }),
        1 => (at, any::<bool>()).prop_map(|(at, can_be_asked)| Event::Deafen { at, can_be_asked }),
    ]
}

fn happen(world: &mut World, event: &Event) {
    let gateways = world.gateways.len();
    match *event {
        Event::Begin { at, name, urgent } if world.gateways[at % gateways].is_some() => {
            let counter = world.counter(at % gateways, name);
            *(if urgent { &mut counter.urgent } else { &mut counter.waiting }) += 1;
            counter.grant();
        }
        Event::End { at, name } if world.gateways[at % gateways].is_some() => {
            let counter = world.counter(at % gateways, name);
            counter.in_use = counter.in_use.saturating_sub(1);
            counter.grant();
        }
        Event::Exchange { at, fate } => world.exchange(at % gateways, fate),
        Event::Ask { at } => world.ask(at % gateways),
        Event::Arrive => world.arrive(),
        Event::Pass { ms } => world.live(ms),
        Event::Lose => world.ledger.lose(),
        Event::LoseTotals => world.ledger.lose_totals(),
        Event::LoseRows { of } => world.ledger.lose_rows(MemberId(of)),
        Event::Kill { at } if world.gateways.iter().filter(|one| one.is_none()).count() < KILLED_MOST => {
            world.kill(at % gateways);
        }
        Event::Split { at } => {
            for (other, gateway) in world.gateways.iter_mut().enumerate() {
                gateway.iter_mut().for_each(|gateway| gateway.is_split = other == at);
            }
        }
        Event::Join if gateways < 8 => {
            world.join();
        }
        Event::Deafen { at, can_be_asked } => {
            if let Some(gateway) = &mut world.gateways[at % gateways] {
                gateway.can_be_asked = can_be_asked;
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_unit_is_in_use_twice(events in prop::collection::vec(event(), 1..600)) {
        let mut world = World::settled(4, &[1, 5, 32]);
        for event in &events {
            happen(&mut world, event);
            world.check();
        }
    }

    /// Once the trouble is over, all units are in use where there are requests enough.
    #[test]
    fn nothing_is_lost_for_good(events in prop::collection::vec(event(), 1..200)) {
        let mut world = World::settled(4, &[1, 5, 32]);
        events.iter().for_each(|event| happen(&mut world, event));
        world.join();
        let at = world.gateways.len() - 1;
        for name in 0..3 {
            world.counter(at, name).waiting = 100;
        }
        for gateway in world.gateways.iter_mut().flatten() {
            (gateway.can_be_asked, gateway.is_split) = (true, false);
        }
        world.rounds(120);
        prop_assert!(world.ledger.audit().is_ok(), "{:?}", world.ledger.audit());
        for (name, cap) in world.caps.clone().into_iter().enumerate() {
            prop_assert_eq!(world.in_use(name as u64), cap, "{}", name);
        }
    }
}
