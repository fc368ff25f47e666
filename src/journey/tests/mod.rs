//! One request's way, step by step. Whole fleets of them are in tests/sim.

mod denied;
mod home;
mod line;
mod moved;
mod opened;
mod overdue;
mod spill;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::config::{Config, Engine, Retry};
use crate::fleet::{Credential, Fleet};
use crate::outcome::Outcome;
use crate::resume::{Kind, Original, Transcript};
use crate::retry::{DEATH_BURST, Repeat, STALE_WITHIN};

/// A journey over two nodes, in a time of its own.
struct Trip {
    journey: Journey<&'static str>,
    now: Instant,
}

impl Trip {
    fn with(more: &str) -> Self {
        Self::among("127.0.0.1:2, 127.0.0.1:3", more)
    }

    fn among(nodes: &str, more: &str) -> Self {
        let text = format!("server: {{ listen: 127.0.0.1:1 }}\npools: {{ p: {{ nodes: [{nodes}]{more} }} }}");
        let config = Config::parse(&text, "a test").expect("a valid config");
        let now = Instant::now();
        let member = Fleet::first(config, now).pools.first().expect("a pool").clone();
        Self { journey: Journey::new(member, true, Repeat::Allowed), now }
    }

    fn new() -> Self {
        Self::with("")
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn seek(&mut self) -> Seek<&'static str> {
        self.journey.seek(self.now)
    }

    /// An attempt that has been sent.
    fn sent(&mut self) -> Attempt {
        let Seek::Leased(mut attempt) = self.seek() else { panic!("there is a node") };
        self.journey.send(&mut attempt, self.now);
        attempt
    }

    fn head(&mut self, attempt: &mut Attempt, status: u16, is_stream: bool) -> Answered {
        let head = Head { status, is_stream, retry_after: None };
        self.journey.head(attempt, head, self.now)
    }

    fn fails(&mut self, attempt: Attempt, outcome: Outcome) -> Step<&'static str> {
        self.journey.end(attempt, How::Failed { outcome, fallback: None }, self.now)
    }

    fn outcomes(&mut self) -> Vec<Outcome> {
        self.journey.take_records().iter().map(|tried| tried.outcome).collect()
    }
}

/// The client of the requests.
fn me() -> Credential {
    Credential::of(&[b"Bearer me"])
}

fn failure(step: Step<&str>) -> Failure {
    match step {
        Step::Stop(Ending::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stale_connection_is_followed_by_a_fresh_one_to_the_same_node() {
    let mut trip = Trip::new();
    let attempt = trip.sent();
    let node = attempt.address();
    let Step::Fresh(again) = trip.fails(attempt, Outcome::Stale) else { panic!("a fresh connection") };
    assert_eq!((again.address(), trip.journey.sent()), (node, 0), "nobody took it");
    assert_eq!(trip.outcomes(), [Outcome::Stale]);
}

#[test]
fn a_connection_that_closes_later_was_not_stale() {
    let mut trip = Trip::new();
    let attempt = trip.sent();
    trip.pass(STALE_WITHIN);
    assert!(matches!(trip.fails(attempt, Outcome::Stale), Step::Node(_)));
    assert_eq!((trip.outcomes(), trip.journey.sent(), trip.journey.deaths()), (vec![Outcome::Reset], 1, 1));
}

#[test]
fn a_stale_connection_and_then_a_refused_one_are_a_death() {
    let mut trip = Trip::new();
    let attempt = trip.sent();
    let Step::Fresh(again) = trip.fails(attempt, Outcome::Stale) else { panic!("a fresh connection") };
    assert!(matches!(trip.fails(again, Outcome::Connect), Step::Node(_)));
    assert_eq!((trip.journey.sent(), trip.journey.deaths()), (1, 1));
    let Seek::Leased(other) = trip.seek() else { panic!("there is another node") };
    assert!(matches!(trip.fails(other, Outcome::Connect), Step::Node(_)));
    assert_eq!((trip.journey.sent(), trip.journey.deaths()), (1, 1), "a refused connection alone is none");
}

/// A gateway that is told of thousands of deaths at once hears of its own requests' later.
#[test]
fn a_node_died_when_that_was_first_seen() {
    let mut trip = Trip::new();
    let attempt = trip.sent();
    let first = attempt.lease.key();
    assert!(matches!(trip.fails(attempt, Outcome::Reset), Step::Node(_)));
    let second = trip.pass(Duration::from_millis(100)).sent();
    let pool = Arc::clone(&trip.journey.member().pool);
    // the second node dies under others, each time within the burst before
    for millis in [0, 800, 1600] {
        let at = trip.now + Duration::from_millis(millis);
        pool.lease(&[first], at).expect("the second node").settle(Outcome::Reset, at);
    }
    trip.pass(Duration::from_millis(1900));
    let _ = trip.fails(second, Outcome::Reset);
    assert_eq!(trip.journey.deaths(), 1, "both began to die within a second");
}

#[test]
fn nodes_that_died_at_two_times_end_it() {
    let mut trip = Trip::new();
    let attempt = trip.sent();
    let _ = trip.fails(attempt, Outcome::Reset);
    trip.pass(DEATH_BURST * 2);
    let attempt = trip.sent();
    let failure = failure(trip.fails(attempt, Outcome::Reset));
    assert_eq!(failure.status, 502);
    assert!(
        failure.message.ends_with("not tried again: nodes crashed on this request"),
        "{}",
        failure.message
    );
}

#[test]
fn two_deaths_in_one_burst_are_followed_by_a_pause() {
    let mut trip = Trip::new();
    for _ in 0..2 {
        let attempt = trip.sent();
        assert!(matches!(trip.fails(attempt, Outcome::Reset), Step::Node(_)));
        trip.pass(Duration::from_millis(5));
    }
    let Seek::Pause { until } = trip.seek() else { panic!("it pauses") };
    let paused = until - trip.now;
    trip.pass(paused);
    assert!(!matches!(trip.seek(), Seek::Pause { .. }));
    assert!(
        trip.journey.queued() >= paused || matches!(trip.seek(), Seek::Wait { .. }),
        "it counts as waiting"
    );
}

#[test]
fn a_response_that_was_held_back_is_better_than_none() {
    let mut trip = Trip::new();
    for fallback in ["first", "second"] {
        let mut attempt = trip.sent();
        assert_eq!(trip.head(&mut attempt, 500, false), Answered::HoldBack);
        let how = How::Declined { fallback: Some(fallback) };
        assert!(matches!(trip.journey.end(attempt, how, trip.now), Step::Node(_)));
    }
    assert!(matches!(trip.seek(), Seek::Give("second")));
    assert_eq!(trip.journey.note(), Some("no other node was left"));
}

#[test]
fn a_request_waits_for_a_slot_and_is_told_of_it() {
    let mut trip = Trip::with(", retry: { wait: 9s }");
    let pool = Arc::clone(&trip.journey.member().pool);
    // both refuse for a second
    for _ in 0..2 {
        let Seek::Leased(attempt) = trip.seek() else { panic!("there is a node") };
        let _ = trip.fails(attempt, Outcome::Connect);
    }
    let Seek::Wait { until, .. } = trip.seek() else { panic!("it waits") };
    assert!(until <= trip.now + Duration::from_secs(1), "until a node may be taken again");
    trip.pass(Duration::from_secs(10));
    let Seek::Leased(attempt) = trip.seek() else { panic!("the last chance") };
    drop(attempt);
    assert_eq!(trip.journey.queued(), Duration::from_secs(10));
    assert_eq!(pool.snapshot(trip.now).nodes[0].in_flight, 0, "a dropped attempt gives its slot back");
}

#[test]
fn who_leaves_while_waiting_has_waited() {
    let mut trip = Trip::with(", retry: { wait: 9s }");
    for _ in 0..2 {
        let Seek::Leased(attempt) = trip.seek() else { panic!("there is a node") };
        let _ = trip.fails(attempt, Outcome::Connect);
    }
    assert!(matches!(trip.seek(), Seek::Wait { .. }));
    trip.pass(Duration::from_secs(3));
    assert_eq!(trip.journey.leave(trip.now), Ending::Left);
    assert_eq!(trip.journey.queued(), Duration::from_secs(3));
}

#[test]
fn the_gateways_own_lack_of_files_is_nobodys_fault_and_has_its_attempt() {
    let mut trip = Trip::new();
    let Seek::Leased(attempt) = trip.seek() else { panic!("there is a node") };
    let failure = failure(trip.fails(attempt, Outcome::Gateway));
    assert_eq!((failure.status, failure.retry_after), (503, Some(1)));
    assert_eq!(trip.outcomes(), [Outcome::Gateway]);
    let nodes = trip.journey.member().pool.snapshot(trip.now).nodes;
    assert_eq!(nodes.iter().map(|node| node.attempts_with(Outcome::ClientGone)).sum::<u64>(), 0);
}

/// A stream that can be continued, on its first node.
fn resumable(trip: &mut Trip) -> Attempt {
    let mut attempt = trip.sent();
    assert_eq!(trip.head(&mut attempt, 200, true), Answered::Pass);
    let body = Bytes::from_static(br#"{"prompt":"a","max_tokens":9,"stream":true}"#);
    let conf = Retry { resume: true, resume_text_max: 1024, ..Retry::default() };
    let original = Original::read(Kind::Completion, "/v1/completions", Engine::Vllm, &conf, &body);
    let transcript = original.map(|original| Transcript::begin(original, &body, &conf, Arc::default()));
    trip.journey.begin(Continuity::of(transcript));
    let event = b"data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"text\":\"b\"}]}\n\n";
    trip.journey.transcript_mut().expect("it can be continued").deliver(Bytes::from_static(event));
    attempt
}

#[test]
fn a_broken_stream_goes_on_once_and_then_ends_with_the_first_closing_event() {
    let mut trip = Trip::new();
    let attempt = resumable(&mut trip);
    let closing_event = Bytes::from_static(b"sorry");
    let how = How::Broken { outcome: Outcome::Truncated, closing_event: closing_event.clone() };
    let Step::Continue(next) = trip.journey.end(attempt, how, trip.now) else { panic!("it goes on") };
    assert!(next.body.starts_with(b"{") && trip.journey.is_continuing() && trip.journey.sent() == 0);
    let mut next = trip.sent();
    assert_eq!(trip.head(&mut next, 400, false), Answered::Drop);
    let step = trip.journey.end(next, How::Declined { fallback: None }, trip.now);
    let Step::Stop(ending) = step else { panic!("{step:?}") };
    assert_eq!(ending, Ending::Broken { closing_event });
    assert_eq!(trip.journey.note(), Some("not resumed: the next node refused the continuation"));
}

#[test]
fn a_broken_response_that_nobody_can_continue_ends_visibly() {
    let mut trip = Trip::new();
    let mut attempt = trip.sent();
    let _ = trip.head(&mut attempt, 200, false);
    trip.journey.begin(Continuity::Never);
    assert!(!trip.journey.needs_body());
    let how = How::Broken { outcome: Outcome::Truncated, closing_event: Bytes::new() };
    let step = trip.journey.end(attempt, how, trip.now);
    assert!(matches!(step, Step::Stop(Ending::Broken { .. })), "{step:?}");
    assert_eq!(trip.journey.note(), Some("the node broke off the response"));
}

#[test]
fn what_is_sent_once_is_not_sent_again() {
    for (repeat, why) in [
        (Repeat::Method, "the method may not be repeated on this path"),
        (Repeat::Once, "requests of this kind are sent only once"),
    ] {
        let mut trip = Trip::new();
        trip.journey = Journey::new(trip.journey.member().clone(), true, repeat);
        let Seek::Leased(refused) = trip.seek() else { panic!("there is a node") };
        assert!(matches!(trip.fails(refused, Outcome::Connect), Step::Node(_)), "nobody has seen it");
        let attempt = trip.sent();
        let failure = failure(trip.fails(attempt, Outcome::Timeout));
        assert_eq!(failure.status, 504);
        assert!(failure.message.ends_with(why), "{}", failure.message);
    }
}

/// A node that says so is believed, whatever the method; if it takes no connection either, another one is asked.
#[test]
fn what_a_node_has_not_taken_is_sent_again() {
    for repeat in [Repeat::Allowed, Repeat::Method, Repeat::Once] {
        let mut trip = Trip::new();
        trip.journey = Journey::new(trip.journey.member().clone(), true, repeat);
        let attempt = trip.sent();
        let step = trip.journey.end(attempt, How::NotTaken, trip.now);
        let Step::Fresh(attempt) = step else { panic!("{step:?}") };
        assert_eq!((trip.journey.sent(), trip.outcomes()), (0, vec![Outcome::Stale]));
        assert!(matches!(trip.fails(attempt, Outcome::Connect), Step::Node(_)));
    }
}

/// Its client is to blame, and no other node could be sent it.
#[test]
fn what_cannot_be_sent_ends_there() {
    let mut trip = Trip::new();
    let attempt = trip.sent();
    let step = trip.journey.end(attempt, How::Unsayable(Failure::new(414, "no")), trip.now);
    assert_eq!(failure(step).status, 414);
    assert_eq!(trip.outcomes(), [Outcome::ClientGone]);
}

/// Or one that kills its nodes would go from kept connection to kept connection for as long as there are any.
#[test]
fn a_request_that_missed_its_node_was_sent() {
    let mut trip = Trip::new();
    trip.journey = Journey::new(trip.journey.member().clone(), false, Repeat::Once);
    let attempt = trip.sent();
    assert!(matches!(trip.journey.end(attempt, How::Missed, trip.now), Step::Node(_)));
    assert_eq!((trip.journey.sent(), trip.outcomes()), (1, vec![Outcome::Stale]));
    let _second = trip.sent();
    assert_eq!(trip.journey.sent(), 2);
}
