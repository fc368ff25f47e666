//! Requests without an answer at a node that its check no longer hears of.

use super::*;
use crate::fleet::{CheckAnswer, QuestionKind};

const CHECK: &str = ", health: { check: { path: /health, interval: 1s, timeout: 500ms, fall: 2, rise: 1 } }";

impl Trip {
    /// Rounds of checks: the node with the attempt gives these answers, one after the other, the other one passes.
    fn checked(&mut self, attempt: &Attempt, answers: &[CheckAnswer]) {
        let pool = Arc::clone(&self.journey.member().pool);
        for answer in answers {
            self.pass(Duration::from_millis(1200));
            let questions = pool.questions(self.now);
            self.pass(Duration::from_millis(500));
            for question in questions.iter().filter(|question| question.kind == QuestionKind::Check) {
                let is_its = Arc::ptr_eq(&question.node, attempt.node());
                let answer = if is_its { *answer } else { CheckAnswer::Passed };
                let _ = pool.answer(question, answer, self.now);
            }
        }
    }
}

#[test]
fn a_request_leaves_a_node_that_its_check_has_lost() {
    use CheckAnswer::{Busy, Failed, Passed, Refused, Slow};
    let table: [(&str, &[CheckAnswer], bool); 9] = [
        ("silent", &[Slow, Slow], true),
        ("refusing", &[Refused, Refused], true),
        ("silent, then gone", &[Slow, Refused], true),
        ("once", &[Slow], false),
        ("with an answer between", &[Slow, Passed, Slow], false),
        ("full, or loading: it is there", &[Busy, Busy, Busy], false),
        ("broken, but there: it will say so", &[Failed, Failed, Failed], false),
        ("out as full, then silent", &[Busy, Busy, Slow, Slow], true),
        ("back before anybody asked", &[Slow, Slow, Passed], false),
    ];
    for (name, answers, leaves) in table {
        let mut trip = Trip::with(CHECK);
        let attempt = trip.sent();
        assert!(!trip.journey.leaves(&attempt, trip.now));
        trip.checked(&attempt, answers);
        assert_eq!(trip.journey.leaves(&attempt, trip.now), leaves, "{name}");
        if leaves {
            assert!(matches!(trip.fails(attempt, Outcome::Stalled), Step::Node(_)));
            assert_eq!((trip.outcomes(), trip.journey.deaths()), (vec![Outcome::Stalled], 0));
            assert!(matches!(trip.seek(), Seek::Leased(_)), "{name}: the other one");
        }
    }
}

#[test]
fn a_node_at_work_is_slow_to_answer_its_check_and_loses_nothing() {
    let mut trip = Trip::with(CHECK);
    let attempt = trip.sent();
    let pool = Arc::clone(&trip.journey.member().pool);
    let others = pool.lease(&[attempt.lease.key()], trip.now).expect("the other node").key();
    let streams = pool.lease(&[others], trip.now).expect("the same node");
    for _ in 0..4 {
        trip.checked(&attempt, &[CheckAnswer::Refused]);
        streams.progress(trip.now);
    }
    assert!(!trip.journey.leaves(&attempt, trip.now), "it drains, and its answers go on");
    trip.checked(&attempt, &[CheckAnswer::Refused; 2]);
    assert!(trip.journey.leaves(&attempt, trip.now));
}

#[test]
fn a_request_stays_where_leaving_would_be_worse() {
    type Prepare = fn(&mut Trip) -> Attempt;
    let table: [(&str, &str, Prepare); 6] = [
        ("it may not be repeated", "", |trip| {
            trip.journey.repeat = Repeat::Method;
            trip.sent()
        }),
        ("its attempts are used up", ", retry: { attempts: 1 }", Trip::sent),
        ("retry.on does not list it", ", retry: { on: [error] }", Trip::sent),
        ("no other has the response that it names", "", |trip| {
            trip.makes("r1");
            trip.naming("r1", true);
            trip.sent()
        }),
        ("it has a head", "", |trip| {
            let mut attempt = trip.sent();
            assert_eq!(trip.head(&mut attempt, 200, true), Answered::Pass);
            attempt
        }),
        ("the other node has failed it", "", |trip| {
            let attempt = trip.sent();
            let _ = trip.fails(attempt, Outcome::Http5xx);
            trip.sent()
        }),
    ];
    for (name, more, prepare) in table {
        let mut trip = Trip::with(&format!("{CHECK}{more}"));
        let attempt = prepare(&mut trip);
        trip.checked(&attempt, &[CheckAnswer::Slow; 3]);
        assert!(attempt.lease.is_lost(), "{name}");
        assert!(!trip.journey.leaves(&attempt, trip.now), "{name}");
    }
}

#[test]
fn a_request_stays_while_there_is_no_room_elsewhere() {
    let nodes = "{ address: 127.0.0.1:2, max_in_flight: 1 }, { address: 127.0.0.1:3, max_in_flight: 1 }";
    let mut trip = Trip::among(nodes, CHECK);
    let attempt = trip.sent();
    let pool = Arc::clone(&trip.journey.member().pool);
    let other = pool.lease(&[attempt.lease.key()], trip.now).expect("the other node");
    trip.checked(&attempt, &[CheckAnswer::Slow; 3]);
    assert!(!trip.journey.leaves(&attempt, trip.now), "it is full");
    drop(other);
    assert!(trip.journey.leaves(&attempt, trip.now));
}

#[test]
fn a_request_stays_with_the_last_node_until_another_is_back() {
    let mut trip = Trip::with(&format!("{CHECK}, retry: {{ wait: 60s }}"));
    let attempt = trip.sent();
    let pool = Arc::clone(&trip.journey.member().pool);
    let other = pool.lease(&[attempt.lease.key()], trip.now).expect("the other node");
    for _ in 0..5 {
        let lease = pool.lease(&[attempt.lease.key()], trip.now).expect("the other node");
        lease.settle(Outcome::Http5xx, trip.now);
    }
    drop(other);
    let silent = |trip: &mut Trip, others: CheckAnswer| {
        trip.pass(Duration::from_millis(1200));
        for question in pool.questions(trip.now) {
            let is_its = Arc::ptr_eq(&question.node, attempt.node());
            let _ = pool.answer(&question, if is_its { CheckAnswer::Slow } else { others }, trip.now);
        }
    };
    for _ in 0..4 {
        silent(&mut trip, CheckAnswer::Failed);
    }
    assert!(!trip.journey.leaves(&attempt, trip.now), "there is nowhere to go");
    for _ in 0..2 {
        silent(&mut trip, CheckAnswer::Passed);
    }
    assert!(trip.journey.leaves(&attempt, trip.now), "the other one is back");
}
