//! Quantiles of times, in a few bytes: counts in buckets that grow with the time.

use std::time::Duration;

/// The largest quotient of a bucket's bounds: no quantile is further off.
#[cfg(test)]
pub(crate) const ERROR_MAX: f64 = 1.5;

/// Times between `base` and `base * 2^(N / 2)`, two buckets for each power of two. Shorter ones count as `base`, longer ones as
/// the longest. 2 bytes a bucket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Quantiles<const N: usize> {
    counts: [u16; N],
}

impl<const N: usize> Default for Quantiles<N> {
    fn default() -> Self {
        Self { counts: [0; N] }
    }
}

impl<const N: usize> Quantiles<N> {
    /// Counts a time. A bucket that is full halves them all: their proportions stay.
    pub(crate) fn observe(&mut self, time: Duration, base: Duration) {
        let count = &mut self.counts[Self::place(time, base)];
        *count += 1;
        if *count == u16::MAX {
            self.counts.iter_mut().for_each(|count| *count /= 2);
        }
    }

    fn place(time: Duration, base: Duration) -> usize {
        // in units of 1/16 of the base, so that short times are not rounded
        let unit = (base.as_nanos() / 16).max(1);
        let units = (time.as_nanos() / unit).max(16);
        let octave = units.ilog2();
        let is_upper_half = units >> (octave - 1) & 1 == 1;
        let place = 2 * (octave - 4) as usize + usize::from(is_upper_half);
        place.min(N - 1)
    }

    /// The lower bound of a bucket, in bases.
    fn bound(place: usize) -> f64 {
        let octave = (1_u128 << (place / 2)) as f64;
        if place.is_multiple_of(2) { octave } else { octave * 1.5 }
    }

    pub(crate) fn clear(&mut self) {
        self.counts = [0; N];
    }

    /// The time below which this part of both counts is, `part` from 0 to 1. `None`: there are none.
    pub(crate) fn of(both: [&Self; 2], part: f64, base: Duration) -> Option<Duration> {
        let count = |place: usize| both.iter().map(|one| u64::from(one.counts[place])).sum::<u64>();
        let total: u64 = (0..N).map(count).sum();
        // the rank of the nearest value, from 1
        let rank = ((total as f64 * part).ceil() as u64).clamp(1, total.max(1));
        let mut before = 0;
        for place in 0..N {
            let here = count(place);
            if here > 0 && before + here >= rank {
                let inside = (rank - before) as f64 / here as f64;
                let (low, high) = (Self::bound(place), Self::bound(place + 1));
                return Some(base.mul_f64(low + (high - low) * inside));
            }
            before += here;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: Duration = Duration::from_millis(1);

    proptest! {
        /// Against the exact quantile of the same values.
        #[test]
        fn a_quantile_is_right_within_its_bucket(
            micros in prop::collection::vec((0_u32..34, 0_u64..1000).prop_map(|(power, more)| 1000 + ((1_u64 << power) * (1000 + more)) / 1000), 1..300),
            other in prop::collection::vec(1000_u64..10_000_000, 0..100),
            part in 0.0..=1.0_f64,
        ) {
            let (mut one, mut two) = (Quantiles::<54>::default(), Quantiles::<54>::default());
            micros.iter().for_each(|time| one.observe(Duration::from_micros(*time), BASE));
            other.iter().for_each(|time| two.observe(Duration::from_micros(*time), BASE));
            let mut all: Vec<_> = micros.into_iter().chain(other).collect();
            all.sort_unstable();
            let rank = ((all.len() as f64 * part).ceil() as usize).clamp(1, all.len());
            let exact = all[rank - 1] as f64 / 1e6;
            let told = Quantiles::of([&one, &two], part, BASE).expect("some").as_secs_f64();
            prop_assert!(told / exact <= ERROR_MAX + 1e-6 && exact / told <= ERROR_MAX + 1e-6, "{} for {}", told, exact);
        }
    }

    #[test]
    fn what_lies_outside_counts_as_the_nearest() {
        for (time, low, high) in
            [(0, 0.001, 0.0015), (999, 0.001, 0.0015), (u64::MAX / 1000, 12288.0, 16384.0)]
        {
            let mut one = Quantiles::<48>::default();
            one.observe(Duration::from_micros(time), BASE);
            let told = Quantiles::of([&one, &one], 0.5, BASE).expect("one").as_secs_f64();
            assert!((low..=high).contains(&told), "{told} for {time} us");
        }
        assert_eq!(Quantiles::<48>::of([&Quantiles::default(), &Quantiles::default()], 0.5, BASE), None);
    }

    #[test]
    fn more_than_a_bucket_holds_keeps_its_share() {
        let mut one = Quantiles::<48>::default();
        for at in 0..200_000 {
            let millis = if at % 50 == 0 { 1000 } else { 10 };
            one.observe(Duration::from_millis(millis), BASE);
        }
        let [half, most] =
            [0.5, 0.99].map(|part| Quantiles::of([&one, &Quantiles::default()], part, BASE).expect("many"));
        assert!(
            (8..=12).contains(&half.as_millis()) && (750..=1100).contains(&most.as_millis()),
            "{half:?} {most:?}"
        );
    }
}
