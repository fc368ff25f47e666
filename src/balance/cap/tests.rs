//! Caps of nodes that stream, from signs that are known, and caps on any input.

use std::time::Duration;

use proptest::prelude::*;

use super::super::learned::Work;
use super::*;

const ROUND: Duration = Duration::from_millis(100);
/// Of an engine, in seconds.
const STEP: f64 = 0.03;
/// Events of a stream.
const LENGTH: f64 = 100.0;

/// Requests of a node that flow, and that pause; the others wait.
type Shares = (f64, f64);

/// Memory holds so many; the others are thrown out.
fn memory(count: f64) -> impl Fn(f64) -> Shares {
    move |load| (load.min(count), (load - count).max(0.0))
}

/// So many slots; the others wait in line.
fn slots(count: f64) -> impl Fn(f64) -> Shares {
    move |load| (load.min(count), 0.0)
}

/// Runs streams for so many turnovers, of which up to so many are in flight. Returns the caps, turnover by turnover.
fn live(cap: &mut Cap, turnovers: usize, demand: u32, shares: impl Fn(f64) -> Shares) -> Vec<Vec<u32>> {
    let passed = ROUND.as_secs_f64();
    let mut in_flight = 0;
    let mut seen = Vec::new();
    for _ in 0..turnovers {
        let (mut ended, mut caps) = (0.0, Vec::new());
        while ended < f64::from(in_flight.max(1)) {
            let (flow, paused) = shares(f64::from(in_flight));
            let events = flow * passed / STEP;
            let more = events / LENGTH;
            let streams = Streams {
                open: flow + paused,
                begun: more,
                events,
                flow: flow * passed,
                pauses: paused * passed,
                paused: paused * passed,
                ..Streams::default()
            };
            let work = Work { units: events, seconds: f64::from(in_flight) * passed, pieces: events };
            cap.round(Round { work, streams, ended: more, in_flight, passed: ROUND });
            ended += more;
            caps.push(cap.now());
            // a node does not lose at once what it has
            in_flight = demand.min(cap.now()).max(in_flight.saturating_sub(more.ceil() as u32));
        }
        seen.push(caps);
    }
    seen
}

/// The lowest and the highest cap after so many turnovers.
fn range(caps: &[Vec<u32>], after: usize) -> (u32, u32) {
    let all = || caps[after..].iter().flatten().copied();
    (all().min().unwrap_or(0), all().max().unwrap_or(0))
}

#[test]
fn without_a_sign_there_is_room_for_twice_as_many() {
    let mut cap = Cap::default();
    assert_eq!((cap.now(), cap.reason()), (CAP_START, Reason::Start));
    let (least, most) = range(&live(&mut cap, 50, 500, memory(1e9)), 1);
    assert_eq!((least, most, cap.reason()), (1000, 1000, Reason::Free));
    let mut cap = Cap::default();
    live(&mut cap, 50, 20, memory(1e9));
    assert_eq!((cap.now(), cap.reason()), (CAP_START, Reason::Free));
}

#[test]
fn pauses_tell_at_once_what_memory_holds() {
    for count in [9.0, 30.0, 100.0, 300.0, 1000.0] {
        let mut cap = Cap::default();
        let (least, most) = range(&live(&mut cap, 200, 2500, memory(count)), 3);
        let near = 0.93 * count..=1.1 * count + 1.0;
        assert!(
            near.contains(&f64::from(least)) && near.contains(&f64::from(most)),
            "{least}, {most}: {count}"
        );
        assert!(matches!(cap.reason(), Reason::Paused { .. }), "{}", cap.reason());
    }
}

#[test]
fn of_a_line_in_the_node_a_short_one_is_left() {
    for count in [8.0, 64.0, 256.0] {
        let mut cap = Cap::default();
        let (least, most) = range(&live(&mut cap, 200, 2500, slots(count)), 12);
        assert!(
            f64::from(least) >= count && f64::from(most) <= 1.4 * count + 6.0,
            "{least}, {most}: {count}"
        );
        assert_eq!(cap.reason(), Reason::Waited);
    }
}

#[test]
fn it_follows_a_change_of_the_workload_both_ways() {
    let mut cap = Cap::default();
    for count in [200.0, 25.0, 90.0] {
        let (least, most) = range(&live(&mut cap, 60, 2500, memory(count)), 40);
        let near = 0.9 * count..=1.1 * count + 1.0;
        assert!(
            near.contains(&f64::from(least)) && near.contains(&f64::from(most)),
            "{least}, {most}: {count}"
        );
    }
}

/// A service that thinks before each first token whatever its load, or streams that pause by nature.
fn by_nature(waits: f64, pauses: f64) -> impl Fn(f64) -> Shares {
    move |load| ((1.0 - waits - pauses) * load, pauses * load)
}

#[test]
fn a_sign_that_is_for_nothing_costs_a_few_turnovers_and_then_nothing() {
    for (waits, pauses) in [(0.5, 0.0), (0.8, 0.0), (0.95, 0.0), (0.0, 0.02), (0.0, 0.1), (0.0, 0.5)] {
        let mut cap = Cap::default();
        let caps = live(&mut cap, 300, 200, by_nature(waits, pauses));
        // work goes with the load
        let lost = |caps: &[Vec<u32>]| {
            let all = caps.iter().flatten();
            let count = all.clone().count() as f64;
            all.map(|now| 1.0 - f64::from((*now).min(200)) / 200.0).sum::<f64>() / count * caps.len() as f64
        };
        let (first, then) = (lost(&caps[..20]), lost(&caps[20..]));
        println!("{waits} wait, {pauses} pause: {first:.2} turnovers lost, then {then:.2}; {}", cap.reason());
        assert!(first <= 2.5 && then <= 1.4, "{first} {then}: {waits}, {pauses}");
        assert_eq!(cap.reason(), Reason::Free);
    }
}

/// Memory that fills only as streams grow: for a while fewer flow with fewer.
#[test]
fn what_gets_better_by_a_third_is_a_sign() {
    let mut cap = Cap::default();
    let flow = |load: f64| load.min(20.0 * (load / 20.0).powf(0.65));
    let (_, most) = range(&live(&mut cap, 60, 400, |load| (flow(load), load - flow(load))), 20);
    assert!(most <= 60 && matches!(cap.reason(), Reason::Paused { .. }), "{most}: {}", cap.reason());
}

#[test]
fn doubt_of_a_sign_passes() {
    let mut cap = Cap::default();
    live(&mut cap, 100, 200, by_nature(0.0, 0.1));
    let caps = live(&mut cap, 150, 200, memory(150.0));
    let (least, most) = range(&caps, 100);
    assert!(least >= 130 && most <= 165, "{least}, {most}");
}

#[test]
fn whole_answers_are_left_to_the_search() {
    let mut cap = Cap::default();
    live(&mut cap, 10, 500, memory(50.0));
    assert!(matches!(cap.reason(), Reason::Paused { .. }));
    let streams = Streams { wholes: 10.0, whole_time: 60.0, ..Streams::default() };
    let round = Round { streams, ended: 10.0, in_flight: 50, passed: ROUND, ..Round::default() };
    (0..50).for_each(|_| cap.round(round));
    assert_eq!((cap.now(), cap.reason()), (CAP_START, Reason::Start));
}

#[test]
fn every_reason_says_what_is_going_on() {
    let trial = |side| Reason::Trial { base: 64, side };
    let known = [
        (Reason::Start, "the start: nothing is known yet"),
        (trial(Side::Above), "a trial: do more than 64 do more work?"),
        (trial(Side::Below), "a trial: do fewer than 64 do as much work?"),
        (Reason::Best, "the best one known: others did no more work"),
        (Reason::Free, "no sign of too many: twice the most that were in flight"),
        (
            Reason::Paused { count: 1 },
            "as many as its memory holds: with more, 1 stream paused while others went on",
        ),
        (
            Reason::Paused { count: 40 },
            "as many as its memory holds: with more, 40 streams paused while others went on",
        ),
        (Reason::Waited, "as many as answer, and some: others waited in the node's own line"),
    ];
    for (reason, words) in known {
        assert_eq!(reason.to_string(), words);
    }
}

/// Numbers as they come, and as they must not.
fn any_amount() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..1e4_f64,
        1 => Just(0.0),
        1 => 0.0..1e300_f64,
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, -1.0, f64::MIN_POSITIVE]),
    ]
}

proptest! {
    #[test]
    fn on_any_input_it_stays_in_range(
        rounds in prop::collection::vec(
            (prop::array::uniform12(any_amount()), 0_u32..5000, 0_u64..2000, any::<bool>()), 1..400),
    ) {
        let mut cap = Cap::default();
        for (all, load, millis, binds) in rounds {
            let [units, seconds, pieces, ended, open, begun, events, flow, pauses, paused, wholes, whole_time] = all;
            let work = Work { units, seconds, pieces };
            let streams = Streams { open, begun, events, flow, pauses, paused, wholes, whole_time };
            let in_flight = if binds { cap.now() } else { load };
            cap.round(Round { work, streams, ended, in_flight, passed: Duration::from_millis(millis) });
            if load == 0 {
                cap.interrupt();
            }
            prop_assert!((CAP_MIN..=CAP_MAX).contains(&cap.now()), "{:?}", cap);
        }
    }
}
