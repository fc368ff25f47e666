//! Whether one node may be used: `Up`, `Ejected` or `Probing`, and what moves it from one to the next.
//!
//! Failures are counted in a true sliding window: `max_fails` within `fail_timeout` eject, and a success in
//! between erases nothing. An ejected node whose time is over is first *asked* (its check path, or a bare TCP
//! connect), then *probed* by exactly one request. What an attempt reports is believed only if it began in the
//! node's present epoch: the 187 requests that die with a crash after the fifth has ejected the node are the same
//! event, not news, and must neither lengthen its time nor fail its probe.
//!
//! Nothing here reads the clock: every method takes `now`.

mod acquittal;
mod asking;
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

/// A node that refused a connection is passed over for this long, so that an empty dead node does not attract
/// every new request.
pub(super) const REFUSED_HOLD: Duration = Duration::from_secs(1);
/// Aborted answers within this time of each other count once.
pub(super) const ABORT_BURST: Duration = Duration::from_secs(1);
/// A node that said "full" without a `Retry-After` is taken after the others for this long.
pub(super) const BUSY_HOLD: Duration = Duration::from_secs(1);
/// The longest `Retry-After` that is believed.
pub(super) const BUSY_HOLD_MAX: Duration = Duration::from_secs(30);

/// What an attempt says of the node when it reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    /// The attempt's number, unique in the pool.
    pub ticket: u64,
    /// The node's epoch when the attempt began.
    pub epoch: u64,
    pub outcome: Outcome,
}

/// The health of one node.
#[derive(Clone, Debug)]
pub(super) struct Health {
    state: State,
    /// Goes up with each ejection.
    epoch: u64,
    /// What began in an older epoch than this is not believed. Lags behind `epoch` after an ejection that was taken
    /// back: for those who had begun before it, nothing happened.
    believed_from: u64,
    /// Failures of this epoch, oldest first; never more than `max_fails`.
    window: VecDeque<(Instant, u64)>,
    /// The first and the last death of the last burst of them, unless it has given a good head since.
    dying: Option<(Instant, Instant)>,
    /// When the last burst of aborted answers began.
    aborted_at: Option<Instant>,
    /// Failed probes in a row: each doubles the time.
    failed_probes: u32,
    /// Ejections for silence at work since its last good head: each doubles the time too.
    stalls: u32,
    /// The failed probe that was taken back, in case that it is charged again.
    acquitted_probe: Option<u64>,
    /// When it last gave a good head, or was found well in another way.
    last_good: Instant,
    refused_until: Option<Instant>,
    busy_until: Option<Instant>,
    /// Since it came back, or was heard again while it is still ejected; `None` if it never was away, for a fresh process
    /// starts at full share.
    ramp: Option<Ramp>,
    checks: Checks,
    /// It was ejected for what the check did not see, and the check has seen nothing since: that it passes is no news.
    check_is_blind: bool,
}

impl Health {
    /// A node of a fleet that starts.
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

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Failures that are in the window at `now`.
    pub(super) fn recent_failures(&self, policy: &config::Health, now: Instant) -> usize {
        let began = |at: Instant| now.saturating_duration_since(at) < policy.fail_timeout;
        self.window.iter().filter(|(at, _)| began(*at)).count()
    }

    /// Until when it is passed over because it refused a connection.
    pub(super) fn refused_until(&self, now: Instant) -> Option<Instant> {
        self.refused_until.filter(|until| now < *until)
    }

    /// Until when it goes after the others because it said that it is full.
    pub(super) fn busy_until(&self, now: Instant) -> Option<Instant> {
        self.busy_until.filter(|until| now < *until)
    }

    /// The share of its weight that it may have: rises after a return, see [`Ramp`].
    pub(super) fn share(&self, policy: &config::Health, now: Instant) -> f64 {
        self.ramp.map_or(1.0, |ramp| ramp.share(policy.slow_start, now))
    }

    /// Whether its return is so long ago that it has the load that it will have.
    pub(super) fn is_settled(&self, policy: &config::Health, now: Instant) -> bool {
        self.ramp.is_none_or(|ramp| ramp.age(now) >= policy.slow_start)
    }

    /// It has done so much good work, in answers, beside so many requests in flight.
    pub(super) fn showed(&mut self, answers: f64, in_flight: u32, policy: &config::Health, now: Instant) {
        if let Some(ramp) = self.ramp.as_mut().filter(|_| self.state == State::Up) {
            ramp.showed(answers, in_flight, policy.slow_start, now);
        }
    }

    /// Whether time alone can change what the node may be used for.
    pub(super) fn is_restless(&self, policy: &config::Health, now: Instant) -> bool {
        !self.is_up()
            || self.refused_until(now).is_some()
            || self.busy_until(now).is_some()
            || self.share(policy, now) < 1.0
    }

    /// An attempt begins: the first one at a probing node takes the permit.
    pub(super) fn begin(&mut self, ticket: u64, now: Instant) {
        if let State::Probing { probe: probe @ None } = &mut self.state {
            *probe = Some(Probe { ticket, since: now });
        }
    }

    fn believes(&self, epoch: u64) -> bool {
        epoch >= self.believed_from
    }

    fn is_probe(&self, ticket: u64) -> bool {
        matches!(&self.state, State::Probing { probe: Some(probe) } if probe.ticket == ticket)
    }

    /// A good response head arrived. From a probe, or from a last resort that was taken since the ejection, it
    /// makes the node up again.
    pub(super) fn good_head(&mut self, ticket: u64, epoch: u64, now: Instant) -> Option<Change> {
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

    /// An attempt ended. `last_up` says that no other node of the pool is up.
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
                // a last resort failed: it is asked before it is used again
                ejection.accepts = false;
                ejection.seen = now;
                self.ramp = None;
                None
            }
            _ => None,
        }
    }

    /// A probe whose client left, or that ended without a verdict, gives the permit to the next request.
    fn give_permit_back(&mut self, ticket: u64) {
        if self.is_probe(ticket) {
            self.state = State::Probing { probe: None };
        }
    }

    /// An engine that is told to stop aborts all that it has: that is one event, however many it was at.
    fn is_same_abort(&mut self, now: Instant) -> bool {
        let same = self.aborted_at.is_some_and(|at| now.saturating_duration_since(at) <= ABORT_BURST);
        if !same {
            self.aborted_at = Some(now);
        }
        same
    }

    /// When the deaths began of which there is one more `now`: with many requests in flight it takes a while until all have
    /// been told, and while nothing else is heard of an ejected node, a death is no news however late it comes.
    pub(super) fn died_at(&self, now: Instant) -> Instant {
        let unheard = !self.is_up() && self.ramp.is_none();
        let same = |last: Instant| unheard || now.saturating_duration_since(last) <= DEATH_BURST;
        self.dying.filter(|(_, last)| same(*last)).map_or(now, |(first, _)| first)
    }

    /// An attempt was dropped without a word.
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
        // a 5xx never ejects the last node that is up, nor does an error event: a bad answer is better than none, as silence of any kind is not
        if self.window.len() < max_fails || (last_up && says_itself) {
            return None;
        }
        let stalls = report.outcome == Outcome::Stalled;
        let time = if stalls { self.stall_time(policy) } else { policy.fail_timeout };
        Some(self.eject(Reason::Failures(report.outcome), time, None, now))
    }

    fn probe_failed(&mut self, report: Report, policy: &config::Health, now: Instant) -> Change {
        if report.outcome == Outcome::Connect {
            // it was not sent, so it was no probe: the node is asked again, and its time does not double
            return self.eject(Reason::Failures(report.outcome), Duration::ZERO, None, now);
        }
        self.failed_probes = self.failed_probes.saturating_add(1);
        let time = doubled(policy, self.failed_probes);
        self.eject(Reason::ProbeFailed(report.outcome), time, Some(report.ticket), now)
    }

    /// A probe that was only at work has proved little of a node that hangs: each time that it comes back so and is as silent
    /// as before it is out for twice as long.
    fn stall_time(&mut self, policy: &config::Health) -> Duration {
        let time = doubled(policy, self.stalls);
        self.stalls = self.stalls.saturating_add(1);
        time
    }

    /// It was silent at work while others were not.
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
            accepts: !matches!(reason, Reason::Failures(Outcome::Connect) | Reason::Unresolved),
            seen: now,
            asking: false,
            failed_probe,
            before,
        });
        self.epoch += 1;
        self.believed_from = self.epoch;
        self.ramp = None;
        self.checks.restart();
        self.check_is_blind = is_beside_the_check(reason);
        Change::Ejected { reason, time }
    }

    fn come_back(&mut self, now: Instant, reason: Reason) -> Change {
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
        Change::Back { reason }
    }

    /// The node said that it is full.
    pub(super) fn busy(&mut self, retry_after: Option<Duration>, now: Instant) {
        let hold = retry_after.unwrap_or(BUSY_HOLD).min(BUSY_HOLD_MAX);
        self.busy_until = Some(now + hold);
        self.ramp.iter_mut().for_each(Ramp::forfeit);
    }

    /// What time alone brings about: a probe that has been at work for `probe_pass` counts as good.
    pub(super) fn tick(&mut self, policy: &config::Health, now: Instant) -> Option<Change> {
        let passed = matches!(&self.state, State::Probing { probe: Some(probe) }
            if now.saturating_duration_since(probe.since) >= policy.probe_pass);
        passed.then(|| self.come_back(now, Reason::AtWork))
    }

    /// An administrator, or a name that cannot be resolved, takes the node out.
    pub(super) fn take_out(&mut self, reason: Reason, time: Duration, now: Instant) -> Change {
        self.eject(reason, time, None, now)
    }

    /// Its name leads somewhere for the first time. That is no return while the process starts: all are as empty as it is.
    pub(super) fn resolved(&mut self, policy: &config::Health, now: Instant) -> Option<Change> {
        let starts = now.saturating_duration_since(self.last_good) < policy.slow_start;
        let was_there = matches!(&self.state, State::Ejected(ejection) if ejection.before.ramp.is_none());
        let change = self.restore(Reason::Resolved, now);
        if starts && was_there {
            self.ramp = None;
        }
        change
    }

    /// It is no longer drained: it comes back as empty as one that was ejected.
    pub(super) fn undrained(&mut self, now: Instant) {
        if self.is_up() {
            self.ramp = Some(Ramp::new(now));
        }
    }

    /// Brings the node back at once.
    pub(super) fn restore(&mut self, reason: Reason, now: Instant) -> Option<Change> {
        (!self.is_up()).then(|| self.come_back(now, reason))
    }

    #[cfg(test)]
    pub(super) fn check_is_blind(&self) -> bool {
        self.check_is_blind
    }

    pub(super) fn checks(&mut self) -> &mut Checks {
        &mut self.checks
    }
}

/// `fail_timeout`, doubled so many times, up to `max_eject`.
fn doubled(policy: &config::Health, times: u32) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    policy.fail_timeout.saturating_mul(factor).min(policy.max_eject)
}

/// The engine answers 500, or hangs, beside a server that says that all is well: its check sees nothing of that.
fn is_beside_the_check(reason: Reason) -> bool {
    match reason {
        Reason::Stalled => true,
        Reason::Failures(outcome) | Reason::ProbeFailed(outcome) => {
            matches!(outcome, Outcome::Http5xx | Outcome::Timeout | Outcome::Stalled)
        }
        _ => false,
    }
}
