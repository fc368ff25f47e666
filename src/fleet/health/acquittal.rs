//! Acquittal: withdraws failures that were the request's fault, and reinstates those that were not.

use std::time::Instant;

use super::super::event::{Change, Reason};
use super::{Ejection, Health, Report, State};
use crate::config;

impl Health {
    /// Withdraws a failure, because another node failed the same request. Only a node that recently gave
    /// other requests good answers is acquitted; otherwise nodes that are broken in the same way would acquit
    /// each other for ever. A probe has no such record, and is acquitted once.
    pub(crate) fn withdraw(&mut self, ticket: u64, policy: &config::Health, now: Instant) -> Option<Change> {
        let acquits_probe = self.acquitted_probe.is_none();
        let is_probe =
            matches!(&self.state, State::Ejected(ejection) if ejection.failed_probe == Some(ticket));
        if !is_probe && now.saturating_duration_since(self.last_good) >= policy.fail_timeout {
            return None;
        }
        let before = self.window.len();
        self.window.retain(|(_, counted)| *counted != ticket);
        let was_counted = self.window.len() < before;
        match &self.state {
            State::Ejected(ejection) if is_probe && acquits_probe => {
                self.failed_probes = self.failed_probes.saturating_sub(1);
                self.acquitted_probe = Some(ticket);
                self.believed_from = ejection.before.believed_from;
                self.ramp = ejection.before.ramp;
                self.state = State::Probing { probe: None };
                Some(Change::Probing)
            }
            State::Ejected(Ejection { reason: Reason::Failures(_), before, .. })
                if was_counted && self.window.len() < policy.max_fails as usize =>
            {
                self.believed_from = before.believed_from;
                self.ramp = before.ramp;
                self.state = State::Up;
                Some(Change::Back { reason: Reason::NotItsFault })
            }
            _ => None,
        }
    }

    /// Reinstates a withdrawn failure: the node was at fault after all. A probe that was acquitted now counts
    /// as failed.
    pub(crate) fn reinstate(
        &mut self,
        report: Report,
        at: Instant,
        policy: &config::Health,
        last_up: bool,
        now: Instant,
    ) -> Option<Change> {
        if now.saturating_duration_since(at) >= policy.fail_timeout {
            return None;
        }
        if self.state == (State::Probing { probe: None }) && self.acquitted_probe == Some(report.ticket) {
            return Some(self.probe_failed(report, policy, now));
        }
        let is_charged = self.window.iter().any(|(_, counted)| *counted == report.ticket);
        let counts = self.is_up() && self.believes(report.epoch) && !is_charged;
        if counts { self.count(report, at, policy, last_up, now) } else { None }
    }
}
