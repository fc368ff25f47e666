//! `max_in_flight: auto` in a pool: the limit that binds, the times when it is learned, and the status shown.

use std::collections::VecDeque;

use super::*;
use crate::balance::cap::{CAP_START, Reason, Side};
use crate::fleet::LimitFrom;

fn auto(count: usize) -> Bench {
    let mut conf = conf(nodes(count));
    conf.nodes.iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Auto);
    Bench::of(conf)
}

/// So many seconds in which all slots are taken as soon as they are there. Each answer comes whole, a second later, with so
/// many tokens.
fn work(bench: &mut Bench, seconds: usize, tokens: u64) {
    let mut leases = VecDeque::new();
    for tick in 0..10 * seconds {
        leases.extend(std::iter::from_fn(|| bench.lease().ok()).map(|lease| (tick + 10, lease)));
        bench.pass(0.1);
        bench.pool.tick(bench.now);
        while let Some((_, mut lease)) = leases.pop_front_if(|(ends, _)| *ends <= tick) {
            lease.worked(tokens, bench.now);
            drop(lease.settle(Outcome::Ok, bench.now));
        }
    }
}

fn limit(bench: &Bench, name: &str) -> u32 {
    bench.snapshot(name).max_in_flight.expect("a limit")
}

fn reason(bench: &Bench, name: &str) -> Reason {
    match bench.snapshot(name).max_in_flight_from {
        LimitFrom::Auto { reason, .. } => reason,
        LimitFrom::Config => panic!("it is learned"),
    }
}

#[test]
fn a_learned_cap_binds_climbs_and_says_why() {
    let mut bench = auto(1);
    assert_eq!((limit(&bench, "a"), reason(&bench, "a")), (CAP_START, Reason::Start));
    let text = |bench: &Bench| bench.snapshot("a").max_in_flight_from.to_string();
    assert_eq!(text(&bench), "the start: nothing is known yet; it does not bind now");
    let held: Vec<_> = std::iter::from_fn(|| bench.lease().ok()).collect();
    assert_eq!((held.len() as u32, text(&bench).as_str()), (CAP_START, "the start: nothing is known yet"));
    drop(held);
    work(&mut bench, 40, 20);
    assert!(limit(&bench, "a") > 3 * CAP_START, "it does more with more: {}", limit(&bench, "a"));
    assert!(matches!(reason(&bench, "a"), Reason::Trial { side: Side::Above, .. }));
    assert!(text(&bench).starts_with("a trial: do more than "), "{}", text(&bench));
}

#[test]
fn a_fixed_limit_is_not_learned() {
    let mut conf = conf(nodes(2));
    conf.nodes[0].max_in_flight = MaxInFlight::Fixed(7);
    let bench = Bench::of(conf);
    assert_eq!(limit(&bench, "a"), 7);
    let from = |name| bench.snapshot(name).max_in_flight_from.to_string();
    assert_eq!((from("a").as_str(), from("b").as_str()), ("set in the config", "set in the config"));
    assert_eq!(bench.snapshot("b").max_in_flight, None);
}

#[test]
fn a_reload_keeps_the_cap_and_another_setting_forgets_it() {
    let mut bench = auto(1);
    work(&mut bench, 40, 20);
    let learned = limit(&bench, "a");
    assert!(learned > CAP_START);
    bench.pool.configure(&bench.conf, bench.now);
    let kept = limit(&bench, "a");
    assert!(kept > CAP_START && kept <= learned, "{kept} after {learned}");
    bench.conf.nodes[0].max_in_flight = MaxInFlight::Off;
    bench.pool.configure(&bench.conf, bench.now);
    assert_eq!(bench.snapshot("a").max_in_flight, None);
    bench.conf.nodes[0].max_in_flight = MaxInFlight::Auto;
    bench.pool.configure(&bench.conf, bench.now);
    assert_eq!((limit(&bench, "a"), reason(&bench, "a")), (CAP_START, Reason::Start));
}

#[test]
fn slow_start_takes_its_share_of_a_learned_cap_and_teaches_nothing() {
    let mut bench = auto(2);
    work(&mut bench, 40, 20);
    bench.fail("a", 5);
    let before = limit(&bench, "a");
    work(&mut bench, 20, 20);
    assert_eq!(limit(&bench, "a"), before, "it is out");
    assert!(!matches!(reason(&bench, "a"), Reason::Trial { .. }), "the trial that it died of is over");
}
