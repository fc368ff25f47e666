//! A node that is silent at work while others are not.

use std::pin::pin;
use std::task::{Context, Poll, Wake};

use super::*;
use crate::config::Check;
use crate::fleet::{Change, Reason};

const STALL: f64 = 60.0;

fn stalling(count: usize) -> Bench {
    let mut conf = conf(nodes(count));
    conf.timeouts.stall = Some(seconds(STALL));
    Bench::of(conf)
}

impl Bench {
    /// A tick at this time, in seconds from the start.
    fn tick_at(&mut self, at: f64) -> Vec<Event> {
        self.at(at);
        self.pool.tick(self.now)
    }

    /// `a` hangs with this many attempts, and is ejected for it after `STALL`: `b` speaks at the last moment.
    fn stall_a(&mut self, attempts: usize) -> Vec<Lease> {
        let held = (0..attempts).map(|_| self.on("a")).collect();
        self.pass(STALL);
        self.serve("b");
        self.pool.tick(self.now);
        assert_eq!(self.snapshot("a").reason, Some(Reason::Stalled));
        held
    }
}

#[test]
fn a_node_that_is_silent_at_work_while_another_is_not_is_ejected() {
    let mut bench = stalling(2);
    let (_hangs, streams) = (bench.on("a"), bench.on("b"));
    bench.at(30.0);
    streams.progress(bench.now);
    assert!(bench.tick_at(59.999).is_empty());
    let events = bench.tick_at(60.0);
    assert_eq!(events.len(), 1, "{events:?}");
    let want = Change::Ejected { reason: Reason::Stalled, time: seconds(30.0) };
    assert_eq!((&*events[0].node, events[0].change, events[0].in_flight), ("a", want, 1));
    assert!(bench.is_up("b"));
    assert_eq!(bench.snapshot("a").ejections, 1);
    assert!(bench.pool.tick(bench.now).is_empty(), "once");
}

#[test]
fn any_sign_of_life_starts_the_time_anew() {
    let signs: [fn(&Bench, &Lease); 3] = [
        |bench, lease| lease.progress(bench.now),
        |bench, lease| drop(lease.good_head(bench.now)),
        |bench, _| {
            bench.once("a", Outcome::Ok);
        },
    ];
    for (number, sign) in signs.into_iter().enumerate() {
        let mut bench = stalling(2);
        let lease = bench.on("a");
        bench.at(40.0);
        sign(&bench, &lease);
        bench.at(99.0);
        bench.serve("b");
        assert!(bench.tick_at(99.999).is_empty(), "sign {number}");
        assert_eq!(bench.tick_at(100.0).len(), 1, "sign {number}");
    }
}

#[test]
fn an_answer_that_is_none_is_no_sign_of_life() {
    // the server in front of an engine that hangs has 503 for everybody
    for outcome in [Outcome::Busy, Outcome::ClientGone, Outcome::Stale] {
        let mut bench = stalling(2);
        let _hangs = bench.on("a");
        bench.at(59.0);
        bench.once("a", outcome);
        bench.serve("b");
        assert_eq!(bench.tick_at(60.0).len(), 1, "{outcome}");
    }
}

#[test]
fn an_idle_node_is_never_stalled_and_work_that_just_arrived_does_not_make_it_so() {
    let mut bench = stalling(2);
    bench.serve("a");
    let streams = bench.on("b");
    for at in 1..=60 {
        bench.at(f64::from(at) * 60.0);
        streams.progress(bench.now);
        assert!(bench.pool.tick(bench.now).is_empty());
    }
    let _new = bench.on("a");
    bench.at(3659.999);
    streams.progress(bench.now);
    assert!(bench.pool.tick(bench.now).is_empty());
    assert_eq!(bench.tick_at(3660.0).len(), 1);
}

#[test]
fn its_oldest_attempt_counts_and_not_those_that_have_ended() {
    let mut bench = stalling(2);
    let left = bench.on("a");
    bench.at(50.0);
    let stays = bench.on("a");
    drop(left);
    bench.at(109.0);
    bench.serve("b");
    assert!(bench.tick_at(109.999).is_empty());
    assert_eq!(bench.tick_at(110.0).len(), 1);
    drop(stays);
}

#[test]
fn where_all_are_silent_nothing_is_wrong_with_one() {
    let mut bench = stalling(3);
    let _held = ["a", "b", "c"].map(|name| bench.on(name));
    assert!(bench.tick_at(3600.0).is_empty());
}

#[test]
fn the_last_that_is_up_stays() {
    let mut bench = stalling(2);
    let _hangs = bench.on("a");
    let streams = bench.on("b");
    bench.at(59.0);
    bench.fail("b", 5);
    streams.progress(bench.now);
    assert!(bench.tick_at(60.0).is_empty(), "what an ejected node shows is no reason");
    let mut conf = bench.conf.clone();
    conf.nodes[1].drain = true;
    bench.pool.configure(&conf, bench.now);
    assert!(bench.pool.tick(bench.now).is_empty());
    assert!(bench.is_up("a"));
}

#[test]
fn off_is_off() {
    let mut bench = Bench::new(2);
    let _hangs = bench.on("a");
    bench.at(86_400.0);
    bench.serve("b");
    assert!(bench.pool.tick(bench.now).is_empty());
}

#[test]
fn a_reload_switches_it_on_for_what_begins_from_then_on() {
    let mut bench = Bench::new(2);
    let _older = bench.on("a");
    bench.at(100.0);
    bench.conf.timeouts.stall = Some(seconds(STALL));
    bench.pool.configure(&bench.conf, bench.now);
    bench.serve("b");
    assert!(bench.pool.tick(bench.now).is_empty());
    let _newer = bench.on("a");
    bench.at(159.0);
    bench.serve("b");
    assert_eq!(bench.tick_at(160.0).len(), 1);
}

#[test]
fn an_upgraded_connection_may_be_silent() {
    let mut bench = stalling(2);
    let socket = bench.on("a");
    socket.pause_stall();
    bench.at(3600.0);
    bench.serve("b");
    assert!(bench.pool.tick(bench.now).is_empty());
}

#[test]
fn what_it_had_is_one_event() {
    let mut bench = stalling(2);
    let held = bench.stall_a(192);
    let events: Vec<_> =
        held.into_iter().filter_map(|l| l.settle(Outcome::Stalled, bench.now).event).collect();
    assert!(events.is_empty(), "{events:?}");
    let node = bench.snapshot("a");
    assert_eq!((node.in_flight, node.ejections, node.recent_failures), (0, 1, 0));
    assert!((bench.out_for("a") - 30.0).abs() < 1e-6, "its time is not multiplied");
    assert_eq!(node.attempts_with(Outcome::Stalled), 192);
    bench.pass(30.0);
    assert_eq!(bench.ask(true), ["a"]);
    bench.serve("a").expect("back");
}

#[test]
fn what_it_still_has_is_not_held_against_it_later() {
    for stalls in [true, false] {
        let mut bench = stalling(2);
        let _stuck = if stalls { bench.stall_a(3) } else { vec![bench.on("a")] };
        if !stalls {
            bench.fail("a", 5);
        }
        bench.pass(30.0);
        bench.ask(true);
        bench.serve("a").expect("back");
        for _ in 0..100 {
            bench.pass(30.0);
            let newer = bench.on("a");
            bench.serve("b");
            assert!(bench.pool.tick(bench.now).is_empty());
            assert!(!newer.is_given_up());
            newer.progress(bench.now);
        }
    }
}

/// A node that was ejected for something else, by its check say, has requests that wait: nobody else would end them.
#[test]
fn what_waits_at_an_ejected_node_goes_elsewhere_in_the_same_time() {
    let mut bench = stalling(2);
    let waits = bench.on("a");
    bench.at(10.0);
    bench.fail("a", 5);
    bench.at(40.0);
    bench.ask(true);
    let probe = bench.on("a");
    bench.at(59.0);
    bench.serve("b");
    assert!(bench.tick_at(59.9).iter().all(|event| event.change == Change::Back { reason: Reason::AtWork }));
    assert!(!waits.is_given_up());
    assert!(bench.tick_at(60.0).is_empty(), "no news of the node");
    assert!(waits.is_given_up() && !probe.is_given_up());
    bench.at(99.0);
    bench.serve("b");
    assert!(bench.tick_at(99.9).is_empty());
    assert_eq!(bench.tick_at(100.0).len(), 1, "its probe shows nothing either");
}

#[test]
fn its_check_passes_all_the_while_and_brings_it_back_no_sooner() {
    let mut bench = stalling(2);
    bench.conf.health.check = Some(Check {
        path: "/health".into(),
        interval: seconds(5.0),
        timeout: seconds(2.0),
        rise: 1,
        fall: 3,
    });
    bench.pool.configure(&bench.conf, bench.now);
    bench.stall_a(1);
    let mut passed = 0;
    while bench.out_for("a") > 0.0 {
        for question in bench.questions(QuestionKind::Check) {
            passed += u32::from(*question.node.name == *"a");
            bench.pool.answer(&question, true, bench.now);
        }
        assert_eq!(bench.state("a"), NodeState::Ejected);
        bench.pass(0.5);
    }
    assert!(passed >= 4, "{passed}");
    assert_eq!(bench.ask(true), ["a"]);
    assert_eq!(bench.state("a"), NodeState::Probing);
}

/// Streams that stalled one by one, each by its own limit.
#[test]
fn stalled_streams_count_as_any_failure_and_the_check_is_blind_to_them() {
    let mut bench = stalling(2);
    for _ in 0..5 {
        assert!(bench.is_up("a"));
        bench.once("a", Outcome::Stalled);
    }
    assert_eq!(bench.snapshot("a").reason, Some(Reason::Failures(Outcome::Stalled)));
    assert!(bench.pool.table().members().next().expect("a").1.health.check_is_blind());
    // as the last resort it is no better than one that times out: it is asked first
    bench.fail("b", 5);
    bench.once("a", Outcome::Stalled);
    assert!(!bench.accepts("a"));
    bench.pass(1.0);
    assert!(bench.ask(true).contains(&"a".to_owned()));
    assert!(bench.accepts("a"));
}

/// Whether it is found as a whole, or by its streams one by one.
#[test]
fn one_that_comes_back_as_silent_as_before_is_out_for_twice_as_long() {
    let mut bench = stalling(2);
    for (round, want) in [30.0, 60.0, 120.0, 240.0, 300.0, 300.0].into_iter().enumerate() {
        let mut stuck = Vec::new();
        if round % 2 == 0 {
            stuck = bench.stall_a(2);
        } else {
            (0..5).for_each(|_| drop(bench.on("a").settle(Outcome::Stalled, bench.now)));
        }
        assert!((bench.out_for("a") - want).abs() < 1e-6, "{want}, got {}", bench.out_for("a"));
        bench.pass(want);
        assert_eq!(bench.ask(true), ["a"]);
        let _probe = bench.on("a");
        bench.pass(5.0);
        bench.pool.tick(bench.now);
        assert!(bench.is_up("a"), "its probe has been at work for probe_pass");
        drop(stuck);
    }
    bench.serve("a");
    bench.stall_a(1);
    assert!((bench.out_for("a") - 30.0).abs() < 1e-6, "a good head ends the doubling");
}

#[test]
fn a_probe_that_is_silent_for_so_long_has_failed() {
    let mut bench = stalling(2);
    bench.conf.health.probe_pass = seconds(100.0);
    bench.pool.configure(&bench.conf, bench.now);
    bench.bring_to_probing("a");
    let probe = bench.on("a");
    bench.pass(STALL);
    bench.serve("b");
    assert_eq!(bench.pool.tick(bench.now).len(), 1);
    assert_eq!(bench.snapshot("a").reason, Some(Reason::ProbeFailed(Outcome::Stalled)));
    assert!((bench.out_for("a") - 60.0).abs() < 1e-6);
    assert!(probe.is_given_up());
}

#[test]
fn what_a_last_resort_holds_goes_elsewhere_too() {
    let mut bench = stalling(2);
    bench.fail("a", 5);
    bench.fail("b", 5);
    let stuck = bench.on("a");
    bench.serve("b").expect("back");
    bench.pass(STALL);
    bench.serve("b");
    assert!(bench.pool.tick(bench.now).is_empty(), "it is ejected already");
    assert!(stuck.is_given_up());
}

#[test]
fn all_that_it_has_is_given_up_and_nothing_else() {
    let mut bench = stalling(2);
    let other = bench.on("b");
    let held = bench.stall_a(3);
    assert!(held.iter().all(Lease::is_given_up));
    assert!(!other.is_given_up());
    bench.pass(30.0);
    bench.ask(true);
    assert!(!bench.on("a").is_given_up(), "its probe is a new attempt");
}

struct Woken(std::sync::atomic::AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn who_waits_for_it_is_woken_and_who_asks_later_is_told_at_once() {
    let mut bench = stalling(2);
    let lease = bench.on("a");
    let woken = Arc::new(Woken(false.into()));
    let waker = Arc::clone(&woken).into();
    let mut context = Context::from_waker(&waker);
    let mut waits = pin!(lease.given_up());
    assert_eq!(waits.as_mut().poll(&mut context), Poll::Pending);
    let unpolled = pin!(lease.given_up());
    bench.stall_a(0);
    assert!(woken.0.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!(waits.poll(&mut context), Poll::Ready(()));
    assert_eq!(unpolled.poll(&mut context), Poll::Ready(()));
    assert_eq!(pin!(lease.given_up()).poll(&mut context), Poll::Ready(()));
}

/// It waits for a client that does not read; the others are still waited for.
#[test]
fn an_attempt_may_be_silent_for_a_while() {
    let mut bench = stalling(2);
    let slow = bench.on("a");
    slow.pause_stall();
    bench.at(600.0);
    bench.serve("b");
    assert!(bench.pool.tick(bench.now).is_empty());
    let waits = bench.on("a");
    bench.at(630.0);
    slow.resume_stall(bench.now);
    bench.at(659.0);
    bench.serve("b");
    assert!(bench.tick_at(659.9).is_empty());
    assert_eq!(bench.tick_at(660.0).len(), 1, "the other one has waited since 600");
    assert!(slow.is_given_up() && waits.is_given_up());
    slow.resume_stall(bench.now);
    bench.pass(30.0);
    bench.ask(true);
    bench.serve("a").expect("back");
    bench.at(900.0);
    bench.serve("b");
    assert!(bench.pool.tick(bench.now).is_empty(), "what was given up is not at work");
}
