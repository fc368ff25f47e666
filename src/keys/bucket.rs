//! A token bucket: it holds what may be used within a minute, and fills up steadily.
//!
//! Where several gateways share the limit, each has so many of its thousand parts: a bucket of that part of the size, which fills
//! at that part of the rate. The content of a part moves with it, a debt too, so that a move neither loses nor gains anything.

use std::time::{Duration, Instant};

/// The parts of a limit that gateways share.
pub const PARTS: u32 = 1000;

/// One of what a part of the bucket holds, in its units: what flows into it within a nanosecond is then a whole number of them.
const OF_A_PART: i128 = 60_000_000_000;
/// One of what the bucket holds.
const ONE: i128 = OF_A_PART * PARTS as i128;

/// The time within which parts are moved to where they are wanted.
const MOVE: Duration = Duration::from_secs(1);

/// A bucket that holds and gets so many a minute. Sums are whole numbers, so nothing is lost to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    per_minute: u64,
    /// Those of the [`PARTS`] that are here.
    parts: u32,
    /// Below zero: a debt, which must be filled up first.
    level: i128,
    /// The time of that level.
    at: Instant,
}

impl Bucket {
    pub fn full(per_minute: u64, now: Instant) -> Self {
        Self { per_minute, parts: PARTS, level: capacity(per_minute), at: now }
    }

    /// One of whose parts none is here yet.
    pub fn without_parts(per_minute: u64, now: Instant) -> Self {
        Self { per_minute, parts: 0, level: 0, at: now }
    }

    /// Another limit from now on. What has been used stays used.
    pub fn set(&mut self, per_minute: u64, now: Instant) {
        self.fill(now);
        let used = self.capacity() - self.level;
        self.per_minute = per_minute;
        self.level = self.capacity().saturating_sub(used);
    }

    /// So many parts are here from now on. Those that come bring `level`, in thousandths of what the whole bucket holds; returns
    /// what those that go take with them, likewise. Less than a thousandth may stay behind.
    pub fn share(&mut self, parts: u32, level: i64, now: Instant) -> i64 {
        self.fill(now);
        let of_a_part = self.of_a_part();
        let go = i128::from(self.parts.saturating_sub(parts));
        // towards a greater debt
        let taken = self.level.saturating_mul(go).div_euclid(i128::from(self.parts.max(1)) * of_a_part);
        self.parts = parts.min(PARTS);
        let change = i128::from(level).saturating_sub(taken).saturating_mul(of_a_part);
        self.level = self.level.saturating_add(change).min(self.capacity());
        let least = i128::from(i64::MIN);
        i64::try_from(taken.max(least)).unwrap_or(i64::MAX)
    }

    pub fn parts(&self) -> u32 {
        self.parts
    }

    pub fn is_in_debt(&self) -> bool {
        self.level < 0
    }

    /// Adds what has flowed in. A time before the last one changes nothing.
    pub fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_nanos();
        let passed = i128::try_from(passed).unwrap_or(i128::MAX);
        let more = passed.saturating_mul(self.rate());
        self.level = self.level.saturating_add(more).min(self.capacity());
        self.at = self.at.max(now);
    }

    /// Takes so many, be they there or not.
    pub fn take(&mut self, count: u64) {
        self.level = self.level.saturating_sub(capacity(count));
    }

    /// The whole limit.
    pub fn limit(&self) -> u64 {
        self.per_minute
    }

    /// Whole ones that are left; of a part, as many as are left to all gateways if it is with them as here.
    pub fn left(&self) -> u64 {
        let left = match self.parts {
            0 => 0,
            PARTS => self.level / ONE,
            parts => self.level.saturating_mul(PARTS.into()) / i128::from(parts) / ONE,
        };
        u64::try_from(left).unwrap_or(0).min(self.per_minute)
    }

    /// The time until one can be taken without a debt; zero: now. A debt is paid by the parts that are here; but where few are here,
    /// more will have come soon after.
    pub fn until_one(&self) -> Duration {
        let alone = time(ONE.saturating_sub(self.level), self.rate());
        if self.parts == PARTS || alone.is_zero() {
            return alone;
        }
        let paid = time(self.level.saturating_neg(), self.rate_of_some());
        let with_all = time(ONE - self.level.max(0), self.whole_rate()).saturating_add(MOVE);
        alone.min(paid.saturating_add(with_all))
    }

    /// The time until it is full.
    pub fn until_full(&self) -> Duration {
        time(self.capacity().saturating_sub(self.level), self.rate_of_some())
    }

    /// Units that flow in within a nanosecond.
    fn rate(&self) -> i128 {
        i128::from(self.per_minute) * i128::from(self.parts)
    }

    /// The same; where nothing is here, as if all were.
    fn rate_of_some(&self) -> i128 {
        if self.parts == 0 { self.whole_rate() } else { self.rate() }
    }

    fn whole_rate(&self) -> i128 {
        i128::from(self.per_minute.max(1)) * i128::from(PARTS)
    }

    fn of_a_part(&self) -> i128 {
        i128::from(self.per_minute.max(1)) * OF_A_PART
    }

    /// A few parts of a small limit hold one all the same, or it could never be taken.
    fn capacity(&self) -> i128 {
        let part = i128::from(self.per_minute) * i128::from(self.parts) * OF_A_PART;
        if part == 0 { 0 } else { part.max(ONE) }
    }
}

fn capacity(count: u64) -> i128 {
    i128::from(count) * ONE
}

/// The time within which so much flows in at this rate.
fn time(lacking: i128, rate: i128) -> Duration {
    if lacking <= 0 {
        return Duration::ZERO;
    }
    let Some((whole, rest)) = lacking.checked_div(rate).zip(lacking.checked_rem(rate)) else {
        return Duration::MAX;
    };
    Duration::from_nanos(u64::try_from(whole + i128::from(rest > 0)).unwrap_or(u64::MAX))
}
