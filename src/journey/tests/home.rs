//! Stored responses: only the node that has what a request names will do.

use super::*;
use crate::fleet::{Key, StoredId};

impl Trip {
    /// The next request of the same fleet, which names this response.
    pub(super) fn naming(&mut self, id: &str, is_work: bool) {
        let mut journey = Journey::new(self.journey.member().clone(), is_work, Repeat::Allowed);
        journey.converse(Conversation { named: Some(StoredId::of(id)), is_stored: is_work });
        self.journey = journey;
    }

    /// A node makes a response with this id.
    pub(super) fn makes(&mut self, id: &str) -> Key {
        self.journey = Journey::new(self.journey.member().clone(), true, Repeat::Allowed);
        self.journey.converse(Conversation { named: None, is_stored: true });
        let mut attempt = self.sent();
        let key = attempt.lease.key();
        assert!(self.journey.recorder(&attempt).is_none(), "there is no answer so far");
        assert_eq!(self.head(&mut attempt, 200, false), Answered::Pass);
        let mut recorder = self.journey.recorder(&attempt).expect("a response");
        assert!(recorder.look(b"{\"id\":"), "not yet");
        assert!(!recorder.look(format!("{id:?}}}").as_bytes()));
        let _ = self.journey.end(attempt, How::Whole, self.now);
        key
    }

    fn pool(&self) -> Arc<crate::fleet::Pool> {
        Arc::clone(&self.journey.member().pool)
    }

    fn is_charged(&self) -> bool {
        self.pool().snapshot(self.now).nodes.iter().any(|node| node.recent_failures > 0)
    }
}

#[test]
fn a_request_that_names_a_response_goes_to_the_node_that_made_it() {
    let mut trip = Trip::new();
    let home = trip.makes("r1");
    let mut busy = Vec::new();
    for _ in 0..8 {
        trip.naming("r1", true);
        let attempt = trip.sent();
        assert_eq!(attempt.lease.key(), home, "though it is not the least loaded");
        busy.push(attempt);
    }
    assert_ne!(trip.makes("r2"), home);
}

#[test]
fn only_an_answer_that_is_stored_is_remembered() {
    let mut trip = Trip::new();
    for (is_stored, status) in [(false, 200), (true, 400)] {
        trip.journey = Journey::new(trip.journey.member().clone(), true, Repeat::Allowed);
        trip.journey.converse(Conversation { named: None, is_stored });
        let mut attempt = trip.sent();
        let _ = trip.head(&mut attempt, status, false);
        assert!(trip.journey.recorder(&attempt).is_none(), "{is_stored} {status}");
        drop(attempt);
    }
}

/// The node answers that the response is gone: that is the answer, and says nothing of any model.
#[test]
fn the_404_of_the_node_that_had_it_is_the_answer() {
    for is_work in [true, false] {
        let mut trip = Trip::new();
        trip.makes("r1");
        trip.naming("r1", is_work);
        trip.journey.set_subject("m", me());
        let mut attempt = trip.sent();
        assert_eq!(trip.head(&mut attempt, 404, false), Answered::Pass);
        drop(attempt);
        assert_eq!((trip.skips(), trip.is_charged()), (0, false));
    }
}

#[test]
fn a_response_that_no_node_is_known_for_is_asked_of_several_and_skips_none() {
    for is_work in [true, false] {
        let mut trip = Trip::new();
        trip.naming("r1", is_work);
        trip.journey.set_subject("m", me());
        let mut attempt = trip.sent();
        let first = attempt.lease.key();
        assert_eq!(trip.head(&mut attempt, 404, false), Answered::HoldBack);
        assert_eq!(trip.skips(), 0);
        let step = trip.journey.end(attempt, How::Declined { fallback: Some("gone") }, trip.now);
        assert!(matches!(step, Step::Node(crate::retry::RetryReason::Denied)), "{step:?}");
        let mut attempt = trip.sent();
        let second = attempt.lease.key();
        assert_ne!(second, first);
        let status = if is_work { 404 } else { 200 };
        assert_eq!(trip.head(&mut attempt, status, false), Answered::Pass, "all agree, or it has it");
        let _ = trip.journey.end(attempt, How::Whole, trip.now);
        assert_eq!((trip.skips(), trip.is_charged()), (0, false));
        assert_eq!(trip.pool().stored(StoredId::of("r1")), (!is_work).then_some(second), "learned");
    }
}

/// Another status than 404 is a refusal as ever.
#[test]
fn a_key_that_one_node_refuses_is_none_of_its_business() {
    let mut trip = Trip::new();
    trip.naming("r1", true);
    trip.journey.set_subject("m", me());
    let mut attempt = trip.sent();
    assert_eq!(trip.head(&mut attempt, 401, false), Answered::HoldBack);
    assert_eq!(trip.skips(), 1);
    drop(attempt);
    trip.naming("r2", false);
    trip.journey.set_subject("/v1/responses/r2", me());
    let mut attempt = trip.sent();
    assert_eq!(trip.head(&mut attempt, 401, false), Answered::Pass, "GETs are not work");
}

#[test]
fn while_its_node_is_away_the_request_waits_and_no_other_is_asked() {
    let mut trip = Trip::with(", retry: { wait: 9s }");
    let home = trip.makes("r1");
    trip.naming("r1", true);
    let attempt = trip.sent();
    assert!(matches!(trip.fails(attempt, Outcome::Connect), Step::Node(_)));
    let Seek::Wait { until, .. } = trip.seek() else { panic!("it refused a connection") };
    assert_eq!(until, trip.now + Duration::from_secs(1));
    trip.pass(Duration::from_secs(1));
    let attempt = trip.sent();
    assert_eq!(attempt.lease.key(), home);
    let _ = trip.fails(attempt, Outcome::Connect);
    trip.pass(Duration::from_secs(9));
    let Seek::Stop(Ending::Failed(failure)) = trip.seek() else { panic!("its time is over") };
    assert_eq!((failure.status, failure.retry_after), (503, Some(10)));
    let message = failure.message;
    assert!(message.contains("127.0.0.1:") && message.contains("which alone has the response"), "{message}");
}

#[test]
fn it_is_repeated_on_the_same_node_and_its_5xx_is_the_answer() {
    let mut trip = Trip::new();
    let home = trip.makes("r1");
    trip.naming("r1", true);
    let attempt = trip.sent();
    assert!(matches!(trip.fails(attempt, Outcome::Reset), Step::Node(_)));
    let mut attempt = trip.sent();
    assert_eq!(attempt.lease.key(), home);
    assert_eq!(trip.head(&mut attempt, 500, false), Answered::HoldBack);
    let _ = trip.journey.end(attempt, How::Declined { fallback: Some("broken") }, trip.now);
    assert!(matches!(trip.seek(), Seek::Give("broken")));
}

#[test]
fn it_stands_in_line_for_its_node_alone() {
    let mut trip = Trip::with(", retry: { wait: 5s }");
    let home = trip.makes("r1");
    trip.naming("r1", true);
    for _ in 0..2 {
        let mut attempt = trip.sent();
        assert_eq!(attempt.lease.key(), home);
        assert_eq!(trip.head(&mut attempt, 503, false), Answered::HoldBack);
        let _ = trip.journey.end(attempt, How::Declined { fallback: Some("full") }, trip.now);
        let Seek::Wait { until, .. } = trip.seek() else { panic!("it waits") };
        trip.pass(until - trip.now);
    }
    trip.pass(Duration::from_secs(5));
    let mut attempt = trip.sent();
    assert_eq!(attempt.lease.key(), home, "the last chance");
    let _ = trip.head(&mut attempt, 503, false);
    let _ = trip.journey.end(attempt, How::Declined { fallback: Some("full") }, trip.now);
    assert!(matches!(trip.seek(), Seek::Give("full")), "it had its time");
}

#[test]
fn when_its_node_has_left_any_may_say_that_the_response_is_gone() {
    let mut trip = Trip::with(", retry: { wait: 9s }");
    trip.makes("r1");
    trip.naming("r1", true);
    let attempt = trip.sent();
    let gone = attempt.address();
    let _ = trip.fails(attempt, Outcome::Connect);
    assert!(matches!(trip.seek(), Seek::Wait { .. }));
    let left = if gone.port() == 2 { 3 } else { 2 };
    let text = format!("server: {{ listen: 127.0.0.1:1 }}\npools: {{ p: {{ nodes: [127.0.0.1:{left}] }} }}");
    let config = Config::parse(&text, "a test").expect("a valid config");
    trip.pool().configure(&config.pools[0], trip.now);
    let mut attempt = trip.sent();
    assert_ne!(attempt.address(), gone);
    assert_eq!(trip.head(&mut attempt, 404, false), Answered::Pass);
}

/// Its node is full, as far as its cap goes: it waits in the queue like any other.
#[test]
fn for_a_slot_of_its_node_it_waits_in_the_queue() {
    let nodes = "{ address: 127.0.0.1:2, max_in_flight: 1 }, 127.0.0.1:3";
    for (queue, status, rule) in [("size: 0", 429, "queue.size"), ("timeout: 5s", 504, "queue.timeout")] {
        let mut trip = Trip::among(nodes, &format!(", queue: {{ {queue} }}"));
        let held = trip.sent_to(2);
        let id = StoredId::of("r1");
        trip.pool().store(id, held.key());
        trip.naming("r1", true);
        let found = match trip.seek() {
            Seek::Wait { until, .. } => {
                assert_eq!(until - trip.now, Duration::from_secs(5));
                trip.pass(Duration::from_secs(5)).seek()
            }
            found => found,
        };
        let Seek::Stop(Ending::Failed(failure)) = found else { panic!("{found:?}") };
        assert!(failure.status == status && failure.message.contains(rule), "{failure:?}");
    }
}
