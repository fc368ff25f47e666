//! A node's answers to the gateway's own questions: the connect that tests an ejected node, and the check.

use std::time::Instant;

use super::super::checks::{CheckVerdict, Checked};
use super::super::event::{Change, Reason};
use super::{Ejection, Health, Ramp, State};
use crate::config;

impl Health {
    /// Decides whether to test now if the node accepts connections; [`Self::answered`] must follow.
    pub(crate) fn ask(&mut self, none_up: bool, now: Instant) -> bool {
        let State::Ejected(ejection) = &mut self.state else { return false };
        let due = !ejection.asking && ejection.is_due(none_up, now);
        ejection.asking |= due;
        due
    }

    /// Takes the answer to [`Self::ask`]: whether the node accepted the connection and, if it has a check,
    /// passed it. Answers to questions from an earlier ejection are ignored.
    pub(crate) fn answered(&mut self, epoch: u32, yes: bool, now: Instant) -> Option<Change> {
        let State::Ejected(ejection) = &mut self.state else { return None };
        if epoch != self.epoch {
            return None;
        }
        ejection.asking = false;
        ejection.seen = now;
        if yes && ejection.reason == Reason::Unchecked {
            return Some(self.come_back(now, Reason::CheckPassed));
        }
        let news = yes && !ejection.accepts;
        ejection.accepts = yes;
        if !yes {
            self.ramp = None;
            return None;
        }
        self.refused_until = None;
        if news || now >= ejection.until {
            // while no node is up, this node gets all waiting requests, and needs a slow start most
            self.ramp.get_or_insert(Ramp::new(now));
        }
        if now >= ejection.until {
            self.state = State::Probing { probe: None };
            return Some(Change::Probing);
        }
        news.then_some(Change::Accepts)
    }

    /// The node is out, and its check has lost it or an operator wants it out.
    pub(crate) fn is_lost(&self, policy: &config::Health) -> bool {
        let is_lost = || policy.check.as_ref().is_some_and(|check| self.checks.is_lost(check));
        match &self.state {
            State::Up => false,
            State::Ejected(Ejection { reason: Reason::Operator, .. }) => true,
            State::Ejected(_) | State::Probing { .. } => is_lost(),
        }
    }

    /// Takes the result of an active check. `last_up`: no other node of the pool is up.
    pub(crate) fn checked(
        &mut self,
        checked: Checked,
        policy: &config::Health,
        last_up: bool,
        now: Instant,
    ) -> Option<Change> {
        let Some(check) = &policy.check else {
            self.checks.ignored();
            return None;
        };
        self.check_is_blind &= !checked.is_failure();
        let change = match self.checks.result(checked, check) {
            Some(CheckVerdict::Rise) if !self.check_is_blind => self.restore(Reason::CheckPassed, now),
            Some(CheckVerdict::Fall) if self.is_up() && !last_up => {
                Some(self.take_out(Reason::CheckFailed, policy.fail_timeout, now))
            }
            _ => None,
        };
        if let (State::Ejected(ejection), true) = (&self.state, checked.is_failure()) {
            self.checks.hasten(ejection.since, now);
        }
        change
    }
}
