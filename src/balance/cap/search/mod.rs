//! The cap of a node that gives whole answers, by trial.
//!
//! The work is tokens finished a second, or answers where those tell no tokens. Latency would be the wrong measure: an engine
//! that batches answers each request more slowly with every one that it takes in, by design, and does more work nevertheless;
//! whatever holds latency down (Vegas, gradients, the time in the queue) cuts too early. More in flight are too many when the
//! work does not grow with them: the engine has no more slots, or its memory is full and it computes anew what it has thrown out.
//!
//! So the cap is found by trial, as by a line search (Brent, 1973) with noise: one measurement at the present cap, the *base*,
//! one at a higher cap, one at a lower one; the better one is the next base. The steps are wide at first and small later. At rest
//! the neighbours are tried again after 6 turnovers, then after twice as many, up to 32. A turnover is the time in which as many
//! requests end as are in flight.
//!
//! - Like is compared with like: a measurement begins once those that began under the cap before have ended (whole answers), or
//!   once memory has filled (streams). It takes as many answers as are in flight, more if it is not clear, to a limit.
//! - Noise is measured, from how neighbouring batches of answers differ, in four ways to count; the way that has least is used.
//!   By Little's law (1961) the rate is requests in flight over their time, which for whole answers says most, and for streams least.
//! - A belief about the elasticity on either side of the base (`belief.rs`) keeps what trials have shown: an unclear trial counts a
//!   little, and several of them decide. It begins with what is usual, so that where all is noise the cap errs on the high side.
//! - The curve may be flat where it is too high: an engine that throws out does the same work with twice as many in line. So
//!   if there is no gain on either side, it looks further down, by a third each time, until the work falls.
//! - If rate or turnover change at rest by more than noise, the workload is another one, and the search begins anew.
//!
//! The loop cannot swing: only one trial is under way, the base moves only by a trial that was better, never further than where
//! requests were, and a trial that is not goes back. What a trial costs is bounded by the step and by its share of time. It
//! teaches nothing while the cap does not bind: then fewer are in flight than it allows.

mod belief;
mod measure;
#[cfg(test)]
mod tests;
mod trial;

use super::reason::{Reason, Side};
use super::round::{CAP_MAX, CAP_MIN, CAP_START, Round};
use belief::Belief;
use measure::{Batch, Estimate, Gain, Measurement, Noise};
use trial::{Known, Trial, WIDE};

/// Steps of the cap, as logarithms: a far one is twice, a small one a tenth.
const FAR: f64 = 0.693;
const SMALL: f64 = 0.095;
/// The mean elasticity above which the next wide step up is a far one.
const STEEP: f64 = 0.4;

/// Turnovers of rest until the next trial, the first time and at the most.
const REST_MIN: f64 = 6.0;
const REST_MAX: f64 = 32.0;
/// Turnovers of the first measurement: of streams, and of whole answers.
const FIRST_TURNS: (f64, f64) = (0.5, 0.75);
/// Fewer answers than this are never a turnover.
const ANSWERS_MIN: f64 = 24.0;
/// Durations of a piece of work that a measurement waits, above and below the base, at least so many turnovers, which memory
/// needs to fill; and the turnovers besides.
const SETTLE_ABOVE: f64 = 1.0;
const SETTLE_BELOW: f64 = 1.4;
const SETTLE_TURNS_MIN: f64 = 1.0;
const SETTLE_TURNS: f64 = 0.25;
/// Turnovers that a trial above waits for requests that fill it.
const UNFILLED: f64 = 0.5;
/// The most by which rate and turnover may be off at rest, as logarithms, besides four deviations.
const OFF_MAX: f64 = 0.2;
const SLOWER_MAX: f64 = 0.4;
/// The doubt of a belief after each turnover of rest, and of one that the base has moved past.
const AGING: f64 = 0.001;
const PASSED: f64 = 0.02;

#[derive(Clone, Copy, Debug)]
enum Mode {
    /// The very first measurement, of a node that was empty.
    First,
    /// The first one was not good enough to judge the trial that followed: the base once more.
    Again {
        above: Option<Estimate>,
    },
    Trial(Trial),
    Rest {
        turns: f64,
    },
}

/// The beginning of a measurement.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Requests that began before are still there. The time at this load, the answers, and the time without enough of it.
    Settling {
        seconds: f64,
        ended: f64,
        unfilled: f64,
    },
    Measuring {
        batch: Batch,
        seen: Measurement,
    },
}

impl Stage {
    const NEW: Self = Self::Settling { seconds: 0.0, ended: 0.0, unfilled: 0.0 };
}

/// The cap of one node as far as it was searched for.
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// As a real number, because steps are factors.
    now: f64,
    base: f64,
    /// The measurement at the base.
    at_base: Estimate,
    above: Known,
    below: Known,
    mode: Mode,
    stage: Stage,
    step: f64,
    noise: Noise,
    /// The mean of tokens of an answer when the search began.
    per_answer: f64,
    /// The mean duration of a piece of work, in seconds.
    piece: f64,
    /// Turnovers of the next rest.
    rest: f64,
    /// It has looked far below since the base last moved or rested.
    has_looked: bool,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            now: f64::from(CAP_START),
            base: f64::from(CAP_START),
            at_base: Estimate::default(),
            above: Known::nothing(Belief::ABOVE),
            below: Known::nothing(Belief::BELOW),
            mode: Mode::First,
            stage: Stage::NEW,
            step: WIDE,
            noise: Noise::default(),
            per_answer: 0.0,
            piece: 0.0,
            rest: REST_MIN,
            has_looked: false,
        }
    }
}

impl Search {
    /// The most requests in flight now; [`CAP_MIN`] to [`CAP_MAX`].
    pub(super) fn now(&self) -> u32 {
        whole(self.now)
    }

    pub(super) fn reason(&self) -> Reason {
        match self.mode {
            Mode::First => Reason::Start,
            Mode::Trial(trial) => Reason::Trial { base: whole(self.base), side: trial.side },
            Mode::Again { .. } | Mode::Rest { .. } => Reason::Best,
        }
    }

    /// The node was away or has changed: what was seen at this cap does not go on. A trial that it did not survive is not
    /// taken up again soon.
    pub(super) fn interrupt(&mut self) {
        match self.mode {
            Mode::Trial(_) | Mode::Again { .. } => self.go(self.base, Mode::Rest { turns: 0.0 }),
            Mode::First | Mode::Rest { .. } => self.stage = Stage::NEW,
        }
    }

    /// Takes in a round. Call it at regular intervals while the node has all of its share.
    pub(super) fn round(&mut self, round: &Round) {
        let load = f64::from(round.in_flight);
        let passed = round.passed.as_secs_f64();
        let more = Batch { work: round.work, ended: round.ended, area: load * passed, time: passed };
        if more.work.pieces > 0.0 {
            let newest = more.work.seconds / more.work.pieces;
            let part = if self.piece == 0.0 { 1.0 } else { 0.1 };
            self.piece += part * (newest - self.piece);
        }
        if load > self.now * 1.05 + 0.5 {
            return;
        }
        if load < self.least() {
            self.unfilled(load, passed);
        } else {
            self.progress(&more, load);
        }
    }

    /// The fewest in flight with which the cap is measured: a trial above need not be full.
    fn least(&self) -> f64 {
        let filled = match self.mode {
            Mode::Trial(Trial { side: Side::Above, .. }) => (self.base * 1.05).min(self.now - 0.5),
            _ => self.now * 0.95 - 0.5,
        };
        filled.max(1.0)
    }

    /// Ends a trial above for which there are not enough requests.
    fn unfilled(&mut self, load: f64, passed: f64) {
        let turnover = self.turnover();
        if let Mode::Trial(trial) = self.mode
            && let Stage::Settling { unfilled, .. } = &mut self.stage
            && trial.side == Side::Above
            && load >= self.base * 0.9
        {
            *unfilled += passed;
            if *unfilled > UNFILLED * turnover {
                self.refuse(trial, true, None);
            }
        }
    }

    fn progress(&mut self, more: &Batch, load: f64) {
        let settled = self.settles_after(load);
        match &mut self.stage {
            Stage::Settling { seconds, ended, .. } => {
                *seconds += more.time;
                *ended += more.ended;
                let is_settled = match settled {
                    Settled::Answers(least) => *ended >= least,
                    Settled::Seconds(least) => *seconds >= least,
                };
                if is_settled {
                    self.stage = Stage::Measuring { batch: Batch::default(), seen: Measurement::default() };
                }
            }
            Stage::Measuring { batch, seen } => {
                batch.add(more);
                if batch.ended < (load / 8.0).max(3.0) || !batch.is_complete() {
                    return;
                }
                if self.per_answer == 0.0 {
                    self.per_answer = batch.work.units / batch.ended;
                }
                seen.add(batch, self.per_answer, &mut self.noise);
                *batch = Batch::default();
                let seen = *seen;
                self.judge(&seen);
            }
        }
    }

    fn settles_after(&self, load: f64) -> Settled {
        let turnover = self.turnover();
        let pieces = match self.mode {
            Mode::First => return Settled::Answers(SETTLE_TURNS * load),
            Mode::Trial(Trial { side: Side::Above, .. }) => SETTLE_ABOVE,
            _ => SETTLE_BELOW,
        };
        let pieces = (pieces * self.piece.min(2.0 * turnover)).max(SETTLE_TURNS_MIN * turnover);
        Settled::Seconds(pieces + SETTLE_TURNS * turnover)
    }

    /// In seconds, at the base.
    fn turnover(&self) -> f64 {
        self.at_base.log_turnover.exp()
    }

    fn judge(&mut self, seen: &Measurement) {
        let turns = seen.ended() / self.now.max(ANSWERS_MIN);
        let estimate = seen.estimate(self.per_answer);
        match self.mode {
            Mode::First => {
                let comes_whole = self.piece > 0.5 * estimate.log_turnover.exp();
                if turns >= if comes_whole { FIRST_TURNS.1 } else { FIRST_TURNS.0 } {
                    self.at_base = estimate;
                    self.try_at(Side::Above, WIDE, true);
                }
            }
            Mode::Again { above } if turns >= FIRST_TURNS.1 => self.again(estimate, above),
            Mode::Rest { turns: rested } if turns >= 1.0 => self.rest_on(seen, estimate, rested + 1.0),
            Mode::Trial(trial) => self.judge_trial(trial, estimate, turns),
            Mode::Again { .. } | Mode::Rest { .. } => {}
        }
    }

    /// The belief about a side after a measurement there; `None` if it was made at the load of the base.
    fn belief_after(&self, side: Side, estimate: &Estimate) -> Option<(Belief, f64)> {
        let gain = self.noise.gain(estimate, &self.at_base);
        let step = estimate.log_load - self.at_base.log_load;
        if step.abs() < 0.02 {
            return None;
        }
        let known = if side == Side::Above { &self.above } else { &self.below };
        let belief = known.belief.after(gain.mean / step, (gain.deviation / step).powi(2));
        Some((belief, gain.mean / gain.deviation))
    }

    fn judge_trial(&mut self, trial: Trial, estimate: Estimate, turns: f64) {
        let Some((belief, gain)) = self.belief_after(trial.side, &estimate) else { return };
        if !trial.is_over(belief, gain, turns, self.now) {
            return;
        }
        self.side(trial.side).belief = belief;
        if trial.is_better(belief, gain) {
            self.accept(trial, estimate);
        } else {
            self.refuse(trial, trial.may_be_flat(belief), Some(estimate));
        }
    }

    fn side(&mut self, side: Side) -> &mut Known {
        if side == Side::Above { &mut self.above } else { &mut self.below }
    }

    fn go(&mut self, cap: f64, mode: Mode) {
        self.now = cap.clamp(f64::from(CAP_MIN), f64::from(CAP_MAX));
        self.mode = mode;
        self.stage = Stage::NEW;
    }

    fn try_at(&mut self, side: Side, step: f64, is_first: bool) {
        let to = match side {
            Side::Above => (self.base * step.exp()).max(self.base + 1.0),
            Side::Below => (self.base / step.exp()).min(self.base - 1.0),
        };
        self.go(to, Mode::Trial(Trial { side, step, is_first }));
    }

    /// The trial becomes the base, as far as it was filled, and the search goes on in its direction.
    fn accept(&mut self, trial: Trial, estimate: Estimate) {
        self.base = self.now.min((estimate.log_load.exp() * 1.02).ceil());
        self.at_base = estimate;
        self.rest = REST_MIN;
        // the slope that was climbed lies on the other side now
        let climbed = self.side(trial.side).belief;
        match trial.side {
            Side::Above => {
                self.above =
                    Known::nothing(Belief { mean: climbed.mean.min(Belief::ABOVE.mean), ..Belief::ABOVE });
                let belief = climbed.doubted(PASSED, Belief::BELOW);
                self.below = Known { is_tried: true, ..Known::nothing(belief) };
            }
            Side::Below => {
                self.below = Known::nothing(Belief { mean: climbed.mean.max(0.0), ..Belief::BELOW });
                let belief = climbed.doubted(PASSED, Belief::ABOVE);
                self.above = Known { is_tried: true, ..Known::nothing(belief) };
            }
        }
        if !trial.is_wide() {
            self.step = (self.step * 1.5).min(WIDE);
        }
        let is_steep = trial.is_wide() && trial.side == Side::Above && climbed.mean > STEEP;
        self.try_at(trial.side, if is_steep { FAR } else { self.step }, false);
    }

    /// Back to the base, or further down where the curve is flat.
    fn refuse(&mut self, trial: Trial, is_flat: bool, estimate: Option<Estimate>) {
        let goes_on = is_flat && trial.is_wide() && trial.side == Side::Below;
        if goes_on && self.now > f64::from(CAP_MIN) {
            self.go(self.now / WIDE.exp(), Mode::Trial(trial));
            return;
        }
        let side = self.side(trial.side);
        (side.is_tried, side.is_flat) = (true, is_flat);
        if trial.is_first {
            self.go(self.base, Mode::Again { above: estimate });
        } else {
            self.try_next();
        }
    }

    fn again(&mut self, estimate: Estimate, above: Option<Estimate>) {
        let is_steady = !is_beyond(self.noise.slowdown(&estimate, &self.at_base), SLOWER_MAX);
        self.at_base = estimate;
        if above.is_none() && !is_steady {
            return self.go(self.base, Mode::Again { above });
        }
        self.above.belief = Belief::ABOVE;
        if let Some(above) = above
            && let Some((belief, gain)) = self.belief_after(Side::Above, &above)
        {
            let trial = Trial { side: Side::Above, step: WIDE, is_first: false };
            self.above.belief = belief;
            self.above.is_flat = trial.may_be_flat(belief);
            if trial.is_better(belief, gain) {
                self.now = above.log_load.exp();
                return self.accept(trial, above);
            }
        }
        self.try_next();
    }

    /// The next trial, or rest.
    fn try_next(&mut self) {
        if self.above.is_tried && self.below.is_tried && self.step >= WIDE {
            // small steps, where the wide ones have not been clear
            self.step = SMALL;
            let (above, below) = (self.above.belief, self.below.belief);
            self.above.is_tried = above.mean < -2.0 * above.deviation();
            self.below.is_tried = below.mean > 2.0 * below.deviation();
            (self.above.is_flat, self.below.is_flat) = (false, false);
        }
        if !self.above.is_tried {
            self.try_at(Side::Above, self.step, false);
        } else if !self.below.is_tried && self.base > f64::from(CAP_MIN) {
            self.try_at(Side::Below, self.step, false);
        } else if self.below.is_flat && self.may_hide_more() && !self.has_looked {
            self.look_down();
        } else {
            self.go(self.base, Mode::Rest { turns: 0.0 });
        }
    }

    /// Fewer did as much work, or it is not clear: the base may lie where the engine throws out what it has computed.
    fn may_hide_more(&self) -> bool {
        let below = self.below.belief;
        below.mean < 1.5 * below.deviation() && self.base > f64::from(CAP_MIN)
    }

    fn look_down(&mut self) {
        self.has_looked = true;
        self.step = WIDE;
        self.try_at(Side::Below, WIDE, false);
    }

    fn rest_on(&mut self, seen: &Measurement, estimate: Estimate, rested: f64) {
        let off = self.noise.gain(&estimate, &self.at_base);
        let slower = self.noise.slowdown(&estimate, &self.at_base);
        if is_beyond(off, OFF_MAX) || is_beyond(slower, SLOWER_MAX) {
            return self.search_anew(seen, slower.mean > 0.0);
        }
        self.at_base.follow(&estimate);
        self.above.belief = self.above.belief.doubted(AGING, Belief::ABOVE);
        self.below.belief = self.below.belief.doubted(AGING, Belief::BELOW);
        if rested < self.rest {
            self.mode = Mode::Rest { turns: rested };
            self.stage = Stage::Measuring { batch: Batch::default(), seen: seen.next() };
            return;
        }
        self.rest = (self.rest * 2.0).min(REST_MAX);
        let looks = self.may_hide_more();
        self.has_looked = looks;
        self.step = if looks { WIDE } else { SMALL };
        (self.above.is_tried, self.above.is_flat) = (looks, false);
        (self.below.is_tried, self.below.is_flat) = (false, false);
        self.try_next();
    }

    /// The workload is another one: first the base is measured once more, when requests of the one before have ended. If it is
    /// slower, it may be too much: fewer are tried first.
    fn search_anew(&mut self, seen: &Measurement, is_slower: bool) {
        self.per_answer = seen.per_answer();
        self.at_base = seen.estimate(self.per_answer);
        self.above = Known { is_tried: is_slower, ..Known::nothing(Belief::ABOVE) };
        self.below = Known::nothing(Belief::BELOW);
        (self.step, self.rest, self.has_looked) = (WIDE, REST_MIN, false);
        self.go(self.base, Mode::Again { above: None });
    }
}

/// The end of settling.
#[derive(Clone, Copy, Debug)]
enum Settled {
    Answers(f64),
    Seconds(f64),
}

fn is_beyond(gain: Gain, most: f64) -> bool {
    gain.mean.abs() > (4.0 * gain.deviation).max(most)
}

fn whole(cap: f64) -> u32 {
    (cap.round() as u32).clamp(CAP_MIN, CAP_MAX)
}
