//! The attempt loop, as the adapter runs it: acquire, send, watch, settle; again, or end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use evenkeel::classify;
use evenkeel::fleet::{Charge, Lease, Refusal};
use evenkeel::outcome::Outcome;
use evenkeel::retry::{self, Verdict};

use crate::client::Wait;
use crate::node::{DYING, Weather};
use crate::world::{Due, World};

impl World {
    pub fn acquire(&mut self, client: usize) {
        let now = self.now();
        let wait = self.plan.conf.retry.wait;
        let me = &mut self.clients[client];
        if let Some(ends) = me.deaths.pause_ends(wait, now) {
            let (number, pause) = (me.number, ends - now);
            me.pauses = true;
            me.queued += pause;
            return self.after(pause.as_secs_f64(), Due::PauseOver { client, number });
        }
        me.pauses = false;
        match self.pool.lease(&self.clients[client].tried, now) {
            Ok(lease) => return self.begin(client, lease),
            Err(Refusal::Full) => {}
            Err(_) => {
                if let Some(status) = self.clients[client].held {
                    return self.done(client, status);
                }
            }
        }
        let since = *self.clients[client].stranded.get_or_insert(now);
        let deadline = since + self.plan.conf.retry.wait;
        if now > deadline {
            let status = self.clients[client].held.unwrap_or(503);
            return self.done(client, status);
        }
        let listener = self.pool.changed(&self.clients[client].tried);
        self.clients[client].waits = Some(Wait { began: now, deadline, listener });
        self.waiting.push(client);
        self.look_again(client);
    }

    pub fn is_woken(&mut self, client: usize) -> bool {
        let Some(wait) = &mut self.clients[client].waits else { return false };
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut wait.listener).poll(&mut context) == Poll::Ready(())
    }

    /// One turn of the loop in `wait`.
    pub fn look_again(&mut self, client: usize) {
        let now = self.now();
        let listener = self.pool.changed(&self.clients[client].tried);
        let Some(wait) = &mut self.clients[client].waits else { return };
        wait.listener = listener;
        let (began, deadline) = (wait.began, wait.deadline);
        let me = &self.clients[client];
        let found = if me.held.is_some() {
            self.pool.lease(&me.tried, now)
        } else if now < deadline {
            self.pool.lease_again(&me.tried, now)
        } else {
            // the last chance
            self.pool.lease_again(&me.tried, now).or_else(|_| self.pool.lease(&[], now))
        };
        let refusal = match found {
            Ok(lease) => {
                self.stop_waiting(client);
                return self.begin(client, lease);
            }
            Err(refusal) => refusal,
        };
        if now >= deadline || (refusal != Refusal::Full && self.clients[client].held.is_some()) {
            self.stop_waiting(client);
            let status = self.clients[client].held.unwrap_or(503);
            return self.done(client, status);
        }
        assert!(now - began <= self.plan.conf.retry.wait, "waits for ever");
        let wake = match refusal {
            Refusal::Unreachable { until: Some(until) } => until.min(deadline),
            _ => deadline,
        };
        let number = self.clients[client].number;
        self.after((wake - now).as_secs_f64(), Due::Look { client, number });
    }

    fn stop_waiting(&mut self, client: usize) {
        let now = self.now();
        if let Some(wait) = self.clients[client].waits.take() {
            self.clients[client].queued += now - wait.began;
            self.waiting.retain(|other| *other != client);
        }
    }

    fn begin(&mut self, client: usize, lease: Lease) {
        let node = usize::from(lease.address().port()) - 1;
        let (now, lease_at) = (self.seconds(), self.now());
        let share = || self.pool.snapshot(lease_at).nodes[node].share;
        self.watch.leased(client, node, &self.clients[client].seen, share, now);
        self.told.attempts += 1;
        let me = &mut self.clients[client];
        me.lease = Some(lease);
        me.node = node;
        me.epoch = self.watch.nodes[node].ejections;
        if !me.seen.contains(&node) {
            me.seen.push(node);
        }
        self.nodes[node].running.push(client);
        self.send(client);
    }

    /// What becomes of it at the node.
    fn send(&mut self, client: usize) {
        let me = &mut self.clients[client];
        me.serial += 1;
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
                let now = self.now();
                let me = &mut self.clients[client];
                me.sent += 1;
                me.sent_at = Some(now);
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

    pub fn head(&mut self, client: usize, status: u16) {
        let now = self.now();
        if self.nodes[self.clients[client].node].weather == Weather::Hung {
            return;
        }
        let retry = &self.plan.conf.retry;
        let outcome = classify::status(status, retry.on.status(status));
        self.clients[client].status = Some(status);
        let lease = self.clients[client].lease.as_ref().expect("an attempt is under way");
        let event = match outcome {
            Outcome::Ok => lease.good_head(now),
            Outcome::Busy => {
                lease.busy(None, now);
                None
            }
            _ => None,
        };
        self.saw(event);
        if outcome == Outcome::Ok && status < 400 {
            self.served(client);
        }
        let facts = self.clients[client].facts(outcome, now);
        match retry::decide(&self.plan.conf.retry, &facts) {
            Verdict::Again(_) => {
                self.clients[client].held = Some(status);
                self.settle(client, outcome);
                self.acquire(client);
            }
            _ if status == 200 => {
                self.clients[client].began = self.clients[client].nature.streams;
                // its node may have been lost while the head was on its way; then the end does not come
            }
            _ => {
                self.settle(client, outcome);
                self.done(client, status);
            }
        }
    }

    pub fn fails(&mut self, client: usize, outcome: Outcome) {
        let me = &self.clients[client];
        if outcome == Outcome::Timeout && me.status.is_some() {
            return;
        }
        if outcome == Outcome::Stale {
            let lease = me.lease.as_ref().expect("an attempt is under way");
            lease.count(Outcome::Stale);
            self.clients[client].sent -= 1;
            return self.send(client);
        }
        if me.began {
            self.settle(client, outcome);
            return self.done(client, 200);
        }
        let facts = me.facts(outcome, self.now());
        let verdict = retry::decide(&self.plan.conf.retry, &facts);
        self.settle(client, outcome);
        match verdict {
            Verdict::Again(_) => self.acquire(client),
            Verdict::Fresh => unreachable!("handled above"),
            Verdict::Stop(_) => self.done(client, if outcome == Outcome::Timeout { 504 } else { 502 }),
        }
    }

    pub fn leaves(&mut self, client: usize) {
        self.stop_waiting(client);
        self.clients[client].pauses = false;
        if self.clients[client].lease.is_some() {
            self.settle(client, Outcome::ClientGone);
        }
        self.next(client);
    }

    pub fn settle(&mut self, client: usize, outcome: Outcome) {
        let (now, seconds) = (self.now(), self.seconds());
        let me = &mut self.clients[client];
        let Some(lease) = me.lease.take() else { return };
        let node = me.node;
        me.tried.retain(|key| *key != lease.key());
        me.tried.push(lease.key());
        if outcome != Outcome::Connect {
            me.stranded = None;
        }
        me.note_death(&lease, outcome, now);
        if outcome == Outcome::Connect {
            me.refused += 1;
            // news of a node that was ejected since it began is old
            if me.epoch == self.watch.nodes[node].ejections {
                self.watch.refused(node, seconds);
            }
        }
        self.nodes[node].running.retain(|other| *other != client);
        self.watch.ended(client, node, outcome, seconds);
        // a client that leaves drops its lease without a word, now and then
        let (event, charge) = if outcome == Outcome::ClientGone && client.is_multiple_of(2) {
            drop(lease);
            (None, None)
        } else {
            let settled = lease.settle(outcome, now);
            (settled.event, settled.charge)
        };
        self.saw(event);
        if let (Outcome::Http5xx, Some(charge)) = (outcome, charge) {
            self.suspect(client, charge);
        }
        self.clients[client].status = None;
    }

    fn suspect(&mut self, client: usize, charge: Charge) {
        let now = self.now();
        let me = &mut self.clients[client];
        me.suspects.push(charge);
        if me.suspects.iter().any(|suspect| suspect.node() != charge.node()) {
            for suspect in me.suspects.clone() {
                let event = self.pool.take_back(suspect, now);
                self.saw(event);
            }
        }
    }

    fn served(&mut self, client: usize) {
        if self.clients[client].suspects.len() > 1 {
            for suspect in std::mem::take(&mut self.clients[client].suspects) {
                self.charge_again(suspect);
            }
        }
    }

    fn charge_again(&mut self, suspect: Charge) {
        let event = self.pool.charge_again(suspect, self.now());
        self.saw(event);
    }

    /// The client has its answer.
    pub fn done(&mut self, client: usize, status: u16) {
        let me = &self.clients[client];
        let good = status < 500 && !(status == 200 && me.lease.is_some());
        if good {
            self.told.served += 1;
        } else {
            self.told.failed += 1;
            self.was_it_in_vain(client, status);
        }
        let retry = &self.plan.conf.retry;
        let me = &self.clients[client];
        assert!(me.sent <= retry.attempts, "sent {} times", me.sent);
        // each time that it reaches a node it may be stranded anew
        let times = me.sent as usize + 1;
        let rounds = times * (retry.wait.as_secs_f64() as usize + 2);
        assert!(me.refused as usize <= rounds * self.nodes.len(), "refused {} times", me.refused);
        let waited = me.queued.as_secs_f64();
        assert!(waited <= times as f64 * retry.wait.as_secs_f64() + 0.001, "waited {waited} s");
        self.next(client);
    }

    /// No request may fail while a node that was fit all the time could have served it.
    fn was_it_in_vain(&mut self, client: usize, status: u16) {
        let me = &self.clients[client];
        let retry = &self.plan.conf.retry;
        let excused = me.nature.poison
            || me.deaths.count() >= retry::DEATHS_MAX
            || (me.sent >= retry.attempts && retry.attempts as usize <= self.nodes.len());
        if excused {
            return;
        }
        let fit = self.watch.nodes.iter().position(|node| node.last_unfit < me.started);
        assert!(fit.is_none(), "{status}, though node {fit:?} was fit all the time: {me:?}");
    }

    fn next(&mut self, client: usize) {
        self.clients[client].number += 1;
        let after = self.pause(client);
        self.after(after, Due::Next { client });
    }
}
