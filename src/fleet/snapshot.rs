//! A snapshot of a pool: plain values for the status and the metrics.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::event::{Event, Reason};
use super::health::State;
use super::node::{Node, NodeId};
use super::order::Drain;
use super::skips::SkipSnapshot;
use super::timing::Lately;
use crate::balance::cap;
use crate::balance::learned::{ENOUGH, Work};
use crate::config::{self, Origin};
use crate::outcome::Outcome;
use crate::sources::SourceSnapshot;

#[derive(Clone, Debug)]
pub struct PoolSnapshot {
    pub name: Arc<str>,
    pub nodes: Vec<NodeSnapshot>,
    /// Requests that wait for a slot.
    pub queue: usize,
    /// The same in the order of [`config::Class::ALL`].
    pub queue_by_class: [usize; config::Class::ALL.len()],
    pub counters: Counters,
    /// The last hundred events, oldest first.
    pub events: Vec<Event>,
    /// In the order of the config.
    pub sources: Vec<SourceSnapshot>,
}

/// The little that is read every second, whoever looks.
#[derive(Clone, Debug)]
pub struct Load {
    /// Requests that wait for a slot or a node.
    pub waiting: usize,
    /// The nodes' names, each with its requests in flight.
    pub nodes: Vec<(Arc<str>, u32)>,
    /// The events after the one that was asked for, oldest first; of those before the last hundred none is left.
    pub events: Vec<Event>,
}

/// The state of a node, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    Up,
    Ejected,
    Probing,
    Draining,
}

impl NodeState {
    pub const ALL: [Self; 4] = [Self::Up, Self::Ejected, Self::Probing, Self::Draining];

    pub(super) fn of(node: &Node) -> Self {
        match node.health.state() {
            _ if node.drains() => Self::Draining,
            State::Up => Self::Up,
            State::Ejected(_) => Self::Ejected,
            State::Probing { .. } => Self::Probing,
        }
    }

    /// The node gets requests.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Up | Self::Probing)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Ejected => "ejected",
            Self::Probing => "probing",
            Self::Draining => "draining",
        }
    }
}

/// The origin of a node's weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightFrom {
    Config,
    /// To be learned, but too few tokens have been seen.
    TooLittle {
        seen: f64,
    },
    /// Learned earlier and kept: nothing is learned while a node is out or in slow start.
    Before,
    /// Learned from this many tokens, at this rate in tokens per second and request.
    Seen {
        tokens: f64,
        rate: f64,
    },
}

impl WeightFrom {
    fn of(node: &Node, policy: &config::Health, now: Instant) -> Self {
        let seen = node.speed.seen();
        match node.wanted {
            config::Weight::Fixed(_) => Self::Config,
            config::Weight::Auto if !node.speed.is_known() => Self::TooLittle { seen: seen.units },
            config::Weight::Auto if !node.is_comparable(policy, now) => Self::Before,
            config::Weight::Auto => Self::Seen { tokens: seen.units, rate: seen.units / seen.seconds },
        }
    }
}

impl fmt::Display for WeightFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => write!(f, "set in the config"),
            Self::TooLittle { seen } => {
                write!(f, "neutral until {ENOUGH} tokens have been seen: {seen:.0} so far")
            }
            Self::Before => write!(f, "learned before; kept until its slow start is over"),
            Self::Seen { tokens, rate } => {
                write!(f, "learned from the last {tokens:.0} tokens: {rate:.1} per second and request")
            }
        }
    }
}

/// The origin of a node's `max_in_flight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitFrom {
    /// Set in the config, or off.
    Config,
    /// Learned. While fewer are in flight it does not bind, and nothing is learned.
    Auto { reason: cap::Reason, binds: bool },
}

impl LimitFrom {
    fn of(node: &Node) -> Self {
        match &node.capped {
            None => Self::Config,
            Some(capped) => Self::Auto { reason: capped.cap.reason(), binds: node.in_flight >= node.limit },
        }
    }
}

impl fmt::Display for LimitFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => write!(f, "set in the config"),
            Self::Auto { reason, binds: true } => write!(f, "{reason}"),
            Self::Auto { reason, binds: false } => write!(f, "{reason}; it does not bind now"),
        }
    }
}

/// The little about one node that its own requests are answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub state: NodeState,
    /// The reason for the ejection.
    pub reason: Option<Reason>,
    pub in_flight: u32,
    /// It leaves.
    pub is_removed: bool,
}

impl Standing {
    pub(super) fn of(node: &Node) -> Self {
        let reason = match node.health.state() {
            State::Ejected(ejection) => Some(ejection.reason),
            State::Up | State::Probing { .. } => None,
        };
        let (in_flight, is_removed) = (node.in_flight, node.removed);
        Self { state: NodeState::of(node), reason, in_flight, is_removed }
    }
}

#[derive(Clone, Debug)]
pub struct NodeSnapshot {
    pub id: Arc<NodeId>,
    pub state: NodeState,
    pub drain: Drain,
    pub is_backup: bool,
    /// The node is neither in the config nor named by a source any longer.
    pub is_removed: bool,
    pub origin: Origin,
    /// The end of its lease, if it has registered itself and has not left.
    pub lease: Option<Instant>,
    /// The reason for the ejection.
    pub reason: Option<Reason>,
    /// The time left of the ejection. Zero: it has expired, but the node does not answer yet.
    pub ejected_for: Option<Duration>,
    pub in_flight: u32,
    /// Their estimated work, in tokens of a prompt, where the pool chooses by it.
    pub work: Option<u64>,
    /// Tokens of prompts whose cached part the node told, and that part.
    pub prompts: [u64; 2],
    /// `None`: no limit.
    pub max_in_flight: Option<u32>,
    pub max_in_flight_from: LimitFrom,
    /// The weight that balancing uses.
    pub weight: f64,
    pub weight_from: WeightFrom,
    /// 0 to 1, below 1 during slow start.
    pub share: f64,
    /// Failures within `fail_timeout`.
    pub recent_failures: usize,
    /// Attempts by outcome, in the order of [`Outcome::ALL`].
    pub attempts: [u64; Outcome::ALL.len()],
    pub ejections: u64,
    /// Since its last sign of life at a request; `None`: there was none.
    pub silent: Option<Duration>,
    /// The last active check has passed; `None`: there is none, or no result of it yet.
    pub check: Option<bool>,
    /// The work done since the start.
    pub work_done: Work,
    /// The last attempt that counted against the node, and its end.
    pub last_failure: Option<(Outcome, Instant)>,
    /// Tokens of all answers.
    pub answer_tokens: u64,
    pub lately: Lately,
    /// Models for which the node is skipped.
    pub skips: Vec<SkipSnapshot>,
}

impl NodeSnapshot {
    pub(super) fn of(node: &Node, policy: &config::Health, now: Instant) -> Self {
        let ejection = match node.health.state() {
            State::Ejected(ejection) => Some(ejection),
            State::Up | State::Probing { .. } => None,
        };
        Self {
            id: Arc::clone(&node.id),
            state: NodeState::of(node),
            drain: node.drain,
            is_backup: node.is_backup,
            is_removed: node.removed,
            origin: node.conf.origin.clone(),
            lease: None,
            reason: ejection.map(|e| e.reason),
            ejected_for: ejection.map(|e| e.until.saturating_duration_since(now)),
            in_flight: node.in_flight,
            work: None,
            prompts: node.activity.prompts(),
            max_in_flight: (node.limit < u32::MAX).then_some(node.limit),
            max_in_flight_from: LimitFrom::of(node),
            weight: node.weight(),
            weight_from: WeightFrom::of(node, policy, now),
            share: node.health.share(policy, now),
            recent_failures: node.health.recent_failures(policy, now),
            attempts: node.attempts,
            ejections: node.ejections,
            silent: node.activity.last().map(|last| now.saturating_duration_since(last)),
            check: node.health.last_check(),
            work_done: node.activity.done().total(),
            last_failure: node.last_failure,
            answer_tokens: node.activity.tokens(),
            lately: node.recent.lately(node.activity.tokens(), now),
            skips: Vec::new(),
        }
    }

    /// Attempts with this outcome.
    pub fn attempts_with(&self, outcome: Outcome) -> u64 {
        let place = Outcome::ALL.iter().position(|o| *o == outcome);
        place.map_or(0, |place| self.attempts[place])
    }
}
