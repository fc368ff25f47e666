//! Drawing `max_tokens` of simulated requests from a seeded distribution.

use fastrand::Rng;

/// A distribution of sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sizes {
    Fixed(u32),
    /// All sizes from `min` to `max` equally likely.
    Uniform {
        min: u32,
        max: u32,
    },
    /// Bounded Pareto: most sizes are small and a few very large, like the answers of a batch job. The smaller `alpha`
    /// (above 0), the heavier the tail; 1.2 is usual.
    HeavyTailed {
        min: u32,
        max: u32,
        alpha: f64,
    },
}

impl Sizes {
    /// Draws the next size; never 0, which engines refuse.
    pub fn draw(self, random: &mut Rng) -> u32 {
        let size = match self {
            Self::Fixed(size) => size,
            Self::Uniform { min, max } => random.u32(min.min(max)..=max),
            Self::HeavyTailed { min, max, alpha } => pareto(min.max(1), max, alpha, random.f64()),
        };
        size.max(1)
    }
}

/// The inverse of the bounded Pareto distribution function, at `part` of the way.
fn pareto(min: u32, max: u32, alpha: f64, part: f64) -> u32 {
    let (low, high) = (f64::from(min), f64::from(max.max(min)));
    let cut = 1.0 - (low / high).powf(alpha);
    let size = low / (1.0 - part * cut).powf(1.0 / alpha);
    // both bounds are u32, so the result fits
    size.round().clamp(low, high) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(sizes: Sizes) -> Vec<u32> {
        let mut random = Rng::with_seed(7);
        let mut list: Vec<u32> = (0..10_000).map(|_| sizes.draw(&mut random)).collect();
        list.sort_unstable();
        list
    }

    #[test]
    fn a_seed_repeats_the_sizes_and_none_is_zero() {
        let uniform = Sizes::Uniform { min: 1, max: 1000 };
        assert_eq!(drawn(uniform), drawn(uniform));
        assert_eq!(drawn(Sizes::Fixed(0)), [1; 10_000]);
        assert_eq!(drawn(Sizes::Uniform { min: 9, max: 3 }), [3; 10_000]);
    }

    #[test]
    fn uniform_sizes_fill_their_range_evenly() {
        let list = drawn(Sizes::Uniform { min: 100, max: 200 });
        assert_eq!((list[0], list[9999]), (100, 200));
        assert!((145..155).contains(&list[5000]), "{}", list[5000]);
    }

    #[test]
    fn heavy_tailed_sizes_are_mostly_small_and_some_are_huge() {
        let list = drawn(Sizes::HeavyTailed { min: 16, max: 4096, alpha: 1.2 });
        assert!((16..=4096).contains(&list[0]) && list[9999] <= 4096);
        assert!(list[5000] < 35, "median {}", list[5000]);
        assert!(list[9990] > 1000, "99.9%: {}", list[9990]);
        assert_eq!(pareto(16, 4096, 1.2, 0.0), 16);
        assert_eq!(pareto(16, 4096, 1.2, 1.0), 4096);
    }
}
