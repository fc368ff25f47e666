//! Slow start: the share of its load that a returned node may have.
//!
//! It rises with time and with the node's answers, whichever gives more.
//!
//! Time alone is a poor guide: a healthy node need not wait, and a cold one (empty caches, uncompiled graphs)
//! warms up by work, not by waiting. So answers count, in rounds: in each round the node answers as many
//! requests as it had in flight when the round began, and its share grows by [`GROWTH`]. Like the window of a
//! TCP connection, this follows the node's own pace: a healthy node has its whole share after three service
//! times, a cold one earns it as slowly as it answers. Where answers take minutes, they come too late to
//! help; time or the pieces of streams decide.

use std::time::{Duration, Instant};

/// The share at the start.
pub(super) const SMALLEST: f64 = 0.05;
/// The factor by which one round raises the share.
pub(super) const GROWTH: f64 = 4.0;
/// This many pieces of streams, each with at least one event, count as one answer; so does the end of a
/// stream.
pub(crate) const PIECES: f64 = 32.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ramp {
    since: Instant,
    /// The share at the start of the round.
    earned: f64,
    /// The requests in flight at the start of the round (0 before the first round), and the number answered
    /// since.
    size: f64,
    done: f64,
}

impl Ramp {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, earned: 0.0, size: 0.0, done: 0.0 }
    }

    /// The share, from [`SMALLEST`] to 1.
    pub(crate) fn share(&self, slow_start: Duration, now: Instant) -> f64 {
        if slow_start.is_zero() {
            return 1.0;
        }
        let by_time = self.age(now).as_secs_f64() / slow_start.as_secs_f64();
        let part = if self.size > 0.0 { self.done / self.size } else { 0.0 };
        let by_answers = self.earned * (1.0 + (GROWTH - 1.0) * part);
        by_time.max(by_answers).clamp(SMALLEST, 1.0)
    }

    /// The time since the node returned.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Good work was seen, counted in answers. `in_flight` includes the requests that are just ending.
    pub(crate) fn showed(&mut self, answers: f64, in_flight: u32, slow_start: Duration, now: Instant) {
        if answers <= 0.0 {
            return;
        }
        if self.done >= self.size {
            self.earned = self.share(slow_start, now);
            self.size = f64::from(in_flight.max(1));
            self.done = 0.0;
        }
        // at most one round at a time, however long ago the last call was
        self.done = (self.done + answers).min(self.size);
    }

    /// The node failed, or said it is full: the answers so far no longer count.
    pub(crate) fn forfeit(&mut self) {
        *self = Self::new(self.since);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLOW_START: Duration = Duration::from_secs(10);

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    /// Each row: answers, each with the requests in flight, and the resulting share.
    #[test]
    fn each_round_is_worth_the_same() {
        type Row<'a> = (&'a str, &'a [(usize, u32)], f64);
        let table: [Row; 8] = [
            ("nothing shown", &[], 0.05),
            ("half of the first round", &[(5, 10)], 0.125),
            ("one round", &[(10, 10)], 0.2),
            ("two rounds", &[(10, 10), (40, 40)], 0.8),
            ("the third is the last", &[(10, 10), (40, 40), (14, 160)], 1.0),
            ("alone", &[(1, 1), (1, 1)], 0.8),
            ("as the first ones end, no more come", &[(1, 4), (1, 3), (1, 2), (1, 1)], 0.2),
            ("what comes meanwhile belongs to the next round", &[(1, 4), (3, 400)], 0.2),
        ];
        let now = Instant::now();
        for (name, row, want) in table {
            let mut ramp = Ramp::new(now);
            for (count, in_flight) in row {
                (0..*count).for_each(|_| ramp.showed(1.0, *in_flight, SLOW_START, now));
            }
            let got = ramp.share(SLOW_START, now);
            assert!(near(got, want), "{name}: {got}, not {want}");
        }
    }

    #[test]
    fn answers_raise_the_share_that_time_has_given() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut ramp = Ramp::new(start);
        ramp.showed(1.0, 1, SLOW_START, at(2.0));
        assert!(near(ramp.share(SLOW_START, at(2.0)), 0.8));
        assert!(near(ramp.share(SLOW_START, at(9.0)), 0.9), "time overtakes it");
        ramp.forfeit();
        assert!(near(ramp.share(SLOW_START, at(3.0)), 0.3), "the share given by time stays");
        assert!(near(ramp.share(Duration::ZERO, start), 1.0));
    }

    proptest! {
        /// For any work at any time, the share never falls below what time gives, never drops because of one
        /// more answer, grows by at most one round per call, and by at most one round for each round
        /// answered.
        #[test]
        fn bounds(steps in prop::collection::vec((0_u32..3000, 0.0..100.0_f64, 1_u32..200), 1..60)) {
            let start = Instant::now();
            let (mut now, mut ramp) = (start, Ramp::new(start));
            let (mut answered, mut fewest) = (0.0, f64::MAX);
            for (millis, answers, in_flight) in steps {
                now += Duration::from_millis(millis.into());
                let by_time = (ramp.age(now).as_secs_f64() / 10.0).clamp(SMALLEST, 1.0);
                let before = ramp.share(SLOW_START, now);
                ramp.showed(answers, in_flight, SLOW_START, now);
                let after = ramp.share(SLOW_START, now);
                answered += answers;
                fewest = f64::min(fewest, in_flight.into());
                prop_assert!(after >= before && after >= by_time && after <= 1.0);
                prop_assert!(after <= GROWTH * before + 1e-9, "{before} {after}");
                let rounds: f64 = answered / fewest;
                prop_assert!(after <= by_time * GROWTH.powf(1.0 + rounds) + 1e-9, "{rounds} rounds: {after}");
            }
        }
    }
}
