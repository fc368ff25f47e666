//! A node that has registered itself: no traffic before its first check, and none after its lease.

use super::*;
use crate::config::{Check, FoundNode, Origin, Registration, Source};
use crate::fleet::{Change, CheckAnswer, NodeState, Reason};

fn bench(check: Option<Check>) -> Bench {
    let mut bench = Bench::with(1, |health| health.check = check);
    bench.conf.sources = vec![Source::Registered(Registration { allow: Vec::new(), max: 8 })];
    bench.pool.configure(&bench.conf, bench.now);
    bench.pass(60.0);
    bench
}

fn check() -> Check {
    Check { path: "/health".into(), interval: seconds(5.0), timeout: seconds(2.0), rise: 3, fall: 3 }
}

fn registered() -> FoundNode {
    let address = "10.0.0.9:80".parse().expect("an address");
    FoundNode { name: Some("r".into()), ..FoundNode::at(address) }
}

/// The changes that the pool tells of.
fn find(bench: &Bench, nodes: Vec<FoundNode>) -> Vec<Change> {
    let applied = bench.pool.found(&Origin::Registered, nodes, bench.now).expect("a source");
    applied.events.into_iter().map(|event| event.change).collect()
}

#[test]
fn it_gets_nothing_before_it_has_passed_a_check_or_accepted_a_connection() {
    for check in [Some(check()), None] {
        let mut bench = bench(check);
        assert_eq!(find(&bench, vec![registered()]), [Change::Registered]);
        assert_eq!(bench.snapshot("r").reason, Some(Reason::Unchecked));
        // the only other node is lost, and it is no last resort
        bench.pool.obey("a", crate::fleet::Order::Drain, bench.now).expect("a node");
        assert!(bench.pool.lease(&[], bench.now).is_err());
        bench.pass(0.1);
        let asked = |bench: &Bench| {
            let mut questions = bench.pool.questions(bench.now).into_iter();
            questions.find(|one| *one.node.name == *"r" && one.kind == QuestionKind::Back)
        };
        let question = asked(&bench).expect("it is asked at once");
        assert!(bench.pool.answer(&question, CheckAnswer::Busy, bench.now).is_none(), "it loads its model");
        assert!(bench.pool.lease(&[], bench.now).is_err());
        bench.pass(1.5);
        let question = asked(&bench).expect("it is asked again");
        let event = bench.pool.answer(&question, CheckAnswer::Passed, bench.now).expect("news");
        assert_eq!(event.change, Change::Joined);
        let lease = bench.pool.lease(&[], bench.now).expect("a node");
        assert_eq!(&*lease.node().name, "r");
        let shown = bench.snapshot("r");
        assert_eq!((shown.state, shown.ejections), (NodeState::Up, 0));
        assert!(shown.share < 0.06, "with slow start");
    }
}

#[test]
fn a_regular_check_lets_it_join_too() {
    let mut bench = bench(Some(Check { rise: 1, ..check() }));
    find(&bench, vec![registered()]);
    bench.questions(QuestionKind::Check);
    bench.pass(6.0);
    let questions = bench.questions(QuestionKind::Check);
    let question = questions.iter().find(|one| *one.node.name == *"r").expect("a check");
    let event = bench.pool.answer(question, CheckAnswer::Passed, bench.now).expect("news");
    assert_eq!(event.change, Change::Joined);
}

#[test]
fn one_with_a_name_is_asked_once_that_is_resolved() {
    let bench = bench(None);
    let address = "some.host:80".parse().expect("an address");
    find(&bench, vec![FoundNode { name: Some("r".into()), ..FoundNode::at(address) }]);
    let (key, _) = bench.pool.names().pop().expect("a name");
    let address = "10.0.0.9:80".parse().ok();
    assert!(bench.pool.resolved(key, address, bench.now).is_none(), "that alone lets it join not");
    assert_eq!(bench.snapshot("r").reason, Some(Reason::Unchecked));
}

#[test]
fn its_lease_ends_by_a_drain_and_another_one_takes_it_back_as_it_was() {
    let mut bench = bench(None);
    find(&bench, vec![registered()]);
    bench.pass(0.1);
    let question = bench.pool.questions(bench.now).pop().expect("it is asked");
    bench.pool.answer(&question, CheckAnswer::Passed, bench.now).expect("it joins");
    bench.pool.obey("a", crate::fleet::Order::Drain, bench.now).expect("a node");
    let lease = bench.pool.lease(&[], bench.now).expect("r");
    assert_eq!(find(&bench, vec![]), [Change::Draining]);
    assert!(bench.pool.lease(&[], bench.now).is_err());
    assert_eq!(find(&bench, vec![registered()]), []);
    assert_eq!(bench.snapshot("r").state, NodeState::Up, "it has been seen to be well");
    assert_eq!(bench.snapshot("r").in_flight, 1);
    find(&bench, vec![]);
    drop(lease);
    assert!(bench.pool.standing("r").is_none(), "gone once it is idle");
    assert_eq!(find(&bench, vec![registered()]), [Change::Registered], "and then a stranger again");
}
