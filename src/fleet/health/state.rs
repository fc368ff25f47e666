//! Where a node stands.

use std::time::{Duration, Instant};

use super::super::event::Reason;
use super::Ramp;

/// A node that still refuses connections after its time is asked again this often.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(5);
/// While no node is up, the ejected ones are asked this often whether they accept connections.
pub(super) const ASK_WHEN_NONE_UP: Duration = Duration::from_secs(1);

/// Where a node stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    Up,
    Ejected(Ejection),
    /// The time is over and the node answered when it was asked; one request at a time may try it.
    Probing {
        probe: Option<Probe>,
    },
}

/// A node that gets no requests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ejection {
    pub(super) since: Instant,
    pub until: Instant,
    pub reason: Reason,
    /// Whether it took the last connection: it may then serve as the last resort when no node is up.
    pub accepts: bool,
    /// When it last showed whether it accepts connections.
    pub(super) seen: Instant,
    pub(super) asking: bool,
    /// The failure that failed a probe, so that it can be taken back.
    pub(super) failed_probe: Option<u64>,
    /// What it was like before, in case that the ejection is taken back.
    pub(super) before: Before,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Before {
    pub(super) believed_from: u64,
    pub(super) ramp: Option<Ramp>,
}

impl Ejection {
    /// Whether it is time to ask: at the end of its time, and then again and again; while no node is up at all,
    /// before that too.
    pub(super) fn is_due(&self, none_up: bool, now: Instant) -> bool {
        let pause = if none_up { ASK_WHEN_NONE_UP } else { ASK_AGAIN };
        let rested = now.saturating_duration_since(self.seen) >= pause;
        if now < self.until { none_up && !self.accepts && rested } else { self.seen < self.until || rested }
    }
}

/// The one request that tries a node which has been ejected.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Probe {
    pub ticket: u64,
    pub since: Instant,
}
