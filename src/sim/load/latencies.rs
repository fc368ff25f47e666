//! A running distribution of latencies in constant memory: percentiles while a load runs, however long it does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of each doubling of the time, so that a percentile is at most a 32nd too high.
const STEPS: u64 = 1 << STEPS_LOG2;
const STEPS_LOG2: u32 = 5;
/// Longest time told apart, in microseconds: 50 days.
const MICROS_MAX: u64 = (1 << 42) - 1;
const BUCKETS: usize = place(MICROS_MAX) + 1;

/// Latencies of the successes so far, 10 KB.
#[derive(Debug)]
pub struct Latencies(Box<[AtomicU64]>);

impl Default for Latencies {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Latencies {
    /// The time within which this share (0 to 1) of the answers came, to a 32nd. Zero without answers.
    pub fn at(&self, part: f64) -> Duration {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let all: u64 = counts.iter().sum();
        let rank = ((part.clamp(0.0, 1.0) * all as f64).ceil() as u64).max(1);
        let mut below = 0;
        let found = counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        found.map(|place| Duration::from_micros(upper(place as u64))).unwrap_or_default()
    }

    pub(super) fn note(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(MICROS_MAX);
        if let Some(count) = self.0.get(place(micros)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The bucket of a time: one for each microsecond at first, then `STEPS` for each doubling.
const fn place(micros: u64) -> usize {
    let micros = if micros < MICROS_MAX { micros } else { MICROS_MAX };
    if micros < STEPS {
        return micros as usize;
    }
    let shift = micros.ilog2() - STEPS_LOG2;
    (STEPS * shift as u64 + (micros >> shift)) as usize
}

/// The longest time of a bucket, in microseconds.
fn upper(place: u64) -> u64 {
    match place / STEPS {
        0 => place,
        doublings => ((place % STEPS + STEPS + 1) << (doublings - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nearest_rank() {
        let times = Latencies::default();
        assert_eq!((times.at(0.5), times.at(1.0)), (Duration::ZERO, Duration::ZERO));
        (1..=20).for_each(|micros| times.note(Duration::from_micros(micros)));
        let micros = |part| times.at(part).as_micros();
        assert_eq!((micros(0.0), micros(0.5), micros(0.51), micros(0.99), micros(1.0)), (1, 10, 11, 20, 20));
        times.note(Duration::MAX);
        assert_eq!(times.at(1.0), Duration::from_micros(MICROS_MAX));
    }

    proptest! {
        #[test]
        fn a_time_is_told_to_a_32nd(micros in 0..=MICROS_MAX) {
            let times = Latencies::default();
            times.note(Duration::from_micros(micros));
            let told = u64::try_from(times.at(0.5).as_micros()).expect("it fits");
            prop_assert!(told >= micros && told - micros <= micros / STEPS, "{micros} {told}");
        }

        #[test]
        fn buckets_are_in_order(micros in 0..MICROS_MAX) {
            let step = place(micros + 1) - place(micros);
            prop_assert!(step <= 1 && upper(place(micros) as u64) >= micros);
        }
    }
}
