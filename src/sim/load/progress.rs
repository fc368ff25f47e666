//! How far a load is: what its clients share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::options::Load;
use super::tally::Tally;

/// How far a load is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that began.
    pub sent: u64,
    pub in_flight: u64,
    /// Requests that got what they asked for.
    pub done: u64,
    pub failed: u64,
    /// Requests that were under way when the load was cut off.
    pub cut: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Asking,
    /// No new requests.
    Ending,
    /// Not even the end of those under way.
    Cut,
}

/// What the clients share.
#[derive(Debug)]
pub(super) struct Shared {
    pub load: Load,
    pub began: Instant,
    pub count: Counters,
    pub tally: Tally,
    next: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    sent: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    cut: AtomicU64,
}

impl Shared {
    pub(super) fn new(load: Load) -> Self {
        let (count, next) = (Counters::default(), AtomicU64::new(0));
        Self { load, began: Instant::now(), count, tally: Tally::default(), next }
    }

    /// The number of the next request, if there is to be one.
    pub(super) fn next(&self, phase: Phase) -> Option<u64> {
        let Load { count, duration, .. } = &self.load;
        let over = duration.is_some_and(|duration| self.began.elapsed() >= duration);
        if phase != Phase::Asking || over {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        count.is_none_or(|count| number < count).then_some(number)
    }
}

impl Counters {
    pub(super) fn began(&self) {
        self.sent.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn ended(&self, well: bool) {
        let counter = if well { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn cut(&self) {
        self.cut.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn now(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        // what has ended first, so that never more have ended than began
        let (done, failed, cut) = (read(&self.done), read(&self.failed), read(&self.cut));
        let sent = read(&self.sent);
        Counts { sent, in_flight: sent - done - failed - cut, done, failed, cut }
    }
}
