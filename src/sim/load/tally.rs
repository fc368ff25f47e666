//! A running count of the streams and events of a load, and the times of its answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::latencies::Latencies;
use super::report::Percentiles;

/// Most times kept, some 128 MB.
const LAGS_MAX: usize = 8 << 20;

/// Counts of the answers of all clients together.
#[derive(Debug, Default)]
pub struct Tally {
    streams: AtomicU64,
    events: AtomicU64,
    lags: Mutex<Vec<Duration>>,
    latencies: Latencies,
}

impl Tally {
    /// Streams whose first event has arrived.
    pub fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    /// Events of all streams so far, open streams included.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Latencies of the successes so far, as [`Report::latency`](super::Report::latency) has them at the end.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// Takes the transit times of the events that carried their send time, since the last call.
    pub fn take_lags(&self) -> Percentiles {
        Percentiles::of(std::mem::take(&mut *self.lags.lock()))
    }

    pub(super) fn answered(&self, latency: Duration) {
        self.latencies.note(latency);
    }

    pub(super) fn stream_began(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn events_came(&self, count: u64) {
        self.events.fetch_add(count, Ordering::Relaxed);
    }

    /// Records that events sent at the times in `sent` arrived at `now`.
    pub(super) fn came_late(&self, sent: impl Iterator<Item = u64>, now: u64) {
        let mut lags = self.lags.lock();
        let room = LAGS_MAX.saturating_sub(lags.len());
        lags.extend(sent.map(|sent| Duration::from_nanos(now.saturating_sub(sent))).take(room));
    }
}
