//! Slow start: a returned node is capped at its share of `max_in_flight`.

use super::queue::Waiting;
use super::*;

const LIMIT: usize = 48;

fn limited(count: usize) -> Bench {
    let mut conf = conf(nodes(count));
    conf.nodes.iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Fixed(LIMIT));
    Bench::of(conf)
}

/// Leases all the room that there is.
fn fill(bench: &Bench) -> Vec<Lease> {
    std::iter::from_fn(|| bench.lease().ok()).collect()
}

fn has(bench: &Bench, name: &str) -> u32 {
    bench.snapshot(name).in_flight
}

/// A pool in which `a` has just returned, and the others are full.
fn back(bench: &mut Bench) -> Vec<Lease> {
    bench.bring_to_probing("a");
    let others: Vec<_> = (0..LIMIT * (bench.conf.nodes.len() - 1)).map(|_| bench.on("b")).collect();
    bench.serve("a").expect("back");
    others
}

#[test]
fn the_cap_rises_with_the_share() {
    let mut bench = limited(2);
    let mut held = back(&mut bench);
    for (after, want) in
        [(0.0, 3), (0.6, 3), (0.63, 4), (2.5, 12), (5.0, 24), (9.9, 48), (10.0, 48), (60.0, 48)]
    {
        bench.now = bench.start + seconds(30.0 + after);
        held.extend(fill(&bench));
        assert_eq!(has(&bench, "a"), want, "{after} s after its return");
        assert_eq!(bench.lease().expect_err("no room"), Refusal::Full);
    }
}

#[test]
fn a_share_that_is_a_whole_number_is_not_rounded_up() {
    let mut bench = limited(1);
    bench.conf.nodes[0].max_in_flight = MaxInFlight::Fixed(100);
    bench.pool.configure(&bench.conf, bench.now);
    bench.bring_to_probing("a");
    bench.serve("a").expect("back");
    // 0.11 x 100 is a little above 11
    bench.pass(1.1);
    assert_eq!(fill(&bench).len(), 11);
}

#[test]
fn no_node_is_capped_at_the_start_or_without_slow_start_or_limit() {
    let bench = limited(2);
    assert_eq!(fill(&bench).len(), 2 * LIMIT);
    let mut conf = limited(2).conf;
    conf.health.slow_start = Duration::ZERO;
    let mut bench = Bench::of(conf);
    let _others = back(&mut bench);
    assert_eq!(fill(&bench).len(), LIMIT);
    let mut bench = Bench::new(1);
    bench.bring_to_probing("a");
    bench.serve("a").expect("back");
    let _held: Vec<_> = (0..1000).map(|_| bench.lease().expect("no limit")).collect();
}

#[test]
fn the_cap_holds_for_the_last_node_up_and_for_a_returning_last_resort() {
    let mut bench = limited(1);
    for _ in 0..5 {
        bench.once("a", Outcome::Connect);
        bench.pass(1.0);
    }
    assert!(matches!(bench.lease(), Err(Refusal::Unreachable { .. })));
    bench.ask(true);
    assert!(bench.accepts("a") && !bench.is_up("a"));
    let mut held = fill(&bench);
    assert_eq!(held.len(), 3, "without a cap, all waiting requests would go there at once");
    bench.pass(5.0);
    held.extend(fill(&bench));
    assert_eq!(held.len(), 24);
    held[0].good_head(bench.now).expect("back");
    assert_eq!(fill(&bench).len(), 0);
    bench.pass(7.5);
    held.extend(fill(&bench));
    assert_eq!(held.len(), 36, "the last node that is up");
}

#[test]
fn slow_start_restarts_each_time_a_last_resort_answers_again() {
    let mut bench = limited(1);
    bench.bring_to_probing("a");
    bench.once("a", Outcome::Reset);
    for _ in 0..3 {
        // as a last resort
        bench.once("a", Outcome::Reset);
        assert!(!bench.accepts("a"));
        bench.pass(1.0);
        bench.ask(true);
        assert_eq!(fill(&bench).len(), 3);
        bench.pass(10.0);
        assert_eq!(fill(&bench).len(), LIMIT);
    }
}

#[test]
fn an_acquitted_probe_does_not_lift_the_cap() {
    let mut bench = limited(1);
    bench.bring_to_probing("a");
    let charge = bench.once("a", Outcome::Http5xx).expect("charged");
    bench.pool.withdraw(charge, bench.now).expect("acquitted");
    assert_eq!(fill(&bench).len(), 3);
}

#[test]
fn a_last_resort_that_never_went_silent_keeps_its_limit() {
    let bench = limited(1);
    bench.fail("a", 5);
    assert!(bench.accepts("a"));
    assert_eq!(fill(&bench).len(), LIMIT);
}

#[test]
fn a_probing_node_in_an_otherwise_empty_fleet_is_capped() {
    let mut bench = limited(1);
    bench.bring_to_probing("a");
    assert_eq!(fill(&bench).len(), 3);
    let mut held = fill(&bench);
    bench.pass(4.0);
    held.extend(fill(&bench));
    assert_eq!(held.len(), 20);
}

/// Those that have got a slot.
fn served(waiting: &mut Vec<Waiting>, bench: &Bench) -> Vec<Lease> {
    let mut served = Vec::new();
    waiting.retain_mut(|one| {
        let lease = if one.is_woken() { one.look(bench) } else { None };
        let waits = lease.is_none();
        served.extend(lease);
        waits
    });
    served
}

#[test]
fn waiting_requests_are_woken_as_the_cap_rises() {
    let mut bench = limited(2);
    let mut held = back(&mut bench);
    held.extend(fill(&bench));
    bench.pool.tick(bench.now);
    let mut waiting: Vec<_> = (0..100).map(|_| bench.waits()).collect();
    for round in 1..=21_u32 {
        // rounds may be late, so that one brings several steps
        bench.now = bench.start + seconds(30.0) + Duration::from_millis(500) * round;
        if round % 7 == 0 {
            assert_eq!(bench.lease().expect_err("those who wait go first"), Refusal::Full);
        }
        bench.pool.tick(bench.now);
        held.extend(served(&mut waiting, &bench));
        assert_eq!(bench.lease().expect_err("all room is taken"), Refusal::Full, "round {round}");
    }
    assert_eq!((has(&bench, "a"), waiting.len()), (48, 100 - 45));
}

/// The first round after a return also wakes requests for the room gained since.
#[test]
fn the_first_round_after_a_return_wakes_too() {
    let joins = |bench: &mut Bench| {
        let mut all = bench.conf.nodes.clone();
        all.push(config::Node { max_in_flight: MaxInFlight::Fixed(LIMIT), ..node("c", "10.0.0.9", 80) });
        bench.conf.nodes = all;
        bench.pool.configure(&bench.conf, bench.now);
    };
    type Comes<'a> = &'a dyn Fn(&mut Bench);
    let returns: [(&str, Comes); 3] = [
        ("back", &|bench| drop(back(bench))),
        ("joins", &joins),
        ("off drain", &|bench| {
            for drain in [true, false] {
                bench.conf.nodes[0].drain = drain;
                bench.pool.configure(&bench.conf, bench.now);
            }
        }),
    ];
    for (what, comes) in returns {
        let mut bench = limited(2);
        bench.pool.tick(bench.now);
        comes(&mut bench);
        let mut held = fill(&bench);
        let mut waiting: Vec<_> = (0..100).map(|_| bench.waits()).collect();
        bench.pass(5.0);
        bench.pool.tick(bench.now);
        let more = served(&mut waiting, &bench);
        assert!(!more.is_empty() && fill(&bench).is_empty(), "{what}: {}", more.len());
        held.extend(more);
    }
}

#[test]
fn a_node_taken_off_drain_starts_slowly() {
    let mut bench = limited(2);
    bench.conf.nodes[0].drain = true;
    bench.pool.configure(&bench.conf, bench.now);
    let held: Vec<_> = (0..40).map(|_| bench.lease().expect("b")).collect();
    bench.conf.nodes[0].drain = false;
    bench.pool.configure(&bench.conf, bench.now);
    assert!(bench.snapshot("a").share < 0.06);
    let more: Vec<_> = (0..5).map(|_| bench.lease().expect("a node")).collect();
    assert!(has(&bench, "a") <= 2);
    bench.pool.configure(&bench.conf, bench.now + seconds(5.0));
    bench.pass(5.0);
    assert!((bench.snapshot("a").share - 0.5).abs() < 1e-9, "another reload does not restart slow start");
    drop((held, more));
}

#[test]
fn resolving_a_name_at_startup_is_not_a_return() {
    for (after, joins, share) in [(0.5, false, 1.0), (3600.0, false, 0.05), (0.5, true, 0.05)] {
        let mut all = nodes(2);
        all.push(node("n", "somewhere", 80));
        let mut bench = Bench::of(conf(all.clone()));
        if joins {
            all.push(node("m", "elsewhere", 80));
            bench.pool.configure(&conf(all), bench.now);
        }
        bench.pass(after);
        let (key, id) = bench.pool.names().pop().expect("a name");
        bench.pool.resolved(key, "10.1.1.1:80".parse().ok(), bench.now);
        assert!((bench.snapshot(&id.name).share - share).abs() < 1e-9, "after {after}, joins: {joins}");
    }
}
