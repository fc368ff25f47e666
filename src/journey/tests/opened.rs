//! Streams of which the client has a head and nothing that says anything.

use super::*;

fn broken(outcome: Outcome) -> How<&'static str> {
    How::Broken { outcome, closing_event: Bytes::from_static(b"closing") }
}

impl Trip {
    /// An attempt whose stream has been opened at the client.
    fn opened(&mut self) -> Attempt {
        let mut attempt = self.sent();
        assert_eq!(self.head(&mut attempt, 200, true), Answered::Pass);
        self.journey.open(Continuity::Never);
        attempt
    }

    fn breaks(&mut self, attempt: Attempt, outcome: Outcome) -> Step<&'static str> {
        self.journey.end(attempt, broken(outcome), self.now)
    }
}

#[test]
fn a_stream_that_has_said_nothing_begins_again() {
    for outcome in [Outcome::Truncated, Outcome::EngineError, Outcome::Busy, Outcome::Timeout] {
        let mut trip = Trip::new();
        let attempt = trip.opened();
        assert!(trip.journey.has_head() && !trip.journey.has_begun() && trip.journey.needs_body());
        let node = attempt.address();
        assert!(matches!(trip.breaks(attempt, outcome), Step::Node(_)), "{outcome}");
        let mut second = trip.sent();
        assert_ne!(second.address(), node, "{outcome}");
        assert_eq!(trip.head(&mut second, 200, true), Answered::Pass);
        trip.journey.begin(Continuity::Never);
        assert!(trip.journey.has_begun() && !trip.journey.needs_body());
        assert!(matches!(trip.journey.end(second, How::Whole, trip.now), Step::Stop(Ending::Whole)));
        assert_eq!(trip.outcomes(), [outcome, Outcome::Ok]);
        assert_eq!(trip.journey.note(), Some("begun again on another node: nothing had been said"));
    }
}

#[test]
fn once_it_speaks_it_does_not_begin_again() {
    let mut trip = Trip::new();
    let attempt = trip.opened();
    trip.journey.speaks();
    let step = trip.breaks(attempt, Outcome::Truncated);
    assert!(matches!(step, Step::Stop(Ending::Broken { .. })), "{step:?}");
}

#[test]
fn the_limits_of_a_retry_hold() {
    type Prepare = fn(&mut Trip) -> Attempt;
    let table: [(&str, &str, Prepare); 4] = [
        ("retry.attempts are used up", ", retry: { attempts: 1 }", Trip::opened),
        ("retry.on does not list it", ", retry: { on: [timeout] }", Trip::opened),
        ("the method may not be repeated on this path", "", |trip| {
            trip.journey.repeat = Repeat::Method;
            trip.opened()
        }),
        ("nodes crashed on this request", "", |trip| {
            let attempt = trip.opened();
            assert!(matches!(trip.breaks(attempt, Outcome::Truncated), Step::Node(_)));
            trip.pass(DEATH_BURST * 2).opened()
        }),
    ];
    for (why, more, prepare) in table {
        let mut trip = Trip::with(more);
        let attempt = prepare(&mut trip);
        let Step::Stop(Ending::Broken { closing_event }) = trip.breaks(attempt, Outcome::Truncated) else {
            panic!("{why}")
        };
        assert_eq!((&*closing_event, trip.journey.note()), (&b"closing"[..], Some(why)));
    }
}

#[test]
fn what_does_not_fit_under_the_head_is_told_under_it() {
    for (status, is_stream) in [(400, false), (200, false), (404, false)] {
        let mut trip = Trip::new();
        let first = trip.opened();
        let _ = trip.breaks(first, Outcome::Truncated);
        let mut second = trip.sent();
        assert_eq!(trip.head(&mut second, status, is_stream), Answered::HoldBack, "{status}");
        let how = How::Declined { fallback: Some("the answer") };
        let step = trip.journey.end(second, how, trip.now);
        assert!(matches!(step, Step::Give("the answer")), "{status}: {step:?}");
    }
    let mut trip = Trip::new();
    let first = trip.opened();
    let _ = trip.breaks(first, Outcome::Truncated);
    let mut second = trip.sent();
    let _ = trip.head(&mut second, 200, false);
    let step = trip.journey.end(second, How::Declined { fallback: None }, trip.now);
    assert_eq!(failure(step).status, 502);
}

#[test]
fn under_a_head_of_the_gateways_own_nothing_else_changes() {
    let mut trip = Trip::new();
    trip.journey.open_early();
    assert!(trip.journey.has_head() && trip.journey.is_unanswered());
    let attempt = trip.sent();
    assert!(matches!(trip.fails(attempt, Outcome::Reset), Step::Node(_)));
    let mut second = trip.pass(DEATH_BURST * 2).sent();
    assert_eq!(trip.head(&mut second, 200, true), Answered::Pass);
    trip.journey.open_early();
    trip.journey.begin(Continuity::Never);
    assert!(trip.journey.has_begun());
    assert!(matches!(trip.journey.end(second, How::Whole, trip.now), Step::Stop(Ending::Whole)));
}

#[test]
fn a_stream_that_is_only_slow_is_not_given_to_another_node() {
    let mut trip = Trip::new();
    let attempt = trip.opened();
    let step = trip.breaks(attempt, Outcome::Stalled);
    assert!(matches!(step, Step::Stop(Ending::Broken { .. })), "{step:?}");
    assert_eq!(trip.outcomes(), [Outcome::Stalled]);
}
