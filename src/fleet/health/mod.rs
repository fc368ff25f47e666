//! The health of one node: the states `Up`, `Ejected` and `Probing`, and the transitions between them.
//!
//! Failures are counted in a true sliding window: `max_fails` within `fail_timeout` eject the node, and a
//! success in between does not reset the count. When an ejection expires, the node is first *asked* (its
//! check path, or a bare TCP connect), then *probed* by exactly one request. A report counts only if its
//! attempt began in the node's current epoch. When a node with 192 requests crashes, the fifth failure ejects
//! it; the other 187 belong to the same event, and must neither prolong the ejection nor fail the probe.
//!
//! Nothing here reads the clock: every method takes `now`.

mod acquittal;
mod asking;
mod orders;
mod ramp;
mod state;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub(super) use ramp::{PIECES, Ramp};
pub(super) use state::{Ejection, Probe, State};

use super::checks::Checks;
use super::event::{Change, Reason};
use crate::config;
use crate::outcome::Outcome;
use crate::retry::DEATH_BURST;
use state::Before;

/// A node that refused a connection is skipped for this long: an empty dead node has the lowest load and
/// would attract every new request.
pub(super) const REFUSED_HOLD: Duration = Duration::from_secs(1);
/// Aborted answers within this time of each other count as one failure.
pub(super) const ABORT_BURST: Duration = Duration::from_secs(1);
/// A node that said it is full, without a `Retry-After`, ranks after the others for this long.
pub(super) const BUSY_HOLD: Duration = Duration::from_secs(1);
/// The longest `Retry-After` that is honoured.
pub(super) const BUSY_HOLD_MAX: Duration = Duration::from_secs(30);

/// A node that has registered itself is asked after this time: at once, as soon as anybody looks.
const UNCHECKED_AT_LEAST: Duration = Duration::from_millis(1);

/// The report of one attempt about its node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    /// The attempt's number, unique in the pool.
    pub ticket: u64,
    /// The node's epoch when the attempt began.
    pub epoch: u32,
    pub outcome: Outcome,
}

/// The health of one node.
#[derive(Clone, Debug)]
pub(super) struct Health {
    state: State,
    /// Incremented by each ejection.
    epoch: u32,
    /// Reports of attempts that began before this epoch are ignored. It lags behind `epoch` after an ejection
    /// is withdrawn, because attempts that began before that ejection are believed again.
    believed_from: u32,
    /// Failures in this epoch, oldest first; at most `max_fails`.
    window: VecDeque<(Instant, u64)>,
    /// The times of the first and the last death in the latest burst, unless the node has given a good head
    /// since.
    dying: Option<(Instant, Instant)>,
    /// The start of the latest burst of aborted answers.
    aborted_at: Option<Instant>,
    /// Consecutive failed probes; each doubles the next ejection.
    failed_probes: u32,
    /// Ejections for stalling since the last good head; each doubles the next one.
    stalls: u32,
    /// The failed probe that was withdrawn, in case it is reinstated.
    acquitted_probe: Option<u64>,
    /// The time of the last good head, or of the last return to `Up`.
    last_good: Instant,
    refused_until: Option<Instant>,
    busy_until: Option<Instant>,
    /// Slow start, from the node's return, or from its first answer while it is still ejected. `None` if the
    /// node was never out: a fresh process starts at full share.
    ramp: Option<Ramp>,
    checks: Checks,
    /// The node was ejected for a fault that the check does not see, and no check has failed since. Until one
    /// does, a pass proves nothing.
    check_is_blind: bool,
}

impl Health {
    /// A node of a fleet that is just starting: up, without slow start.
    pub(super) fn up(now: Instant) -> Self {
        Self {
            last_good: now,
            state: State::Up,
            epoch: 0,
            believed_from: 0,
            window: VecDeque::new(),
            dying: None,
            aborted_at: None,
            failed_probes: 0,
            stalls: 0,
            acquitted_probe: None,
            refused_until: None,
            busy_until: None,
            ramp: None,
            checks: Checks::default(),
            check_is_blind: false,
        }
    }

    /// A node that joins a running fleet: up, and with slow start.
    pub(super) fn joining(now: Instant) -> Self {
        Self { ramp: Some(Ramp::new(now)), ..Self::up(now) }
    }

    /// A node that has registered itself: out until it has passed a check, or accepted a connection if its pool has no check.
    pub(super) fn unchecked(now: Instant) -> Self {
        let mut health = Self::up(now);
        health.take_out(Reason::Unchecked, UNCHECKED_AT_LEAST, now);
        health
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Number of failures in the window at `now`.
    pub(super) fn recent_failures(&self, policy: &config::Health, now: Instant) -> usize {
        let began = |at: Instant| now.saturating_duration_since(at) < policy.fail_timeout;
        self.window.iter().filter(|(at, _)| began(*at)).count()
    }

    /// The end of the time for which the node is skipped because it refused a connection.
    pub(super) fn refused_until(&self, now: Instant) -> Option<Instant> {
        self.refused_until.filter(|until| now < *until)
    }

    /// The end of the time for which the node ranks after the others because it said it is full.
    pub(super) fn busy_until(&self, now: Instant) -> Option<Instant> {
        self.busy_until.filter(|until| now < *until)
    }

    /// The share of its weight that the node may use; it rises after a return, see [`Ramp`].
    pub(super) fn share(&self, policy: &config::Health, now: Instant) -> f64 {
        self.ramp.map_or(1.0, |ramp| ramp.share(policy.slow_start, now))
    }

    /// Slow start is over by time, so that the node has its normal load.
    pub(super) fn is_settled(&self, policy: &config::Health, now: Instant) -> bool {
        self.ramp.is_none_or(|ramp| ramp.age(now) >= policy.slow_start)
    }

    /// Good work was seen, counted in answers, while the node had this many requests in flight.
    pub(super) fn showed(&mut self, answers: f64, in_flight: u32, policy: &config::Health, now: Instant) {
        if let Some(ramp) = self.ramp.as_mut().filter(|_| self.state == State::Up) {
            ramp.showed(answers, in_flight, policy.slow_start, now);
        }
    }

    /// Time alone can change how the node may be used.
    pub(super) fn is_restless(&self, policy: &config::Health, now: Instant) -> bool {
        !self.is_up()
            || self.refused_until(now).is_some()
            || self.busy_until(now).is_some()
            || self.share(policy, now) < 1.0
    }

    /// An attempt begins. On a probing node, the first attempt takes the permit and becomes the probe.
    pub(super) fn begin(&mut self, ticket: u64, now: Instant) {
        if let State::Probing { probe: probe @ None } = &mut self.state {
            *probe = Some(Probe { ticket, since: now });
        }
    }

    fn believes(&self, epoch: u32) -> bool {
        epoch >= self.believed_from
    }

    fn is_probe(&self, ticket: u64) -> bool {
        matches!(&self.state, State::Probing { probe: Some(probe) } if probe.ticket == ticket)
    }

    /// A good response head arrived. The node is up again if the head came from a probe, or from a last
    /// resort that began after the ejection.
    pub(super) fn good_head(&mut self, ticket: u64, epoch: u32, now: Instant) -> Option<Change> {
        self.last_good = now;
        self.dying = None;
        if self.is_up() && self.believes(epoch) {
            self.stalls = 0;
        }
        let believed = match self.state {
            State::Up => false,
            State::Ejected(_) => self.believes(epoch),
            State::Probing { .. } => self.is_probe(ticket) || self.believes(epoch),
        };
        believed.then(|| self.come_back(now, Reason::Answered))
    }

    /// An attempt ended. `last_up`: no other node of the pool is up.
    pub(super) fn end(
        &mut self,
        report: Report,
        policy: &config::Health,
        last_up: bool,
        now: Instant,
    ) -> Option<Change> {
        if report.outcome.is_death() {
            self.dying = Some((self.died_at(now), now));
        }
        if report.outcome == Outcome::Connect && self.believes(report.epoch) {
            self.refused_until = Some(now + REFUSED_HOLD);
        }
        if !report.outcome.is_failure() {
            self.give_permit_back(report.ticket);
            return None;
        }
        if self.is_probe(report.ticket) {
            return Some(self.probe_failed(report, policy, now));
        }
        if !self.believes(report.epoch) {
            return None;
        }
        self.ramp.iter_mut().for_each(Ramp::forfeit);
        if report.outcome == Outcome::Aborted && self.is_same_abort(now) {
            return None;
        }
        match &mut self.state {
            State::Up => self.count(report, now, policy, last_up, now),
            State::Ejected(ejection) if report.outcome.is_silence() => {
                // a last resort failed: ask the node before using it again
                ejection.accepts = false;
                ejection.seen = now;
                self.ramp = None;
                None
            }
            _ => None,
        }
    }

    /// Frees the permit if this probe ended without a verdict, for instance because its client left. The next
    /// request takes it.
    fn give_permit_back(&mut self, ticket: u64) {
        if self.is_probe(ticket) {
            self.state = State::Probing { probe: None };
        }
    }

    /// The abort belongs to the current burst. An engine that is told to stop aborts all its requests, and
    /// that is one event.
    fn is_same_abort(&mut self, now: Instant) -> bool {
        let same = self.aborted_at.is_some_and(|at| now.saturating_duration_since(at) <= ABORT_BURST);
        if !same {
            self.aborted_at = Some(now);
        }
        same
    }

    /// The start of the burst that a death reported `now` belongs to. A busy gateway takes a while to report
    /// every death of a crash. While an ejected node has shown no sign of life, every further death belongs
    /// to the crash, however late it is reported.
    pub(super) fn died_at(&self, now: Instant) -> Instant {
        let unheard = !self.is_up() && self.ramp.is_none();
        let same = |last: Instant| unheard || now.saturating_duration_since(last) <= DEATH_BURST;
        self.dying.filter(|(_, last)| same(*last)).map_or(now, |(first, _)| first)
    }

    /// An attempt was dropped without an outcome.
    pub(super) fn abandoned(&mut self, ticket: u64) {
        self.give_permit_back(ticket);
    }

    fn count(
        &mut self,
        report: Report,
        at: Instant,
        policy: &config::Health,
        last_up: bool,
        now: Instant,
    ) -> Option<Change> {
        if policy.max_fails == 0 {
            return None;
        }
        while self
            .window
            .front()
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) >= policy.fail_timeout)
        {
            self.window.pop_front();
        }
        let max_fails = policy.max_fails as usize;
        while self.window.len() >= max_fails {
            self.window.pop_front();
        }
        let place = self.window.partition_point(|(other, _)| *other <= at);
        self.window.insert(place, (at, report.ticket));
        let says_itself = matches!(report.outcome, Outcome::Http5xx | Outcome::EngineError);
        // neither a 5xx nor an error event ejects the last node that is up: a bad answer is better than none;
        // silence is not
        if self.window.len() < max_fails || (last_up && says_itself) {
            return None;
        }
        let stalls = report.outcome == Outcome::Stalled;
        let time = if stalls { self.stall_time(policy) } else { policy.fail_timeout };
        Some(self.eject(Reason::Failures(report.outcome), time, None, now))
    }

    fn probe_failed(&mut self, report: Report, policy: &config::Health, now: Instant) -> Change {
        if report.outcome == Outcome::Connect {
            // nothing was sent, so this was no probe: ask the node again, without doubling the ejection
            return self.eject(Reason::Failures(report.outcome), Duration::ZERO, None, now);
        }
        self.failed_probes = self.failed_probes.saturating_add(1);
        let time = doubled(policy, self.failed_probes);
        self.eject(Reason::ProbeFailed(report.outcome), time, Some(report.ticket), now)
    }

    /// The length of the next ejection for stalling. A probe that merely ran for `probe_pass` proves little
    /// about a node that hangs, so the time doubles with each such ejection until a good head arrives.
    fn stall_time(&mut self, policy: &config::Health) -> Duration {
        let time = doubled(policy, self.stalls);
        self.stalls = self.stalls.saturating_add(1);
        time
    }

    /// The node stalled: silent with requests in flight, while other nodes were not.
    pub(super) fn stalled(&mut self, policy: &config::Health, now: Instant) -> Option<Change> {
        match self.state {
            State::Up => {
                let time = self.stall_time(policy);
                Some(self.eject(Reason::Stalled, time, None, now))
            }
            State::Probing { probe: Some(Probe { ticket, .. }) } => {
                let report = Report { ticket, epoch: self.epoch, outcome: Outcome::Stalled };
                Some(self.probe_failed(report, policy, now))
            }
            State::Probing { probe: None } | State::Ejected(_) => None,
        }
    }

    fn eject(&mut self, reason: Reason, time: Duration, failed_probe: Option<u64>, now: Instant) -> Change {
        let until = now + time;
        let before = Before { believed_from: self.believed_from, ramp: self.ramp };
        self.state = State::Ejected(Ejection {
            since: now,
            until,
            reason,
            accepts: !matches!(
                reason,
                Reason::Failures(Outcome::Connect)
                    | Reason::Unresolved
                    | Reason::Operator
                    | Reason::Unchecked
            ),
            seen: now,
            asking: false,
            failed_probe,
            before,
        });
        self.epoch += 1;
        self.believed_from = self.epoch;
        self.ramp = None;
        self.checks.restart();
        self.check_is_blind = is_invisible_to_check(reason);
        Change::Ejected { reason, time }
    }

    fn come_back(&mut self, now: Instant, reason: Reason) -> Change {
        let joins = self.is_unchecked();
        self.state = State::Up;
        self.window.clear();
        self.dying = None;
        self.failed_probes = 0;
        self.acquitted_probe = None;
        self.refused_until = None;
        self.busy_until = None;
        self.ramp = Some(Ramp::new(now));
        self.last_good = now;
        self.checks.restart();
        if joins { Change::Joined } else { Change::Back { reason } }
    }

    fn is_unchecked(&self) -> bool {
        matches!(&self.state, State::Ejected(ejection) if ejection.reason == Reason::Unchecked)
    }

    /// The node said it is full.
    pub(super) fn busy(&mut self, retry_after: Option<Duration>, now: Instant) {
        let hold = retry_after.unwrap_or(BUSY_HOLD).min(BUSY_HOLD_MAX);
        self.busy_until = Some(now + hold);
        self.ramp.iter_mut().for_each(Ramp::forfeit);
    }

    /// Applies what time alone changes: a probe that has run for `probe_pass` counts as good.
    pub(super) fn tick(&mut self, policy: &config::Health, now: Instant) -> Option<Change> {
        let passed = matches!(&self.state, State::Probing { probe: Some(probe) }
            if now.saturating_duration_since(probe.since) >= policy.probe_pass);
        passed.then(|| self.come_back(now, Reason::AtWork))
    }

    /// Takes the node out for a reason other than its requests: its check failed, or its name cannot be
    /// resolved.
    pub(super) fn take_out(&mut self, reason: Reason, time: Duration, now: Instant) -> Change {
        self.eject(reason, time, None, now)
    }

    /// The node's name was resolved for the first time. While the process starts, this is not a return that
    /// needs slow start: the other nodes are just as empty.
    pub(super) fn resolved(&mut self, policy: &config::Health, now: Instant) -> Option<Change> {
        if self.is_unchecked() {
            // now it can be asked
            return None;
        }
        let starts = now.saturating_duration_since(self.last_good) < policy.slow_start;
        let was_there = matches!(&self.state, State::Ejected(ejection) if ejection.before.ramp.is_none());
        let change = self.restore(Reason::Resolved, now);
        if starts && was_there {
            self.ramp = None;
        }
        change
    }

    /// The node is no longer drained. It is as empty as an ejected node that returns, so slow start applies.
    pub(super) fn undrained(&mut self, now: Instant) {
        if self.is_up() {
            self.ramp = Some(Ramp::new(now));
        }
    }

    /// Brings the node back at once, unless an operator wants it out.
    pub(super) fn restore(&mut self, reason: Reason, now: Instant) -> Option<Change> {
        let is_held = matches!(&self.state, State::Ejected(ejection) if ejection.is_held(now));
        (!self.is_up() && !is_held).then(|| self.come_back(now, reason))
    }

    #[cfg(test)]
    pub(super) fn check_is_blind(&self) -> bool {
        self.check_is_blind
    }

    /// The result of the last active check, if there is one.
    pub(super) fn last_check(&self) -> Option<bool> {
        self.checks.last()
    }

    pub(super) fn checks(&mut self) -> &mut Checks {
        &mut self.checks
    }
}

/// `fail_timeout`, doubled `times` times, up to `max_eject`.
fn doubled(policy: &config::Health, times: u32) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    policy.fail_timeout.saturating_mul(factor).min(policy.max_eject)
}

/// The check cannot see this fault: an engine may answer 500 or hang while the server in front of it reports
/// that all is well.
fn is_invisible_to_check(reason: Reason) -> bool {
    match reason {
        Reason::Stalled => true,
        Reason::Failures(outcome) | Reason::ProbeFailed(outcome) => {
            matches!(outcome, Outcome::Http5xx | Outcome::Timeout | Outcome::Stalled)
        }
        _ => false,
    }
}
