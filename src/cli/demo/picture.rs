//! The demo at one instant: plain values, for all that is shown and decided.

use std::time::{Duration, Instant};

use super::words;
use crate::fleet::{NodeSnapshot, NodeState, PoolSnapshot};
use crate::outcome::Outcome;
use crate::sim::load::Counts;

#[derive(Clone, Debug)]
pub struct Picture {
    pub at: Instant,
    pub elapsed: Duration,
    /// What the clients have seen.
    pub counts: Counts,
    /// Whether each node's process serves, which the gateway can only find out.
    pub running: Vec<bool>,
    /// What the gateway knows.
    pub pool: Option<PoolSnapshot>,
}

/// One node, for the table and the lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub name: String,
    pub running: bool,
    pub state: String,
    pub mood: Mood,
    pub in_flight: u32,
    pub done: u64,
    pub failed: u64,
}

/// What a state means at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// On its way back.
    Coming,
    Away,
}

impl Picture {
    pub fn rows(&self) -> Vec<Row> {
        let nodes = self.pool.iter().flat_map(|pool| &pool.nodes);
        let running = self.running.iter().copied().chain(std::iter::repeat(true));
        nodes.zip(running).map(|(node, running)| Row::of(node, running)).collect()
    }

    /// Attempts after the first, of all requests.
    pub fn retried(&self) -> u64 {
        self.pool.iter().flat_map(|pool| pool.counters.retries).sum()
    }

    pub fn ejections(&self) -> u64 {
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
            done: node.attempts_with(Outcome::Ok),
            failed: failures(node),
        }
    }
}

/// Attempts that failed on this node.
pub fn failures(node: &NodeSnapshot) -> u64 {
    let failed = Outcome::ALL.iter().zip(node.attempts).filter(|(outcome, _)| outcome.is_failure());
    failed.map(|(_, count)| count).sum()
}
