//! Nodes that say they are full: the request waits in line for them.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl Trip {
    /// The next node says that it is full.
    fn full(&mut self, retry_after: Option<Duration>) {
        let mut attempt = self.sent();
        let head = Head { status: 503, is_stream: false, retry_after };
        assert_eq!(self.journey.head(&mut attempt, head, self.now), Answered::HoldBack);
        let how = How::Declined { fallback: Some("full") };
        assert!(matches!(self.journey.end(attempt, how, self.now), Step::Node(_)));
    }

    /// The time that the request is to wait.
    fn waits(&mut self) -> Duration {
        match self.seek() {
            Seek::Wait { until, .. } => until - self.now,
            other => panic!("it waits: {other:?}"),
        }
    }
}

#[test]
fn a_request_asks_full_nodes_again_until_its_time_is_over() {
    let mut trip = Trip::with(", retry: { wait: 9s }");
    for _ in 0..2 {
        trip.full(None);
    }
    for _ in 0..4 {
        assert_eq!(trip.waits(), SECOND);
        trip.pass(SECOND);
        trip.full(None);
        trip.full(None);
    }
    assert_eq!(trip.journey.sent(), 0, "no attempt is used up");
    assert_eq!(trip.journey.queued(), SECOND * 4);
    assert_eq!(trip.waits(), SECOND);
    trip.pass(SECOND * 5);
    assert!(matches!(trip.seek(), Seek::Give("full") | Seek::Leased(_)));
}

#[test]
fn a_request_in_line_is_served_when_a_node_has_room() {
    let mut trip = Trip::with(", retry: { wait: 9s }");
    trip.full(None);
    trip.full(None);
    assert_eq!(trip.waits(), SECOND);
    trip.pass(SECOND);
    let mut attempt = trip.sent();
    assert_eq!(trip.head(&mut attempt, 200, false), Answered::Pass);
    assert!(matches!(trip.journey.end(attempt, How::Whole, trip.now), Step::Stop(Ending::Whole)));
}

#[test]
fn a_node_that_names_a_time_is_left_alone_for_it() {
    let mut trip = Trip::with(", retry: { wait: 9s }");
    trip.full(Some(SECOND * 4));
    trip.full(Some(SECOND * 3));
    assert_eq!(trip.waits(), SECOND * 3);
    assert_eq!(trip.pass(SECOND * 2).waits(), SECOND);
}

#[test]
fn without_a_wait_the_answer_of_a_full_node_comes_at_once() {
    let mut trip = Trip::with(", retry: { wait: 0s }");
    trip.full(None);
    trip.full(None);
    assert!(matches!(trip.seek(), Seek::Give("full")));
    assert_eq!(trip.journey.retry_after(trip.now), 1);
}

#[test]
fn a_stream_that_begins_with_full_ends_as_a_503() {
    let mut trip = Trip::with(", retry: { wait: 0s }");
    for _ in 0..2 {
        let mut attempt = trip.sent();
        assert_eq!(trip.head(&mut attempt, 200, true), Answered::Pass);
        trip.journey.first_event_failed(&mut attempt, Outcome::Busy, None, Some(SECOND * 7), trip.now);
        assert!(matches!(trip.fails(attempt, Outcome::Busy), Step::Node(_)));
    }
    let Seek::Stop(Ending::Failed(failure)) = trip.seek() else { panic!("no node is left") };
    assert_eq!((failure.status, failure.retry_after), (503, Some(7)));
    assert!(failure.message.contains("full"), "{}", failure.message);
}

#[test]
fn a_failure_at_one_node_does_not_end_the_wait_for_another() {
    let mut trip = Trip::with(", retry: { wait: 9s }");
    trip.full(None);
    let attempt = trip.sent();
    let (failed, retry) = (attempt.address(), trip.fails(attempt, Outcome::Reset));
    assert!(matches!(retry, Step::Node(_)));
    assert_eq!(trip.waits(), SECOND);
    trip.pass(SECOND);
    assert_ne!(trip.sent().address(), failed, "the one that is full has not had it yet");
}

/// Nothing that waits asks before a node's time is over, and then one does.
#[test]
fn those_in_line_ask_one_by_one() {
    let mut trip = Trip::with(", retry: { wait: 9s }");
    trip.full(None);
    trip.full(None);
    let member = trip.journey.member().clone();
    let mut others: Vec<Journey<&str>> =
        (0..50).map(|_| Journey::new(member.clone(), true, Repeat::Allowed)).collect();
    // each asks both nodes once, as every request does
    for journey in &mut others {
        for _ in 0..2 {
            let Seek::Leased(mut attempt) = journey.seek(trip.now) else { panic!("there is a node") };
            journey.send(&mut attempt, trip.now);
            let head = Head { status: 503, is_stream: false, retry_after: None };
            let _ = journey.head(&mut attempt, head, trip.now);
            let _ = journey.end(attempt, How::Declined { fallback: Some("full") }, trip.now);
        }
    }
    for _ in 0..5 {
        trip.pass(SECOND / 2);
        assert!(others.iter_mut().all(|journey| matches!(journey.seek(trip.now), Seek::Wait { .. })));
        trip.pass(SECOND / 2);
        let found = others.iter_mut().filter_map(|journey| match journey.seek(trip.now) {
            Seek::Leased(attempt) => Some((journey, attempt)),
            _ => None,
        });
        let asking: Vec<_> = found.collect();
        assert_eq!(asking.len(), 2, "one a node");
        for (journey, mut attempt) in asking {
            journey.send(&mut attempt, trip.now);
            let head = Head { status: 503, is_stream: false, retry_after: None };
            let _ = journey.head(&mut attempt, head, trip.now);
            let _ = journey.end(attempt, How::Declined { fallback: Some("full") }, trip.now);
        }
    }
}

/// A restart of the whole fleet meanwhile costs no request: the two waits have clocks of their own.
#[test]
fn the_wait_for_a_slot_pauses_while_there_is_no_node() {
    let mut trip = Trip::among(
        "{ address: 127.0.0.1:2, max_in_flight: 1 }",
        ", queue: { timeout: 30s }, retry: { wait: 60s }, health: { max_fails: 1, fail_timeout: 50s }",
    );
    let held = trip.sent_to(2);
    assert_eq!(trip.waits(), SECOND * 30);
    trip.pass(SECOND * 10);
    let _ = held.settle(Outcome::Connect, trip.now);
    let member = trip.journey.member().clone();
    assert!(trip.waits() <= SECOND * 60, "it waits for a node now");
    trip.pass(SECOND * 40);
    let _ = member.pool.tick(trip.now);
    assert!(!matches!(trip.seek(), Seek::Stop(_)), "neither time is over");
}
