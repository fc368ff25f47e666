//! The states of a node's health, with the data of each: up, ejected, probing.

use std::time::{Duration, Instant};

use super::super::event::Reason;
use super::Ramp;

/// A node that still refuses connections after its ejection has expired is asked again this often.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(5);
/// While no node is up, ejected nodes are asked this often whether they accept connections.
pub(super) const ASK_WHEN_NONE_UP: Duration = Duration::from_secs(1);

/// The state of a node's health.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    Up,
    Ejected(Ejection),
    /// The ejection has expired and the node answered when asked; one request at a time may try it.
    Probing {
        probe: Option<Probe>,
    },
}

/// An ejection: the node gets no requests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ejection {
    pub(super) since: Instant,
    pub until: Instant,
    pub reason: Reason,
    /// The node accepted the last connection, so it may serve as a last resort while no node is up.
    pub accepts: bool,
    /// The last time the node accepted or refused a connection.
    pub(super) seen: Instant,
    pub(super) asking: bool,
    /// The ticket of the probe whose failure caused this ejection, so that it can be withdrawn.
    pub(super) failed_probe: Option<u64>,
    /// The values before this ejection, restored if it is withdrawn.
    pub(super) before: Before,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Before {
    pub(super) believed_from: u32,
    pub(super) ramp: Option<Ramp>,
}

impl Ejection {
    /// An operator wants the node out, whatever its checks and the other nodes say.
    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.reason == Reason::Operator && now < self.until
    }

    /// The node is due to be asked: when the ejection expires and regularly after that; also before, if no
    /// node is up.
    pub(super) fn is_due(&self, none_up: bool, now: Instant) -> bool {
        if self.is_held(now) {
            return false;
        }
        let pause = if none_up { ASK_WHEN_NONE_UP } else { ASK_AGAIN };
        let rested = now.saturating_duration_since(self.seen) >= pause;
        if now < self.until { none_up && !self.accepts && rested } else { self.seen < self.until || rested }
    }
}

/// The one request that tries a node after its ejection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Probe {
    pub ticket: u64,
    pub since: Instant,
}
