//! The active check of one node: its schedule, and the verdict on consecutive results.

use std::time::{Duration, Instant};

use crate::config::Check;

/// A node that fails its checks is checked again after this fraction of the time it has been out.
const PART_OF_OUTAGE: u32 = 16;
/// The shortest pause before that check.
const SOONEST: Duration = Duration::from_millis(100);

/// The shortest time between two checks for the reason that another gateway took the node out.
const HINTS_APART: Duration = Duration::from_secs(1);

/// The verdict on consecutive equal results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckVerdict {
    /// `rise` checks in a row have passed.
    Rise,
    /// `fall` checks in a row have failed.
    Fall,
}

/// The result of a check or of a bare connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckAnswer {
    /// The node accepted the connection, and passed its check if it has one.
    Passed,
    /// No answer in time: a node that is overloaded looks like this.
    Slow,
    /// 503: it is overloaded or still loading its model.
    Busy,
    /// The status was neither 200 nor 503.
    Failed,
    /// The connection was refused or broken.
    Refused,
}

impl From<bool> for CheckAnswer {
    fn from(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}

/// The result of a check, with what is needed to interpret it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    pub answer: CheckAnswer,
    pub sent: Instant,
    /// The node's last sign of life.
    pub alive: Option<Instant>,
}

impl Checked {
    fn has_lived_since(&self, since: Instant) -> bool {
        self.alive.is_some_and(|at| at >= since)
    }

    /// The result counts as a failure. A slow one does not if the node showed a sign of life since the check
    /// was sent.
    pub(super) fn is_failure(&self) -> bool {
        match self.answer {
            CheckAnswer::Passed => false,
            CheckAnswer::Slow | CheckAnswer::Busy => !self.has_lived_since(self.sent),
            CheckAnswer::Failed | CheckAnswer::Refused => true,
        }
    }

    fn is_answer(&self) -> bool {
        matches!(self.answer, CheckAnswer::Passed | CheckAnswer::Busy | CheckAnswer::Failed)
    }
}

/// The consecutive results so far, and the time of the next check.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    next: Option<Instant>,
    /// The last check that was brought forward because another gateway took the node out.
    hinted: Option<Instant>,
    running: bool,
    /// The node's state has changed since the running check was sent: its result will be ignored.
    stale: bool,
    passed: u32,
    failed: u32,
    /// The number of `failed` that were only slow, and when the last of those was sent.
    slow: u32,
    last_slow: Option<Instant>,
    lost: Lost,
}

/// The checks in a row that got no answer while nothing else was heard of the node either.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    count: u32,
    /// The time at which the first of them was sent.
    since: Option<Instant>,
}

impl Lost {
    fn with(self, result: Checked) -> Self {
        if result.is_answer() || result.has_lived_since(result.sent) {
            return Self::default();
        }
        match self.since {
            Some(since) if !result.has_lived_since(since) => {
                Self { count: self.count.saturating_add(1), ..self }
            }
            _ => Self { count: 1, since: Some(result.sent) },
        }
    }
}

impl Checks {
    /// Decides whether to send a check now; [`Self::result`] must follow. `random` in `0.0..1.0` varies the
    /// interval by a tenth up or down: gateways and nodes that were started together would otherwise check in
    /// lockstep for ever. `phase` likewise spreads the first checks of many nodes over the interval.
    pub(super) fn is_due(&mut self, check: &Check, phase: f64, random: f64, now: Instant) -> bool {
        let next = *self.next.get_or_insert_with(|| now + check.interval.mul_f64(phase));
        if self.running || now < next {
            return false;
        }
        self.running = true;
        self.next = Some(now + check.interval.mul_f64(0.9 + 0.2 * random));
        true
    }

    /// Another gateway has taken the node out: the next check is now, unless one was brought forward so within the last second.
    pub(super) fn hint(&mut self, now: Instant) {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < HINTS_APART;
        if !self.hinted.is_some_and(is_recent) {
            self.hinted = Some(now);
            self.next = Some(now);
        }
    }

    /// Brings the next check forward. The node is out and has just failed its check, so a pass would be news.
    /// A node that returns soon is found soon; a node that is out for long is checked at the usual interval.
    pub(super) fn hasten(&mut self, out_since: Instant, now: Instant) {
        let pause = now.saturating_duration_since(out_since) / PART_OF_OUTAGE;
        let soon = now + pause.max(SOONEST);
        self.next = self.next.map(|next| next.min(soon));
    }

    /// The node's state has changed: counting starts over, and the result of a check already sent is ignored.
    pub(super) fn restart(&mut self) {
        let Self { next, hinted, running, lost, .. } = *self;
        *self = Self { next, hinted, running, stale: running, lost, ..Self::default() };
    }

    /// The check was switched off while it ran: its result is dropped.
    pub(super) fn ignored(&mut self) {
        self.running = false;
        self.lost = Lost::default();
        self.restart();
    }

    /// `fall` checks in a row were refused, broken or not answered, and the node has shown no other sign of life since the
    /// first of them was sent. One that answers with an error is there, and so is one that is at work.
    pub(super) fn is_lost(&self, check: &Check) -> bool {
        self.lost.count >= check.fall
    }

    /// The result of the last one since the node's state changed.
    pub(super) fn last(&self) -> Option<bool> {
        (self.passed > 0 || self.failed > 0).then_some(self.passed > 0)
    }

    pub(super) fn result(&mut self, result: Checked, check: &Check) -> Option<CheckVerdict> {
        self.running = false;
        self.lost = self.lost.with(result);
        if std::mem::take(&mut self.stale) {
            return None;
        }
        if self.last_slow.is_some_and(|sent| result.has_lived_since(sent)) {
            // the node showed a sign of life after that slow check was sent, so the slow results do not count
            self.failed -= std::mem::take(&mut self.slow);
        }
        if result.answer == CheckAnswer::Passed {
            let passed = self.passed.saturating_add(1);
            *self = Self { next: self.next, lost: self.lost, passed, ..Self::default() };
            return (self.passed >= check.rise).then_some(CheckVerdict::Rise);
        }
        self.passed = 0;
        if !result.is_failure() {
            return None;
        }
        self.failed = self.failed.saturating_add(1);
        if matches!(result.answer, CheckAnswer::Slow | CheckAnswer::Busy) {
            self.slow = self.slow.saturating_add(1);
            self.last_slow = Some(result.sent);
        }
        (self.failed >= check.fall).then_some(CheckVerdict::Fall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn check() -> Check {
        Check {
            path: "/health".into(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
        }
    }

    #[test]
    fn consecutive_equal_results_count() {
        let mut checks = Checks::default();
        let results = [false, false, true, false, false, false, false, true, true];
        let sent = Instant::now();
        let result = |passed: bool| Checked { answer: passed.into(), sent, alive: None };
        let verdicts: Vec<_> = results.iter().map(|r| checks.result(result(*r), &check())).collect();
        let (rise, fall) = (Some(CheckVerdict::Rise), Some(CheckVerdict::Fall));
        assert_eq!(verdicts, [None, None, None, None, None, fall, fall, None, rise]);
    }

    #[test]
    fn one_at_a_time_and_about_an_interval_apart() {
        for (random, pause) in [(0.0, 4.5), (0.5, 5.0), (0.999, 5.499)] {
            let mut checks = Checks::default();
            let start = Instant::now();
            let at = |seconds| start + Duration::from_secs_f64(seconds);
            let passed = |sent| Checked { answer: CheckAnswer::Passed, sent, alive: None };
            assert!(!checks.is_due(&check(), 0.4, random, start), "the first check is due at its phase");
            assert!(checks.is_due(&check(), 0.4, random, at(2.0)));
            assert!(!checks.is_due(&check(), 0.4, random, at(20.0)), "the previous check is still running");
            checks.result(passed(at(2.0)), &check());
            assert!(checks.is_due(&check(), 0.4, random, at(20.0)));
            checks.result(passed(at(20.0)), &check());
            assert!(!checks.is_due(&check(), 0.4, random, at(19.99 + pause)), "{random}");
            assert!(checks.is_due(&check(), 0.4, random, at(20.01 + pause)), "{random}");
        }
    }

    /// Each row: the answers to checks that are sent every 5 s and answered 2 s later, each with the node's
    /// last sign of life at that time; then the number of checks after which the node falls.
    #[test]
    fn a_slow_check_counts_unless_the_node_was_at_work() {
        use CheckAnswer::{Failed, Passed, Slow};
        let never = -1.0;
        type Row<'a> = (&'a str, &'a [(CheckAnswer, f64)], Option<usize>);
        let table: [Row; 8] = [
            ("idle, or hung", &[(Slow, never), (Slow, never), (Slow, never)], Some(3)),
            ("at work each time", &[(Slow, 1.0), (Slow, 6.0), (Slow, 11.0), (Slow, 16.0)], None),
            ("before each was sent", &[(Slow, -0.5), (Slow, -0.5), (Slow, -0.5)], Some(3)),
            ("between two", &[(Slow, never), (Slow, 4.0), (Slow, 4.0), (Slow, 4.0)], Some(4)),
            ("at work, then not", &[(Slow, 1.0), (Slow, 1.0), (Slow, 1.0), (Slow, 1.0)], Some(4)),
            ("refused while others end", &[(Failed, 1.0), (Failed, 6.0), (Failed, 11.0)], Some(3)),
            ("mixed", &[(Failed, 1.0), (Slow, 1.0), (Slow, 11.0), (Failed, 16.0), (Failed, 21.0)], Some(5)),
            ("a pass in between", &[(Slow, never), (Slow, never), (Passed, never), (Slow, never)], None),
        ];
        for (name, row, want) in table {
            let start = Instant::now();
            let at = |seconds: f64| start + Duration::from_secs_f64(1.0 + seconds);
            let mut checks = Checks::default();
            let falls = row.iter().enumerate().position(|(number, (answer, alive))| {
                let sent = at(number as f64 * 5.0);
                let alive = (*alive > never).then(|| at(*alive));
                checks.result(Checked { answer: *answer, sent, alive }, &check()) == Some(CheckVerdict::Fall)
            });
            assert_eq!(falls.map(|place| place + 1), want, "{name}");
        }
    }
}
