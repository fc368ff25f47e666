//! An attempt's slot on a node.
//!
//! The slot is a guard and not a counter to remember: it goes back when the guard is dropped, whatever ended the
//! attempt (success, error, a client that left, a panic), and it cannot go back twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::Event;
use super::node::NodeId;
use super::pool::Pool;
use super::pulse::Pulse;
use crate::balance::learned::UNTOLD;
use crate::outcome::Outcome;

/// Which node of which pool, for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) place: usize,
    pub(super) serial: u64,
}

/// A failure that was counted against a node, so that it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    pub(super) key: Key,
    pub(super) ticket: u64,
    pub(super) epoch: u64,
    pub(super) outcome: Outcome,
    pub(super) at: Instant,
}

/// One attempt's slot on a node.
#[derive(Debug)]
#[must_use = "a lease that is dropped gives its slot back"]
pub struct Lease {
    pub(super) pool: Arc<Pool>,
    pub(super) key: Key,
    pub(super) ticket: u64,
    pub(super) epoch: u64,
    pub(super) id: Arc<NodeId>,
    pub(super) address: SocketAddr,
    pub(super) pulse: Arc<Pulse>,
    /// Up to when the node's work for this attempt has been counted.
    pub(super) counted: Instant,
    pub(super) has_worked: bool,
    pub(super) settled: bool,
}

impl Charge {
    /// The node that was charged.
    pub fn node(&self) -> Key {
        self.key
    }
}

impl Lease {
    pub fn node(&self) -> &Arc<NodeId> {
        &self.id
    }

    pub fn key(&self) -> Key {
        self.key
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The node gave a good response head: the best sign of life there is, minutes before the response ends.
    pub fn good_head(&self, now: Instant) -> Option<Event> {
        self.pool.good_head(self, now)
    }

    /// The node has sent something for this attempt. To be called for whatever comes: it costs one store.
    pub fn progress(&self, now: Instant) {
        self.pulse.beat(now);
    }

    /// The node has done so much more for this attempt, in tokens: what its weight is learned from. Only for answers that
    /// are good so far, or a node that fails fast would earn a weight.
    pub fn worked(&mut self, tokens: u64, now: Instant) {
        self.pulse.worked(tokens, now.saturating_duration_since(self.counted));
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
        Arc::clone(&self.pulse).until_given_up(self.ticket)
    }

    pub fn is_given_up(&self) -> bool {
        self.pulse.is_given_up(self.ticket)
    }

    /// Its silence means nothing: what goes over an upgraded connection is its two ends' affair, and a node cannot speak
    /// to a client that does not read.
    pub fn may_be_silent(&self) {
        self.pool.may_be_silent(self);
    }

    /// From now on it means something again.
    pub fn is_at_work(&self, now: Instant) {
        self.pool.is_at_work(self, now);
    }

    /// The node said that it is full, and perhaps for how long.
    pub fn busy(&self, retry_after: Option<Duration>, now: Instant) {
        self.pool.busy(self, retry_after, now);
    }

    /// Counts an outcome that does not end the lease.
    pub fn count(&self, outcome: Outcome) {
        self.pool.count(self, outcome);
    }

    /// When the node died, as is seen with this attempt now: when its other attempts showed it first.
    pub fn died_at(&self, now: Instant) -> Instant {
        self.pool.died_at(self, now)
    }

    /// The attempt has ended: the outcome goes to the node's health and the slot goes back.
    pub fn settle(mut self, outcome: Outcome, now: Instant) -> (Option<Event>, Option<Charge>) {
        self.settled = true;
        self.pool.settle(&self, outcome, now)
    }
}

impl Drop for Lease {
    /// An attempt that nobody settled says nothing about the node: its client left, or its task panicked.
    fn drop(&mut self) {
        if !self.settled {
            self.pool.abandon(self);
        }
    }
}
