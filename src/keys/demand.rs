//! The parts of limits that gateways share, and the demand for them.

use std::time::{Duration, Instant};

/// The time over which the use of a limit is averaged, and for which a refusal counts.
const LATELY: Duration = Duration::from_secs(2);

/// The part of a limit that is here. In flight it is counted in requests, the two rates in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitShare {
    /// All of it: `max_in_flight`, or 1000.
    pub cap: u32,
    pub held: u32,
    /// Requests in flight, or the part of the rate that has been used of late, rounded up. Of a rate all can be given away.
    pub in_use: u32,
    /// As much as is wanted besides: more than 0 only if this limit has refused a request of late.
    pub waiting: u32,
}

/// What an exchange of credits allows an account, or what comes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub held: u32,
    /// The content of the parts of a rate that come or go, in thousandths of what the whole bucket holds; below 0: a debt. `None`: the
    /// ledger does not keep it. Then parts come empty, what is in those that go is lost, and those in debt stay.
    pub level: Option<i64>,
}

/// The use of a limit of late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    /// Since the last look.
    taken: u64,
    refused: u64,
    /// A minute.
    rate: f64,
    refusals: f64,
    at: Instant,
}

impl Demand {
    pub(super) fn new(now: Instant) -> Self {
        Self { taken: 0, refused: 0, rate: 0.0, refusals: 0.0, at: now }
    }

    pub(super) fn take(&mut self, count: u64) {
        self.taken = self.taken.saturating_add(count);
    }

    pub(super) fn refuse(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }

    /// Counts what has been since the last look.
    pub(super) fn look(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        if passed.is_zero() {
            return;
        }
        self.at = now;
        let left = (-passed.as_secs_f64() / LATELY.as_secs_f64()).exp();
        let newest = std::mem::take(&mut self.taken) as f64 * 60.0 / passed.as_secs_f64();
        self.rate = self.rate * left + newest * (1.0 - left);
        self.refusals = self.refusals * left + std::mem::take(&mut self.refused) as f64;
    }

    /// A minute.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Requests that were refused, those of late more than older ones.
    pub(super) fn refusals(&self) -> u32 {
        (self.refusals - 0.5).ceil() as u32
    }
}
