//! Stalls: nodes that are silent with requests in flight, while others are not.

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
    /// Ticks at this time, in seconds from the start.
    fn tick_at(&mut self, at: f64) -> Vec<Event> {
        self.at(at);
        self.pool.tick(self.now)
    }

    /// `a` hangs with this many attempts and is ejected after `STALL`; `b` shows a sign of life at the last
    /// moment.
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
fn a_silent_node_is_ejected_while_another_is_not_silent() {
    let mut bench = stalling(2);
    let (_hangs, streams) = (bench.on("a"), bench.on("b"));
    bench.at(30.0);
    streams.progress(bench.now);
    assert!(bench.tick_at(59.999).is_empty());
    let events = bench.tick_at(60.0);
    assert_eq!(events.len(), 1, "{events:?}");
    let want = Change::Ejected { reason: Reason::Stalled, time: seconds(30.0) };
    assert_eq!((&*events[0].node, events[0].change.clone(), events[0].in_flight), ("a", want, 1));
    assert!(bench.is_up("b"));
    assert_eq!(bench.snapshot("a").ejections, 1);
    assert!(bench.pool.tick(bench.now).is_empty(), "once");
}

#[test]
fn any_sign_of_life_restarts_the_clock() {
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
fn a_bad_answer_is_no_sign_of_life() {
    // the server in front of a hung engine answers 503 to everybody
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
fn an_idle_node_is_never_stalled_nor_is_one_with_only_new_work() {
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
fn the_oldest_attempt_in_flight_counts_not_ended_ones() {
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
fn if_all_nodes_are_silent_none_is_stalled() {
    let mut bench = stalling(3);
    let _held = ["a", "b", "c"].map(|name| bench.on(name));
    assert!(bench.tick_at(3600.0).is_empty());
}

#[test]
fn the_last_node_that_is_up_stays_up() {
    let mut bench = stalling(2);
    let _hangs = bench.on("a");
    let streams = bench.on("b");
    bench.at(59.0);
    bench.fail("b", 5);
    streams.progress(bench.now);
    assert!(bench.tick_at(60.0).is_empty(), "signs of life of an ejected node do not count");
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
fn a_reload_switches_it_on_for_new_attempts_only() {
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
fn the_attempts_of_a_stalled_node_are_one_event() {
    let mut bench = stalling(2);
    let held = bench.stall_a(192);
    let events: Vec<_> =
        held.into_iter().filter_map(|l| l.settle(Outcome::Stalled, bench.now).event).collect();
    assert!(events.is_empty(), "{events:?}");
    let node = bench.snapshot("a");
    assert_eq!((node.in_flight, node.ejections, node.recent_failures), (0, 1, 0));
    assert!((bench.out_for("a") - 30.0).abs() < 1e-6, "the ejection is not prolonged");
    assert_eq!(node.attempts_with(Outcome::Stalled), 192);
    bench.pass(30.0);
    assert_eq!(bench.ask(true), ["a"]);
    bench.serve("a").expect("back");
}

#[test]
fn old_attempts_are_not_held_against_a_returned_node() {
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

/// Requests that wait at a node ejected for another reason, such as its check, must also go elsewhere:
/// nothing else would end them.
#[test]
fn requests_at_an_ejected_node_are_given_up_after_the_same_time() {
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
    assert!(bench.tick_at(60.0).is_empty(), "the node's state does not change");
    assert!(waits.is_given_up() && !probe.is_given_up());
    bench.at(99.0);
    bench.serve("b");
    assert!(bench.tick_at(99.9).is_empty());
    assert_eq!(bench.tick_at(100.0).len(), 1, "the probe is silent, too");
}

#[test]
fn a_passing_check_does_not_end_a_stall_early() {
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

/// Streams that stalled one by one, each by its own time limit.
#[test]
fn stalled_streams_count_as_any_failure_and_the_check_is_blind_to_them() {
    let mut bench = stalling(2);
    for _ in 0..5 {
        assert!(bench.is_up("a"));
        bench.once("a", Outcome::Stalled);
    }
    assert_eq!(bench.snapshot("a").reason, Some(Reason::Failures(Outcome::Stalled)));
    assert!(bench.pool.table().members().next().expect("a").1.health.check_is_blind());
    // as a last resort it is like a node that timed out: it is asked first
    bench.fail("b", 5);
    bench.once("a", Outcome::Stalled);
    assert!(!bench.accepts("a"));
    bench.pass(1.0);
    assert!(bench.ask(true).contains(&"a".to_owned()));
    assert!(bench.accepts("a"));
}

/// The time doubles whether the node stalls as a whole or its streams stall one by one.
#[test]
fn a_node_that_stalls_again_is_out_for_twice_as_long() {
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
        assert!(bench.is_up("a"), "the probe has run for probe_pass");
        drop(stuck);
    }
    bench.serve("a");
    bench.stall_a(1);
    assert!((bench.out_for("a") - 30.0).abs() < 1e-6, "a good head ends the doubling");
}

#[test]
fn a_stalled_probe_has_failed() {
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
fn requests_at_a_stalled_last_resort_are_given_up_too() {
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
fn all_attempts_of_the_stalled_node_are_given_up_and_no_others() {
    let mut bench = stalling(2);
    let other = bench.on("b");
    let held = bench.stall_a(3);
    assert!(held.iter().all(Lease::is_given_up));
    assert!(!other.is_given_up());
    bench.pass(30.0);
    bench.ask(true);
    assert!(!bench.on("a").is_given_up(), "the probe is a new attempt");
}

struct Woken(std::sync::atomic::AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn given_up_wakes_waiters_and_resolves_at_once_afterwards() {
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

/// The paused attempt waits for a client that does not read; the others still count.
#[test]
fn an_attempt_may_pause_its_stall_clock() {
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
    assert_eq!(bench.tick_at(660.0).len(), 1, "the other attempt has waited since 600");
    assert!(slow.is_given_up() && waits.is_given_up());
    slow.resume_stall(bench.now);
    bench.pass(30.0);
    bench.ask(true);
    bench.serve("a").expect("back");
    bench.at(900.0);
    bench.serve("b");
    assert!(bench.pool.tick(bench.now).is_empty(), "an attempt that was given up does not count");
}
