//! Numbers that rise and fall with what is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that rises and falls; a guard subtracts what was added.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

/// Subtracts its amount from the gauge when it is dropped.
#[derive(Debug)]
pub struct Share {
    gauge: Gauge,
    pub(super) amount: u64,
}

impl Gauge {
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub fn add(&self, amount: u64) -> Share {
        self.0.fetch_add(amount, Ordering::AcqRel);
        Share { gauge: self.clone(), amount }
    }

    /// Adds unless the sum would exceed `limit`.
    pub fn try_add(&self, amount: u64, limit: u64) -> Option<Share> {
        let mut share = Share { gauge: self.clone(), amount: 0 };
        share.grow(amount, limit).then_some(share)
    }
}

impl Share {
    /// Adds to this share unless the gauge would exceed `limit`; returns whether it did.
    pub fn grow(&mut self, more: u64, limit: u64) -> bool {
        let add = |now: u64| now.checked_add(more).filter(|sum| *sum <= limit);
        let grown = self.gauge.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok();
        if grown {
            self.amount += more;
        }
        grown
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.gauge.0.fetch_sub(self.amount, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_never_exceeds_its_limit_and_shares_are_given_back() {
        let gauge = Gauge::default();
        let mut first = gauge.try_add(6, 10).expect("6 of 10");
        assert!(gauge.try_add(5, 10).is_none());
        assert!(first.grow(4, 10));
        assert!(!first.grow(1, 10));
        assert_eq!(gauge.value(), 10);
        drop(first);
        assert_eq!(gauge.value(), 0);
        assert!(gauge.try_add(u64::MAX, 10).is_none());
    }
}
