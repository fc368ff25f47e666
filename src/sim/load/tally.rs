//! What the streams of a load get, while it is on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::report::Percentiles;

/// More are not kept: some 128 MB.
const LAGS_MAX: usize = 8 << 20;

/// The streams of all clients together.
#[derive(Debug, Default)]
pub struct Tally {
    streams: AtomicU64,
    events: AtomicU64,
    lags: Mutex<Vec<Duration>>,
}

impl Tally {
    /// Streams whose first event has come.
    pub fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    /// Events of all streams so far, of those too that have not ended.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// How long each event was under way that said when it was sent, since the last time that this was asked.
    pub fn take_lags(&self) -> Percentiles {
        Percentiles::of(std::mem::take(&mut *self.lags.lock()))
    }

    pub(super) fn stream_began(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn events_came(&self, count: u64) {
        self.events.fetch_add(count, Ordering::Relaxed);
    }

    /// Events that were sent at `sent` have come at `now`.
    pub(super) fn came_late(&self, sent: impl Iterator<Item = u64>, now: u64) {
        let mut lags = self.lags.lock();
        let room = LAGS_MAX.saturating_sub(lags.len());
        lags.extend(sent.map(|sent| Duration::from_nanos(now.saturating_sub(sent))).take(room));
    }
}
