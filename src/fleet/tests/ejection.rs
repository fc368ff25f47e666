//! Ejections: the failures that cause them, their duration, and the reports that come later.

use super::*;

#[test]
fn the_fifth_failure_within_the_window_ejects() {
    let mut bench = Bench::new(2);
    for i in 0..4 {
        bench.at(f64::from(i) * 7.0);
        bench.fail("a", 1);
        assert!(bench.is_up("a"));
    }
    bench.at(29.9);
    bench.fail("a", 1);
    assert_eq!(bench.state("a"), NodeState::Ejected);
    assert!((bench.out_for("a") - 30.0).abs() < 1e-6);
    assert!(bench.is_up("b"));
}

#[test]
fn aborts_by_a_stopping_engine_count_once() {
    let mut bench = Bench::new(2);
    let leases: Vec<_> = (0..40).map(|_| bench.pool.lease(&[], bench.now).unwrap()).collect();
    for lease in leases.into_iter().filter(|lease| *lease.node().name == *"a") {
        bench.now += seconds(0.01);
        let _ = lease.settle(Outcome::Aborted, bench.now);
    }
    assert_eq!((bench.state("a"), bench.snapshot("a").recent_failures), (NodeState::Up, 1));
    for i in 2..=5 {
        bench.now += seconds(1.5);
        let tried: Vec<Key> =
            bench.keys().into_iter().filter(|(_, name)| name == "b").map(|(key, _)| key).collect();
        let _ = bench.pool.lease(&tried, bench.now).unwrap().settle(Outcome::Aborted, bench.now);
        assert_eq!(bench.is_up("a"), i < 5, "stop number {i}");
    }
}

#[test]
fn a_failure_outside_the_window_is_forgotten() {
    let mut bench = Bench::new(2);
    bench.fail("a", 4);
    bench.at(30.0);
    bench.fail("a", 4);
    assert!(bench.is_up("a"), "the first four are exactly fail_timeout old");
    assert_eq!(bench.snapshot("a").recent_failures, 4);
    bench.fail("a", 1);
    assert!(!bench.is_up("a"));
}

#[test]
fn the_window_slides_and_does_not_restart() {
    let mut bench = Bench::new(2);
    // one failure every 7.6 s: at most four in any 30 s, however long it lasts
    for i in 0..100 {
        bench.at(f64::from(i) * 7.6);
        bench.fail("a", 1);
        assert!(bench.is_up("a"), "failure {i}");
    }
    // every 7.4 s: the fifth is within 30 s of the first
    let from = bench.now + seconds(40.0);
    for i in 1..=5 {
        bench.now = from + seconds(f64::from(i) * 7.4);
        assert!(bench.is_up("a"));
        bench.fail("a", 1);
    }
    assert!(!bench.is_up("a"));
}

#[test]
fn a_success_erases_nothing() {
    let bench = Bench::new(2);
    for _ in 0..5 {
        assert!(bench.is_up("a"));
        bench.fail("a", 1);
        if bench.is_up("a") {
            bench.serve("a");
        }
    }
    assert!(!bench.is_up("a"));
}

#[test]
fn outcomes_that_are_not_failures_eject_no_node() {
    for outcome in Outcome::ALL.into_iter().filter(|outcome| !outcome.is_failure()) {
        let bench = Bench::new(2);
        for _ in 0..100 {
            bench.once("a", outcome);
        }
        assert!(bench.is_up("a"), "{outcome}");
    }
}

#[test]
fn every_failure_counts() {
    for outcome in Outcome::ALL.into_iter().filter(|outcome| outcome.is_failure()) {
        let mut bench = Bench::new(2);
        for _ in 0..5 {
            assert!(bench.is_up("a"), "{outcome}");
            bench.once("a", outcome);
            bench.pass(1.1);
        }
        assert!(!bench.is_up("a"), "{outcome}");
        assert_eq!(bench.snapshot("a").ejections, 1);
    }
}

#[test]
fn max_fails_zero_never_ejects() {
    let bench = Bench::with(2, |health| health.max_fails = 0);
    bench.fail("a", 1000);
    assert!(bench.is_up("a"));
}

#[test]
fn max_fails_one_ejects_at_once() {
    let bench = Bench::with(2, |health| health.max_fails = 1);
    bench.fail("a", 1);
    assert!(!bench.is_up("a"));
}

#[test]
fn an_ejected_node_gets_nothing_while_another_is_up() {
    let bench = Bench::new(2);
    bench.fail("a", 5);
    let held: Vec<_> = (0..50).map(|_| bench.lease().expect("b is up")).collect();
    assert!(held.iter().all(|lease| *lease.node().name == *"b"));
    assert!(matches!(bench.try_on("a"), Err(Refusal::AllTried)), "b has been tried, a is out");
}

#[test]
fn the_failures_of_one_crash_are_one_event() {
    let mut bench = Bench::new(2);
    let held: Vec<_> = (0..192).map(|_| bench.on("a")).collect();
    bench.at(1.0);
    let events: Vec<_> = held.into_iter().filter_map(|l| l.settle(Outcome::Reset, bench.now).event).collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].in_flight, 188, "the fifth failure still counted");
    assert!((bench.out_for("a") - 30.0).abs() < 1e-6, "the ejection is not prolonged");
    assert_eq!(bench.snapshot("a").ejections, 1);
    assert_eq!(bench.snapshot("a").in_flight, 0);
}

#[test]
fn late_reports_from_an_old_epoch_are_ignored() {
    let mut bench = Bench::new(2);
    let late: Vec<_> = (0..20).map(|_| bench.on("a")).collect();
    let late_refused = bench.on("a");
    bench.fail("a", 5);
    let mut late = late.into_iter();
    let good = late.next().expect("one");
    assert!(good.good_head(bench.now).is_none(), "a head from before the ejection does not end it");
    assert!(!bench.is_up("a"));
    bench.pass(30.0);
    bench.ask(true);
    let probe = bench.on("a");
    for lease in late.by_ref().take(6) {
        lease.settle(Outcome::Reset, bench.now);
    }
    assert_eq!(bench.state("a"), NodeState::Probing, "late failures fail no probe");
    assert!(good.good_head(bench.now).is_none());
    assert_eq!(bench.state("a"), NodeState::Probing, "a late head passes no probe");
    probe.good_head(bench.now).expect("back");
    for lease in late {
        lease.settle(Outcome::Reset, bench.now);
    }
    late_refused.settle(Outcome::Connect, bench.now);
    assert!(bench.is_up("a"), "late failures do not count after its return");
    assert_eq!(bench.snapshot("a").recent_failures, 0);
    drop(bench.on("a"));
}

#[test]
fn a_node_that_refused_is_skipped_for_a_second() {
    let mut bench = Bench::new(2);
    bench.once("a", Outcome::Connect);
    let all_b = |bench: &Bench| {
        let held: Vec<_> = (0..10).map(|_| bench.lease().expect("b")).collect();
        held.iter().all(|lease| *lease.node().name == *"b")
    };
    assert!(all_b(&bench));
    bench.at(0.999);
    assert!(all_b(&bench));
    bench.at(1.0);
    assert!(!all_b(&bench));
}

#[test]
fn while_all_nodes_are_skipped_the_refusal_says_until_when() {
    let mut bench = Bench::new(2);
    bench.once("a", Outcome::Connect);
    bench.at(0.4);
    bench.once("b", Outcome::Connect);
    let refusal = bench.lease().expect_err("both refused");
    assert_eq!(refusal, Refusal::Unreachable { until: Some(bench.start + seconds(1.0)) });
    bench.at(1.0);
    assert_eq!(*bench.lease().expect("a").node().name, *"a");
}

#[test]
fn a_burst_of_deaths_is_dated_from_the_first() {
    let mut bench = Bench::with(1, |health| health.max_fails = 0);
    let lease = bench.on("a");
    let died_at = |bench: &Bench| lease.died_at(bench.now).duration_since(bench.start).as_secs_f64();
    bench.at(10.0);
    assert_eq!(died_at(&bench), 10.0, "this is the only death so far");
    for tenth in 0..20 {
        bench.at(10.0 + f64::from(tenth) / 10.0);
        bench.once("a", if tenth % 2 == 0 { Outcome::Reset } else { Outcome::Truncated });
        assert_eq!(died_at(&bench), 10.0);
    }
    bench.at(12.9);
    assert_eq!(died_at(&bench), 10.0);
    bench.at(13.0);
    assert_eq!(died_at(&bench), 13.0, "this is a new burst");
    bench.once("a", Outcome::Reset);
    bench.pass(0.5);
    bench.serve("a");
    assert_eq!(died_at(&bench), 13.5, "a good head came in between");
    bench.once("a", Outcome::Http5xx);
    bench.pass(0.1);
    assert_eq!(died_at(&bench), 13.6, "a node that answers 500 is alive");
}

#[test]
fn an_ejected_node_stays_dead_until_a_sign_of_life() {
    let mut bench = Bench::new(1);
    let lease = bench.on("a");
    bench.at(10.0);
    bench.fail("a", 5);
    bench.at(15.0);
    let died_at = |bench: &Bench| lease.died_at(bench.now).duration_since(bench.start).as_secs_f64();
    assert_eq!(died_at(&bench), 10.0, "a late report is not another death");
    bench.once("a", Outcome::Reset);
    bench.at(20.0);
    assert_eq!(died_at(&bench), 10.0);
    bench.ask(true);
    assert_eq!(died_at(&bench), 20.0, "it accepts connections again");
}

#[test]
fn an_attempt_that_ends_says_when_its_node_died() {
    let mut bench = Bench::with(2, |health| health.max_fails = 2);
    let held = [(); 3].map(|()| bench.on("a"));
    let [first, second, third] = held;
    let mut died_at = |at: f64, lease: Lease, outcome| {
        bench.at(at);
        let settled = lease.settle(outcome, bench.now);
        (settled.died_at.duration_since(bench.start).as_secs_f64(), settled.event.is_some())
    };
    assert_eq!(died_at(10.0, first, Outcome::Reset), (10.0, false));
    assert_eq!(
        died_at(13.0, second, Outcome::Connect),
        (13.0, true),
        "the time known before this report ejected the node"
    );
    assert_eq!(died_at(20.0, third, Outcome::Reset), (10.0, false), "a late report is not another death");
}
