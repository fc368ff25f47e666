//! Requests whose deadline passes, at each stage of their way.

use super::*;

const DUE: Duration = Duration::from_secs(10);
const NOTE: Option<&str> = Some("the deadline of the request has passed");

impl Trip {
    fn due(more: &str) -> Self {
        let mut trip = Self::with(more);
        trip.journey.set_due(Some(trip.now + DUE));
        trip
    }

    fn is_refused(&mut self) {
        let Seek::Stop(Ending::Failed(failure)) = self.seek() else { panic!("it is too late") };
        assert_eq!((failure.status, self.journey.note()), (504, NOTE), "{}", failure.message);
    }

    fn late(&mut self, attempt: Attempt) -> Step<&'static str> {
        self.journey.end(attempt, How::Late, self.now)
    }
}

#[test]
fn before_the_search_no_node_gets_it() {
    let mut trip = Trip::due("");
    trip.pass(DUE).is_refused();
    assert_eq!((trip.journey.sent(), trip.outcomes()), (0, vec![]));
}

#[test]
fn in_the_queue_it_waits_no_longer() {
    let mut trip = Trip::due(", max_in_flight: 1");
    let pool = Arc::clone(&trip.journey.member().pool);
    let _leases = [0, 1].map(|_| pool.lease(&[], trip.now).expect("a slot"));
    let Seek::Wait { until, .. } = trip.seek() else { panic!("it waits for a slot") };
    assert_eq!(until, trip.now + DUE, "and is woken then");
    trip.pass(DUE).is_refused();
    assert_eq!((trip.journey.queued(), pool.snapshot(trip.now).queue), (DUE, 0));
}

#[test]
fn its_node_is_not_to_blame() {
    let mut trip = Trip::due("");
    let attempt = trip.sent();
    assert!(!trip.journey.is_due(trip.now));
    trip.pass(DUE);
    assert!(trip.journey.is_due(trip.now));
    let failure = failure(trip.late(attempt));
    assert_eq!((failure.status, trip.journey.note()), (504, NOTE));
    assert_eq!(trip.outcomes(), [Outcome::ClientGone]);
}

#[test]
fn a_response_that_was_held_back_is_better_than_none_in_time() {
    for is_sent in [false, true] {
        let mut trip = Trip::due("");
        let mut attempt = trip.sent();
        assert_eq!(trip.head(&mut attempt, 500, false), Answered::HoldBack);
        let how = How::Declined { fallback: Some("held back") };
        assert!(matches!(trip.journey.end(attempt, how, trip.now), Step::Node(_)));
        if is_sent {
            let attempt = trip.sent();
            trip.pass(DUE);
            assert!(matches!(trip.late(attempt), Step::Give("held back")));
        } else {
            assert!(matches!(trip.pass(DUE).seek(), Seek::Give("held back")));
        }
        assert_eq!(trip.journey.note(), NOTE, "sent again: {is_sent}");
    }
}

#[test]
fn a_stream_that_has_begun_goes_on_but_not_on_another_node() {
    let mut trip = Trip::due("");
    let attempt = resumable(&mut trip);
    trip.pass(DUE);
    assert!(trip.journey.due().is_none() && !trip.journey.is_due(trip.now));
    let closing_event = Bytes::from_static(b"closing");
    let how = How::Broken { outcome: Outcome::Truncated, closing_event: closing_event.clone() };
    assert!(matches!(trip.journey.end(attempt, how, trip.now), Step::Continue(_)));
    let Seek::Stop(ending) = trip.seek() else { panic!("no node continues it") };
    assert_eq!(ending, Ending::Broken { closing_event });
    assert_eq!(trip.journey.note(), Some("not resumed: the deadline of the request has passed"));
}
