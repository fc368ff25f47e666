//! What another node serves is no answer: 401, 403 and 404.

use super::*;
use crate::fleet::Change;

impl Trip {
    fn asks_for(mut self, model: &str) -> Self {
        self.journey.set_subject(model, me());
        self
    }

    /// The next request of the same fleet.
    fn next(&mut self, model: &str) {
        self.journey = Journey::new(self.journey.member().clone(), true, Repeat::Allowed);
        self.journey.set_subject(model, me());
    }

    /// The next node answers 404, which is held back.
    fn denied(&mut self) -> u16 {
        let mut attempt = self.sent();
        let port = attempt.address().port();
        assert_eq!(self.head(&mut attempt, 404, false), Answered::HoldBack);
        let how = How::Declined { fallback: Some("not here") };
        let step = self.journey.end(attempt, how, self.now);
        assert!(matches!(step, Step::Node(crate::retry::RetryReason::Denied)), "{step:?}");
        port
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
    trip.pass(Duration::from_secs(31)).next("m");
    let elsewhere = trip.sent();
    let expected = if elsewhere.address().port() == lacks { has } else { lacks };
    assert_eq!(trip.sent().address().port(), expected, "tried again");
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

#[test]
fn an_answer_on_which_all_agree_is_given_at_once() {
    let mut trip = Trip::new().asks_for("m");
    trip.denied();
    let mut attempt = trip.sent();
    assert_eq!(trip.head(&mut attempt, 404, false), Answered::Pass);
    let step = trip.journey.end(attempt, How::Whole, trip.now);
    assert!(matches!(step, Step::Stop(Ending::Whole)));
    trip.next("m");
    assert_eq!(trip.skips(), 0);
    assert!(trip.journey.take_events().is_empty());
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
    let mut trip = Trip::new().asks_for("m");
    let mut attempt = trip.sent();
    assert_eq!(trip.head(&mut attempt, 401, false), Answered::HoldBack);
    let pool = Arc::clone(&trip.journey.member().pool);
    pool.lease(&[attempt.lease.key()], trip.now).expect("the other").settle(Outcome::Connect, trip.now);
    let how = How::Declined { fallback: Some("who are you") };
    assert!(matches!(trip.journey.end(attempt, how, trip.now), Step::Node(_)));
    assert!(matches!(trip.seek(), Seek::Give("who are you")));
    assert_eq!(trip.skips(), 0);
}

/// Its own model's node restarts: the request waits for that, not for an answer that is known to be wrong.
#[test]
fn a_skipped_node_is_the_last_chance() {
    let mut trip = Trip::with(", retry: { wait: 9s }").asks_for("m");
    let lacks = trip.denied();
    let has = trip.served();
    trip.next("m");
    let attempt = trip.sent();
    assert_eq!(attempt.address().port(), has);
    assert!(matches!(trip.fails(attempt, Outcome::Connect), Step::Node(_)));
    assert!(matches!(trip.seek(), Seek::Wait { .. }), "the node that serves it may come back");
    trip.pass(Duration::from_millis(8500));
    let attempt = trip.sent();
    assert_eq!(attempt.address().port(), has, "it takes connections again");
    let _ = trip.fails(attempt, Outcome::Connect);
    let Seek::Wait { until, .. } = trip.seek() else { panic!("there is some time left") };
    trip.pass(until - trip.now);
    assert_eq!(trip.sent().address().port(), lacks, "better than none");
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
