//! Selection: the node that gets the next request.

use super::*;

fn held_by(bench: &Bench, name: &str) -> u32 {
    bench.snapshot(name).in_flight
}

#[test]
fn equal_nodes_never_differ_by_more_than_one() {
    let bench = Bench::new(3);
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(bench.lease().expect("a node"));
        let counts = ["a", "b", "c"].map(|name| held_by(&bench, name));
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    }
    drop(held);
    assert!(bench.pool.is_idle());
}

#[test]
fn a_node_that_said_full_ranks_after_the_others() {
    let mut bench = Bench::new(2);
    bench.on("a").busy(None, bench.now);
    let held: Vec<_> = (0..10).map(|_| bench.lease().expect("b")).collect();
    assert_eq!(held_by(&bench, "a"), 0);
    let tried = [held[0].key()];
    assert!(bench.pool.lease(&tried, bench.now).is_ok(), "a full node is used when no other is left");
    bench.pass(1.0);
    let next = bench.lease().expect("a");
    assert_eq!(*next.node().name, *"a", "a second later it ranks with the others");
}

#[test]
fn retry_after_is_honoured_up_to_a_bound() {
    for (said, holds) in [(0, 0), (7, 7), (30, 30), (31, 30), (86_400, 30)] {
        let mut bench = Bench::new(2);
        bench.on("a").busy(Some(Duration::from_secs(said)), bench.now);
        if holds > 0 {
            bench.at(f64::from(holds) - 0.001);
            let held = [0; 4].map(|_| bench.lease().expect("b"));
            assert_eq!(held_by(&bench, "a"), 0, "said {said}, after {holds} s less a little");
            drop(held);
        }
        bench.at(f64::from(holds));
        let held = [0; 4].map(|_| bench.lease().expect("both"));
        assert_eq!(held_by(&bench, "a"), 2, "said {said}, after {holds} s");
        drop(held);
    }
}

#[test]
fn limits_hold_and_the_refusal_says_full() {
    let mut conf = conf(nodes(2));
    conf.nodes[0].max_in_flight = MaxInFlight::Fixed(3);
    conf.nodes[1].max_in_flight = MaxInFlight::Fixed(2);
    let bench = Bench::of(conf);
    let mut held: Vec<_> = (0..5).map(|_| bench.lease().expect("room")).collect();
    assert_eq!((held_by(&bench, "a"), held_by(&bench, "b")), (3, 2));
    assert_eq!(bench.lease().expect_err("full"), Refusal::Full);
    let b = held.iter().position(|lease| *lease.node().name == *"b").unwrap();
    drop(held.swap_remove(b));
    assert_eq!(*bench.lease().expect("one slot").node().name, *"b");
}

#[test]
fn tried_nodes_are_not_given_again() {
    let bench = Bench::new(3);
    let mut tried = Vec::new();
    for _ in 0..3 {
        let lease = bench.pool.lease(&tried, bench.now).expect("an untried one");
        assert!(!tried.contains(&lease.key()));
        tried.push(lease.key());
    }
    assert_eq!(bench.pool.lease(&tried, bench.now).expect_err("all tried"), Refusal::AllTried);
}

#[test]
fn a_node_that_returns_empty_is_not_stampeded() {
    let mut bench = Bench::new(2);
    bench.bring_to_probing("a");
    let mut held: Vec<_> = (0..200).map(|_| bench.on("b")).collect();
    bench.serve("a");
    for tenth in 1..=100 {
        bench.pass(0.1);
        for _ in 0..5 {
            held.push(bench.lease().expect("a node"));
            let (a, b) = (held_by(&bench, "a"), held_by(&bench, "b"));
            let share = (f64::from(tenth) / 100.0).max(0.05);
            assert!(f64::from(a) <= share * f64::from(b + 1) + 1.0, "{a} against {b} at share {share}");
        }
    }
    assert!(held_by(&bench, "a") > 150);
}

#[test]
fn a_fresh_fleet_starts_at_full_share() {
    let bench = Bench::new(2);
    assert!((bench.snapshot("a").share - 1.0).abs() < 1e-9);
}

#[test]
fn round_robin_does_not_make_a_returned_node_pay_for_its_slow_start() {
    let mut conf = conf(nodes(2));
    conf.balance = Balance::RoundRobin;
    let mut bench = Bench::of(conf);
    bench.bring_to_probing("a");
    bench.serve("a");
    drop(bench.lease().expect("a node"));
    drop(bench.lease().expect("a node"));
    bench.pass(10.0);
    let to_a = (0..20).filter(|_| *bench.lease().expect("a node").node().name == *"a").count();
    assert!((9..=11).contains(&to_a), "{to_a} of 20 at full share");
}
