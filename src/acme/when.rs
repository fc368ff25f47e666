//! The time of the next order: before a certificate ends, and later after each failure. Pure: the caller has the clock and the dice.

use std::time::{Duration, SystemTime};

use crate::tls::Validity;

/// The pause after the first failure; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_mins(1);
const PAUSE_MAX: Duration = Duration::from_hours(6);
/// The longest that a server may ask to wait: it could be wrong.
const ASKED_MAX: Duration = Duration::from_hours(24 * 7);
/// Gateways that began at one time do not ask at one time.
const SPREAD: f64 = 0.1;

/// The orders for one certificate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    next: SystemTime,
    /// The certificate for which this was planned; `None`: there is none yet.
    basis: Option<Validity>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Calm,
    /// So many failures in a row.
    Failing(u32),
    /// The same, and the server asked for a pause: a reload does not shorten that.
    Held(u32),
}

impl Plan {
    /// Due at once, until a certificate is seen.
    pub(super) fn new(now: SystemTime) -> Self {
        Self { next: now, basis: None, state: State::Calm }
    }

    /// Plans anew if another certificate is in use. `dice`: 0 to 1.
    pub(super) fn look(&mut self, current: Option<Validity>, now: SystemTime, dice: f64) {
        if current != self.basis {
            let next = current.map_or(now, |current| renewal(current, dice));
            *self = Self { next, basis: current, state: State::Calm };
        }
    }

    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        now >= self.next
    }

    pub(super) fn next(&self) -> SystemTime {
        self.next
    }

    /// `asked`: the pause that the server wants.
    pub(super) fn failed(&mut self, now: SystemTime, asked: Option<Duration>, dice: f64) {
        let count = match self.state {
            State::Calm => 1,
            State::Failing(count) | State::Held(count) => count.saturating_add(1),
        };
        let pause = pause(count, dice);
        self.next = now + pause.max(asked.unwrap_or_default().min(ASKED_MAX));
        self.state = if asked.is_some() { State::Held(count) } else { State::Failing(count) };
    }

    /// A reload tries again at once what has failed: whoever has put it right waits for no back-off.
    pub(super) fn reloaded(&mut self, now: SystemTime) {
        if matches!(self.state, State::Failing(_)) {
            self.next = self.next.min(now);
        }
    }
}

/// With a third of the lifetime left, or up to a tenth of that third earlier.
fn renewal(current: Validity, dice: f64) -> SystemTime {
    let lifetime = current.until.duration_since(current.from).unwrap_or_default();
    let left = (lifetime / 3).mul_f64(1.0 + SPREAD * dice.clamp(0.0, 1.0));
    current.until.checked_sub(left).unwrap_or(current.from)
}

/// A minute, twice as long after each failure, six hours at the most; up to a tenth longer.
fn pause(failures: u32, dice: f64) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let pause = PAUSE_MIN.saturating_mul(doubled).min(PAUSE_MAX);
    pause.mul_f64(1.0 + SPREAD * dice.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);

    fn at(day: u32) -> SystemTime {
        UNIX_EPOCH + DAY * 10_000 + DAY * day
    }

    fn lasts(days: u32) -> Validity {
        Validity { from: at(0), until: at(days) }
    }

    #[test]
    fn a_third_of_the_lifetime_is_left() {
        for (days, dice, after) in [
            (90, 0.0, DAY * 60),
            (90, 1.0, DAY * 57),
            (90, 0.5, DAY * 58 + HOUR * 12),
            (6, 0.0, DAY * 4),
            (6, 1.0, HOUR * 91 + MINUTE * 12),
            (47, 0.0, HOUR * 752),
            (0, 0.7, Duration::ZERO),
            // dice from elsewhere
            (90, 7.0, DAY * 57),
            (90, -1.0, DAY * 60),
        ] {
            assert_eq!(renewal(lasts(days), dice), at(0) + after, "{days} days, {dice}");
        }
        let turned = Validity { from: at(9), until: at(1) };
        assert_eq!(renewal(turned, 0.0), at(1), "ends before it begins");
    }

    #[test]
    fn pauses_double_to_six_hours() {
        for (failures, minutes) in [
            (0, 1),
            (1, 1),
            (2, 2),
            (3, 4),
            (4, 8),
            (9, 256),
            (10, 360),
            (11, 360),
            (31, 360),
            (33, 360),
            (u32::MAX, 360),
        ] {
            assert_eq!(pause(failures, 0.0), MINUTE * minutes, "after {failures}");
            assert_eq!(pause(failures, 1.0), (MINUTE * minutes).mul_f64(1.1), "after {failures}");
        }
    }

    #[test]
    fn a_certificate_moves_the_plan() {
        let mut plan = Plan::new(at(0));
        plan.look(None, at(0), 0.0);
        assert!(plan.is_due(at(0)), "none yet");
        plan.look(Some(lasts(90)), at(0), 0.0);
        assert!(!plan.is_due(at(60) - MINUTE) && plan.is_due(at(60)));
        plan.look(Some(lasts(90)), at(10), 1.0);
        assert_eq!(plan.next(), at(60), "the dice are thrown once");
        plan.look(Some(lasts(120)), at(61), 0.0);
        assert_eq!(plan.next(), at(80), "another gateway has renewed it");
        plan.look(None, at(62), 0.0);
        assert!(plan.is_due(at(62)), "the config has one more name");
    }

    #[test]
    fn failures_wait_and_a_reload_does_not() {
        let mut plan = Plan::new(at(0));
        plan.look(Some(lasts(90)), at(0), 0.0);
        plan.failed(at(60), None, 0.0);
        assert_eq!(plan.next(), at(60) + MINUTE);
        plan.failed(at(60) + MINUTE, None, 0.0);
        assert_eq!(plan.next(), at(60) + MINUTE * 3);
        plan.look(Some(lasts(90)), at(61), 0.0);
        assert_eq!(plan.next(), at(60) + MINUTE * 3, "the same certificate changes nothing");
        plan.reloaded(at(60) + MINUTE * 2);
        assert!(plan.is_due(at(60) + MINUTE * 2));
        plan.failed(at(60) + MINUTE * 2, None, 0.0);
        assert_eq!(plan.next(), at(60) + MINUTE * 6, "a reload forgets no failures");
        plan.look(Some(lasts(120)), at(61), 0.0);
        plan.failed(at(80), None, 0.0);
        assert_eq!(plan.next(), at(80) + MINUTE, "a new certificate does");
    }

    #[test]
    fn a_pause_that_the_server_wants_is_kept() {
        let mut plan = Plan::new(at(0));
        for (asked, pause) in [(MINUTE / 2, MINUTE), (HOUR, HOUR), (DAY * 365, DAY * 7)] {
            let mut plan = plan.clone();
            plan.failed(at(0), Some(asked), 0.0);
            assert_eq!(plan.next(), at(0) + pause);
            plan.reloaded(at(0));
            assert_eq!(plan.next(), at(0) + pause, "a reload does not shorten it");
        }
        plan.reloaded(at(5));
        assert_eq!(plan.next(), at(0), "nor does it put off what is due");
    }
}
