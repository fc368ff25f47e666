//! A snapshot of the demo: plain values, from which everything is shown and decided.

use std::time::{Duration, Instant};

use super::classes::ClassRow;
use super::words;
use crate::fleet::{NodeSnapshot, NodeState, PoolSnapshot};
use crate::outcome::Outcome;
use crate::retry::RetryReason;
use crate::sim::load::Counts;

#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub at: Instant,
    pub elapsed: Duration,
    /// The clients' results so far.
    pub counts: Counts,
    /// The classes that the clients say, the highest first; empty if they say none.
    pub classes: Vec<ClassRow>,
    /// True for each node whose process serves; the gateway has to find that out by itself.
    pub running: Vec<bool>,
    /// The gateway's own view.
    pub pool: Option<PoolSnapshot>,
}

/// A node, as shown in the table and the lines.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub name: String,
    pub running: bool,
    pub state: String,
    pub mood: Mood,
    pub in_flight: u32,
    /// Most of them; `None`: no limit.
    pub max_in_flight: Option<u32>,
    pub done: u64,
    pub failed: u64,
}

/// The meaning of a state at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// On its way back.
    Coming,
    Away,
}

impl Picture {
    pub(super) fn rows(&self) -> Vec<Row> {
        let nodes = self.pool.iter().flat_map(|pool| &pool.nodes);
        let running = self.running.iter().copied().chain(std::iter::repeat(true));
        nodes.zip(running).map(|(node, running)| Row::of(node, running)).collect()
    }

    /// Number of retries on another node.
    pub(super) fn retried(&self) -> u64 {
        self.pool.iter().map(retried).sum()
    }

    pub(super) fn ejections(&self) -> u64 {
        self.pool.iter().flat_map(|pool| &pool.nodes).map(|node| node.ejections).sum()
    }
}

impl Row {
    fn of(node: &NodeSnapshot, running: bool) -> Self {
        let mood = match node.state {
            NodeState::Up if node.share >= 1.0 => Mood::Well,
            NodeState::Up | NodeState::Probing => Mood::Coming,
            NodeState::Ejected | NodeState::Draining => Mood::Away,
        };
        Self {
            name: node.id.name.to_string(),
            running,
            state: words::state(node),
            mood,
            in_flight: node.in_flight,
            max_in_flight: node.max_in_flight,
            done: node.attempts_with(Outcome::Ok),
            failed: failures(node),
        }
    }
}

/// Number of retries on another node. Stale connections are not counted: there the same node is tried again.
pub(super) fn retried(pool: &PoolSnapshot) -> u64 {
    let elsewhere =
        RetryReason::ALL.iter().zip(pool.counters.retries).filter(|(why, _)| **why != RetryReason::Stale);
    elsewhere.map(|(_, count)| count).sum()
}

/// Number of attempts that failed on this node.
pub(super) fn failures(node: &NodeSnapshot) -> u64 {
    let failed = Outcome::ALL.iter().zip(node.attempts).filter(|(outcome, _)| outcome.is_failure());
    failed.map(|(_, count)| count).sum()
}

/// Builders of snapshots, for the tests of this folder.
#[cfg(test)]
pub(super) mod testing {
    use std::sync::Arc;

    use super::*;
    use crate::balance::learned::Work;
    use crate::fleet::{Access, Addresses, Counters, Drain, Lately, LimitFrom, NodeId, WeightFrom};

    pub(crate) fn node(name: &str, state: NodeState, in_flight: u32) -> NodeSnapshot {
        let address = "127.0.0.1:1".parse().expect("an address");
        NodeSnapshot {
            id: Arc::new(NodeId {
                pool: "demo".into(),
                name: name.into(),
                address,
                addresses: Addresses::default(),
                access: Access::default(),
            }),
            state,
            drain: Drain::default(),
            is_backup: false,
            is_removed: false,
            origin: crate::config::Origin::Config,
            lease: None,
            reason: None,
            ejected_for: (state == NodeState::Ejected).then_some(Duration::from_millis(3500)),
            in_flight,
            work: None,
            prompts: [0; 2],
            max_in_flight: None,
            max_in_flight_from: LimitFrom::Config,
            weight: 1.0,
            weight_from: WeightFrom::Config,
            share: 1.0,
            recent_failures: 0,
            attempts: [0; Outcome::ALL.len()],
            ejections: 0,
            silent: None,
            check: None,
            work_done: Work::default(),
            last_failure: None,
            answer_tokens: 0,
            lately: Lately::default(),
            skips: Vec::new(),
        }
    }

    pub(crate) fn pool(nodes: Vec<NodeSnapshot>) -> PoolSnapshot {
        PoolSnapshot {
            name: "demo".into(),
            nodes,
            queue: 0,
            queue_by_class: [0; 3],
            counters: Counters::default(),
            sources: Vec::new(),
            events: Vec::new(),
        }
    }
}
