//! Events: changes of a node's state and their reasons, worded once for the log, the status and the metrics.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::outcome::Outcome;

/// The reason for a change of a node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `max_fails` failures within `fail_timeout`; holds the last of them.
    Failures(Outcome),
    /// The probe, the trial request to an ejected node, failed.
    ProbeFailed(Outcome),
    /// The node had requests in flight and sent nothing for `timeouts.stall`, while another node did.
    Stalled,
    /// The active check failed `fall` times.
    CheckFailed,
    /// The active check passed `rise` times.
    CheckPassed,
    /// The node sent a good response head.
    Answered,
    /// The probe has run for `probe_pass` without failing.
    AtWork,
    /// A second node gave the same request a 5xx, too, so the failure was the request's.
    NotItsFault,
    /// The node's name cannot be resolved.
    Unresolved,
    /// The node's name can be resolved (again).
    Resolved,
    /// An operator ordered it.
    Operator,
    /// The node has registered itself, and has not passed a check yet.
    Unchecked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failures(outcome) => write!(f, "max_fails reached, last failure {outcome}"),
            Self::ProbeFailed(outcome) => write!(f, "probe failed, {outcome}"),
            Self::Stalled => f.write_str("no output for its requests while other nodes respond"),
            Self::CheckFailed => f.write_str("health check failed"),
            Self::CheckPassed => f.write_str("health check passed"),
            Self::Answered => f.write_str("answered"),
            Self::AtWork => f.write_str("its probe has run for probe_pass without failing"),
            Self::NotItsFault => f.write_str("the request was at fault"),
            Self::Unresolved => f.write_str("name cannot be resolved"),
            Self::Resolved => f.write_str("name resolved"),
            Self::Operator => f.write_str("ordered by an operator"),
            Self::Unchecked => f.write_str("has not passed its first check yet"),
        }
    }
}

/// A change of a node's state.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Ejected {
        reason: Reason,
        time: Duration,
    },
    /// Still ejected, but it accepts connections: it may serve as a last resort while no node is up.
    Accepts,
    Probing,
    Back {
        reason: Reason,
    },
    Joined,
    /// The node has registered itself: it joins when it has passed a check.
    Registered,
    /// The node gets no new requests: it was removed from the config, its source no longer names it, or it was set to drain.
    Draining,
    DrainedByOperator,
    /// `in_config`: the config drains it still.
    UndrainedByOperator {
        in_config: bool,
    },
    /// It refuses a model that another node serves; the status is that of its answer.
    Skipped {
        model: Arc<str>,
        status: u16,
        time: Duration,
    },
}

/// 401 and 403 are meant for one client's key, other refusals for everybody.
pub(super) fn is_personal(status: u16) -> bool {
    matches!(status, 401 | 403)
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ejected { reason, time } if time.is_zero() => {
                write!(f, "ejected until it answers again: {reason}")
            }
            Self::Ejected { reason, time } => write!(f, "ejected for {time:?}: {reason}"),
            Self::Accepts => f.write_str("accepts connections: a last resort while no node is up"),
            Self::Probing => f.write_str("probing: one trial request is let through"),
            Self::Back { reason } => write!(f, "back: {reason}"),
            Self::Joined => f.write_str("joined"),
            Self::Registered => f.write_str("registered: joins once it has passed its first check"),
            Self::Draining => f.write_str("draining: gets no new requests"),
            Self::DrainedByOperator => f.write_str("drained by an operator: gets no new requests"),
            Self::UndrainedByOperator { in_config: false } => {
                f.write_str("undrained by an operator: its share rises")
            }
            Self::UndrainedByOperator { in_config: true } => {
                f.write_str("undrained by an operator, but the config drains it still")
            }
            Self::Skipped { model, status, time } => {
                let whose = if is_personal(*status) { " and this client's credential alone" } else { "" };
                write!(
                    f,
                    "answers {status} for {model:?}, which another node serves: \
                     skipped for it{whose} for {time:?}, then tried again"
                )
            }
        }
    }
}

/// A change of a node's state, with the place and time.
#[derive(Clone, Debug)]
pub struct Event {
    /// Number of the event in its pool, from 1: a reader can tell which events are new.
    pub number: u64,
    pub at: Instant,
    pub pool: Arc<str>,
    pub node: Arc<str>,
    pub change: Change,
    /// Requests that the node had in flight at that time.
    pub in_flight: u32,
}
