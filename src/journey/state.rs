//! The state of a request on its way: pool, nodes tried, deaths, suspects, fallback, the client's part.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::continuity::{ClientHas, Continuity};
use super::conversation::{Conversation, Home};
use super::denial::Denials;
use super::ending::{CANCELLED, Ending, Failure, Tried};
use super::overflow::Overflow;
use super::tally::Tally;
use crate::balance::By;
use crate::fleet::{Charge, Event, Key, Lease, Member, NodeId, Profile, Subject, Suspects, Waiter};
use crate::outcome::Outcome;
use crate::resume::Transcript;
use crate::retry::{self, Deaths, Facts, Repeat, RetryReason, Verdict};

/// From so many on, an attempt on a node that is full is not recorded.
const RECORDS_MAX: usize = 32;

/// One request's way.
#[derive(Debug)]
pub struct Journey<H> {
    pub(super) member: Member,
    /// A POST makes a node work. The speed of a list of models says nothing of the engine.
    pub(super) is_work: bool,
    pub(super) repeat: Repeat,
    /// Nodes that had their try, in the order of their last tries.
    pub(super) tried: Vec<Key>,
    /// Those of them that may serve it yet: they said they are full, or took no connection.
    pub(super) lines: Vec<Key>,
    /// Those of these whose last word was that they are full.
    pub(super) told: Vec<Key>,
    /// The model that it asks for, or its path, and the client's key; known once it matters.
    pub(super) subject: Option<Subject>,
    pub(super) conversation: Conversation,
    pub(super) home: Home,
    pub(super) profile: Profile,
    /// The time after which nobody needs the answer.
    pub(super) due: Option<Instant>,
    /// Few requests have any.
    pub(super) denials: Option<Box<Denials<H>>>,
    /// Times that it was sent; each part of a resumed stream is counted anew.
    pub(super) sent: u32,
    pub(super) deaths: Deaths,
    /// Failures charged to nodes that may be the request's own fault.
    pub(super) suspects: Suspects,
    pub(super) search: Search,
    /// The reason for the next attempt, which is counted once there is one.
    pub(super) again: Option<Again>,
    /// Few pools have one.
    pub(super) spill: Option<Box<Overflow>>,
    /// The last failed response, in case no better one comes.
    pub(super) fallback: Option<H>,
    pub(super) client: ClientHas,
    pub(super) records: Vec<Tried>,
    last_node: Option<Arc<NodeId>>,
    pub(super) note: Option<&'static str>,
    pub(super) tally: Tally,
    pub(super) events: Vec<Event>,
}

/// The state of the search for a node.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Since when the request has reached no node, though it has tried all that could be used.
    pub stranded: Option<Instant>,
    /// Since when the search under way has found nothing.
    pub began: Option<Instant>,
    /// It waits for the pool to change.
    pub waits: bool,
    /// Its place in the pool's queue; few requests have one.
    pub waiter: Option<Box<Waiter>>,
    /// Since when it waits for a slot of nodes that are at their `max_in_flight`, as if it had done so all the time.
    pub queued_since: Option<Instant>,
    /// The time that it has waited for slots before.
    pub queued_before: Duration,
    /// The time that searches took which had to wait.
    pub queued: Duration,
    /// The beginning of the attempt under way: the end of the last search, or of the attempt before.
    pub ended: Option<Instant>,
}

/// The reason for another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    Retried(RetryReason),
    /// A stream that broke off goes on.
    Resumed,
}

impl Search {
    /// Since when it waits for a slot, if it were without a pause.
    pub(super) fn queue_since(&mut self, now: Instant) -> Instant {
        let since = now.checked_sub(self.queued_before).unwrap_or(now);
        *self.queued_since.get_or_insert(since)
    }

    /// It waits for something else, or not at all.
    pub(super) fn pause_queue(&mut self, now: Instant) {
        if let Some(since) = self.queued_since.take() {
            self.queued_before = now.saturating_duration_since(since);
        }
    }
}

impl<H> Journey<H> {
    pub fn new(member: Member, is_work: bool, repeat: Repeat) -> Self {
        Self {
            member,
            is_work,
            repeat,
            tried: Vec::new(),
            lines: Vec::new(),
            told: Vec::new(),
            subject: None,
            conversation: Conversation::default(),
            home: Home::Anywhere,
            profile: Profile::default(),
            due: None,
            denials: None,
            sent: 0,
            deaths: Deaths::default(),
            suspects: Suspects::default(),
            search: Search::default(),
            again: None,
            spill: None,
            fallback: None,
            client: ClientHas::Nothing,
            records: Vec::new(),
            last_node: None,
            note: None,
            tally: Tally::default(),
            events: Vec::new(),
        }
    }

    /// The pool, with the settings of the generation that the request keeps.
    pub fn member(&self) -> &Member {
        &self.member
    }

    pub fn repeat(&self) -> Repeat {
        self.repeat
    }

    /// True if the client has a part of the response, and another node than the first goes on with it.
    pub fn is_continuing(&self) -> bool {
        self.transcript().is_some_and(Transcript::is_continued)
    }

    /// True while its body may still have to be sent to a node.
    pub fn needs_body(&self) -> bool {
        match &self.client {
            ClientHas::Nothing | ClientHas::Head(_) => true,
            ClientHas::Part(Continuity::Possible(continued)) => {
                continued.transcript.not_resumable().is_none()
            }
            ClientHas::Part(_) => false,
        }
    }

    /// The client has something of an answer: the request is never repeated, only continued.
    pub fn has_begun(&self) -> bool {
        matches!(self.client, ClientHas::Part(_))
    }

    /// The client has a head, or more.
    pub fn has_head(&self) -> bool {
        !matches!(self.client, ClientHas::Nothing)
    }

    /// No node's stream has begun at the client.
    pub fn is_unanswered(&self) -> bool {
        self.client.continuity().is_none()
    }

    fn transcript(&self) -> Option<&Transcript> {
        match self.client.continuity()? {
            Continuity::Possible(continued) => Some(&continued.transcript),
            Continuity::Never | Continuity::No(_) => None,
        }
    }

    pub(super) fn may_continue(&self) -> bool {
        self.transcript().is_some_and(|transcript| transcript.not_resumable().is_none())
    }

    /// The transcript of a stream that can be continued.
    pub fn transcript_mut(&mut self) -> Option<&mut Transcript> {
        match self.client.continuity_mut()? {
            Continuity::Possible(continued) => Some(&mut continued.transcript),
            Continuity::Never | Continuity::No(_) => None,
        }
    }

    /// The head goes to the client, and nothing else of the stream so far: the request can still be repeated as a whole.
    pub fn open(&mut self, continuity: Continuity) {
        if self.is_unanswered() {
            self.client = ClientHas::Head(Some(continuity));
            self.fallback = None;
            self.drop_denial();
        }
    }

    /// The client gets a head of the gateway's own, while no node has answered.
    pub fn open_early(&mut self) {
        if let ClientHas::Nothing = self.client {
            self.client = ClientHas::Head(None);
        }
    }

    /// The answer begins at the client: from here on the request is never repeated, only continued.
    pub fn begin(&mut self, continuity: Continuity) {
        self.open(continuity);
        self.speaks();
    }

    /// The open stream says something.
    pub fn speaks(&mut self) {
        if let ClientHas::Head(Some(continuity)) = &mut self.client {
            self.client = ClientHas::Part(std::mem::replace(continuity, Continuity::Never));
        }
    }

    /// The request as its pool is to place it. Call it before the first search.
    pub fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Goes on in another pool, or in another generation's, where it has tried no node. It keeps its profile.
    pub fn reroute(&mut self, member: Member, repeat: Repeat) {
        self.member = member;
        self.repeat = repeat;
        self.tried.clear();
        self.lines.clear();
        self.told.clear();
        self.home = Home::of(self.conversation.named, &self.member.pool);
        self.denials = None;
        self.suspects.clear();
        self.spill = None;
    }

    /// The number of nodes asked, with the one under way.
    pub fn attempts(&self) -> usize {
        self.records.len() + 1
    }

    /// The reason for its end, where the status does not say it.
    pub fn note(&self) -> Option<&'static str> {
        self.note
    }

    /// The sum of all its answers.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Each attempt that has ended, for the log.
    pub fn take_records(&mut self) -> Vec<Tried> {
        std::mem::take(&mut self.records)
    }

    /// The node of the last of them.
    pub fn last_node(&self) -> Option<&Arc<NodeId>> {
        self.last_node.as_ref()
    }

    /// The reason for a node that was chosen in this way in the pool where it is now.
    pub fn reason(&self, by: By) -> By {
        self.spilled().unwrap_or(by)
    }

    /// The reason for a node that it has tried.
    pub fn by(&self, node: &str) -> By {
        self.records.iter().rfind(|tried| *tried.node == *node).map(|tried| tried.by).unwrap_or_default()
    }

    /// The time it was without a node.
    pub fn queued(&self) -> Duration {
        self.search.queued
    }

    /// The events of nodes since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Times that it was sent. A stale connection does not count; the refusal that follows one does.
    pub fn sent(&self) -> u32 {
        self.sent
    }

    pub fn deaths(&self) -> u32 {
        self.deaths.count()
    }

    pub(super) fn record(&mut self, lease: &Lease, status: Option<u16>, outcome: Outcome, now: Instant) {
        let began = self.search.ended.replace(now).unwrap_or(now);
        // a request may ask in line for days
        if outcome == Outcome::Busy && self.records.len() >= RECORDS_MAX {
            return;
        }
        let by = self.reason(lease.by());
        self.last_node = Some(Arc::clone(lease.node()));
        let node = Arc::clone(&lease.node().name);
        self.records.push(Tried { node, by, status, outcome, began, ended: now });
    }

    /// Another node, or stop, as long as the client has nothing of this attempt.
    pub(super) fn decide(&self, outcome: Outcome, status: Option<u16>) -> Verdict {
        let (sent, deaths) = (self.sent, self.deaths.count());
        let facts = Facts { outcome, status, sent, deaths, repeat: self.repeat };
        retry::decide(&self.member.conf.retry, &facts)
    }

    /// An operator has ended it. `closing_event`: of the answer that was under way, if there was one.
    pub fn cancelled(&mut self, closing_event: Option<Bytes>) -> Ending {
        self.note = Some(CANCELLED);
        match closing_event {
            Some(closing_event) => Ending::Broken { closing_event },
            None => Ending::Failed(Failure::cancelled()),
        }
    }

    /// The ending of a stream that broke off and that nobody continues.
    pub(super) fn broken(&mut self, note: &'static str) -> Option<Ending> {
        let ClientHas::Part(continuity) = &mut self.client else { return None };
        let closing_event = match continuity {
            Continuity::Possible(continued) => std::mem::take(&mut continued.closing_event),
            Continuity::Never | Continuity::No(_) => Bytes::new(),
        };
        self.note = Some(note);
        Some(Ending::Broken { closing_event })
    }

    /// A node serves the request: if two have answered it with 5xx, it was the nodes after all. Known when its head is
    /// there, for the end may be hours away.
    pub(super) fn served(&mut self, key: Key, now: Instant) {
        let reinstated = self.suspects.served();
        self.events.extend(reinstated.filter_map(|charge| self.member.pool.reinstate(charge, now)));
        self.events.extend(self.denials.iter_mut().flat_map(|denials| denials.doubts.confirm(now)));
        if let Some(subject) = self.subject.as_ref().filter(|_| self.member.pool.has_skips()) {
            self.member.pool.served(key, subject);
        }
    }

    /// It may be the request: a 5xx that a second node gives too is withdrawn from both.
    pub(super) fn suspect(&mut self, charge: Option<Charge>, now: Instant) {
        let Some(charge) = charge else { return };
        let withdrawn = self.suspects.charged(charge);
        self.events.extend(withdrawn.filter_map(|charge| self.member.pool.withdraw(charge, now)));
    }
}
