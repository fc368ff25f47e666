//! What the fleet's parts say to each other about one node: its key, a slot on it, a question to it, a failure of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::activity::Activity;
use super::node::NodeId;
use crate::outcome::Outcome;

/// A node of a pool, for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) place: usize,
    pub(super) serial: u64,
}

/// A slot that was taken on a node. A plain value: [`super::Lease`] is the guard that gives it back.
#[derive(Debug)]
pub(super) struct Slot {
    pub key: Key,
    /// The attempt's number, unique in the pool.
    pub ticket: u64,
    /// The node's epoch when the attempt began.
    pub epoch: u64,
    pub id: Arc<NodeId>,
    pub address: SocketAddr,
    pub activity: Arc<Activity>,
}

/// A failure that was counted against a node, so that it can be withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    pub(super) key: Key,
    pub(super) ticket: u64,
    pub(super) epoch: u64,
    pub(super) outcome: Outcome,
    pub(super) at: Instant,
}

impl Charge {
    /// The node that was charged.
    pub fn node(&self) -> Key {
        self.key
    }
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
    /// The pool is no longer in the config, and a newer generation is in place.
    Retired,
}

/// A node that is to be asked whether it is there.
#[derive(Clone, Debug)]
pub struct Question {
    pub key: Key,
    pub node: Arc<NodeId>,
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
