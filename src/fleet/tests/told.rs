//! What nodes tell requests: skips survive a reload unless their node has changed, and a line opens with answers.

use super::*;
use crate::fleet::{Credential, Doubts, Subject};

fn subject() -> Subject {
    Subject { model: "m".into(), credential: Credential::of(&[]) }
}

fn skips(bench: &Bench, place: usize) -> usize {
    bench.pool.snapshot(bench.now).nodes[place].skips.len()
}

#[test]
fn a_reload_drops_the_skips_of_nodes_that_changed() {
    let bench = Bench::new(2);
    let mut doubts = Doubts::default();
    for name in ["a", "b"] {
        let lease = bench.on(name);
        doubts.add(&bench.pool, lease.key(), &subject(), 404, bench.now);
    }
    assert_eq!(doubts.confirm(bench.now).count(), 2);
    let mut conf = bench.conf.clone();
    conf.nodes[1] = node("b", "10.0.0.9", 9);
    bench.pool.configure(&conf, bench.now);
    assert_eq!((skips(&bench, 0), skips(&bench, 1)), (1, 0));
}

#[test]
fn a_doubt_ends_with_its_request() {
    let bench = Bench::new(2);
    let lease = bench.on("a");
    let mut doubts = Doubts::default();
    doubts.add(&bench.pool, lease.key(), &subject(), 404, bench.now);
    assert!(bench.pool.has_skips());
    drop(doubts);
    assert!(!bench.pool.has_skips(), "and nobody pays for it any more");
}

#[test]
fn a_line_opens_for_one_with_each_answer_that_ends() {
    let bench = Bench::new(1);
    let (older, full) = (bench.on("a"), bench.on("a"));
    let lines = [full.key()];
    let ask = || bench.lease_in_line(&[], &lines);
    full.busy(None, bench.now);
    full.settle(Outcome::Busy, bench.now);
    assert_eq!(ask().expect_err("its time is not over"), Refusal::AllTried);
    older.settle(Outcome::Ok, bench.now);
    let asked = ask().expect("a place is free");
    assert_eq!(ask().expect_err("one only"), Refusal::AllTried);
    assert!(asked.good_head(bench.now).is_none());
    let more = [ask(), ask()];
    assert!(more.iter().all(Result::is_ok), "it had room, so two more may ask");
    assert!(ask().is_err());
}

/// While all requests wait in line, nobody else would try it.
#[test]
fn a_node_to_be_probed_is_asked_by_those_in_line_though_it_had_failed_them() {
    let mut bench = Bench::new(2);
    let (failed, full) = (bench.on("a").key(), bench.on("b").key());
    let lines = [full];
    let ask = |bench: &Bench| bench.lease_in_line(&[failed], &lines);
    bench.bring_to_probing("a");
    bench.on("b").busy(None, bench.now);
    assert_eq!(ask(&bench).expect("its trial").key(), failed);
    bench.serve("a");
    assert!(ask(&bench).is_err(), "it is up, and has failed this request");
}
