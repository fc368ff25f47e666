//! The last node that is up, and pools with none.

use super::*;

fn none_up(bench: &mut Bench) {
    bench.fail("a", 5);
    bench.fail("b", 5);
    assert!(!bench.is_up("a") && !bench.is_up("b"));
}

#[test]
fn a_5xx_never_ejects_the_last_that_is_up() {
    let bench = Bench::new(2);
    for _ in 0..100 {
        bench.once("a", Outcome::Http5xx);
        if bench.is_up("b") {
            bench.once("b", Outcome::Http5xx);
        }
        if !bench.is_up("a") {
            break;
        }
    }
    assert!(!bench.is_up("a"));
    for _ in 0..100 {
        bench.once("b", Outcome::Http5xx);
    }
    assert!(bench.is_up("b"));
    bench.fail("b", 1);
    assert!(!bench.is_up("b"), "a reset does");
}

#[test]
fn the_last_is_ejected_once_it_is_not_the_last() {
    let mut bench = Bench::new(2);
    bench.fail("a", 5);
    for _ in 0..10 {
        bench.once("b", Outcome::Http5xx);
    }
    bench.pass(20.0);
    for _ in 0..10 {
        bench.once("b", Outcome::Http5xx);
    }
    bench.pass(10.0);
    bench.ask(true);
    bench.serve("a");
    assert!(bench.is_up("a") && bench.is_up("b"));
    bench.once("b", Outcome::Http5xx);
    assert!(!bench.is_up("b"));
}

#[test]
fn a_drained_node_does_not_count_as_up() {
    let mut conf = conf(nodes(2));
    conf.nodes[1].drain = true;
    let bench = Bench::of(conf);
    for _ in 0..100 {
        bench.once("a", Outcome::Http5xx);
    }
    assert!(bench.is_up("a"));
}

#[test]
fn with_none_up_the_least_loaded_accepting_node_is_used() {
    let mut bench = Bench::new(3);
    none_up(&mut bench);
    for _ in 0..5 {
        bench.once("c", Outcome::Connect);
        bench.pass(1.0);
    }
    assert!(!bench.is_up("c") && !bench.accepts("c") && bench.accepts("a") && bench.accepts("b"));
    let held: Vec<_> = (0..10).map(|_| bench.lease().expect("one that accepts")).collect();
    let on = |name: &str| held.iter().filter(|lease| *lease.node().name == *name).count();
    assert_eq!((on("a"), on("b"), on("c")), (5, 5, 0));
}

#[test]
fn a_good_head_of_a_last_resort_brings_it_back() {
    let mut bench = Bench::new(2);
    none_up(&mut bench);
    bench.serve("a").expect("back");
    assert!(bench.is_up("a"));
    assert!(bench.try_on("b").is_err(), "one node is up, so the other must wait until its ejection expires");
}

#[test]
fn a_last_resort_that_fails_is_asked_each_second() {
    let mut bench = Bench::new(1);
    bench.fail("a", 5);
    bench.once("a", Outcome::Reset);
    assert!(!bench.accepts("a"));
    assert!(matches!(bench.lease(), Err(Refusal::Unreachable { .. })));
    let mut asked = Vec::new();
    for tenth in 0..=35 {
        bench.at(f64::from(tenth) / 10.0);
        if !bench.ask(false).is_empty() {
            asked.push(tenth);
        }
    }
    assert_eq!(asked, [10, 20, 30]);
    bench.at(4.0);
    assert_eq!(bench.ask(true), ["a"]);
    assert!(bench.accepts("a"), "still ejected, but used");
    drop(bench.lease().expect("the last resort"));
    bench.at(29.9);
    assert!(bench.ask(true).is_empty(), "nothing to ask while it accepts");
    bench.at(30.0);
    assert_eq!(bench.ask(true), ["a"]);
    assert_eq!(bench.state("a"), NodeState::Probing);
}

#[test]
fn a_probing_node_is_also_a_last_resort() {
    let mut bench = Bench::new(1);
    bench.bring_to_probing("a");
    let probe = bench.on("a");
    let more = bench.on("a");
    more.good_head(bench.now).expect("any good head of this epoch ends the ejection");
    assert!(bench.is_up("a"));
    drop(probe);
}

#[test]
fn a_full_last_resort_goes_after_the_others() {
    let mut bench = Bench::new(2);
    none_up(&mut bench);
    let full = bench.on("a");
    full.busy(Some(seconds(5.0)), bench.now);
    full.settle(Outcome::Busy, bench.now);
    let held: Vec<_> = (0..20).map(|_| bench.lease().expect("b")).collect();
    assert!(held.iter().all(|lease| *lease.node().name == *"b"));
    drop(bench.on("a"));
}
