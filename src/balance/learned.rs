//! `weight: auto`: weights learned from the speed of the nodes.
//!
//! A node's *speed* is its work divided by the time that its requests have spent on it: tokens a second as
//! one request sees them. Throughput would be the wrong measure: it grows with the requests that a node is
//! given, so a weight based on it would reinforce itself (by Little's law, 1961, throughput is requests in
//! flight times speed). Speed falls as load rises: whatever raises a node's weight also lowers the speed it
//! is based on, and the only feedback is negative.
//!
//! The target weight is `(speed / geometric mean of all)^GAIN`. With ever more gain all nodes would reach the
//! same speed, which is what each request would choose for itself. That does not serve all requests best: an
//! empty slow node is often slower than a full fast one, and would get nothing (selfish routing; Roughgarden
//! and Tardos, 2002). At a gain of 3, the throughput of simulated engines is within 0.5 % of the optimum, see
//! `tests/sim/goodput`.
//!
//! The loop cannot oscillate. Speed follows the requests in flight with an elasticity of at most 1 (all
//! requests wait in line), so the loop's gain is at most 3. It has three delays: the duration of requests,
//! the memory, and [`PATIENCE`]. Three first-order lags are stable at any gain below 8 (Routh and Hurwitz).
//! Whole answers report late, which is worse than a lag; so patience grows with the duration of one piece of
//! work.

use std::time::Duration;

const GAIN: f64 = 3.0;
/// The largest factor between a weight and the mean of the others.
pub const WEIGHT_MAX: f64 = 8.0;
/// Time constant of a weight's movement, in seconds; at least [`PIECES`] times the duration of one piece of
/// work.
const PATIENCE: f64 = 1.0;
const PIECES: f64 = 2.0;
/// Work that must be seen before a weight is learned; below this the weight is 1.
pub const ENOUGH: f64 = 128.0;
/// The amount of work at which half of a speed difference is believed.
const PRIOR: f64 = 512.0;
/// Work above [`KEPT`] is forgotten with time constant `MEMORY`, in seconds, or with that of the weights if
/// longer; the rest with `LONG_MEMORY`. So a node that gets no requests becomes neutral after a while and is
/// tried again.
const MEMORY: f64 = 10.0;
const LONG_MEMORY: f64 = 120.0;
const KEPT: f64 = 2048.0;
/// The longest time that one round may account for: gain times step must stay small, or a round would
/// overshoot.
const ROUND_MAX: f64 = 0.5;

/// The tokens assumed for an answer that does not report them. Few, because without its length its duration
/// says little.
pub const UNTOLD: u64 = 8;

/// An amount of work.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Tokens.
    pub units: f64,
    /// The time it took, summed over requests.
    pub seconds: f64,
    /// The number of reports in the sum: events of a stream, or whole answers.
    pub pieces: f64,
}

impl Work {
    fn scale(&mut self, by: f64) {
        self.units *= by;
        self.seconds *= by;
        self.pieces *= by;
    }

    pub(super) fn add(&mut self, more: Self) {
        self.units += more.units;
        self.seconds += more.seconds;
        self.pieces += more.pieces;
    }
}

/// The speed of one node as far as it is known, and the weight learned from it.
#[derive(Clone, Debug, Default)]
pub struct Speed {
    seen: Work,
    log_weight: f64,
}

/// A node's speed, and the work it has done since the last round.
#[derive(Debug)]
pub struct Measured<'a> {
    pub speed: &'a mut Speed,
    pub work: Work,
}

impl Speed {
    pub fn weight(&self) -> f64 {
        self.log_weight.exp()
    }

    /// The work that the weight was learned from.
    pub fn seen(&self) -> Work {
        self.seen
    }

    pub fn is_known(&self) -> bool {
        self.seen.units >= ENOUGH && self.seen.seconds > 0.0
    }

    /// The node may have changed: the weight stays for now, but newer observations soon outweigh the older
    /// ones.
    pub fn doubt(&mut self) {
        if self.seen.units > PRIOR {
            self.seen.scale(PRIOR / self.seen.units);
        }
    }

    fn forget(&mut self, passed: f64, patience: f64) {
        let kept = if self.seen.units > KEPT {
            (-passed / MEMORY.max(patience)).exp().max(KEPT / self.seen.units)
        } else {
            (-passed / LONG_MEMORY.max(10.0 * patience)).exp()
        };
        self.seen.scale(kept);
    }

    fn log_speed(&self) -> f64 {
        (self.seen.units / self.seen.seconds).ln()
    }

    /// The logarithm of the node's speed above the mean of all, scaled by how far that is to be believed.
    fn ahead(&self, middle: f64) -> f64 {
        let belief = self.seen.units / (self.seen.units + PRIOR);
        if self.is_known() { belief * (self.log_speed() - middle) } else { 0.0 }
    }
}

/// One round: takes in the work that the nodes have done in the time that has passed, and moves their
/// weights. Pass all nodes that are to be compared. Call it at regular intervals, but only while there are
/// requests: a night without any teaches nothing, and must not make a node forgotten.
pub fn learn(nodes: &mut [Measured<'_>], passed: Duration) {
    let passed = passed.as_secs_f64().min(ROUND_MAX);
    let mut all = Work::default();
    for node in nodes.iter_mut() {
        node.speed.seen.add(node.work);
        all.add(node.speed.seen);
    }
    if all.seconds <= 0.0 {
        return;
    }
    let patience = PATIENCE.max(PIECES * all.seconds / all.pieces);
    for node in nodes.iter_mut() {
        node.speed.forget(passed, patience);
    }
    let known = || nodes.iter().filter(|node| node.speed.is_known());
    let middle = known().map(|node| node.speed.log_speed()).sum::<f64>() / known().count().max(1) as f64;
    let step = 1.0 - (-passed / patience).exp();
    for Measured { speed, .. } in nodes {
        let bound = WEIGHT_MAX.ln();
        let target = (GAIN * speed.ahead(middle)).clamp(-bound, bound);
        speed.log_weight += step * (target - speed.log_weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: Duration = Duration::from_millis(100);

    /// Runs rounds in which each node does this many units, at this rate in units per second and request.
    fn rounds(speeds: &mut [Speed], count: usize, each: &[(f64, f64)]) {
        for _ in 0..count {
            let measured = speeds.iter_mut().zip(each).map(|(speed, (units, rate))| {
                let work = Work { units: *units, seconds: units / rate, pieces: *units };
                Measured { speed, work }
            });
            learn(&mut measured.collect::<Vec<_>>(), ROUND);
        }
    }

    fn weights(speeds: &[Speed]) -> Vec<f64> {
        speeds.iter().map(Speed::weight).collect()
    }

    fn near(a: f64, b: f64) -> bool {
        (a / b - 1.0).abs() < 0.02
    }

    #[test]
    fn the_weight_follows_the_speed_and_not_the_amount_of_work() {
        let mut speeds = vec![Speed::default(); 2];
        rounds(&mut speeds, 600, &[(500.0, 20.0), (50.0, 20.0)]);
        assert!(weights(&speeds).iter().all(|weight| near(*weight, 1.0)), "{:?}", weights(&speeds));
        rounds(&mut speeds, 600, &[(50.0, 24.0), (500.0, 20.0)]);
        let ratio = speeds[0].weight() / speeds[1].weight();
        assert!((ratio / 1.2_f64.powi(3) - 1.0).abs() < 0.2, "{ratio}");
        assert!((speeds[0].weight() * speeds[1].weight()).ln().abs() < 0.1, "their mean stays about 1");
    }

    #[test]
    fn too_little_work_keeps_weight_1_and_no_weight_leaves_the_bounds() {
        let mut speeds = vec![Speed::default(); 3];
        rounds(&mut speeds, 1, &[(ENOUGH - 1.0, 1000.0), (500.0, 10.0), (500.0, 10.0)]);
        assert_eq!(speeds[0].weight(), 1.0);
        rounds(&mut speeds, 600, &[(500.0, 1e4), (500.0, 100.0), (500.0, 1.0)]);
        assert!(near(speeds[0].weight(), WEIGHT_MAX) && near(speeds[2].weight(), 1.0 / WEIGHT_MAX));
    }

    #[test]
    fn an_idle_node_becomes_neutral_again() {
        let mut speeds = vec![Speed::default(); 2];
        rounds(&mut speeds, 300, &[(500.0, 30.0), (500.0, 10.0)]);
        assert!(speeds[1].weight() < 0.3, "{:?}", weights(&speeds));
        rounds(&mut speeds, 6000, &[(500.0, 30.0), (0.0, 1.0)]);
        assert!(near(speeds[1].weight(), 1.0), "it should be tried again: {:?}", weights(&speeds));
    }

    #[test]
    fn doubt_keeps_the_weight_but_relearns_sooner() {
        let after = |doubt: bool| {
            let mut speeds = vec![Speed::default(); 2];
            rounds(&mut speeds, 300, &[(50.0, 10.0), (50.0, 30.0)]);
            let before = speeds[0].weight();
            if doubt {
                speeds[0].doubt();
            }
            assert_eq!(speeds[0].weight(), before);
            rounds(&mut speeds, 30, &[(50.0, 30.0), (50.0, 30.0)]);
            speeds[0].weight()
        };
        assert!(after(true) > 1.3 * after(false), "{} {}", after(true), after(false));
    }

    #[test]
    fn instant_nodes_are_equal() {
        let mut speeds = vec![Speed::default(); 2];
        rounds(&mut speeds, 10, &[(500.0, f64::INFINITY), (500.0, f64::INFINITY)]);
        assert_eq!(weights(&speeds), [1.0, 1.0]);
    }
}
