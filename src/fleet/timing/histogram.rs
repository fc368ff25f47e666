//! A histogram with a few fixed buckets, each with the last request that fell into it.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Buckets of each histogram, with the one that has no bound.
pub(crate) const BUCKETS: usize = 16;

/// The shortest time after which a bucket takes another exemplar: a scrape sees one, and thousands of requests a second may
/// end.
const EXEMPLAR_EVERY: Duration = Duration::from_secs(1);

/// Longest id in an exemplar, in characters: OpenMetrics allows 128 for the names and values of its labels together.
const ID_MAX: usize = 100;

/// Counts of values by a few bounds.
#[derive(Clone, Debug)]
pub struct Counts {
    /// The greatest value of each bucket but the last; fewer than [`BUCKETS`].
    bounds: &'static [f64],
    counts: [u64; BUCKETS],
    sum: f64,
}

/// Counts of times, in seconds, with examples.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Counts,
    exemplars: Box<[Option<Exemplar>; BUCKETS]>,
}

/// A request that is an example of its bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    pub seconds: f64,
    pub at: Instant,
    pub trail: Trail,
}

/// The name by which a request is found in other places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trail {
    /// Of the trace that it belongs to.
    Trace(Arc<str>),
    /// Its id in the access log.
    Request(Arc<str>),
}

impl Trail {
    /// The best name that there is. The id may be a client's word: of more than printable ASCII only that is kept.
    pub fn of(trace: Option<u128>, request_id: &str) -> Self {
        let clean = |id: &str| -> Arc<str> {
            let clean = id.chars().filter(char::is_ascii_graphic).take(ID_MAX);
            clean.collect::<String>().into()
        };
        trace.map_or_else(
            || Self::Request(clean(request_id)),
            |trace| Self::Trace(format!("{trace:032x}").into()),
        )
    }
}

impl Counts {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds: &bounds[..bounds.len().min(BUCKETS - 1)], counts: [0; BUCKETS], sum: 0.0 }
    }

    /// Counts a value so many times. Its bucket.
    pub(crate) fn observe(&mut self, value: f64, times: u64) -> usize {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place] += times;
        self.sum += value * times as f64;
        place
    }

    /// Each bucket: its bound, and the values in it alone.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        self.bounds.iter().copied().chain([f64::INFINITY]).zip(self.counts)
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Of all values.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { counts: Counts::new(bounds), exemplars: Box::default() }
    }

    /// Counts a value. `trail` is called seldom.
    pub(crate) fn observe(&mut self, time: Duration, now: Instant, trail: impl FnOnce() -> Trail) {
        let seconds = time.as_secs_f64();
        let place = self.counts.observe(seconds, 1);
        let exemplar = &mut self.exemplars[place];
        let is_old = |last: &Exemplar| now.saturating_duration_since(last.at) >= EXEMPLAR_EVERY;
        if exemplar.as_ref().is_none_or(is_old) {
            *exemplar = Some(Exemplar { seconds, at: now, trail: trail() });
        }
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The example of each bucket.
    pub fn exemplars(&self) -> impl Iterator<Item = Option<&Exemplar>> {
        self.exemplars.iter().map(Option::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: [f64; BUCKETS - 1] =
        [0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 3600.0, 14400.0, 86400.0];

    fn named(id: &str) -> Trail {
        Trail::of(None, id)
    }

    proptest! {
        /// As a bound says: each value is in the first bucket whose bound is not below it.
        #[test]
        fn each_value_is_counted_once_and_where_it_belongs(millis in prop::collection::vec(0_u64..200_000_000, 0..50)) {
            let (mut histogram, now) = (Histogram::new(&BOUNDS), Instant::now());
            for time in &millis {
                histogram.observe(Duration::from_millis(*time), now, || named("x"));
            }
            let mut below = 0.0;
            for ((bound, count), exemplar) in histogram.counts().buckets().zip(histogram.exemplars()) {
                let is_in = |time: &&u64| (below..=bound).contains(&(**time as f64 / 1e3)) && **time as f64 / 1e3 != below;
                let is_zero = |time: &&u64| below == 0.0 && **time == 0;
                let want = millis.iter().filter(|time| is_in(time) || is_zero(time)).count() as u64;
                prop_assert_eq!(count, want, "up to {}", bound);
                prop_assert_eq!(exemplar.is_some(), count > 0);
                below = bound;
            }
            prop_assert_eq!(histogram.counts().count(), millis.len() as u64);
            let sum = millis.iter().sum::<u64>() as f64 / 1e3;
            prop_assert!((histogram.counts().sum() - sum).abs() <= 1e-6 * sum.max(1.0));
        }
    }

    #[test]
    fn a_bucket_shows_a_recent_request_and_costs_no_more_than_one_a_second() {
        let (mut histogram, began) = (Histogram::new(&BOUNDS), Instant::now());
        let mut asked = 0;
        for millis in [0, 10, 999, 1000, 1001, 2100] {
            histogram.observe(Duration::from_millis(50), began + Duration::from_millis(millis), || {
                asked += 1;
                named(&millis.to_string())
            });
        }
        let shown: Vec<_> = histogram.exemplars().flatten().collect();
        assert_eq!(
            shown,
            [&Exemplar { seconds: 0.05, at: began + Duration::from_millis(2100), trail: named("2100") }]
        );
        assert_eq!(asked, 3);
    }

    #[test]
    fn an_id_is_short_and_plain_whoever_has_sent_it() {
        let trail = Trail::of(None, &format!("a b\n\u{1F600}\"{}", "x".repeat(500)));
        assert_eq!(trail, Trail::Request(format!("ab\"{}", "x".repeat(97)).into()));
        assert_eq!(Trail::of(Some(0x4bf9), "r"), Trail::Trace(format!("{:0>32}", "4bf9").into()));
    }
}
