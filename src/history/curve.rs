//! One curve: rings of samples, of three widths.

use super::span::Span;

/// No sample was taken.
const NONE: u16 = u16::MAX;

/// The values in a bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The mean of its samples in tenths, rounded.
    pub mean: u32,
    /// The largest of them.
    pub max: u32,
}

/// The samples of one number. Those above 65,534 are kept as that.
#[derive(Debug)]
pub struct Curve {
    last: Option<u64>,
    fine: Box<[u16]>,
    hour: Bins,
    day: Bins,
}

impl Default for Curve {
    fn default() -> Self {
        Self {
            last: None,
            fine: vec![NONE; Span::Minutes.bins() as usize].into(),
            hour: Bins::new(Span::Hour),
            day: Bins::new(Span::Day),
        }
    }
}

impl Curve {
    /// The second of the last sample.
    pub fn last(&self) -> Option<u64> {
        self.last
    }

    /// Takes the sample of a second. Another one of the same second is added to it; one of an earlier second is dropped.
    pub fn record(&mut self, second: u64, value: u32) {
        let value = value.min(u32::from(NONE) - 1) as u16;
        let bins = Span::Minutes.bins();
        let place = (second % bins) as usize;
        match self.last {
            Some(last) if last > second => return,
            Some(last) if last == second => {
                let sum = self.fine[place].saturating_add(value).min(NONE - 1);
                let more = sum - self.fine[place];
                self.fine[place] = sum;
                self.hour.add(more, sum);
                self.day.add(more, sum);
                return;
            }
            last => {
                for gap in gap(last, second, bins) {
                    self.fine[(gap % bins) as usize] = NONE;
                }
            }
        }
        self.last = Some(second);
        self.fine[place] = value;
        self.hour.record(second, value);
        self.day.record(second, value);
    }

    /// The point of a bin, if there was a sample and it is still kept.
    pub fn point(&self, span: Span, bin: u64) -> Option<Point> {
        let bins = match span {
            Span::Minutes => {
                let last = self.last?;
                let value = self.fine[(bin % span.bins()) as usize];
                let is_kept = bin <= last && last - bin < span.bins() && value != NONE;
                return is_kept.then_some(Point { mean: u32::from(value) * 10, max: value.into() });
            }
            Span::Hour => &self.hour,
            Span::Day => &self.day,
        };
        bins.point(bin)
    }
}

/// The bins between the last one and this, as far as they are kept.
fn gap(last: Option<u64>, bin: u64, bins: u64) -> std::ops::Range<u64> {
    let first = last.map_or(0, |last| last + 1);
    first.max(bin.saturating_sub(bins))..bin
}

/// A ring of means and maxima.
#[derive(Debug)]
struct Bins {
    span: Span,
    /// The bin that is being filled.
    open: Option<u64>,
    sum: u64,
    count: u32,
    max: u16,
    means: Box<[u32]>,
    maxima: Box<[u16]>,
}

impl Bins {
    fn new(span: Span) -> Self {
        let bins = span.bins() as usize;
        Self {
            span,
            open: None,
            sum: 0,
            count: 0,
            max: 0,
            means: vec![0; bins].into(),
            maxima: vec![NONE; bins].into(),
        }
    }

    fn record(&mut self, second: u64, value: u16) {
        let bin = second / self.span.step();
        if self.open != Some(bin) {
            let bins = self.span.bins();
            if let (Some(open), Some(point)) = (self.open, self.filling()) {
                let place = (open % bins) as usize;
                self.means[place] = point.mean;
                self.maxima[place] = point.max as u16;
            }
            for gap in gap(self.open, bin + 1, bins) {
                self.maxima[(gap % bins) as usize] = NONE;
            }
            (self.open, self.sum, self.count, self.max) = (Some(bin), 0, 0, 0);
        }
        self.sum += u64::from(value);
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// The last sample was larger by this, and is now `value`.
    fn add(&mut self, more: u16, value: u16) {
        self.sum += u64::from(more);
        self.max = self.max.max(value);
    }

    fn filling(&self) -> Option<Point> {
        let count = u64::from(self.count);
        let mean = (self.sum * 10 + count / 2).checked_div(count)?;
        Some(Point { mean: mean as u32, max: self.max.into() })
    }

    fn point(&self, bin: u64) -> Option<Point> {
        let open = self.open?;
        if bin == open {
            return self.filling();
        }
        let place = (bin % self.span.bins()) as usize;
        let is_kept = bin < open && open - bin < self.span.bins() && self.maxima[place] != NONE;
        is_kept.then(|| Point { mean: self.means[place], max: self.maxima[place].into() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bin_has_the_mean_and_the_maximum_of_its_samples() {
        let mut curve = Curve::default();
        for (second, value) in (0..).zip([4, 4, 4, 9, 0, 0, 0, 0, 0, 0, 100_000]) {
            curve.record(second, value);
        }
        assert_eq!(curve.point(Span::Minutes, 3), Some(Point { mean: 90, max: 9 }));
        assert_eq!(curve.point(Span::Minutes, 10), Some(Point { mean: 655_340, max: 65_534 }));
        assert_eq!(curve.point(Span::Minutes, 11), None);
        assert_eq!(curve.point(Span::Hour, 0), Some(Point { mean: 21, max: 9 }));
        assert_eq!(
            curve.point(Span::Hour, 1),
            Some(Point { mean: 655_340, max: 65_534 }),
            "it is being filled"
        );
        assert_eq!(curve.point(Span::Day, 0).map(|point| point.max), Some(65_534));
    }

    #[test]
    fn a_curve_takes_five_kibibytes() {
        let curve = Curve::default();
        let bins = |bins: &Bins| size_of_val(&*bins.means) + size_of_val(&*bins.maxima);
        let bytes = size_of::<Curve>() + size_of_val(&*curve.fine) + bins(&curve.hour) + bins(&curve.day);
        assert!((4500..=5 * 1024).contains(&bytes), "{bytes}");
    }

    proptest! {
        /// Gaps of any length; compared with a plain list of all samples.
        #[test]
        fn points_are_those_of_the_samples_in_their_bin(
            samples in prop::collection::vec((1u64..=600, 0u32..1000), 1..200)
        ) {
            let mut curve = Curve::default();
            let mut second = 0;
            let mut all = Vec::new();
            for (step, value) in samples {
                second += step;
                curve.record(second, value);
                all.push((second, value));
            }
            for span in Span::ALL {
                let window = span.window(second);
                for bin in (*window.start()).saturating_sub(5)..=window.end() + 1 {
                    let values: Vec<_> = all.iter().filter(|(at, _)| at / span.step() == bin).map(|(_, v)| *v).collect();
                    let count = values.len() as u32;
                    let want = (window.contains(&bin) && count > 0).then(|| Point {
                        mean: (values.iter().sum::<u32>() * 10 + count / 2) / count,
                        max: values.iter().copied().max().unwrap_or_default(),
                    });
                    prop_assert_eq!(curve.point(span, bin), want, "{:?} {}", span, bin);
                }
            }
        }
    }
}
