//! The rate of a node's work at one cap, and how sure it is.

use super::super::super::learned::Work;

/// The ways to measure the rate, in the order of [`Batch::rates`].
pub(super) const KINDS: usize = 4;
/// The way that counts answers alone.
const ANSWERS: usize = 2;

/// An amount of work, and the circumstances.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Batch {
    pub work: Work,
    /// Answers that ended.
    pub ended: f64,
    /// Requests in flight times seconds.
    pub area: f64,
    /// In seconds.
    pub time: f64,
}

impl Batch {
    pub(super) fn add(&mut self, more: &Self) {
        self.work.add(more.work);
        self.ended += more.ended;
        self.area += more.area;
        self.time += more.time;
    }

    const LEAST: f64 = 1e-9;

    /// There is a rate, whichever way it is measured.
    pub(super) fn is_complete(&self) -> bool {
        let all = [self.work.units, self.work.seconds, self.ended, self.area, self.time];
        all.iter().all(|part| *part > Self::LEAST)
    }

    /// The logarithm of the rate of work, each way: tokens by the clock, tokens by the requests' own time (Little's law),
    /// answers by the clock, and tokens and answers together, with an answer's mean of tokens.
    fn rates(&self, per_answer: f64) -> [f64; KINDS] {
        let by_law = self.area / self.time * self.work.units / self.work.seconds;
        let both = self.work.units + per_answer * self.ended;
        [self.work.units / self.time, by_law, self.ended / self.time, both / self.time].map(f64::ln)
    }
}

/// The rate at one cap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    rates: [f64; KINDS],
    ended: f64,
    /// The logarithm of the seconds in which as many requests end as are in flight.
    pub log_turnover: f64,
    /// The logarithm of the requests in flight.
    pub log_load: f64,
}

impl Estimate {
    /// A part of the newer one from now on.
    pub(super) fn follow(&mut self, newer: &Self) {
        let move_on = |old: &mut f64, new: f64| *old += 0.3 * (new - *old);
        for (old, new) in self.rates.iter_mut().zip(newer.rates) {
            move_on(old, new);
        }
        move_on(&mut self.log_turnover, newer.log_turnover);
        move_on(&mut self.log_load, newer.log_load);
        self.ended = (self.ended + newer.ended).min(5.0 * newer.ended);
    }
}

/// The change of a logarithm, and its standard deviation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gain {
    pub mean: f64,
    pub deviation: f64,
}

/// The noise of each way to measure: the variance of a logarithm of the rate over one answer, from how neighbouring batches
/// differ.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Noise {
    sums: [f64; KINDS],
    weight: f64,
}

impl Noise {
    /// The part of what was seen that a further batch leaves.
    const KEPT: f64 = 0.96;
    /// Neighbouring batches are alike: requests are in both.
    const ALIKE: f64 = 1.5;
    /// The least deviation that is believed.
    const LEAST: f64 = 0.006;
    /// The variance as long as there is no pair of batches.
    const UNKNOWN: f64 = 10.0;

    fn note(&mut self, before: &[f64; KINDS], after: &[f64; KINDS], ended: f64) {
        self.weight = self.weight * Self::KEPT + 1.0;
        for (sum, (before, after)) in self.sums.iter_mut().zip(before.iter().zip(after)) {
            *sum = *sum * Self::KEPT + (after - before).powi(2) / 2.0 * ended;
        }
    }

    fn variance(&self, kind: usize) -> f64 {
        if self.weight < 2.0 { Self::UNKNOWN } else { Self::ALIKE * self.sums[kind] / self.weight }
    }

    fn deviation(&self, kind: usize, new: &Estimate, old: &Estimate) -> f64 {
        let one = self.variance(kind);
        (one / new.ended + one / old.ended).sqrt().max(Self::LEAST)
    }

    /// The gain of one estimate over another, in the way that has the least noise: for streams that is by the clock, for
    /// whole answers by their own time.
    pub(super) fn gain(&self, new: &Estimate, old: &Estimate) -> Gain {
        let kind = (0..KINDS).min_by(|a, b| self.sums[*a].total_cmp(&self.sums[*b])).unwrap_or(0);
        Gain { mean: new.rates[kind] - old.rates[kind], deviation: self.deviation(kind, new, old) }
    }

    /// The change of the turnover.
    pub(super) fn slowdown(&self, new: &Estimate, old: &Estimate) -> Gain {
        Gain { mean: new.log_turnover - old.log_turnover, deviation: self.deviation(ANSWERS, new, old) }
    }
}

/// The batches seen at one cap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measurement {
    all: Batch,
    last: Option<[f64; KINDS]>,
}

impl Measurement {
    pub(super) fn ended(&self) -> f64 {
        self.all.ended
    }

    /// The mean of tokens of an answer.
    pub(super) fn per_answer(&self) -> f64 {
        self.all.work.units / self.all.ended
    }

    /// Takes in a complete batch.
    pub(super) fn add(&mut self, batch: &Batch, per_answer: f64, noise: &mut Noise) {
        let rates = batch.rates(per_answer);
        if let Some(last) = self.last.replace(rates) {
            noise.note(&last, &rates, batch.ended);
        }
        self.all.add(batch);
    }

    /// Only if there has been a batch.
    pub(super) fn estimate(&self, per_answer: f64) -> Estimate {
        let all = &self.all;
        Estimate {
            rates: all.rates(per_answer),
            ended: all.ended,
            log_turnover: (all.area / all.ended).ln(),
            log_load: (all.area / all.time).ln(),
        }
    }

    /// The next measurement at the same cap goes on from here.
    pub(super) fn next(&self) -> Self {
        Self { all: Batch::default(), last: self.last }
    }
}
