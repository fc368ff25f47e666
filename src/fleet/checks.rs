//! The active check of one node: when it is due, and what a row of results means.

use std::time::Instant;

use crate::config::Check;

/// What a row of equal results amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `rise` in a row passed.
    Rise,
    /// `fall` in a row failed.
    Fall,
}

/// Results so far, and the time of the next check.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    next: Option<Instant>,
    running: bool,
    /// What the check under way says will be out of date.
    stale: bool,
    passed: u32,
    failed: u32,
}

impl Checks {
    /// Whether a check is to be sent now; to be followed by [`Self::result`]. `phase` in `0.0..1.0` spreads the
    /// first checks of many nodes over the interval.
    pub fn is_due(&mut self, check: &Check, phase: f64, now: Instant) -> bool {
        let next = *self.next.get_or_insert_with(|| now + check.interval.mul_f64(phase));
        if self.running || now < next {
            return false;
        }
        self.running = true;
        self.next = Some(now + check.interval);
        true
    }

    /// The node's state has changed: rows begin anew, and a check that was sent before says nothing.
    pub fn restart(&mut self) {
        self.passed = 0;
        self.failed = 0;
        self.stale = self.running;
    }

    /// A result that nobody is interested in any more.
    pub fn ignored(&mut self) {
        self.running = false;
        self.restart();
    }

    pub fn result(&mut self, passed: bool, check: &Check) -> Option<Verdict> {
        self.running = false;
        if std::mem::take(&mut self.stale) {
            return None;
        }
        if passed {
            self.failed = 0;
            self.passed = self.passed.saturating_add(1);
            (self.passed >= check.rise).then_some(Verdict::Rise)
        } else {
            self.passed = 0;
            self.failed = self.failed.saturating_add(1);
            (self.failed >= check.fall).then_some(Verdict::Fall)
        }
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
    fn rows_of_equal_results_count() {
        let mut checks = Checks::default();
        let results = [false, false, true, false, false, false, false, true, true];
        let verdicts: Vec<_> = results.iter().map(|r| checks.result(*r, &check())).collect();
        let (rise, fall) = (Some(Verdict::Rise), Some(Verdict::Fall));
        assert_eq!(verdicts, [None, None, None, None, None, fall, fall, None, rise]);
    }

    #[test]
    fn one_at_a_time_and_an_interval_apart() {
        let mut checks = Checks::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!checks.is_due(&check(), 0.4, start), "the first comes at its phase");
        assert!(checks.is_due(&check(), 0.4, at(2)));
        assert!(!checks.is_due(&check(), 0.4, at(20)), "the last one is still under way");
        checks.result(true, &check());
        assert!(checks.is_due(&check(), 0.4, at(20)));
        checks.result(true, &check());
        assert!(!checks.is_due(&check(), 0.4, at(24)));
    }
}
