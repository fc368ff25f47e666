//! The journeys of the clients' requests, driven: what the relay does with sockets and timers is done here with events in
//! virtual time. What is decided, [`evenkeel::journey`] decides.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use evenkeel::fleet::NodeState;
use evenkeel::journey::{Answered, Attempt, Continuity, Ending, Head, How, Seek, Step};
use evenkeel::outcome::Outcome;
use evenkeel::retry;

use crate::client::Wait;
use crate::invariants::Seen;
use crate::node::{DYING, Weather};
use crate::world::{Due, World};

/// The longest time in which a node that has room again takes in all that wait in line for it, in seconds.
const LINE: f64 = 10.0;

impl World {
    /// Looks for a node, for the first time or again.
    pub(crate) fn seek(&mut self, client: usize) {
        let (now, seconds) = (self.now(), self.seconds());
        let me = &mut self.clients[client];
        me.looks += 1;
        me.pauses = false;
        let look = me.looks;
        let found = me.journey().seek(now);
        let until = match found {
            Seek::Wait { changed: listener, until, .. } => {
                if me.waits.is_none() {
                    self.waiting.push(client);
                }
                let began = me.waits.take().map_or(seconds, |wait| wait.began);
                me.waits = Some(Wait { began, listener });
                let waited = seconds - began;
                assert!(waited <= self.plan.wait_max() + 0.001, "waits for ever");
                until
            }
            Seek::Pause { until } => {
                me.pauses = true;
                until
            }
            found => {
                self.stop_waiting(client);
                return match found {
                    Seek::Leased(attempt) => self.begin(client, attempt),
                    Seek::Give(status) => self.done(client, status),
                    Seek::Stop(ending) => self.stop(client, ending),
                    other => panic!("nobody reloads here: {other:?}"),
                };
            }
        };
        self.after((until - now).as_secs_f64(), Due::Look { client, look });
    }

    pub(crate) fn is_woken(&mut self, client: usize) -> bool {
        let Some(wait) = &mut self.clients[client].waits else { return false };
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut wait.listener).poll(&mut context) == Poll::Ready(())
    }

    fn stop_waiting(&mut self, client: usize) {
        if self.clients[client].waits.take().is_some() {
            self.waiting.retain(|other| *other != client);
        }
    }

    fn begin(&mut self, client: usize, attempt: Attempt) {
        let node = usize::from(attempt.address().port()) - 1;
        let (now, lease_at) = (self.seconds(), self.now());
        let share = || self.pool.snapshot(lease_at).nodes[node].share;
        self.watch.leased(client, node, &self.clients[client].seen, share, now);
        self.told.attempts += 1;
        let me = &mut self.clients[client];
        me.attempt = Some(attempt);
        me.node = node;
        me.epoch = self.watch.nodes[node].ejections;
        if !me.seen.contains(&node) {
            me.seen.push(node);
        }
        self.nodes[node].running.push(client);
        self.send(client);
    }

    /// Its fate at the node.
    fn send(&mut self, client: usize) {
        let now = self.now();
        let me = &mut self.clients[client];
        me.serial += 1;
        me.sent_at = None;
        let (serial, nature, work) = (me.serial, me.nature, me.work);
        let node = &self.nodes[me.node];
        let (weather, speed) = (node.weather, node.speed);
        let dying = self.seconds() - node.since < DYING;
        let connect = self.plan.conf.timeouts.connect.as_secs_f64();
        let outcome = Outcome::Connect;
        match weather {
            Weather::Crashed if !dying => return self.after(0.001, Due::Fails { client, serial, outcome }),
            Weather::Vanished => return self.after(connect, Due::Fails { client, serial, outcome }),
            _ => {
                let me = &mut self.clients[client];
                me.sent_at = Some(now);
                let journey = me.journey.as_mut().expect("a request is under way");
                journey.send(me.attempt.as_mut().expect("an attempt is under way"), now);
            }
        }
        if weather == Weather::Crashed {
            return self.after(0.001, Due::Fails { client, serial, outcome: Outcome::Reset });
        }
        if let (Weather::Hung, Some(limit)) = (weather, self.plan.conf.timeouts.first_byte) {
            let outcome = Outcome::Timeout;
            self.after(limit.as_secs_f64(), Due::Fails { client, serial, outcome });
        }
        if self.rng.u8(0..50) == 0 && weather != Weather::Hung {
            return self.after(0.002, Due::Fails { client, serial, outcome: Outcome::Stale });
        }
        let slower = if let Weather::Slow(factor) = weather { factor } else { 1.0 };
        let total = work * slower / speed;
        let soon = 0.005 + 0.1 * self.rng.f64();
        let (status, head) = match weather {
            Weather::Hung => return,
            Weather::Http503 => (503, soon),
            Weather::Http500 => (500, soon),
            _ if nature.bad => (400, soon),
            _ if nature.poison => (500, soon),
            _ if nature.streams => (200, (0.2 * slower).min(total)),
            _ => (200, total),
        };
        self.after(head, Due::Head { client, serial, status });
        if status == 200 {
            self.after(total.max(head) + 0.001, Due::End { client, serial });
        }
    }

    /// The head of an answer, and with it the first event of a stream.
    pub(crate) fn head(&mut self, client: usize, status: u16) {
        let now = self.now();
        let me = &mut self.clients[client];
        if matches!(self.nodes[me.node].weather, Weather::Hung | Weather::Vanished) {
            return;
        }
        let is_stream = me.nature.streams && status == 200;
        let head = Head { status, is_stream, retry_after: None };
        let journey = me.journey.as_mut().expect("a request is under way");
        let attempt = me.attempt.as_mut().expect("an attempt is under way");
        let answered = journey.head(attempt, head, now);
        if is_stream {
            journey.progress(attempt, now);
            journey.begin(Continuity::Never);
        }
        let events = journey.take_events();
        self.saw(events);
        match answered {
            Answered::HoldBack => {
                let me = &mut self.clients[client];
                me.holds = true;
                if status == 503 {
                    me.told.push(me.node);
                }
                self.end(client, How::Declined { fallback: Some(status) }, Outcome::of_status(status));
            }
            // its node may have been lost while the head was on its way; then the end does not come
            _ if status == 200 => {}
            _ => {
                self.end(client, How::Whole, Outcome::of_status(status));
            }
        }
    }

    pub(crate) fn fails(&mut self, client: usize, outcome: Outcome) {
        let me = &self.clients[client];
        let has_head = me.attempt.as_ref().is_some_and(|attempt| attempt.status().is_some());
        if outcome == Outcome::Timeout && has_head {
            return;
        }
        let how = if me.began() {
            How::Broken { outcome, closing_event: Default::default() }
        } else {
            How::Failed { outcome, fallback: None }
        };
        self.end(client, how, outcome);
    }

    /// The attempt has ended; `outcome` is what the watcher is told of it.
    pub(crate) fn end(&mut self, client: usize, how: How<u16>, outcome: Outcome) {
        let (now, seconds) = (self.now(), self.seconds());
        let me = &mut self.clients[client];
        let Some(attempt) = me.attempt.take() else { return };
        if outcome != Outcome::Busy {
            // what it has done since is its last word
            let node = me.node;
            me.told.retain(|told| *told != node);
        }
        let (node, began) = (me.node, me.began());
        let step = me.journey().end(attempt, how, now);
        let events = me.journey().take_events();
        if let Step::Fresh(attempt) = step {
            me.attempt = Some(attempt);
            return self.send(client);
        }
        if outcome == Outcome::Connect {
            me.refused += 1;
            // news of a node that was ejected since it began is old
            if me.epoch == self.watch.nodes[node].ejections {
                self.watch.refused(node, seconds);
            }
        }
        self.nodes[node].running.retain(|other| *other != client);
        self.watch.ended(client, node, outcome, seconds);
        self.saw(events);
        match step {
            Step::Node(_) => self.seek(client),
            Step::Give(status) => self.done(client, status),
            Step::Stop(Ending::Broken { .. }) if began => {
                self.told.broken += 1;
                self.answered(client);
            }
            Step::Stop(ending) => self.stop(client, ending),
            Step::Fresh(_) | Step::Continue(_) | Step::Finish(_) => panic!("nothing is resumed here"),
        }
    }

    pub(crate) fn leaves(&mut self, client: usize) {
        let (now, seconds) = (self.now(), self.seconds());
        self.stop_waiting(client);
        let me = &mut self.clients[client];
        me.pauses = false;
        let Some(attempt) = me.attempt.take() else {
            let _ = me.journey().leave(now);
            return self.next(client);
        };
        let node = me.node;
        // a client that leaves drops its lease without a word, now and then
        if client.is_multiple_of(2) {
            drop(attempt);
        } else {
            let step = me.journey().end(attempt, How::Left, now);
            assert!(matches!(step, Step::Stop(Ending::Left)), "{step:?}");
        }
        let events = me.journey().take_events();
        self.nodes[node].running.retain(|other| *other != client);
        self.watch.ended(client, node, Outcome::ClientGone, seconds);
        self.saw(events);
        self.next(client);
    }

    fn stop(&mut self, client: usize, ending: Ending) {
        match ending {
            Ending::Whole => self.done(client, 200),
            Ending::Failed(failure) => self.done(client, failure.status),
            Ending::Left | Ending::Broken { .. } => {
                panic!("its client is there, and had nothing: {ending:?}")
            }
        }
    }

    /// The client has its answer.
    fn done(&mut self, client: usize, status: u16) {
        if status < 500 {
            self.told.served += 1;
            self.answered(client);
        } else {
            self.failed(client, status);
        }
    }

    fn failed(&mut self, client: usize, status: u16) {
        self.told.failed += 1;
        self.was_it_in_vain(client, status);
        self.answered(client);
    }

    fn answered(&mut self, client: usize) {
        let retry = &self.plan.conf.retry;
        let me = &self.clients[client];
        let sent = me.sent();
        assert!(sent <= retry.attempts, "sent {sent} times");
        // each time that it reaches a node it may be stranded anew
        let times = sent as usize + 1;
        let wait_max = self.plan.wait_max();
        let rounds = times * (wait_max as usize + 2);
        assert!(me.refused as usize <= rounds * self.nodes.len(), "refused {} times", me.refused);
        let waited = me.queued().as_secs_f64();
        assert!(waited <= times as f64 * wait_max + 0.001, "waited {waited} s");
        self.next(client);
    }

    /// No request may fail while a node that was fit all the time could have served it.
    fn was_it_in_vain(&mut self, client: usize, status: u16) {
        let me = &self.clients[client];
        let retry = &self.plan.conf.retry;
        let nobody_waits = status == 504 && self.plan.conf.queue.timeout.is_zero();
        let excused = me.nature.poison
            || nobody_waits
            || me.deaths() >= retry::DEATHS_MAX
            || (me.sent() >= retry.attempts && retry.attempts as usize <= self.nodes.len());
        if excused {
            return;
        }
        let fit = self.watch.nodes.iter().position(|node| node.last_unfit < me.started);
        assert!(fit.is_none(), "{status}, though node {fit:?} was fit all the time: {me:?}");
    }

    /// Right after a tick nobody sleeps while a node of use had room at the tick before, or a wake-up was lost. A node that
    /// has failed the request is of no use while another is left, be it full, or while a response is held back; one that
    /// said it is full takes its line in bit by bit.
    pub(crate) fn nobody_sleeps_on(&self) {
        let before = self.last_tick - 0.001;
        for client in &self.waiting {
            let me = &self.clients[*client];
            let Some(wait) = me.waits.as_ref().filter(|wait| wait.began < before) else { continue };
            let is_left =
                |(node, seen): (usize, &Seen)| !me.seen.contains(&node) && seen.state != NodeState::Ejected;
            let is_left = self.watch.nodes.iter().enumerate().any(is_left);
            let has_room = |node: &usize| {
                let is_of_use = !me.seen.contains(node) || !me.holds && !is_left;
                let fit_since = self.watch.nodes[*node].last_unfit;
                let is_fit = self.watch.is_fit(*node, before);
                // its line has come to an end by then
                let was_told = me.told.contains(node) && fit_since < before - LINE;
                is_fit && (is_of_use && fit_since < before || was_told)
            };
            let node = (0..self.nodes.len()).find(has_room);
            assert!(
                node.is_none(),
                "client {client} sleeps since {}, though node {node:?} has room",
                wait.began
            );
        }
    }

    fn next(&mut self, client: usize) {
        self.clients[client].number += 1;
        let after = self.pause(client);
        self.after(after, Due::Next { client });
    }
}

/// The report to the watcher of an answer with this status.
trait OfStatus {
    fn of_status(status: u16) -> Outcome;
}

impl OfStatus for Outcome {
    fn of_status(status: u16) -> Self {
        match status {
            500 => Self::Http5xx,
            503 => Self::Busy,
            _ => Self::Ok,
        }
    }
}
