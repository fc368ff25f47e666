//! A 5xx may be the request's fault: charges are withdrawn and reinstated.

use super::*;

#[test]
fn a_5xx_that_two_nodes_give_is_taken_back_from_both() {
    let bench = Bench::new(3);
    for _ in 0..50 {
        let charges = ["a", "b"].map(|name| bench.once(name, Outcome::Http5xx).expect("charged"));
        for charge in charges {
            bench.pool.withdraw(charge, bench.now);
        }
    }
    assert!(bench.is_up("a") && bench.is_up("b"));
    assert_eq!(bench.snapshot("a").recent_failures, 0);
}

#[test]
fn withdrawing_a_failure_leaves_the_others() {
    let bench = Bench::new(2);
    bench.fail("a", 4);
    let charge = bench.once("a", Outcome::Http5xx).expect("charged");
    assert!(!bench.is_up("a"));
    let event = bench.pool.withdraw(charge, bench.now).expect("back");
    assert!(bench.is_up("a"), "{event:?}");
    assert_eq!(bench.snapshot("a").recent_failures, 4);
    assert!((bench.snapshot("a").share - 1.0).abs() < 1e-9, "the node was not away");
    bench.fail("a", 1);
    assert!(!bench.is_up("a"));
}

#[test]
fn withdrawing_twice_has_no_further_effect() {
    let bench = Bench::new(2);
    let charge = bench.once("a", Outcome::Http5xx).expect("charged");
    bench.fail("a", 3);
    bench.pool.withdraw(charge, bench.now);
    bench.pool.withdraw(charge, bench.now);
    assert_eq!(bench.snapshot("a").recent_failures, 3);
}

#[test]
fn reinstating_a_charge_never_withdrawn_does_not_double_it() {
    let bench = Bench::new(2);
    let charge = bench.once("a", Outcome::Http5xx).expect("charged");
    bench.pool.reinstate(charge, bench.now);
    assert_eq!(bench.snapshot("a").recent_failures, 1);
}

#[test]
fn charges_are_reinstated_when_a_third_node_serves() {
    let bench = Bench::new(3);
    for _ in 0..5 {
        assert!(bench.is_up("a") && bench.is_up("b"));
        let charges = ["a", "b"].map(|name| bench.once(name, Outcome::Http5xx).expect("charged"));
        for charge in charges {
            bench.pool.withdraw(charge, bench.now);
            bench.pool.reinstate(charge, bench.now);
        }
    }
    assert!(!bench.is_up("a") && !bench.is_up("b"));
}

#[test]
fn a_withdrawn_ejection_can_be_reinstated() {
    let bench = Bench::with(3, |health| health.max_fails = 1);
    let a = bench.once("a", Outcome::Http5xx).expect("charged");
    assert!(!bench.is_up("a"));
    let b = bench.once("b", Outcome::Http5xx).expect("charged");
    bench.pool.withdraw(a, bench.now);
    bench.pool.withdraw(b, bench.now);
    assert!(bench.is_up("a") && bench.is_up("b"));
    bench.pool.reinstate(a, bench.now);
    bench.pool.reinstate(b, bench.now);
    assert!(!bench.is_up("a") && !bench.is_up("b"));
}

#[test]
fn a_withdrawn_ejection_does_not_age_older_failures() {
    let bench = Bench::new(2);
    let before: Vec<_> = (0..10).map(|_| bench.on("a")).collect();
    bench.fail("a", 4);
    let charge = bench.once("a", Outcome::Http5xx).expect("charged");
    bench.pool.withdraw(charge, bench.now);
    assert!(bench.is_up("a"));
    for lease in before {
        lease.settle(Outcome::Reset, bench.now);
    }
    assert!(!bench.is_up("a"), "these attempts began on a node that was never away");
}

#[test]
fn a_failed_probe_is_withdrawn_and_reinstated() {
    let mut bench = Bench::new(3);
    bench.bring_to_probing("a");
    let charge = bench.once("a", Outcome::Http5xx).expect("charged");
    assert!((bench.out_for("a") - 60.0).abs() < 1e-6);
    bench.pool.withdraw(charge, bench.now).expect("probing again");
    assert_eq!(bench.state("a"), NodeState::Probing);
    bench.pool.reinstate(charge, bench.now).expect("ejected after all");
    assert_eq!(bench.state("a"), NodeState::Ejected);
    assert!((bench.out_for("a") - 60.0).abs() < 1e-6, "doubled once, not twice");
    bench.pass(60.0);
    bench.ask(true);
    bench.once("a", Outcome::Reset);
    assert!((bench.out_for("a") - 120.0).abs() < 1e-6);
    bench.pass(120.0);
    bench.ask(true);
    let charge = bench.once("a", Outcome::Http5xx).expect("charged");
    assert!(bench.pool.withdraw(charge, bench.now).is_none(), "a probe is acquitted once");
    assert_eq!(bench.state("a"), NodeState::Ejected);
}

#[test]
fn old_charges_do_nothing_after_a_return() {
    let mut bench = Bench::new(2);
    let charge = bench.once("a", Outcome::Http5xx).expect("charged");
    bench.fail("a", 4);
    bench.pass(30.0);
    bench.ask(true);
    bench.serve("a");
    assert!(bench.pool.withdraw(charge, bench.now).is_none());
    assert!(bench.pool.reinstate(charge, bench.now).is_none());
    assert!(bench.is_up("a"));
    assert_eq!(bench.snapshot("a").recent_failures, 0);
}

#[test]
fn nodes_without_good_answers_do_not_acquit_each_other() {
    let mut bench = Bench::new(3);
    let fail_everywhere = |bench: &mut Bench| {
        let charges = ["a", "b"].map(|name| bench.once(name, Outcome::Http5xx).expect("charged"));
        for charge in charges {
            bench.pool.withdraw(charge, bench.now);
        }
        bench.serve("c");
    };
    for _ in 0..29 {
        fail_everywhere(&mut bench);
        bench.pass(1.0);
    }
    bench.serve("b");
    for _ in 0..5 {
        bench.pass(1.0);
        fail_everywhere(&mut bench);
    }
    assert!(!bench.is_up("a"), "its last good answer is fail_timeout ago");
    assert!(bench.is_up("b"));
}

#[test]
fn a_charge_counts_from_the_time_of_the_failure() {
    let mut bench = Bench::new(2);
    let charges = [(); 5].map(|()| bench.once("a", Outcome::Http5xx).expect("charged"));
    for charge in charges {
        bench.pool.withdraw(charge, bench.now);
    }
    bench.pass(20.0);
    bench.pool.reinstate(charges[0], bench.now);
    bench.fail("a", 3);
    assert!(bench.is_up("a"));
    bench.pass(10.0);
    for charge in &charges[1..] {
        assert!(
            bench.pool.reinstate(*charge, bench.now).is_none(),
            "an expired charge, hours old in the worst case"
        );
    }
    assert_eq!(bench.snapshot("a").recent_failures, 3, "the charge made in time has expired by now, too");
}
