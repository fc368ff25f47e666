//! What another node serves is no answer: 401, 403 and 404.

use super::*;
use crate::fleet::{Change, Lease, Refusal};

impl Trip {
    fn asks_for(mut self, model: &str) -> Self {
        self.journey.set_subject(model, me());
        self
    }

    fn next_sent(&mut self, model: &str) -> Attempt {
        self.next(model);
        self.sent()
    }

    /// The next request of the same fleet.
    fn next(&mut self, model: &str) {
        self.journey = Journey::new(self.journey.member().clone(), true, Repeat::Allowed);
        self.journey.set_subject(model, me());
    }

    /// The next node answers 404, which is held back.
    fn denied(&mut self) -> u16 {
        let attempt = self.sent();
        self.denied_by(attempt)
    }

    fn denied_by(&mut self, mut attempt: Attempt) -> u16 {
        let port = attempt.address().port();
        assert_eq!(self.head(&mut attempt, 404, false), Answered::HoldBack);
        let how = How::Declined { fallback: Some("not here") };
        let step = self.journey.end(attempt, how, self.now);
        assert!(matches!(step, Step::Node(crate::retry::RetryReason::Denied)), "{step:?}");
        port
    }

    /// Another client's request that this node has at work.
    pub(super) fn sent_to(&mut self, port: u16) -> Lease {
        let pool = Arc::clone(&self.journey.member().pool);
        let leases: Vec<_> = (0..8).map_while(|_| pool.lease(&[], self.now).ok()).collect();
        leases.into_iter().find(|lease| lease.address().port() == port).expect("it has room")
    }

    /// The next node answers 404, and its client gets it at once.
    fn refused(&mut self) -> u16 {
        let mut attempt = self.sent();
        let port = attempt.address().port();
        assert_eq!(self.head(&mut attempt, 404, false), Answered::Pass);
        let step = self.journey.end(attempt, How::Whole, self.now);
        assert!(matches!(step, Step::Stop(Ending::Whole)), "{step:?}");
        port
    }

    /// The node that serves the model refuses connections from now on.
    fn goes_away(&mut self) {
        let attempt = self.sent();
        assert!(matches!(self.fails(attempt, Outcome::Connect), Step::Node(_)));
    }

    /// The nodes that it asks while it waits refuse connections, and this one the request.
    fn waits_in_vain(&mut self, time: Duration, lacks: u16) -> Failure {
        let end = self.now + time;
        loop {
            match self.seek() {
                Seek::Wait { until, .. } => self.now = until,
                Seek::Leased(mut attempt) if attempt.address().port() == lacks => {
                    self.journey.send(&mut attempt, self.now);
                    self.denied_by(attempt);
                }
                Seek::Leased(attempt) => {
                    let _ = self.fails(attempt, Outcome::Connect);
                }
                Seek::Stop(Ending::Failed(failure)) => {
                    assert!(self.now >= end, "{:?} too early", end - self.now);
                    assert!(self.now <= end + Duration::from_secs(1), "{:?} too late", self.now - end);
                    return failure;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn served(&mut self) -> u16 {
        let mut attempt = self.sent();
        let port = attempt.address().port();
        assert_eq!(self.head(&mut attempt, 200, false), Answered::Pass);
        let _ = self.journey.end(attempt, How::Whole, self.now);
        port
    }

    pub(super) fn skips(&self) -> usize {
        self.journey.member().pool.snapshot(self.now).nodes.iter().map(|node| node.skips.len()).sum()
    }
}

#[test]
fn a_node_that_lacks_the_model_is_skipped_for_it_until_the_time_is_over() {
    let mut trip = Trip::new().asks_for("m");
    let lacks = trip.denied();
    let has = trip.served();
    let events = trip.journey.take_events();
    let [event] = &events[..] else { panic!("{events:?}") };
    assert!(matches!(&event.change, Change::Skipped { model, status: 404, .. } if &**model == "m"));
    let nodes = trip.journey.member().pool.snapshot(trip.now).nodes;
    assert!(nodes.iter().all(|node| node.attempts_with(Outcome::Ok) == 1), "nobody is charged");
    for _ in 0..5 {
        trip.next("m");
        assert_eq!(trip.served(), has);
        trip.next("another");
        let attempt = trip.sent();
        assert_eq!(attempt.address().port(), lacks, "it has the fewest requests, and may have this one");
        drop(attempt);
    }
    let busy = trip.sent_to(has);
    trip.pass(Duration::from_secs(31)).next("m");
    let tried_again = trip.sent();
    assert_eq!(tried_again.address().port(), lacks);
    for _ in 0..5 {
        trip.next("m");
        assert_eq!(trip.served(), has, "by one at a time");
    }
    drop(busy);
}

/// It may have loaded the model since.
#[test]
fn a_node_that_serves_the_model_after_all_is_no_longer_skipped() {
    let mut trip = Trip::new().asks_for("m");
    let lacks = trip.denied();
    let has = trip.served();
    let busy = trip.sent_to(has);
    trip.pass(Duration::from_secs(31)).next("m");
    assert_eq!((trip.served(), trip.skips()), (lacks, 0));
    drop(busy);
}

#[test]
fn while_one_asks_the_others_do_not_follow() {
    let mut trip = Trip::new().asks_for("m");
    let lacks = trip.denied();
    let next = Journey::new(trip.journey.member().clone(), true, Repeat::Allowed);
    let first = std::mem::replace(&mut trip.journey, next);
    trip.journey.set_subject("m", me());
    assert_ne!(trip.served(), lacks);
    assert_eq!(trip.skips(), 1, "a doubt");
    drop(first);
    assert_eq!(trip.skips(), 0, "it was withdrawn: its client left");
}

/// And for a moment one node speaks for all.
#[test]
fn an_answer_on_which_all_agree_is_given_at_once() {
    let mut trip = Trip::among("127.0.0.1:2, 127.0.0.1:3, 127.0.0.1:4, 127.0.0.1:5", "").asks_for("m");
    for _ in 0..3 {
        trip.denied();
    }
    trip.refused();
    assert!(trip.journey.take_events().is_empty());
    for _ in 0..5 {
        trip.next("m");
        trip.refused();
    }
    assert_eq!(trip.skips(), 0, "none keeps a request away");
    trip.pass(Duration::from_secs(4)).next("m");
    trip.denied();
}

#[test]
fn a_model_that_all_refused_is_served_as_soon_as_one_has_it() {
    let mut trip = Trip::new().asks_for("m");
    trip.denied();
    trip.refused();
    trip.next("m");
    trip.served();
    let busy = trip.next_sent("m");
    assert_ne!(trip.next_sent("m").address(), busy.address(), "neither is skipped");
}

#[test]
fn a_single_node_speaks_for_all() {
    let mut trip = Trip::among("127.0.0.1:2", "").asks_for("m");
    for _ in 0..3 {
        trip.refused();
        assert!(!trip.journey.member().pool.has_skips());
        trip.next("m");
    }
}

/// Else a pool of many nodes would answer 404 for a model that few of them have.
#[test]
fn a_refusal_uses_up_no_attempt() {
    let nodes: Vec<_> = (2..12).map(|port| format!("127.0.0.1:{port}")).collect();
    let mut trip = Trip::among(&nodes.join(", "), "").asks_for("m");
    for denials in 0..9 {
        assert_eq!(trip.journey.sent(), 0, "{denials}");
        trip.denied();
    }
    trip.served();
}

#[test]
fn a_refusal_is_no_answer_while_a_node_is_away_that_may_serve_the_model() {
    // the last: the skip ends before the wait, and the node is asked in between
    for (is_known, wait) in [(false, 9), (true, 9), (false, 0), (true, 70)] {
        let mut trip = Trip::with(&format!(", retry: {{ wait: {wait}s }}")).asks_for("m");
        let lacks = if is_known {
            let lacks = trip.denied();
            trip.served();
            trip.next("m");
            trip.goes_away();
            lacks
        } else {
            trip.goes_away();
            trip.denied()
        };
        let failure = trip.waits_in_vain(Duration::from_secs(wait), lacks);
        assert_eq!((failure.status, failure.retry_after), (503, Some(10)), "{is_known} {wait}");
        assert!(failure.message.contains("save those that refuse the request"), "{}", failure.message);
    }
}

#[test]
fn a_request_whose_model_was_refused_is_served_when_its_node_comes_back() {
    let mut trip = Trip::with(", retry: { wait: 9s }").asks_for("m");
    trip.goes_away();
    trip.denied();
    let Seek::Wait { until, .. } = trip.seek() else { panic!("it waits") };
    trip.now = until;
    trip.served();
    assert_eq!(trip.skips(), 1, "confirmed");
}

#[test]
fn a_refusal_is_the_answer_once_the_node_that_was_away_has_left_the_pool() {
    let mut trip = Trip::with(", retry: { wait: 9s }").asks_for("m");
    trip.goes_away();
    let left = trip.denied();
    assert!(matches!(trip.seek(), Seek::Wait { .. }));
    let text = format!("server: {{ listen: 127.0.0.1:1 }}\npools: {{ p: {{ nodes: [127.0.0.1:{left}] }} }}");
    let config = Config::parse(&text, "a test").expect("a valid config");
    trip.journey.member().pool.configure(&config.pools[0], trip.now);
    assert!(matches!(trip.seek(), Seek::Give("not here")));
}

/// A 500 of the node that has the model says more than another's 404.
#[test]
fn a_refusal_takes_no_failures_place() {
    let mut trip = Trip::new().asks_for("m");
    let mut attempt = trip.sent();
    assert_eq!(trip.head(&mut attempt, 500, false), Answered::HoldBack);
    let _ = trip.journey.end(attempt, How::Declined { fallback: Some("broken") }, trip.now);
    trip.denied();
    assert!(matches!(trip.seek(), Seek::Give("broken")));

    let mut trip = Trip::with(", retry: { wait: 2s }").asks_for("m");
    let mut attempt = trip.sent();
    assert_eq!(trip.head(&mut attempt, 503, false), Answered::HoldBack);
    let _ = trip.journey.end(attempt, How::Declined { fallback: Some("full") }, trip.now);
    trip.denied();
    assert!(matches!(trip.seek(), Seek::Wait { .. }), "in line");
    trip.pass(Duration::from_millis(2100));
    assert!(matches!(trip.seek(), Seek::Leased(_)), "the last chance");
}

/// A refusal that has come is not asked for again, and whoever waits asks nobody that gave it.
#[test]
fn a_doubted_node_is_not_asked_while_the_other_is_full() {
    let mut trip = Trip::among("{ address: 127.0.0.1:2, max_in_flight: 1 }, 127.0.0.1:3", "").asks_for("m");
    let full = trip.sent_to(2);
    trip.denied();
    assert!(matches!(trip.seek(), Seek::Wait { why: Refusal::Full, .. }));
    let next = Journey::new(trip.journey.member().clone(), true, Repeat::Allowed);
    let first = std::mem::replace(&mut trip.journey, next);
    for _ in 0..5 {
        trip.next("m");
        assert!(matches!(trip.seek(), Seek::Wait { why: Refusal::Full, .. }));
    }
    drop(full);
    assert!(matches!(trip.seek(), Seek::Wait { .. }), "the slot is the first one's");
    trip.journey = first;
    assert_eq!(trip.sent().address().port(), 2);
}

#[test]
fn a_refusal_is_the_answer_where_no_other_node_may_be_asked() {
    let none_left = Trip::with(", retry: { attempts: 1 }").asks_for("m");
    let mut once = Trip::new();
    once.journey = Journey::new(once.journey.member().clone(), true, Repeat::Method);
    let mut no_work = Trip::new();
    no_work.journey = Journey::new(no_work.journey.member().clone(), false, Repeat::Allowed);
    for mut trip in [none_left, once.asks_for("m"), no_work.asks_for("m")] {
        let mut attempt = trip.sent();
        assert_eq!(trip.head(&mut attempt, 404, false), Answered::Pass);
        drop(attempt);
        assert_eq!(trip.skips(), 0);
    }
}

#[test]
fn what_was_held_back_is_carried_out_whatever_the_pool_is_by_then() {
    let mut trip = Trip::with(", retry: { wait: off }").asks_for("m");
    let mut attempt = trip.sent();
    assert_eq!(trip.head(&mut attempt, 401, false), Answered::HoldBack);
    let pool = Arc::clone(&trip.journey.member().pool);
    pool.lease(&[attempt.lease.key()], trip.now).expect("the other").settle(Outcome::Connect, trip.now);
    let how = How::Declined { fallback: Some("who are you") };
    assert!(matches!(trip.journey.end(attempt, how, trip.now), Step::Node(_)));
    assert_eq!(trip.waits_in_vain(Duration::ZERO, 0).status, 503);
    drop(trip.journey.take_events());
    trip.next("m");
    assert_eq!(trip.skips(), 0);
}

#[test]
fn a_full_node_is_waited_for_though_another_refuses_the_model() {
    let mut trip = Trip::with(", retry: { wait: 9s }").asks_for("m");
    trip.denied();
    let mut attempt = trip.sent();
    assert_eq!(trip.head(&mut attempt, 503, false), Answered::HoldBack);
    let _ = trip.journey.end(attempt, How::Declined { fallback: Some("full") }, trip.now);
    assert!(matches!(trip.seek(), Seek::Wait { .. }));
    trip.pass(Duration::from_secs(1)).served();
    assert_eq!(trip.skips(), 1, "confirmed");
}

/// A client whose key one node refuses keeps no other client away from it.
#[test]
fn a_refused_key_is_one_clients_own_affair() {
    let mut trip = Trip::new().asks_for("m");
    let mut attempt = trip.sent();
    let strict = attempt.address().port();
    assert_eq!(trip.head(&mut attempt, 401, false), Answered::HoldBack);
    let _ = trip.journey.end(attempt, How::Declined { fallback: Some("who are you") }, trip.now);
    assert_ne!(trip.served(), strict);
    for _ in 0..4 {
        trip.next("m");
        assert_ne!(trip.served(), strict);
    }
    trip.next("m");
    trip.journey.set_subject("m", Credential::of(&[b"Bearer you"]));
    let others = [trip.sent(), trip.sent()].map(|attempt| attempt.address().port());
    assert!(others.contains(&strict), "{others:?}");
}
