//! The return of an ejected node: asked, probed, up.

use super::*;

fn probing() -> Bench {
    let mut bench = Bench::new(2);
    bench.bring_to_probing("a");
    bench
}

#[test]
fn an_ejected_node_is_asked_when_its_time_expires() {
    let mut bench = Bench::new(2);
    bench.fail("a", 5);
    for at in [0.0, 1.0, 10.0, 29.999] {
        bench.at(at);
        assert!(bench.ask(true).is_empty(), "asked after {at} s");
    }
    bench.at(30.0);
    assert!(bench.try_on("a").is_err(), "no request goes there before it has answered");
    assert_eq!(bench.ask(true), ["a"]);
    assert_eq!(bench.state("a"), NodeState::Probing);
}

#[test]
fn a_node_that_does_not_answer_is_asked_every_five_seconds() {
    let mut bench = Bench::new(2);
    bench.fail("a", 5);
    let mut asked = Vec::new();
    for tenth in 0..=700 {
        bench.at(f64::from(tenth) / 10.0);
        if !bench.ask(false).is_empty() {
            asked.push(tenth);
        }
    }
    assert_eq!(asked, [300, 350, 400, 450, 500, 550, 600, 650, 700]);
    assert!((bench.out_for("a")).abs() < 1e-6, "the ejection is not prolonged");
    bench.pass(5.0);
    assert_eq!(bench.ask(true), ["a"]);
    assert_eq!(bench.state("a"), NodeState::Probing);
}

#[test]
fn one_question_at_a_time() {
    let mut bench = Bench::new(2);
    bench.fail("a", 5);
    bench.at(30.0);
    let first = bench.questions(QuestionKind::Back);
    assert_eq!(first.len(), 1);
    bench.at(100.0);
    assert!(bench.questions(QuestionKind::Back).is_empty(), "the first question is still open");
    bench.pool.answer(&first[0], false, bench.now);
    bench.at(105.0);
    assert_eq!(bench.questions(QuestionKind::Back).len(), 1);
}

#[test]
fn an_answer_to_a_question_of_an_earlier_ejection_is_not_believed() {
    let mut bench = Bench::with(2, |health| health.fail_timeout = seconds(2.0));
    bench.fail("a", 5);
    bench.at(2.0);
    let late = bench.questions(QuestionKind::Back);
    bench.pool.answer(&late[0], true, bench.now);
    bench.on("a").settle(Outcome::Reset, bench.now);
    assert_eq!(bench.state("a"), NodeState::Ejected);
    bench.at(6.5);
    assert!(bench.pool.answer(&late[0], true, bench.now).is_none());
    assert_eq!(bench.state("a"), NodeState::Ejected);
}

#[test]
fn exactly_one_request_is_the_probe() {
    let bench = probing();
    let probe = bench.on("a");
    assert!(bench.try_on("a").is_err());
    let held: Vec<_> = (0..50).map(|_| bench.lease().expect("b")).collect();
    assert!(held.iter().all(|lease| *lease.node().name == *"b"));
    drop(probe);
}

#[test]
fn the_next_request_is_the_probe_whatever_the_load() {
    let mut bench = Bench::new(2);
    let old: Vec<_> = (0..50).map(|_| bench.on("a")).collect();
    bench.bring_to_probing("a");
    assert_eq!(*bench.lease().expect("the probe").node().name, *"a");
    drop(old);
}

#[test]
fn a_good_head_brings_it_back_with_slow_start() {
    let mut bench = probing();
    bench.pass(1.0);
    let event = bench.serve("a").expect("a change");
    assert!(matches!(event.change, crate::fleet::Change::Back { .. }), "{event:?}");
    assert!(bench.is_up("a"));
    assert!(bench.snapshot("a").share < 0.06);
    bench.pass(5.0);
    assert!((bench.snapshot("a").share - 0.5).abs() < 1e-9);
    bench.pass(5.0);
    assert!((bench.snapshot("a").share - 1.0).abs() < 1e-9);
}

#[test]
fn a_probe_at_work_for_probe_pass_counts_as_good() {
    let mut bench = probing();
    let probe = bench.on("a");
    bench.pass(4.999);
    assert!(bench.pool.tick(bench.now).is_empty());
    bench.pass(0.001);
    assert_eq!(bench.pool.tick(bench.now).len(), 1);
    assert!(bench.is_up("a"));
    drop(probe);
    assert!(bench.is_up("a"));
}

#[test]
fn a_probe_without_a_verdict_gives_the_permit_back() {
    for end in [None, Some(Outcome::ClientGone), Some(Outcome::Busy)] {
        let mut bench = probing();
        let probe = bench.on("a");
        match end {
            None => drop(probe),
            Some(outcome) => drop(probe.settle(outcome, bench.now)),
        }
        assert_eq!(bench.state("a"), NodeState::Probing, "{end:?}");
        // the next probe does not inherit the time of this one
        bench.pass(4.9);
        let next = bench.on("a");
        bench.pass(4.9);
        assert!(bench.pool.tick(bench.now).is_empty());
        next.good_head(bench.now).expect("back");
    }
}

#[test]
fn each_failed_probe_doubles_up_to_max_eject() {
    let mut bench = probing();
    for want in [60.0, 120.0, 240.0, 300.0, 300.0] {
        bench.once("a", Outcome::Reset);
        assert_eq!(bench.state("a"), NodeState::Ejected);
        assert!((bench.out_for("a") - want).abs() < 1e-6, "{want}, got {}", bench.out_for("a"));
        bench.pass(want - 0.001);
        assert!(bench.ask(true).is_empty());
        bench.pass(0.001);
        assert_eq!(bench.ask(true), ["a"]);
    }
    bench.serve("a").expect("back");
    bench.fail("a", 5);
    assert!((bench.out_for("a") - 30.0).abs() < 1e-6, "a return ends the doubling");
}

#[test]
fn doubling_never_overflows() {
    let mut bench = Bench::with(2, |health| health.max_eject = seconds(30.0));
    bench.bring_to_probing("a");
    for _ in 0..200 {
        bench.once("a", Outcome::Reset);
        assert!((bench.out_for("a") - 30.0).abs() < 1e-6);
        bench.pass(30.0);
        bench.ask(true);
    }
}

#[test]
fn a_refused_probe_does_not_double() {
    let mut bench = probing();
    for _ in 0..10 {
        bench.once("a", Outcome::Connect);
        assert_eq!(bench.state("a"), NodeState::Ejected);
        assert!(bench.out_for("a").abs() < 1e-6);
        bench.pass(4.999);
        assert!(bench.ask(true).is_empty());
        bench.pass(0.001);
        assert_eq!(bench.ask(true), ["a"], "asked again after 5 s");
    }
    bench.once("a", Outcome::Reset);
    assert!((bench.out_for("a") - 60.0).abs() < 1e-6, "the first probe that was sent");
}

#[test]
fn a_probing_node_that_says_full_waits_for_its_turn() {
    let bench = probing();
    let probe = bench.on("a");
    probe.busy(Some(seconds(5.0)), bench.now);
    probe.settle(Outcome::Busy, bench.now);
    let held: Vec<_> = (0..50).map(|_| bench.lease().expect("b")).collect();
    assert!(held.iter().all(|lease| *lease.node().name == *"b"), "a is skipped for its Retry-After");
}
