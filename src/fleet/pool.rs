//! A pool's nodes behind one lock, so that choosing a node and taking a slot on it is one step.
//!
//! The lock is held for some hundred nanoseconds, and never across an await. With any number
//! of threads two equal nodes therefore never differ by more than one request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_listener::EventListener;
use parking_lot::Mutex;

use super::checks::CheckAnswer;
use super::counters::Resumed;
use super::event::{Change, Event};
use super::health::Report;
use super::key::{Charge, Key, Question, QuestionKind, Refusal, Slot};
use super::node::NodeId;
use super::snapshot::PoolSnapshot;
use super::table::Table;
use super::waiting::Waiting;
use crate::config;
use crate::outcome::Outcome;
use crate::retry::RetryReason;

/// A group of nodes that serve the same models.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    table: Mutex<Table>,
    waiting: Waiting,
}

/// An attempt that has ended, as its pool sees it.
#[derive(Debug)]
pub struct Settled {
    /// When the node died, if this attempt shows that it did: its other attempts may have shown it first.
    pub died_at: Instant,
    /// The change of the node's state, if there is one.
    pub event: Option<Event>,
    /// The failure, if it is one.
    pub charge: Option<Charge>,
}

impl Pool {
    pub fn new(conf: &config::Pool, now: Instant) -> Self {
        Self {
            name: conf.name.as_str().into(),
            table: Mutex::new(Table::new(conf, now)),
            waiting: Waiting::new(),
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Takes over the new configuration: nodes that stay keep everything, new ones join with slow start, removed
    /// ones finish what they have.
    pub fn configure(&self, conf: &config::Pool, now: Instant) -> Vec<Event> {
        let events = self.table.lock().configure(conf, now);
        self.waiting.wake_all();
        events
    }

    /// No new requests to any node: the pool is no longer in the config. To be called after the swap: a request that is
    /// refused here looks for a newer generation.
    pub fn retire(&self, now: Instant) -> Vec<Event> {
        let events = self.table.lock().retire(now);
        self.waiting.wake_all();
        events
    }

    /// Chooses the best node that is not in `tried` and takes a slot on it, in one step.
    pub(super) fn take(&self, tried: &[Key], now: Instant) -> Result<Slot, Refusal> {
        let mut table = self.table.lock();
        let place = table.choose(tried, now)?;
        Ok(table.take(place, now))
    }

    /// Resolves when a slot was given back or a node changed its state. To be called before the [`Self::lease`] that it
    /// waits for, or the change may fall in between. A request that has `tried` nodes is woken by itself.
    pub fn changed(&self, tried: &[Key]) -> EventListener {
        self.waiting.changed(tried)
    }

    /// When the first of the nodes that refused a connection may be taken again.
    pub fn hold_ends(&self, now: Instant) -> Option<Instant> {
        self.table.lock().hold_ends(now)
    }

    pub(super) fn good_head(&self, slot: &Slot, now: Instant) -> Option<Event> {
        let change = |table: &mut Table| table.node(slot.key)?.health.good_head(slot.ticket, slot.epoch, now);
        self.change(slot.key, now, change)
    }

    pub(super) fn busy(&self, key: Key, retry_after: Option<Duration>, now: Instant) {
        let change = |table: &mut Table| {
            table.node(key)?.health.busy(retry_after, now);
            None
        };
        self.change(key, now, change);
    }

    /// Counts the outcome and gives the slot back. `has_worked` says that it was good work.
    pub(super) fn settle(&self, slot: &Slot, outcome: Outcome, has_worked: bool, now: Instant) -> Settled {
        let Slot { key, ticket, epoch, .. } = *slot;
        let report = Report { ticket, epoch, outcome };
        let mut table = self.table.lock();
        // before the report is counted: if that ejects the node, this death would be merged with earlier ones
        let died_at = table.died_at(key, now);
        let event = table.end(key, report, has_worked, now);
        drop(table);
        self.wake(event.as_ref());
        let charge = outcome.is_failure().then_some(Charge { key, ticket, epoch, outcome, at: now });
        Settled { died_at, event, charge }
    }

    pub(super) fn died_at(&self, key: Key, now: Instant) -> Instant {
        self.table.lock().died_at(key, now)
    }

    pub(super) fn pause_stall(&self, slot: &Slot) {
        if let Some(node) = self.table.lock().node(slot.key) {
            node.at_work.remove(&slot.ticket);
        }
    }

    pub(super) fn resume_stall(&self, slot: &Slot, now: Instant) {
        self.table.lock().resume_stall(slot, now);
    }

    pub(super) fn count(&self, key: Key, outcome: Outcome) {
        if let Some(node) = self.table.lock().node(key) {
            node.count(outcome);
        }
    }

    pub(super) fn abandon(&self, slot: &Slot) {
        self.table.lock().abandon(slot.key, slot.ticket);
        self.wake(None);
    }

    /// One slot is free, and perhaps its node has changed.
    fn wake(&self, event: Option<&Event>) {
        match event {
            Some(_) => self.waiting.wake_all(),
            None => self.waiting.wake(1),
        }
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
            self.waiting.wake_all();
        } else if room > 0 {
            self.waiting.wake(room);
        }
        events
    }

    /// The nodes that are to be asked now. Each must be answered with [`Self::answer`].
    pub fn questions(&self, now: Instant) -> Vec<Question> {
        self.table.lock().questions(now)
    }

    /// The answer to a question.
    pub fn answer(&self, question: &Question, answer: impl Into<CheckAnswer>, now: Instant) -> Option<Event> {
        let answer = answer.into();
        self.change(question.key, now, |table| match question.kind {
            QuestionKind::Back => {
                table.node(question.key)?.health.answered(question.epoch, answer == CheckAnswer::Passed, now)
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
    pub fn names(&self) -> Vec<(Key, Arc<NodeId>)> {
        self.table.lock().names()
    }

    /// A request has been answered, with this status code.
    pub fn count_request(&self, status: u16) {
        self.table.lock().counters.count_request(status);
    }

    pub fn count_retry(&self, why: RetryReason) {
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

    /// Retired while it had no requests, so that nothing of it is left to show.
    pub fn has_left(&self) -> bool {
        self.table.lock().has_left()
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
            self.waiting.wake_all();
        }
        event
    }
}
