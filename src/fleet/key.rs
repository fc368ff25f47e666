//! Values that parts of the fleet exchange about one node: key, slot, question, charge, refusal.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::activity::Activity;
use super::node::NodeId;
use crate::balance::By;
use crate::outcome::Outcome;

/// Identifies a node of a pool; never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub(super) place: usize,
    pub(super) serial: u64,
}

/// The node that gets a request, by its place, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub place: usize,
    pub by: By,
}

/// A slot taken on a node. A plain value: [`super::Lease`] is the guard that gives it back.
#[derive(Debug)]
pub(super) struct Slot {
    pub key: Key,
    /// The attempt's number, unique in the pool.
    pub ticket: u64,
    /// The node's epoch when the attempt began.
    pub epoch: u32,
    pub id: Arc<NodeId>,
    pub address: SocketAddr,
    pub activity: Arc<Activity>,
    /// The reason for this node.
    pub by: By,
    /// The tokens of its answer that its flow is charged for; `u32::MAX`: it is not charged.
    pub paid: u32,
}

/// The work that a node did for an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    /// There was some.
    pub is_any: bool,
    /// The tokens of the answer, as far as they were told.
    pub tokens: u32,
    /// The tokens of its prompt; 0: not told.
    pub prompt: u32,
    /// Of a stream: the mean time from one token to the next, in microseconds; 0: none is known.
    pub inter_token: u32,
}

/// A failure that was counted against a node, so that it can be withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    pub(super) key: Key,
    pub(super) ticket: u64,
    pub(super) epoch: u32,
    pub(super) outcome: Outcome,
    pub(super) at: Instant,
}

impl Charge {
    /// The node that was charged.
    pub fn node(&self) -> Key {
        self.key
    }
}

/// The reason why no node could be leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request has already tried every usable node.
    AllTried,
    /// Every usable node is at its `max_in_flight`.
    Full,
    /// So it is, and as many requests wait already as may.
    QueueFull,
    /// No node can be reached. `until`: the time at which this may change by itself.
    Unreachable { until: Option<Instant> },
    /// The pool is no longer in the config, and a newer generation is in place.
    Retired,
}

/// A question to a node: is it back, or does it pass its check?
#[derive(Clone, Debug)]
pub struct Question {
    pub key: Key,
    pub node: Arc<NodeId>,
    pub address: SocketAddr,
    pub kind: QuestionKind,
    /// The node has attempts, which can show that it is at work.
    pub has_work: bool,
    /// The node's epoch when it was asked.
    pub(super) epoch: u32,
    pub(super) sent: Instant,
}

/// A node to be asked for the models that it serves. Answer it with [`super::Pool::set_list`].
#[derive(Clone, Debug)]
pub struct ListQuestion {
    pub key: Key,
    pub node: Arc<NodeId>,
    pub address: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuestionKind {
    /// Ejected: does it accept connections (and pass its check, if it has one)?
    Back,
    /// The active check of a node, whatever its state.
    Check,
}
