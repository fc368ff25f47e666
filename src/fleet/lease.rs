//! The lease: an attempt's slot on a node, as a guard.
//!
//! A counter could be forgotten. A guard gives the slot back when it is dropped, however the attempt ended
//! (success, error, a client that left, a panic), and cannot give it back twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::Event;
use super::key::{Delivered, Key, Refusal, Slot};
use super::node::NodeId;
use super::pool::{Pool, Settled};
use super::streams::Track;
use super::want::Profile;
use crate::balance::By;
use crate::balance::learned::UNTOLD;
use crate::outcome::Outcome;

/// One attempt's slot on a node.
#[derive(Debug)]
#[must_use = "a lease that is dropped gives its slot back"]
pub struct Lease {
    pool: Arc<Pool>,
    pub(super) slot: Slot,
    /// The time up to which the node's work for this attempt has been counted. This and the next as [`Activity::mark`]: each
    /// request holds a few leases in its future, one after the other.
    ///
    /// [`Activity::mark`]: super::activity::Activity::mark
    counted: u64,
    /// The time of a stream's first words; 0: there are none yet.
    first_words: u64,
    /// The tokens of its answer so far, as far as they were told.
    said: u32,
    /// Those of them that came with its first words, or before.
    said_first: u16,
    /// The tokens of its prompt; 0: not told.
    prompt: u32,
    work: Work,
    track: Track,
    settled: bool,
}

/// The work that the node has done for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    None,
    Some,
    /// And it has counted the tokens itself.
    Told,
}

/// An attempt's answer so far, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spoken {
    /// The time of a stream's first words.
    pub began: Option<Instant>,
    /// From these to its last.
    pub span: Duration,
    /// The tokens within that time.
    pub gaps: u64,
    /// As the node has told them, else an event of a stream counts as one.
    pub answer_tokens: u64,
}

impl Pool {
    /// Chooses the best node that is not in `tried` and takes a slot on it.
    pub fn lease(self: &Arc<Self>, tried: &[Key], now: Instant) -> Result<Lease, Refusal> {
        self.lease_by(Profile::default(), tried, now)
    }

    /// The same for a request of this kind, by which some policies choose.
    pub fn lease_by(
        self: &Arc<Self>,
        profile: Profile,
        tried: &[Key],
        now: Instant,
    ) -> Result<Lease, Refusal> {
        self.take(tried, profile, now).map(|slot| self.guard(slot, now))
    }

    pub(super) fn guard(self: &Arc<Self>, slot: Slot, now: Instant) -> Lease {
        let track = slot.activity.streams.track();
        let counted = slot.activity.mark(now);
        Lease {
            pool: Arc::clone(self),
            slot,
            counted,
            first_words: 0,
            said: 0,
            said_first: 0,
            prompt: 0,
            work: Work::None,
            track,
            settled: false,
        }
    }
}

impl Lease {
    pub fn node(&self) -> &Arc<NodeId> {
        &self.slot.id
    }

    pub fn key(&self) -> Key {
        self.slot.key
    }

    /// The reason for this node.
    pub fn by(&self) -> By {
        self.slot.by
    }

    /// The address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.slot.address
    }

    /// The node sent a good response head. This is the best sign of life, and comes minutes before the
    /// response ends.
    pub fn good_head(&self, now: Instant) -> Option<Event> {
        self.progress(now);
        self.pool.good_head(&self.slot, now)
    }

    /// The node sent something for this attempt. Call this for everything that arrives: it costs one store.
    pub fn progress(&self, now: Instant) {
        self.slot.activity.beat(now);
    }

    /// The node produced this many more tokens for this attempt. Learned weights are based on this. Call it
    /// only for answers that are good so far, or a node that fails fast would earn weight.
    pub fn worked(&mut self, tokens: u64, now: Instant) {
        if self.work != Work::Told {
            self.said = self.said.saturating_add(small(tokens));
            self.slot.activity.said(tokens);
            self.pay();
        }
        self.count_work(tokens, now);
    }

    /// The first words of a stream have come, so long after the request was sent, behind so many events without any: a chat's
    /// role is no token.
    pub fn spoke(&mut self, after: Duration, silent: u32, now: Instant) {
        if !self.has_spoken() {
            if self.work != Work::Told {
                self.said = self.said.saturating_sub(silent);
            }
            self.first_words = self.slot.activity.mark(now);
            self.said_first = u16::try_from(self.said).unwrap_or(u16::MAX);
            self.pool.spoke(self.slot.key, after, now);
        }
    }

    pub fn has_spoken(&self) -> bool {
        self.first_words > 0
    }

    /// Charges the flow of the request for an answer that outgrows what was expected.
    fn pay(&mut self) {
        if self.said > self.slot.paid {
            self.slot.paid = self.pool.charge_more(&self.slot, self.said);
        }
    }

    /// The node has read a prompt of so many tokens. `cached`: those of them that it had in its cache, if it tells.
    pub fn read_prompt(&mut self, tokens: u64, cached: Option<u64>) {
        self.prompt = small(tokens);
        if let Some(cached) = cached {
            self.slot.activity.read_prompt(tokens, cached);
        }
    }

    /// The node itself has counted the tokens of its answer so far.
    pub fn told(&mut self, tokens: u64) {
        // a counter never falls: what was counted as it came is not taken back
        self.slot.activity.said(tokens.saturating_sub(self.said.into()));
        self.said = small(tokens);
        self.said_first = 1;
        self.pay();
        if self.work == Work::Some {
            self.work = Work::Told;
        }
    }

    pub fn spoken(&self) -> Spoken {
        let activity = &self.slot.activity;
        Spoken {
            began: self.has_spoken().then(|| activity.at(self.first_words)),
            span: Duration::from_nanos(self.counted.saturating_sub(self.first_words)),
            gaps: if self.has_spoken() { self.said.saturating_sub(self.said_first.into()).into() } else { 0 },
            answer_tokens: self.said.into(),
        }
    }

    fn inter_token(&self) -> u32 {
        let gaps = u64::from(self.said.saturating_sub(self.said_first.into()));
        let micros = self.counted.saturating_sub(self.first_words) / 1000;
        micros.checked_div(gaps).map_or(0, small)
    }

    /// Counts a good answer that has ended without reporting its tokens.
    pub fn answered(&mut self, now: Instant) {
        if self.work == Work::None {
            self.count_work(UNTOLD, now);
        }
    }

    fn count_work(&mut self, tokens: u64, now: Instant) {
        let now = self.slot.activity.mark(now);
        let nanos = now.saturating_sub(self.counted);
        self.slot.activity.worked(tokens, nanos);
        if self.track != Track::Off {
            self.track = self.slot.activity.streams.event(self.track, Duration::from_nanos(nanos));
        }
        self.counted = now;
        if self.work == Work::None {
            self.work = Work::Some;
            self.pool.begins_to_answer(&self.slot);
        }
    }

    /// Resolves when the node was found to stall with this attempt: if the client has received nothing yet,
    /// another node may do better. May be called at any time, even afterwards.
    pub fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        Arc::clone(&self.slot.activity).until_given_up(self.slot.ticket)
    }

    pub fn is_given_up(&self) -> bool {
        self.slot.activity.is_given_up(self.slot.ticket)
    }

    /// Resolves when the node was found to stall, or its check has lost it: another node may do better for a request that has
    /// no answer. May be called at any time, even afterwards.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        Arc::clone(&self.slot.activity).until_lost(self.slot.ticket)
    }

    /// The check has lost the node with this attempt, and has not found it again.
    pub fn is_lost(&self) -> bool {
        self.slot.activity.is_lost(self.slot.ticket) && self.pool.is_lost(self.slot.key)
    }

    /// Stops counting the node's silence for this attempt. On an upgraded connection, silence is up to the
    /// two ends; and a node cannot send to a client that does not read.
    pub fn pause_stall(&self) {
        self.pool.pause_stall(&self.slot);
    }

    /// Counts the node's silence for this attempt again.
    pub fn resume_stall(&self, now: Instant) {
        self.pool.resume_stall(&self.slot, now);
    }

    /// The client has not read for a while: until the next event, this stream's silence says nothing about the node.
    pub fn excuse_silence(&mut self) {
        self.track = self.slot.activity.streams.excuse(self.track);
    }

    /// The node said it is full, and perhaps for how long.
    pub fn busy(&self, retry_after: Option<Duration>, now: Instant) {
        self.pool.busy(self.slot.key, retry_after, now);
    }

    /// Counts an outcome that does not end the lease.
    pub fn count(&self, outcome: Outcome) {
        self.pool.count(self.slot.key, outcome);
    }

    /// The time of the node's death, if this attempt shows now that it died. Other attempts may have shown it
    /// earlier.
    pub fn died_at(&self, now: Instant) -> Instant {
        self.pool.died_at(self.slot.key, now)
    }

    /// Ends the attempt: the outcome goes to the node's health, and the slot is given back.
    pub fn settle(mut self, outcome: Outcome, now: Instant) -> Settled {
        self.settled = true;
        if outcome == Outcome::Ok {
            self.progress(now);
        }
        self.pool.settle(&self.slot, outcome, self.delivered(), now)
    }

    fn delivered(&self) -> Delivered {
        Delivered {
            is_any: self.work != Work::None,
            tokens: self.said,
            prompt: self.prompt,
            inter_token: if self.has_spoken() { self.inter_token() } else { 0 },
        }
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Drop for Lease {
    /// An attempt that was never settled says nothing about the node: its client left, or its task panicked.
    fn drop(&mut self) {
        self.slot.activity.streams.end(self.track);
        if !self.settled {
            self.pool.abandon(&self.slot, self.delivered());
        }
    }
}
