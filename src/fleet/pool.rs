//! A pool's nodes behind one lock, so that choosing a node and taking a slot on it is one step.
//!
//! The lock is held for some hundred nanoseconds, and never across an await. With any number
//! of threads two equal nodes therefore never differ by more than one request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_listener::{EventListener, IntoNotification};
use parking_lot::Mutex;

use super::checks::Answer;
use super::counters::Resumed;
use super::event::{Change, Event};
use super::health::Report;
use super::lease::{Charge, Key, Lease};
use super::snapshot::PoolSnapshot;
use super::table::Table;
use crate::config;
use crate::outcome::Outcome;
use crate::retry::Again;

/// A group of nodes that serve the same models.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    table: Mutex<Table>,
    /// Who can use any slot.
    unbound: event_listener::Event,
    /// Who has tried nodes, and may have no use for a slot on those.
    choosy: event_listener::Event,
}

/// Why no node could be leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This request has tried every node that could be used.
    AllTried,
    /// Nodes could be used, but for `max_in_flight`.
    Full,
    /// No node can be reached; `until`: when time alone may change that.
    Unreachable { until: Option<Instant> },
    /// The pool is no longer in the config.
    Retired,
}

/// A node that is to be asked whether it is there.
#[derive(Clone, Debug)]
pub struct Question {
    pub key: Key,
    pub node: Arc<super::NodeId>,
    pub address: SocketAddr,
    pub kind: QuestionKind,
    /// Whether it has attempts that can show that it is at work.
    pub has_work: bool,
    /// The node's epoch when it was asked.
    pub(super) epoch: u64,
    pub(super) sent: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuestionKind {
    /// Ejected: does it accept connections (and pass its check, if it has one)?
    Back,
    /// The active check of a node, whatever its state.
    Check,
}

impl Pool {
    pub fn new(conf: &config::Pool, now: Instant) -> Self {
        Self {
            name: conf.name.as_str().into(),
            table: Mutex::new(Table::new(conf, now)),
            unbound: event_listener::Event::new(),
            choosy: event_listener::Event::new(),
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Takes over the new configuration: nodes that stay keep everything, new ones join with slow start, removed
    /// ones finish what they have.
    pub fn configure(&self, conf: &config::Pool, now: Instant) -> Vec<Event> {
        let events = self.table.lock().configure(conf, now);
        self.wake_all();
        events
    }

    /// No new requests to any node: the pool is no longer in the config.
    pub fn retire(&self, now: Instant) -> Vec<Event> {
        let events = self.table.lock().retire(now);
        self.wake_all();
        events
    }

    /// Chooses the best node that is not in `tried` and takes a slot on it.
    pub fn lease(self: &Arc<Self>, tried: &[Key], now: Instant) -> Result<Lease, Refusal> {
        let mut table = self.table.lock();
        let place = table.choose(tried, now)?;
        Ok(table.take(self, place, now))
    }

    /// For a request that waits for a node: one that it has not tried if there is any, else the one whose try is
    /// longest ago; a node that failed it is better than none. `tried` is in the order of their last tries.
    pub fn lease_again(self: &Arc<Self>, tried: &[Key], now: Instant) -> Result<Lease, Refusal> {
        let from_oldest = (0..tried.len()).map(|from| self.lease(&tried[from..], now));
        let found = from_oldest.into_iter().find(|result| !matches!(result, Err(Refusal::AllTried)));
        found.unwrap_or_else(|| self.lease(&[], now))
    }

    /// Resolves when a slot was given back or a node changed its state. To be called before the [`Self::lease`] that it
    /// waits for, or the change may fall in between. One that has `tried` nodes listens apart: it would use up the word of
    /// a slot that it cannot take, and another that can would sleep on.
    pub fn changed(&self, tried: &[Key]) -> EventListener {
        if tried.is_empty() { self.unbound.listen() } else { self.choosy.listen() }
    }

    /// When the first of the nodes that refused a connection may be taken again.
    pub fn hold_ends(&self, now: Instant) -> Option<Instant> {
        self.table.lock().hold_ends(now)
    }

    pub(super) fn good_head(&self, lease: &Lease, now: Instant) -> Option<Event> {
        lease.progress(now);
        let change = |table: &mut Table| {
            let node = table.node(lease.key)?;
            node.health.good_head(lease.ticket, lease.epoch, now)
        };
        self.change(lease.key, now, change)
    }

    pub(super) fn busy(&self, lease: &Lease, retry_after: Option<Duration>, now: Instant) {
        let change = |table: &mut Table| {
            table.node(lease.key)?.health.busy(retry_after, now);
            None
        };
        self.change(lease.key, now, change);
    }

    pub(super) fn settle(
        &self,
        lease: &Lease,
        outcome: Outcome,
        now: Instant,
    ) -> (Option<Event>, Option<Charge>) {
        let Lease { key, ticket, epoch, .. } = *lease;
        let report = Report { ticket, epoch, outcome };
        if outcome == Outcome::Ok {
            lease.progress(now);
        }
        let mut table = self.table.lock();
        let event = table.end(key, report, lease.has_worked, now);
        drop(table);
        self.wake(event.as_ref());
        let charge = outcome.is_failure().then_some(Charge { key, ticket, epoch, outcome, at: now });
        (event, charge)
    }

    pub(super) fn died_at(&self, lease: &Lease, now: Instant) -> Instant {
        self.table.lock().node(lease.key).map_or(now, |node| node.health.died_at(now))
    }

    pub(super) fn may_be_silent(&self, lease: &Lease) {
        if let Some(node) = self.table.lock().node(lease.key) {
            node.at_work.remove(&lease.ticket);
        }
    }

    pub(super) fn is_at_work(&self, lease: &Lease, now: Instant) {
        self.table.lock().is_at_work(lease, now);
    }

    pub(super) fn count(&self, lease: &Lease, outcome: Outcome) {
        if let Some(node) = self.table.lock().node(lease.key) {
            node.count(outcome);
        }
    }

    pub(super) fn abandon(&self, lease: &Lease) {
        self.table.lock().abandon(lease.key, lease.ticket);
        self.wake(None);
    }

    /// One slot is free: one waiter of those that can use any, and all that may be able to. A node changed: everybody.
    fn wake(&self, event: Option<&Event>) {
        if event.is_some() {
            self.wake_all();
        } else {
            // plain `notify(1)` does nothing while an earlier one is still on its way to its waiter
            self.unbound.notify(1.additional());
            self.choosy.notify(usize::MAX);
        }
    }

    fn wake_all(&self) {
        self.unbound.notify(usize::MAX);
        self.choosy.notify(usize::MAX);
    }

    /// The failure was the request's fault: another node gave it the same answer.
    pub fn take_back(&self, charge: Charge, now: Instant) -> Option<Event> {
        self.change(charge.key, now, |table| {
            let policy = table.policy().clone();
            table.node(charge.key)?.health.take_back(charge.ticket, &policy, now)
        })
    }

    /// The failure was the node's fault after all: a third node served the request. It counts from the time at which it
    /// happened; what is older than `fail_timeout` by now does not count.
    pub fn charge_again(&self, charge: Charge, now: Instant) -> Option<Event> {
        let report = Report { ticket: charge.ticket, epoch: charge.epoch, outcome: charge.outcome };
        self.change(charge.key, now, |table| table.charge_again(charge.key, report, charge.at, now))
    }

    /// What time alone has brought about since the last call.
    pub fn tick(&self, now: Instant) -> Vec<Event> {
        let (events, room) = self.table.lock().tick(now);
        if !events.is_empty() {
            self.wake_all();
        } else if room > 0 {
            self.unbound.notify(room.additional());
            self.choosy.notify(usize::MAX);
        }
        events
    }

    /// The nodes that are to be asked now. Each must be answered with [`Self::answer`].
    pub fn questions(&self, now: Instant) -> Vec<Question> {
        self.table.lock().questions(now)
    }

    /// The answer to a question.
    pub fn answer(&self, question: &Question, answer: impl Into<Answer>, now: Instant) -> Option<Event> {
        let answer = answer.into();
        self.change(question.key, now, |table| match question.kind {
            QuestionKind::Back => {
                table.node(question.key)?.health.answered(question.epoch, answer == Answer::Passed, now)
            }
            QuestionKind::Check => table.checked(question.key, answer, question.sent, now),
        })
    }

    /// A node's name was looked up; `None`: it leads nowhere, and the last address stays in use if there was one.
    pub fn resolved(&self, key: Key, address: Option<SocketAddr>, now: Instant) -> Option<Event> {
        self.change(key, now, |table| {
            let policy = table.policy().clone();
            let node = table.node(key)?;
            let first = node.resolved.is_none() && address.is_some();
            node.resolved = address.or(node.resolved);
            if first { node.health.resolved(&policy, now) } else { None }
        })
    }

    /// Nodes whose address is a name, with the key to report its address with.
    pub fn names(&self) -> Vec<(Key, Arc<super::NodeId>)> {
        self.table.lock().names()
    }

    /// A request has been answered, with this status code.
    pub fn count_request(&self, status: u16) {
        self.table.lock().counters.count_request(status);
    }

    pub fn count_retry(&self, why: Again) {
        self.table.lock().counters.count_retry(why);
    }

    pub fn count_resume(&self, resumed: Resumed) {
        self.table.lock().counters.count_resume(resumed);
    }

    /// A request was forwarded once because its body was too large to be kept.
    pub fn count_unkept_body(&self) {
        self.table.lock().counters.unkept_bodies += 1;
    }

    pub fn snapshot(&self, now: Instant) -> PoolSnapshot {
        self.table.lock().snapshot(&self.name, now)
    }

    #[cfg(test)]
    pub(super) fn table(&self) -> parking_lot::MutexGuard<'_, Table> {
        self.table.lock()
    }

    /// Whether nothing is left to do for a pool that was removed.
    pub fn is_idle(&self) -> bool {
        self.table.lock().is_idle()
    }

    /// Runs `change` on the table; if the node's state changed, counts, remembers and returns that.
    fn change(
        &self,
        key: Key,
        now: Instant,
        change: impl FnOnce(&mut Table) -> Option<Change>,
    ) -> Option<Event> {
        let mut table = self.table.lock();
        let change = change(&mut table);
        let event = table.note(key, change, now);
        drop(table);
        if event.is_some() {
            self.wake_all();
        }
        event
    }
}
