//! What happened to a node, in words that the log, the status and the metrics share.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::outcome::Outcome;

/// Why a node changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `max_fails` failures within `fail_timeout`; the last of them.
    Failures(Outcome),
    /// The probe failed.
    ProbeFailed(Outcome),
    /// It had something to do and was silent for `timeouts.stall`, while another node was not.
    Stalled,
    /// The active check failed `fall` times.
    CheckFailed,
    /// The active check passed `rise` times.
    CheckPassed,
    /// A good response head.
    Answered,
    /// The probe has been at work for `probe_pass` without failing.
    AtWork,
    /// Another node gave the same request the same 5xx.
    NotItsFault,
    /// Its name cannot be resolved.
    Unresolved,
    /// Its name can be resolved (again).
    Resolved,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failures(outcome) => write!(f, "max_fails reached, last failure {outcome}"),
            Self::ProbeFailed(outcome) => write!(f, "probe failed, {outcome}"),
            Self::Stalled => f.write_str("silent at work while other nodes are not"),
            Self::CheckFailed => f.write_str("health check failed"),
            Self::CheckPassed => f.write_str("health check passed"),
            Self::Answered => f.write_str("answered"),
            Self::AtWork => f.write_str("at work on its probe"),
            Self::NotItsFault => f.write_str("the request was at fault"),
            Self::Unresolved => f.write_str("name cannot be resolved"),
            Self::Resolved => f.write_str("name resolved"),
        }
    }
}

/// A change of a node's state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    Ejected {
        reason: Reason,
        time: Duration,
    },
    /// Still ejected, but it accepts connections: the last resort while no node is up.
    Accepts,
    Probing,
    Back {
        reason: Reason,
    },
    Joined,
    /// No new requests: removed from the config, or told to drain.
    Draining,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ejected { reason, time } if time.is_zero() => {
                write!(f, "ejected until it answers again: {reason}")
            }
            Self::Ejected { reason, time } => write!(f, "ejected for {time:?}: {reason}"),
            Self::Accepts => f.write_str("accepts connections, used while no node is up"),
            Self::Probing => f.write_str("probing: the next request may try it"),
            Self::Back { reason } => write!(f, "back: {reason}"),
            Self::Joined => f.write_str("joined"),
            Self::Draining => f.write_str("draining: gets no new requests"),
        }
    }
}

/// A change, with where and when.
#[derive(Clone, Debug)]
pub struct Event {
    /// Number in the pool, from 1; tells a reader what it has not seen yet.
    pub number: u64,
    pub at: Instant,
    pub pool: Arc<str>,
    pub node: Arc<str>,
    pub change: Change,
    /// Requests that the node had at that time.
    pub in_flight: u32,
}
