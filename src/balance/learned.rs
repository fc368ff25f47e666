//! Weights learned from what the nodes deliver: `weight: auto`.
//!
//! A node's *speed* is its work divided by the time that its requests have spent on it: tokens a second as one request
//! sees them. Its throughput would be no measure: it grows with the requests that a node is given, so a weight made of
//! it would earn itself (by Little's law, 1961, throughput is requests in flight times speed). Speed falls with the load,
//! so that whatever raises a node's weight also lowers what the weight is made of: the only feedback is a negative one.
//!
//! The weight strives for `(speed / geometric mean of all)^GAIN`. With ever more gain all nodes would come to the same
//! speed, which is what each request would choose for itself. That is not what serves all best: an empty slow node is
//! often slower than a full fast one, and would get nothing (selfish routing; Roughgarden and Tardos, 2002). At 3 the
//! throughput of simulated engines is within 0.5 % of the best there is, see `tests/sim/goodput`.
//!
//! Why it cannot swing: speed follows the requests in flight with an elasticity of up to 1 (where all wait in line), so
//! the gain of the loop is up to 3. Its delays are three: the time that requests take, the memory, and [`PATIENCE`]. Three
//! first-order lags are stable with any gain below 8 (Routh and Hurwitz). Whole answers report late, which is worse than
//! a lag; so patience grows with what one piece of work takes.

use std::time::Duration;

const GAIN: f64 = 3.0;
/// No weight is further from the mean of the others than this factor.
pub const WEIGHT_MAX: f64 = 8.0;
/// Time constant with which a weight moves, in seconds; at least [`PIECES`] times that of one piece of work.
const PATIENCE: f64 = 1.0;
const PIECES: f64 = 2.0;
/// A node of which less is known has weight 1.
pub const ENOUGH: f64 = 128.0;
/// With so much work half of a difference is believed.
const PRIOR: f64 = 512.0;
/// Work beyond [`KEPT`] is forgotten with this time constant, in seconds, or with that of the weights if that is longer;
/// what is left, with the other one: so a node that gets no requests becomes neutral after a while and is tried again.
const MEMORY: f64 = 10.0;
const LONG_MEMORY: f64 = 120.0;
const KEPT: f64 = 2048.0;
/// The longest time that one round may account for: gain times step must stay small, or rounds would overshoot.
const ROUND_MAX: f64 = 0.5;

/// What an answer counts if its tokens are not known. Few, for without its length its time says little.
pub const UNTOLD: u64 = 8;

/// Work that was done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Tokens.
    pub units: f64,
    /// Time that it took, request by request.
    pub seconds: f64,
    /// How many reports it is the sum of: events of a stream, or whole answers.
    pub pieces: f64,
}

impl Work {
    fn scale(&mut self, by: f64) {
        self.units *= by;
        self.seconds *= by;
        self.pieces *= by;
    }

    fn add(&mut self, more: Self) {
        self.units += more.units;
        self.seconds += more.seconds;
        self.pieces += more.pieces;
    }
}

/// What is known of one node.
#[derive(Clone, Debug, Default)]
pub struct Speed {
    seen: Work,
    log_weight: f64,
}

/// A node, and what it has done since the last round.
#[derive(Debug)]
pub struct Measured<'a> {
    pub speed: &'a mut Speed,
    pub work: Work,
}

impl Speed {
    pub fn weight(&self) -> f64 {
        self.log_weight.exp()
    }

    /// What the weight was learned from.
    pub fn seen(&self) -> Work {
        self.seen
    }

    pub fn is_known(&self) -> bool {
        self.seen.units >= ENOUGH && self.seen.seconds > 0.0
    }

    /// It may not be what it was: the weight stays for now, and gives way to what is seen from here on.
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

    /// How far it is ahead of the middle, as far as that is to be believed.
    fn ahead(&self, middle: f64) -> f64 {
        let belief = self.seen.units / (self.seen.units + PRIOR);
        if self.is_known() { belief * (self.log_speed() - middle) } else { 0.0 }
    }
}

/// One round: takes in what the nodes have done in the time that has passed, and moves their weights. To be called at
/// regular times while requests are under way (a night without them teaches nothing, and nothing is to be forgotten in
/// it), with all the nodes that are compared.
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

    /// Rounds in which each node does so many units, at so many a second for each request.
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
    fn too_little_says_nothing_and_no_weight_is_out_of_bounds() {
        let mut speeds = vec![Speed::default(); 3];
        rounds(&mut speeds, 1, &[(ENOUGH - 1.0, 1000.0), (500.0, 10.0), (500.0, 10.0)]);
        assert_eq!(speeds[0].weight(), 1.0);
        rounds(&mut speeds, 600, &[(500.0, 1e4), (500.0, 100.0), (500.0, 1.0)]);
        assert!(near(speeds[0].weight(), WEIGHT_MAX) && near(speeds[2].weight(), 1.0 / WEIGHT_MAX));
    }

    #[test]
    fn a_node_that_does_nothing_is_forgotten_in_the_end() {
        let mut speeds = vec![Speed::default(); 2];
        rounds(&mut speeds, 300, &[(500.0, 30.0), (500.0, 10.0)]);
        assert!(speeds[1].weight() < 0.3, "{:?}", weights(&speeds));
        rounds(&mut speeds, 6000, &[(500.0, 30.0), (0.0, 1.0)]);
        assert!(near(speeds[1].weight(), 1.0), "tried again in the end: {:?}", weights(&speeds));
    }

    #[test]
    fn doubt_keeps_the_weight_and_learns_anew_sooner() {
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
