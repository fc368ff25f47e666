//! Orders of an operator: drain, undrain, eject, restore.

use super::*;
use crate::fleet::{Change, Order, Reason, Refused};

impl Bench {
    fn order(&self, name: &str, order: Order) -> Option<Change> {
        self.pool.obey(name, order, self.now).expect("a node of this name").map(|event| event.change)
    }

    fn drained_by(&self, name: &str) -> Vec<&'static str> {
        self.snapshot(name).drain.names()
    }

    fn reload(&mut self, drain: bool) -> Vec<Change> {
        self.conf.nodes[0].drain = drain;
        self.pool.configure(&self.conf, self.now).into_iter().map(|event| event.change).collect()
    }
}

#[test]
fn what_an_operator_drains_stays_drained_across_reloads() {
    let mut bench = Bench::new(2);
    let held = bench.on("a");
    assert_eq!(bench.order("a", Order::Drain), Some(Change::DrainedByOperator));
    assert_eq!(bench.order("a", Order::Drain), None, "it is drained already");
    for (in_config, by) in [(false, vec!["operator"]), (true, vec!["config", "operator"])] {
        assert_eq!(bench.reload(in_config), [], "it was drained before");
        assert_eq!((bench.drained_by("a"), bench.state("a")), (by, NodeState::Draining));
        assert!(bench.try_on("a").is_err());
    }
    assert_eq!(bench.snapshot("a").in_flight, 1, "it finishes what it has");
    drop(held);
    assert_eq!(bench.order("a", Order::Undrain), Some(Change::UndrainedByOperator { in_config: true }));
    assert!(bench.try_on("a").is_err(), "the config drains it still");
    assert_eq!(bench.reload(false), []);
    assert_eq!((bench.drained_by("a"), bench.state("a")), (vec![], NodeState::Up));
}

#[test]
fn an_undrained_node_starts_slowly() {
    let mut bench = Bench::new(2);
    bench.order("a", Order::Drain);
    assert_eq!(bench.order("a", Order::Undrain), Some(Change::UndrainedByOperator { in_config: false }));
    assert!(bench.snapshot("a").share < 0.1);
    bench.pass(10.0);
    assert!(bench.snapshot("a").share >= 1.0);
    assert_eq!(bench.order("a", Order::Undrain), None);
    assert!(bench.snapshot("a").share >= 1.0, "it was not drained");
}

#[test]
fn an_order_wakes_those_who_wait() {
    let one = |node| config::Node { max_in_flight: MaxInFlight::Fixed(1), ..node };
    let bench = Bench::of(conf(nodes(1).into_iter().map(one).collect()));
    for (order, end) in [(Order::Drain, Order::Undrain), (Order::Eject(None), Order::Restore)] {
        bench.order("a", order);
        let mut waiting = bench.waits();
        assert!(!waiting.is_woken(), "{order:?}");
        bench.order("a", end);
        assert!(waiting.is_woken(), "{order:?}");
        assert!(waiting.look(&bench).is_some(), "{order:?}");
    }
}

#[test]
fn a_node_that_an_operator_ejects_gets_no_request_though_it_is_the_last() {
    let mut bench = Bench::with(1, |health| {
        health.check = Some(config::Check {
            path: "/health".into(),
            interval: seconds(5.0),
            timeout: seconds(2.0),
            rise: 1,
            fall: 3,
        });
    });
    let time = seconds(600.0);
    let change = bench.order("a", Order::Eject(Some(time)));
    assert_eq!(change, Some(Change::Ejected { reason: Reason::Operator, time }));
    for _ in 0..59 {
        bench.pass(10.0);
        bench.pool.tick(bench.now);
        let questions = bench.pool.questions(bench.now);
        assert!(!questions.is_empty(), "its check goes on");
        for question in questions {
            assert_eq!(question.kind, QuestionKind::Check, "nobody asks whether it is back");
            assert!(
                bench.pool.answer(&question, true, bench.now).is_none(),
                "a check that passes is no order"
            );
        }
        assert_eq!(bench.state("a"), NodeState::Ejected);
        assert!(bench.lease().is_err(), "not even as the last resort");
        let key = bench.keys()[0].0;
        assert!(bench.lease_on(key, false, true).expect("it is in the pool").is_err());
    }
    bench.pass(10.0);
    assert_eq!(bench.ask(true), ["a"]);
    assert_eq!(bench.state("a"), NodeState::Probing);
}

#[test]
fn an_ejection_by_order_lasts_for_fail_timeout_and_can_be_ordered_anew() {
    let mut bench = Bench::new(2);
    bench.order("a", Order::Eject(None));
    assert_eq!(bench.out_for("a"), 30.0);
    bench.pass(10.0);
    bench.order("a", Order::Eject(Some(seconds(5.0))));
    assert_eq!(bench.out_for("a"), 5.0);
    assert_eq!(bench.pool.configure(&bench.conf, bench.now).len(), 0);
    assert_eq!(bench.out_for("a"), 5.0, "a reload does not end it");
}

#[test]
fn those_without_an_answer_leave_a_node_that_is_ejected_unless_it_is_the_last() {
    let bench = Bench::new(2);
    let held = [bench.on("a"), bench.on("b")];
    bench.order("a", Order::Eject(None));
    bench.order("b", Order::Eject(None));
    assert_eq!(held.each_ref().map(Lease::is_lost), [true, false]);
    bench.order("a", Order::Restore);
    assert!(!held[0].is_lost(), "it is back");
}

#[test]
fn a_restored_node_starts_slowly_and_its_failures_are_forgotten() {
    let mut bench = Bench::new(2);
    bench.fail("a", 5);
    assert_eq!(bench.order("a", Order::Restore), Some(Change::Back { reason: Reason::Operator }));
    assert!(bench.is_up("a") && bench.snapshot("a").share < 0.1);
    bench.pass(10.0);
    bench.fail("a", 4);
    assert_eq!(bench.order("a", Order::Restore), None, "it is up");
    assert_eq!(bench.snapshot("a").recent_failures, 0);
    assert!(bench.snapshot("a").share >= 1.0, "it has not been away");
    bench.fail("a", 4);
    assert!(bench.is_up("a"));
}

#[test]
fn what_ended_before_an_ejection_by_order_changes_nothing() {
    let bench = Bench::new(2);
    let held = bench.on("a");
    bench.order("a", Order::Eject(None));
    assert!(held.good_head(bench.now).is_none(), "an answer is no order");
    held.settle(Outcome::Ok, bench.now);
    assert_eq!(bench.state("a"), NodeState::Ejected);
}

#[test]
fn nodes_that_are_not_there_are_refused() {
    let mut bench = Bench::of(conf(vec![node("a", "10.0.0.1", 1), node("n", "somewhere", 80)]));
    let order =
        |bench: &Bench, name, order| bench.pool.obey(name, order, bench.now).map(|event| event.is_some());
    assert_eq!(order(&bench, "x", Order::Drain), Err(Refused::Unknown));
    assert_eq!(order(&bench, "n", Order::Restore), Err(Refused::Unresolved));
    let held = bench.on("a");
    bench.conf.nodes.remove(0);
    bench.pool.configure(&bench.conf, bench.now);
    assert_eq!(order(&bench, "a", Order::Drain), Err(Refused::Unknown), "it was removed");
    drop(held);
}

#[test]
fn a_name_that_resolves_does_not_end_an_ejection_by_order() {
    let bench = Bench::of(conf(vec![node("n", "somewhere", 80)]));
    bench.order("n", Order::Eject(None));
    let key = bench.keys()[0].0;
    assert!(bench.pool.resolved(key, "10.9.9.9:1".parse().ok(), bench.now).is_none());
    assert_eq!(bench.state("n"), NodeState::Ejected);
    assert_eq!(bench.order("n", Order::Restore), Some(Change::Back { reason: Reason::Operator }));
}
