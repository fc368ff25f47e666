//! Learned caps on curves that are known, without noise, and on any input.

use proptest::prelude::*;

use std::time::Duration;

use super::super::super::learned::Work;
use super::super::round::Streams;
use super::*;

const ROUND: Duration = Duration::from_millis(100);
/// Tokens of an answer.
const SIZE: f64 = 100.0;

/// Runs rounds of streams on a node whose tokens a second follow this curve of the requests in flight, of which there are up
/// to so many. Returns the caps.
fn live(cap: &mut Search, rounds: usize, demand: u32, curve: impl Fn(f64) -> f64) -> Vec<u32> {
    let mut seen = Vec::new();
    for _ in 0..rounds {
        let in_flight = cap.now().min(demand);
        let units = curve(f64::from(in_flight)) * ROUND.as_secs_f64();
        let seconds = f64::from(in_flight) * ROUND.as_secs_f64();
        let work = Work { units, seconds, pieces: units };
        cap.round(&Round {
            work,
            ended: units / SIZE,
            in_flight,
            passed: ROUND,
            streams: Streams::default(),
        });
        seen.push(cap.now());
    }
    seen
}

/// It does more until its slots are full.
fn slots(count: f64) -> impl Fn(f64) -> f64 {
    move |load| 50.0 * load.min(count)
}

/// It does more until its memory is full, and then a quarter less, however many are too many.
fn memory(count: f64) -> impl Fn(f64) -> f64 {
    move |load| 50.0 * if load <= count { load } else { (count - 3.0 * (load - count)).max(0.75 * count) }
}

/// The cap at which it settles, and all that it tried in the last part.
fn settled(cap: &mut Search, rounds: usize, curve: impl Fn(f64) -> f64) -> (u32, Vec<u32>) {
    live(cap, rounds, 10_000, &curve);
    let tried = live(cap, rounds, 10_000, curve);
    (whole(cap.base), tried)
}

#[test]
fn it_climbs_while_more_do_more_and_no_further_than_there_are_requests() {
    let mut cap = Search::default();
    assert_eq!((cap.now(), cap.reason()), (CAP_START, Reason::Start));
    live(&mut cap, 20_000, 500, slots(1e9));
    assert!((480..=520).contains(&whole(cap.base)), "{cap:?}");
    let mut cap = Search::default();
    live(&mut cap, 20_000, 40, slots(1e9));
    assert_eq!((cap.now(), cap.reason()), (CAP_START, Reason::Start), "it has never been full");
}

#[test]
fn it_finds_where_memory_is_full_from_either_side() {
    for count in [9.0, 30.0, 58.0, 100.0, 300.0] {
        let mut cap = Search::default();
        let (base, tried) = settled(&mut cap, 20_000, memory(count));
        assert!((0.85 * count..=1.02 * count).contains(&f64::from(base)), "{base} for {count}");
        let most = tried.iter().max().copied().unwrap_or(0);
        assert!(f64::from(most) <= 1.25 * count, "only small steps, once it is known: {most} for {count}");
    }
}

#[test]
fn where_the_curve_is_flat_it_errs_on_the_high_side() {
    for count in [20.0, 50.0, 200.0] {
        let mut cap = Search::default();
        let (base, _) = settled(&mut cap, 20_000, slots(count));
        assert!(f64::from(base) >= 0.98 * count, "{base} for {count}");
    }
}

#[test]
fn a_cap_at_rest_is_tried_ever_more_rarely() {
    let mut cap = Search::default();
    let (base, tried) = settled(&mut cap, 20_000, memory(30.0));
    let off = tried.iter().filter(|now| **now != base).count() as f64 / tried.len() as f64;
    assert!(off < 0.15, "{off} of the time");
    assert!(tried.iter().all(|now| (f64::from(*now) / f64::from(base)).ln().abs() < 0.15), "by small steps");
}

#[test]
fn it_follows_a_change_of_the_workload_both_ways() {
    let mut cap = Search::default();
    for count in [200.0, 25.0, 90.0] {
        let (base, _) = settled(&mut cap, 30_000, memory(count));
        assert!((0.8 * count..=1.02 * count).contains(&f64::from(base)), "{base} for {count}");
    }
}

#[test]
fn a_node_that_dies_of_a_trial_is_not_tried_so_again_at_once() {
    let mut cap = Search::default();
    for _ in 0..100_000 {
        live(&mut cap, 1, 10_000, slots(1e9));
        if matches!(cap.reason(), Reason::Trial { side: Side::Above, .. }) {
            break;
        }
    }
    let tried = cap.now();
    cap.interrupt();
    assert_eq!((cap.now(), cap.reason()), (CAP_START, Reason::Best));
    let soon = live(&mut cap, 10, 10_000, slots(1e9));
    assert!(soon.iter().all(|now| *now < tried), "{soon:?}");
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
            (any_amount(), any_amount(), any_amount(), any_amount(), 0_u32..5000, 0_u64..2000, any::<bool>()), 1..400),
    ) {
        let mut cap = Search::default();
        for (units, seconds, pieces, ended, load, millis, binds) in rounds {
            let work = Work { units, seconds, pieces };
            let in_flight = if binds { cap.now() } else { load };
            let passed = Duration::from_millis(millis);
            let round = Round { work, ended, in_flight, passed, streams: Streams::default() };
            if round.is_sound() {
                cap.round(&round);
            }
            if load == 0 {
                cap.interrupt();
            }
            prop_assert!((CAP_MIN..=CAP_MAX).contains(&cap.now()));
            prop_assert!(cap.now.is_finite() && cap.base.is_finite(), "{:?}", cap);
            for known in [&cap.above, &cap.below] {
                prop_assert!(known.belief.mean.is_finite() && known.belief.variance.is_finite(), "{:?}", cap);
            }
        }
    }
}
