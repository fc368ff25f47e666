//! An operator's orders: a node is ejected, or restored, whatever its requests and its checks have shown.

use std::time::{Duration, Instant};

use super::super::event::{Change, Reason};
use super::Health;

impl Health {
    /// Ejects the node, in any state; once more for another time.
    pub(crate) fn eject_by_order(&mut self, time: Duration, now: Instant) -> Change {
        self.take_out(Reason::Operator, time, now)
    }

    /// Ends an ejection or a probe, and forgets all failures. `None`: the node is up.
    pub(crate) fn restore_by_order(&mut self, now: Instant) -> Option<Change> {
        self.stalls = 0;
        self.check_is_blind = false;
        if !self.is_up() {
            return Some(self.come_back(now, Reason::Operator));
        }
        self.window.clear();
        self.dying = None;
        self.refused_until = None;
        self.busy_until = None;
        None
    }
}
