//! A token bucket: it holds what may be used within a minute, and fills up steadily.

use std::time::{Duration, Instant};

/// One of what the bucket holds, in its units: what flows in within a nanosecond is then a whole number of them.
const ONE: i128 = 60_000_000_000;

/// A bucket that holds and gets so many a minute. Sums are whole numbers, so nothing is lost to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    per_minute: u64,
    /// Below zero: a debt, which must be filled up first.
    level: i128,
    /// The time of that level.
    at: Instant,
}

impl Bucket {
    pub fn full(per_minute: u64, now: Instant) -> Self {
        Self { per_minute, level: capacity(per_minute), at: now }
    }

    /// Another limit from now on. What has been used stays used.
    pub fn set(&mut self, per_minute: u64, now: Instant) {
        self.fill(now);
        let used = capacity(self.per_minute) - self.level;
        self.per_minute = per_minute;
        self.level = capacity(per_minute).saturating_sub(used);
    }

    /// Adds what has flowed in. A time before the last one changes nothing.
    pub fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_nanos();
        let passed = i128::try_from(passed).unwrap_or(i128::MAX);
        let more = passed.saturating_mul(self.per_minute.into());
        self.level = self.level.saturating_add(more).min(capacity(self.per_minute));
        self.at = self.at.max(now);
    }

    /// Takes so many, be they there or not.
    pub fn take(&mut self, count: u64) {
        self.level = self.level.saturating_sub(capacity(count));
    }

    pub fn limit(&self) -> u64 {
        self.per_minute
    }

    /// Whole ones that are left.
    pub fn left(&self) -> u64 {
        u64::try_from(self.level / ONE).unwrap_or(0)
    }

    /// The time until one can be taken without a debt; zero: now.
    pub fn until_one(&self) -> Duration {
        self.until(ONE)
    }

    /// The time until it is full.
    pub fn until_full(&self) -> Duration {
        self.until(capacity(self.per_minute))
    }

    fn until(&self, level: i128) -> Duration {
        let per_minute = i128::from(self.per_minute.max(1));
        let lacking = level.saturating_sub(self.level).max(0);
        let nanos = lacking / per_minute + i128::from(lacking % per_minute > 0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

fn capacity(count: u64) -> i128 {
    i128::from(count) * ONE
}
