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
    /// The time up to which the node's work for this attempt has been counted, in its activity's nanoseconds.
    counted: u64,
    has_worked: bool,
    /// The tokens of its answer so far, as far as they were told.
    said: u32,
    track: Track,
    settled: bool,
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
        let counted = slot.activity.nanos(now);
        Lease { pool: Arc::clone(self), slot, counted, has_worked: false, said: 0, track, settled: false }
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
        self.said = self.said.saturating_add(u32::try_from(tokens).unwrap_or(u32::MAX));
        self.count_work(tokens, now);
    }

    /// The node has read a prompt of so many tokens, and had so many of them in its cache.
    pub fn read_prompt(&self, tokens: u64, cached: u64) {
        self.slot.activity.read_prompt(tokens, cached);
    }

    /// Counts a good answer that has ended without reporting its tokens.
    pub fn answered(&mut self, now: Instant) {
        if !self.has_worked {
            self.count_work(UNTOLD, now);
        }
    }

    fn count_work(&mut self, tokens: u64, now: Instant) {
        let now = self.slot.activity.nanos(now);
        let time = Duration::from_nanos(now.saturating_sub(self.counted));
        self.slot.activity.worked(tokens, time);
        if self.track != Track::Off {
            self.track = self.slot.activity.streams.event(self.track, time);
        }
        self.counted = now;
        if !std::mem::replace(&mut self.has_worked, true) {
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
        let done = Delivered { is_any: self.has_worked, tokens: self.said };
        self.pool.settle(&self.slot, outcome, done, now)
    }
}

impl Drop for Lease {
    /// An attempt that was never settled says nothing about the node: its client left, or its task panicked.
    fn drop(&mut self) {
        self.slot.activity.streams.end(self.track);
        if !self.settled {
            self.pool.abandon(&self.slot);
        }
    }
}
