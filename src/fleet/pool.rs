//! A pool: its nodes behind one lock, so that choosing a node and taking a slot on it is one step.
//!
//! The lock is never held across an await. So even with many threads, two equal nodes never differ by more than one request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::checks::CheckAnswer;
use super::counters::Resumed;
use super::event::{Change, Event};
use super::health::Report;
use super::key::{Charge, Delivered, Key, Question, QuestionKind, Refusal, Slot};
use super::listed::Lists;
use super::node::NodeId;
use super::order::{Order, Refused};
use super::skips::{Skipped, Subject};
use super::snapshot::{Load, PoolSnapshot, Standing};
use super::stored::{StoredId, StoredIds};
use super::table::Table;
use super::timing::{Ended, Finished};
use super::want::Profile;
use crate::config::{self, Balance};
use crate::outcome::Outcome;
use crate::retry::RetryReason;
use crate::sources::{Merged, Sources};

/// A group of nodes that serve the same models.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    pub(super) table: Mutex<Table>,
    /// Locked before the table, and by nothing on a request's way.
    pub(super) sources: Mutex<Sources>,
    /// True if there is any skip, readable without the lock: a healthy fleet pays nothing for them.
    has_skips: AtomicBool,
    /// True if it chooses by work, readable without the lock.
    weighs: AtomicBool,
    /// Used by requests of the Responses API alone.
    stored: Mutex<StoredIds>,
    pub(super) lists: Mutex<Lists>,
    /// Written once for each request and read by `/metrics` alone, so that neither holds up the leases.
    ended: Mutex<Ended>,
}

/// The results of settling an attempt.
#[derive(Debug)]
pub struct Settled {
    /// The time of the node's death, if this attempt shows that it died. Other attempts may have shown it
    /// earlier.
    pub died_at: Instant,
    /// The change of the node's state, if any.
    pub event: Option<Event>,
    /// The charge against the node, if the outcome is a failure.
    pub charge: Option<Charge>,
}

impl Pool {
    pub fn new(conf: &config::Pool, now: Instant) -> Self {
        let name: Arc<str> = conf.name.as_str().into();
        Self {
            ended: Mutex::new(Ended::of(Arc::clone(&name))),
            name,
            table: Mutex::new(Table::new(conf, now)),
            has_skips: AtomicBool::new(false),
            weighs: AtomicBool::new(conf.balance == Balance::LeastWork),
            sources: Mutex::new(Sources::of(conf, now)),
            stored: Mutex::default(),
            lists: Mutex::default(),
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Applies a new configuration: nodes that stay keep their state, new ones join with slow start, removed
    /// ones finish their requests. Sources that stay keep the nodes that they have found.
    pub fn configure(&self, conf: &config::Pool, now: Instant) -> Vec<Event> {
        self.weighs.store(conf.balance == Balance::LeastWork, Ordering::Relaxed);
        let events = {
            // one list after the other
            let mut sources = self.sources.lock();
            sources.configure(conf);
            let Merged { nodes, .. } = sources.merge();
            self.change_all(now, |table| table.configure(conf, &nodes, now))
        };
        self.forget_gone();
        events
    }

    /// Stops new requests: the pool is no longer in the config. Call this after the new generation is in use,
    /// because a request that is refused here looks for it.
    pub fn retire(&self, now: Instant) -> Vec<Event> {
        self.change_all(now, |table| table.retire(now))
    }

    /// Does what an operator orders. The event, if that has changed anything.
    pub fn obey(&self, node: &str, order: Order, now: Instant) -> Result<Option<Event>, Refused> {
        self.change_all(now, |table| table.obey(node, order, now))
    }

    /// Chooses the best node that is not in `tried` and takes a slot on it, in one step.
    pub(super) fn take(&self, tried: &[Key], profile: Profile, now: Instant) -> Result<Slot, Refusal> {
        self.in_turn(now, |table| {
            let chosen = table.choose(tried, profile, now)?;
            Ok(table.take(chosen, profile, now))
        })
    }

    /// A number that changes with everything that may change what waiting requests can use.
    pub fn news(&self) -> u64 {
        self.table.lock().queue.news()
    }

    /// The time that a request would wait which came now, as fast as slots have been coming back.
    pub fn queue_time(&self) -> Duration {
        self.table.lock().queue.time()
    }

    /// Lets the waiting requests go first.
    pub(super) fn in_turn<T>(&self, now: Instant, look: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.table.lock();
        let mut woken = table.grant(now);
        let found = look(&mut table);
        if table.queue.due().is_some() {
            // the request that has just come has made it so, and the reserve may have room
            woken.extend(table.grant(now));
        }
        drop(table);
        woken.into_iter().for_each(Waker::wake);
        found
    }

    /// A change that may concern every waiting request.
    pub(super) fn change_all<T>(&self, now: Instant, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.table.lock();
        let result = change(&mut table);
        Self::hand_over(table, true, now);
        result
    }

    /// Gives waiting requests the slots that a change has left free. `is_news`: the rest look again, too.
    pub(super) fn hand_over(mut table: MutexGuard<'_, Table>, is_news: bool, now: Instant) {
        let mut woken = table.grant(now);
        if is_news {
            woken.extend(table.queue.tell_all());
        }
        drop(table);
        woken.into_iter().for_each(Waker::wake);
    }

    /// The node has a stored response with this id.
    pub fn store(&self, id: StoredId, key: Key) {
        self.stored.lock().insert(id, key);
    }

    /// The node that has the stored response, as long as it is in the pool.
    pub fn stored(&self, id: StoredId) -> Option<Key> {
        let key = self.stored.lock().find(id)?;
        self.table.lock().is_member(key).then_some(key)
    }

    /// The name of a node.
    pub fn node_name(&self, key: Key) -> Option<Arc<str>> {
        self.table.lock().node(key).map(|node| Arc::clone(&node.id.name))
    }

    /// The earliest time at which one of these nodes, which said they are full, may be asked again.
    pub fn line_opens(&self, lines: &[Key], now: Instant) -> Option<Instant> {
        self.table.lock().line_opens(lines, now)
    }

    /// A node is up, be it full.
    pub fn is_up(&self, now: Instant) -> bool {
        self.table.lock().is_up(now)
    }

    /// There is a node that the request has not tried, and that has room for it now.
    pub fn has_room(&self, tried: &[Key], profile: Profile, now: Instant) -> bool {
        self.table.lock().has_room(tried, profile, now)
    }

    /// The node is out, and its check has lost it.
    pub(super) fn is_lost(&self, key: Key) -> bool {
        self.table.lock().is_lost(key)
    }

    /// There is a node besides these, whatever its state.
    pub fn has_others(&self, than: &[Key]) -> bool {
        self.table.lock().has_others(than)
    }

    /// Nodes may be skipped for some model.
    pub fn has_skips(&self) -> bool {
        self.has_skips.load(Ordering::Relaxed)
    }

    /// The nodes that are known to refuse this model or this client.
    pub fn refusing(&self, subject: &Subject, now: Instant) -> Vec<Key> {
        self.with_skips(|table| table.skips.refusing(subject, now)).nodes
    }

    /// The nodes that a request skips which is to be sent now. For those left out whose time is over, it is the trial.
    pub fn skipped(&self, subject: &Subject, now: Instant) -> Skipped {
        self.with_skips(|table| table.skips.skipped(subject, now))
    }

    /// The node has refused this model: it is skipped for a moment, until another node's answer is known.
    pub(super) fn doubt(&self, key: Key, subject: &Subject, status: u16, now: Instant) {
        self.learn(|table| table.skips.doubt(key, subject, status, now), |is_new| *is_new);
    }

    /// Ends a doubt without a verdict.
    pub(super) fn withdraw_doubt(&self, key: Key, subject: &Subject, status: u16) {
        self.learn(|table| table.skips.withdraw(key, subject, status), |is_over| *is_over);
    }

    /// All nodes refuse the model: for a moment one of them speaks for all.
    pub(super) fn agree(&self, key: Key, subject: &Subject, status: u16, now: Instant) {
        self.learn(|table| table.skips.agree(key, subject, status, now), |is_new| *is_new);
    }

    /// The node serves the model.
    pub fn served(&self, key: Key, subject: &Subject) {
        self.learn(|table| table.skips.served(key, subject), |is_over| *is_over);
    }

    /// Another node serves the model that this one refused.
    pub(super) fn confirm(&self, key: Key, subject: &Subject, status: u16, now: Instant) -> Option<Event> {
        self.learn(|table| table.confirm(key, subject, status, now), Option::is_some)
    }

    /// Skips change: if that is news, waiting requests look again, because they can use other nodes than before.
    fn learn<T>(&self, change: impl FnOnce(&mut Table) -> T, is_news: impl FnOnce(&T) -> bool) -> T {
        let result = self.with_skips(change);
        if is_news(&result) {
            let woken = self.table.lock().queue.tell_all();
            woken.into_iter().for_each(Waker::wake);
        }
        result
    }

    fn with_skips<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.table.lock();
        let result = change(&mut table);
        self.has_skips.store(!table.skips.is_empty(), Ordering::Relaxed);
        result
    }

    /// The earliest time at which a node that refused a connection may be used again.
    pub fn hold_ends(&self, now: Instant) -> Option<Instant> {
        self.table.lock().hold_ends(now)
    }

    pub(super) fn good_head(&self, slot: &Slot, now: Instant) -> Option<Event> {
        self.change(slot.key, now, |table| {
            table.has_answered(slot.key, slot.ticket);
            table.node(slot.key)?.health.good_head(slot.ticket, slot.epoch, now)
        })
    }

    pub(super) fn busy(&self, key: Key, retry_after: Option<Duration>, now: Instant) {
        let change = |table: &mut Table| {
            table.busy(key, retry_after, now);
            None
        };
        self.change(key, now, change);
    }

    /// Counts the outcome and gives the slot back.
    pub(super) fn settle(&self, slot: &Slot, outcome: Outcome, done: Delivered, now: Instant) -> Settled {
        let Slot { key, ticket, epoch, .. } = *slot;
        let report = Report { ticket, epoch, outcome };
        let mut table = self.table.lock();
        // read this before counting the report: if that ejects the node, this death would be merged with
        // earlier ones
        let died_at = table.died_at(key, now);
        let event = table.end(key, report, done, now);
        if outcome == Outcome::Ok {
            table.has_answered(key, 0);
        }
        Self::hand_over(table, event.is_some(), now);
        let charge = outcome.is_failure().then_some(Charge { key, ticket, epoch, outcome, at: now });
        Settled { died_at, event, charge }
    }

    /// The first of an attempt's answer has come.
    pub(super) fn begins_to_answer(&self, slot: &Slot) {
        if self.weighs.load(Ordering::Relaxed) {
            self.table.lock().begins_to_answer(slot);
        }
    }

    /// The first words of a stream have come from the node.
    pub(super) fn spoke(&self, key: Key, after: Duration, now: Instant) {
        if let Some(node) = self.table.lock().node(key) {
            node.recent.first_token(after, now);
        }
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

    /// The answer has more tokens than its flow is charged for. Returns those charged.
    pub(super) fn charge_more(&self, slot: &Slot, answer: u32) -> u32 {
        self.table.lock().queue.charge_more(slot.ticket, answer)
    }

    pub(super) fn abandon(&self, slot: &Slot, done: Delivered) {
        let mut table = self.table.lock();
        table.abandon(slot.key, slot.ticket, done);
        let now = table.now();
        Self::hand_over(table, false, now);
    }

    /// Withdraws a failure: another node failed the same request, so the request was at fault.
    pub fn withdraw(&self, charge: Charge, now: Instant) -> Option<Event> {
        self.change(charge.key, now, |table| {
            let policy = table.policy().clone();
            table.node(charge.key)?.health.withdraw(charge.ticket, &policy, now)
        })
    }

    /// Reinstates a failure: a third node served the request, so the node was at fault. The failure counts
    /// from its original time, and not at all if that is more than `fail_timeout` ago.
    pub fn reinstate(&self, charge: Charge, now: Instant) -> Option<Event> {
        let report = Report { ticket: charge.ticket, epoch: charge.epoch, outcome: charge.outcome };
        self.change(charge.key, now, |table| table.reinstate(charge.key, report, charge.at, now))
    }

    /// Applies what time alone has changed since the last call.
    pub fn tick(&self, now: Instant) -> Vec<Event> {
        let mut table = self.table.lock();
        let events = table.tick(now);
        Self::hand_over(table, !events.is_empty(), now);
        events
    }

    /// The questions that are due now. Answer each with [`Self::answer`].
    pub fn questions(&self, now: Instant) -> Vec<Question> {
        self.table.lock().questions(now)
    }

    /// Takes the answer to a question.
    pub fn answer(&self, question: &Question, answer: impl Into<CheckAnswer>, now: Instant) -> Option<Event> {
        let answer = answer.into();
        self.change(question.key, now, |table| match question.kind {
            QuestionKind::Back => {
                table.node(question.key)?.health.answered(question.epoch, answer == CheckAnswer::Passed, now)
            }
            QuestionKind::Check => table.checked(question.key, answer, question.sent, now),
        })
    }

    /// Takes the result of looking up a node's name. `None`: it did not resolve; a previous address stays in
    /// use.
    pub fn resolved(&self, key: Key, address: Option<SocketAddr>, now: Instant) -> Option<Event> {
        self.change(key, now, |table| {
            let policy = table.policy().clone();
            let node = table.node(key)?;
            let first = node.resolved.is_none() && address.is_some();
            node.resolved = address.or(node.resolved);
            if first { node.health.resolved(&policy, now) } else { None }
        })
    }

    /// Another address of the node's name was found to accept connections: it is in use from now on.
    pub fn moved(&self, node: &Arc<NodeId>, address: SocketAddr, now: Instant) -> Option<Event> {
        let (key, _) = self.names().into_iter().find(|(_, id)| Arc::ptr_eq(id, node))?;
        self.resolved(key, Some(address), now)
    }

    /// The address of a node that is in use.
    pub fn address(&self, key: Key) -> Option<SocketAddr> {
        self.table.lock().node(key)?.resolved
    }

    /// The nodes whose address is a name, each with the key for [`Self::resolved`].
    pub fn names(&self) -> Vec<(Key, Arc<NodeId>)> {
        self.table.lock().names()
    }

    /// Counts a request that has ended.
    pub fn count_finished(&self, ended: &Finished<'_>) {
        self.table.lock().counters.count_request(ended.status);
        self.ended.lock().count(ended);
    }

    /// The numbers of the requests that have ended, besides [`Counters`](super::Counters). `genai`: those by OpenTelemetry's names
    /// are asked for; else they are forgotten.
    pub fn ended(&self, genai: bool) -> Ended {
        if !genai {
            self.ended.lock().genai = None;
        }
        self.forget_gone();
        self.ended.lock().clone()
    }

    /// Forgets the series of nodes that have gone: in a fleet that changes, there would soon be room for no others.
    pub(super) fn forget_gone(&self) {
        if self.ended.lock().genai.is_none() {
            return;
        }
        let there = self.table.lock().addresses();
        self.ended.lock().genai.iter_mut().for_each(|genai| genai.keep(&there));
    }

    pub fn count_retry(&self, why: RetryReason) {
        self.table.lock().counters.count_retry(why);
    }

    pub fn count_spill(&self) {
        self.table.lock().counters.spills += 1;
    }

    pub fn count_resume(&self, resumed: Resumed) {
        self.table.lock().counters.count_resume(resumed);
    }

    /// Counts a request that was sent only once because its body was too large to keep.
    pub fn count_unkept_body(&self) {
        self.table.lock().counters.unkept_bodies += 1;
    }

    pub fn snapshot(&self, now: Instant) -> PoolSnapshot {
        let sources = self.sources.lock().snapshot(now);
        PoolSnapshot { sources, ..self.table.lock().snapshot(&self.name, now) }
    }

    /// The node of this name. One that leaves comes after one that has its name now.
    pub fn standing(&self, node: &str) -> Option<Standing> {
        self.table.lock().standing(node)
    }

    /// A node gets requests. Cheaper than a snapshot.
    pub fn has_usable(&self) -> bool {
        self.table.lock().has_usable()
    }

    /// The present load, and the events after the one of this number.
    pub fn load(&self, after: u64) -> Load {
        self.table.lock().load(after)
    }

    #[cfg(test)]
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }

    /// The pool was retired without any requests, so there is nothing left to show.
    pub fn has_left(&self) -> bool {
        self.table.lock().has_left()
    }

    /// No request is in flight.
    pub fn is_idle(&self) -> bool {
        self.table.lock().is_idle()
    }

    /// Runs `change` on the table. If the node's state changed, records the change as an event and returns
    /// that.
    fn change(
        &self,
        key: Key,
        now: Instant,
        change: impl FnOnce(&mut Table) -> Option<Change>,
    ) -> Option<Event> {
        let mut table = self.table.lock();
        let change = change(&mut table);
        let event = table.note(key, change, now);
        Self::hand_over(table, event.is_some(), now);
        event
    }
}
