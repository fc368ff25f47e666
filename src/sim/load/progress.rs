//! The progress of a load: counters and limits shared by its clients.

use std::iter::Sum;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::options::Load;
use super::tally::Tally;

/// A snapshot of the progress of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests started.
    pub sent: u64,
    pub in_flight: u64,
    /// Requests that were answered as asked.
    pub done: u64,
    pub failed: u64,
    /// Requests in flight when the load was cut off.
    pub cut: u64,
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            sent: sum.sent + one.sent,
            in_flight: sum.in_flight + one.in_flight,
            done: sum.done + one.done,
            failed: sum.failed + one.failed,
            cut: sum.cut + one.cut,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Asking,
    /// Start no new requests.
    Ending,
    /// Cut off the requests in flight too.
    Cut,
}

/// The state shared by the clients.
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

    /// The number of the next request, or `None` if there is none.
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
        // read the ended ones first, so that a snapshot never shows more ended than started
        let (done, failed, cut) = (read(&self.done), read(&self.failed), read(&self.cut));
        let sent = read(&self.sent);
        Counts { sent, in_flight: sent - done - failed - cut, done, failed, cut }
    }
}
