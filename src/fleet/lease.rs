//! An attempt's slot on a node, as a guard.
//!
//! The slot is a guard and not a counter to remember: it goes back when the guard is dropped, whatever ended the
//! attempt (success, error, a client that left, a panic), and it cannot go back twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::Event;
use super::key::{Key, Refusal, Slot};
use super::node::NodeId;
use super::pool::{Pool, Settled};
use crate::balance::learned::UNTOLD;
use crate::outcome::Outcome;

/// One attempt's slot on a node.
#[derive(Debug)]
#[must_use = "a lease that is dropped gives its slot back"]
pub struct Lease {
    pool: Arc<Pool>,
    pub(super) slot: Slot,
    /// Up to when the node's work for this attempt has been counted.
    counted: Instant,
    has_worked: bool,
    settled: bool,
}

impl Pool {
    /// Chooses the best node that is not in `tried` and takes a slot on it.
    pub fn lease(self: &Arc<Self>, tried: &[Key], now: Instant) -> Result<Lease, Refusal> {
        let slot = self.take(tried, now)?;
        let pool = Arc::clone(self);
        Ok(Lease { pool, slot, counted: now, has_worked: false, settled: false })
    }

    /// For a request that waits for a node: one that it has not tried if there is any, else of those with room the one
    /// whose try is longest ago; a node that failed it is better than none. `tried` is in the order of their last tries.
    pub fn lease_again(self: &Arc<Self>, tried: &[Key], now: Instant) -> Result<Lease, Refusal> {
        let untried = self.lease(tried, now);
        if !matches!(untried, Err(Refusal::AllTried)) {
            return untried;
        }
        let mut from_oldest = (1..tried.len()).map(|from| self.lease(&tried[from..], now));
        from_oldest.find_map(Result::ok).map_or_else(|| self.lease(&[], now), Ok)
    }
}

impl Lease {
    pub fn node(&self) -> &Arc<NodeId> {
        &self.slot.id
    }

    pub fn key(&self) -> Key {
        self.slot.key
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.slot.address
    }

    /// The node gave a good response head: the best sign of life there is, minutes before the response ends.
    pub fn good_head(&self, now: Instant) -> Option<Event> {
        self.progress(now);
        self.pool.good_head(&self.slot, now)
    }

    /// The node has sent something for this attempt. To be called for whatever comes: it costs one store.
    pub fn progress(&self, now: Instant) {
        self.slot.activity.beat(now);
    }

    /// The node has done so much more for this attempt, in tokens: what its weight is learned from. Only for answers that
    /// are good so far, or a node that fails fast would earn a weight.
    pub fn worked(&mut self, tokens: u64, now: Instant) {
        self.slot.activity.worked(tokens, now.saturating_duration_since(self.counted));
        self.counted = now;
        self.has_worked = true;
    }

    /// The same for a good answer that is over and has not told its tokens.
    pub fn answered(&mut self, now: Instant) {
        if !self.has_worked {
            self.worked(UNTOLD, now);
        }
    }

    /// Resolves when the node was found stalled with this attempt: where the client has got nothing yet, another node may
    /// do better. May be asked for at any time, also after the fact.
    pub fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        Arc::clone(&self.slot.activity).until_given_up(self.slot.ticket)
    }

    pub fn is_given_up(&self) -> bool {
        self.slot.activity.is_given_up(self.slot.ticket)
    }

    /// From now on the node's silence means nothing: what goes over an upgraded connection is its two ends' affair, and
    /// a node cannot speak to a client that does not read.
    pub fn pause_stall(&self) {
        self.pool.pause_stall(&self.slot);
    }

    /// From now on the node's silence counts again.
    pub fn resume_stall(&self, now: Instant) {
        self.pool.resume_stall(&self.slot, now);
    }

    /// The node said that it is full, and perhaps for how long.
    pub fn busy(&self, retry_after: Option<Duration>, now: Instant) {
        self.pool.busy(self.slot.key, retry_after, now);
    }

    /// Counts an outcome that does not end the lease.
    pub fn count(&self, outcome: Outcome) {
        self.pool.count(self.slot.key, outcome);
    }

    /// When the node died, if this attempt shows now that it did: its other attempts may have shown it first.
    pub fn died_at(&self, now: Instant) -> Instant {
        self.pool.died_at(self.slot.key, now)
    }

    /// The attempt has ended: the outcome goes to the node's health and the slot goes back.
    pub fn settle(mut self, outcome: Outcome, now: Instant) -> Settled {
        self.settled = true;
        if outcome == Outcome::Ok {
            self.progress(now);
        }
        self.pool.settle(&self.slot, outcome, self.has_worked, now)
    }
}

impl Drop for Lease {
    /// An attempt that nobody settled says nothing about the node: its client left, or its task panicked.
    fn drop(&mut self) {
        if !self.settled {
            self.pool.abandon(&self.slot);
        }
    }
}
