//! What a node's attempts share with it outside the pool's lock: when it last showed a sign of life, which of them have
//! been given up, and how much work they have seen done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use event_listener::Event;

use crate::balance::learned::Work;

/// One node's; its leases hold it too.
#[derive(Debug)]
pub(super) struct Activity {
    base: Instant,
    /// Nanoseconds from `base` to the last sign of life, and one; 0: none yet.
    last: AtomicU64,
    /// Attempts with a number up to this have been given up.
    given_up: AtomicU64,
    gave_up: Event,
    /// Work from the start on: units, nanoseconds, pieces.
    work: [AtomicU64; 3],
}

/// All the work that a node had done at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done([u64; 3]);

impl Done {
    /// What has been done between then and now; from now on, since now.
    pub(super) fn catch_up(&mut self, now: Self) -> Work {
        let then = std::mem::replace(self, now);
        let [units, nanos, pieces] = [0, 1, 2].map(|i: usize| now.0[i].wrapping_sub(then.0[i]) as f64);
        Work { units, seconds: nanos / 1e9, pieces }
    }
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            base: now,
            last: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            gave_up: Event::new(),
            work: [const { AtomicU64::new(0) }; 3],
        }
    }

    /// A sign of life. One plain store, for each chunk of each stream comes by here: two threads may set it back by the
    /// time between their looks at the clock, which is microseconds where seconds matter.
    pub(super) fn beat(&self, now: Instant) {
        let after = now.saturating_duration_since(self.base).as_nanos();
        self.last.store(u64::try_from(after).unwrap_or(u64::MAX - 1) + 1, Ordering::Relaxed);
    }

    /// So many units of work were done for one request in this time. The three sums may be read apart: that is one piece
    /// among hundreds.
    pub(super) fn worked(&self, units: u64, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        for (sum, more) in self.work.iter().zip([units, nanos, 1]) {
            sum.fetch_add(more, Ordering::Relaxed);
        }
    }

    pub(super) fn done(&self) -> Done {
        Done([0, 1, 2].map(|i: usize| self.work[i].load(Ordering::Relaxed)))
    }

    pub(super) fn last(&self) -> Option<Instant> {
        let after = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.base + Duration::from_nanos(after))
    }

    /// Gives up all attempts with a number up to this one, and tells those that wait for a sign of life.
    pub(super) fn give_up(&self, ticket: u64) {
        self.given_up.fetch_max(ticket, Ordering::AcqRel);
        self.gave_up.notify(usize::MAX);
    }

    pub(super) fn is_given_up(&self, ticket: u64) -> bool {
        ticket <= self.given_up.load(Ordering::Acquire)
    }

    /// Resolves when this attempt is given up, or at once if it has been.
    pub(super) async fn until_given_up(self: Arc<Self>, ticket: u64) {
        loop {
            // before the look, or what happens in between would be missed
            let listener = self.gave_up.listen();
            if self.is_given_up(ticket) {
                return;
            }
            listener.await;
        }
    }
}
