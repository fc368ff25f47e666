//! A trial of another cap than the base, and its verdict.

use super::super::reason::Side;
use super::belief::Belief;

/// A wide step of the cap, as a logarithm: 1.5 times.
pub(super) const WIDE: f64 = 0.405;

/// An elasticity below this is none.
const FLAT: f64 = 0.03;
/// The mean elasticity from which a trial above is better, if there is a gain beyond noise.
const BETTER_ABOVE: f64 = 0.05;
/// The same for the very first trial, because a node's first measurement shows less than its steady rate.
const FIRST_BETTER_ABOVE: f64 = 0.15;
/// A wide trial above that shows nothing against it, with a deviation above the second, is better.
const UNCLEAR: (f64, f64) = (0.15, 0.15);
/// Turnovers of a trial, without noise and with it.
const TURNS: f64 = 0.7;
const BAD_TURNS: f64 = 0.3;
const WIDE_TURNS_MAX: f64 = 1.5;
const SMALL_TURNS_MAX: f64 = 3.0;
/// Answers of a wide trial below that shows a gain so far: a few turnovers of a small cap, which may be the way out of a full
/// memory.
const HOPEFUL_ANSWERS: f64 = 160.0;

#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub side: Side,
    pub step: f64,
    /// The base has its first measurement only.
    pub is_first: bool,
}

impl Trial {
    pub(super) fn is_wide(&self) -> bool {
        self.step >= WIDE
    }

    /// It has been measured for long enough, at this cap. `gain` in deviations.
    pub(super) fn is_over(&self, belief: Belief, gain: f64, turns: f64, cap: f64) -> bool {
        let loss = if self.side == Side::Above { -belief.mean } else { belief.mean };
        let is_bad = loss > 0.05 + 2.5 * belief.deviation();
        let is_sure = belief.mean.abs() > 2.0 * belief.deviation();
        let most = match self.side {
            _ if !self.is_wide() => SMALL_TURNS_MAX,
            Side::Below if gain > 0.0 => WIDE_TURNS_MAX.max(HOPEFUL_ANSWERS / cap),
            _ => WIDE_TURNS_MAX,
        };
        turns >= if is_bad { BAD_TURNS } else { TURNS } && (is_sure || turns >= most)
    }

    /// The cap that was tried is the better one. `gain` in deviations.
    pub(super) fn is_better(&self, belief: Belief, gain: f64) -> bool {
        match self.side {
            // as much work with far fewer is better already
            Side::Below if self.is_wide() => belief.mean < FLAT && gain > 0.5,
            Side::Below => belief.mean < -FLAT && gain > 1.0,
            Side::Above if self.is_wide() && belief.mean > UNCLEAR.0 && belief.deviation() > UNCLEAR.1 => {
                true
            }
            Side::Above if self.is_first => belief.mean > FIRST_BETTER_ABOVE && gain > 3.0,
            Side::Above => belief.mean > BETTER_ABOVE && gain > 1.0,
        }
    }

    /// There may be no difference. Far below, that is so unless it is clearly worse: it is cheap to look further.
    pub(super) fn may_be_flat(&self, belief: Belief) -> bool {
        let looks = self.side == Side::Below && self.is_wide();
        belief.mean.abs() < FLAT.max(belief.deviation()) || looks && belief.mean < 1.5 * belief.deviation()
    }
}

/// The result of trials on one side of the base.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub belief: Belief,
    /// Tried since the base or the step last changed.
    pub is_tried: bool,
    /// The last trial showed no difference.
    pub is_flat: bool,
}

impl Known {
    pub(super) const fn nothing(belief: Belief) -> Self {
        Self { belief, is_tried: false, is_flat: false }
    }
}
