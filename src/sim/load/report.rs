//! The report of a finished load: totals, and percentiles of its times.

use std::collections::BTreeMap;
use std::time::Duration;

use super::record::{Failure, Record};
use super::secure::Agreed;

/// Most records kept by all clients together, some 400 MB; further requests are only counted.
pub(super) const RECORDS_MAX: usize = 4 << 20;

/// The totals of all clients.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests started: `succeeded + failed + cut`.
    pub sent: u64,
    pub succeeded: u64,
    pub failed: u64,
    /// Requests in flight when the load was cut off: neither successes nor failures.
    pub cut: u64,
    pub failures: BTreeMap<Failure, u64>,
    /// TLS connections by their terms.
    pub handshakes: BTreeMap<Agreed, u64>,
    /// Events of all streams.
    pub events: u64,
    /// Time from the start to the end of the last request.
    pub wall: Duration,
    /// Records in no particular order; incomplete for a very long load.
    pub records: Vec<Record>,
}

impl Report {
    /// Successes per second.
    pub fn rate(&self) -> f64 {
        let seconds = self.wall.as_secs_f64();
        if seconds > 0.0 { self.succeeded as f64 / seconds } else { 0.0 }
    }

    /// Latencies of the successes.
    pub fn latency(&self) -> Percentiles {
        self.of_successes(|record| Some(record.latency))
    }

    /// Times to the first byte of the successes.
    pub fn first_byte(&self) -> Percentiles {
        self.of_successes(|record| record.first_byte)
    }

    /// Times to the first event of the successful streams.
    pub fn first_event(&self) -> Percentiles {
        self.of_successes(|record| record.first_event)
    }

    fn of_successes(&self, time: impl Fn(&Record) -> Option<Duration>) -> Percentiles {
        Percentiles::of(self.records.iter().filter(|record| record.is_success()).filter_map(time).collect())
    }

    pub(super) fn note(&mut self, record: Record, records_max: usize) {
        self.sent += 1;
        self.events += u64::from(record.events);
        match record.failure {
            None => self.succeeded += 1,
            Some(failure) => {
                self.failed += 1;
                *self.failures.entry(failure).or_default() += 1;
            }
        }
        if self.records.len() < records_max {
            self.records.push(record);
        }
    }

    pub(super) fn note_cut(&mut self) {
        self.sent += 1;
        self.cut += 1;
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.sent += other.sent;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.cut += other.cut;
        self.events += other.events;
        self.wall = self.wall.max(other.wall);
        for (failure, count) in other.failures {
            *self.failures.entry(failure).or_default() += count;
        }
        for (agreed, count) in other.handshakes {
            *self.handshakes.entry(agreed).or_default() += count;
        }
        self.records.extend(other.records);
    }
}

/// Sorted times.
#[derive(Clone, Debug, Default)]
pub struct Percentiles(Vec<Duration>);

impl Percentiles {
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The smallest time within which this share (0 to 1) of the requests finished (nearest rank). Zero without
    /// requests.
    pub fn at(&self, part: f64) -> Duration {
        let rank = (part.clamp(0.0, 1.0) * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub fn mean(&self) -> Duration {
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.iter().sum::<Duration>().checked_div(count).unwrap_or_default()
    }

    pub fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    #[test]
    fn nearest_rank() {
        let times = Percentiles::of((1..=100).rev().map(ms).collect());
        assert_eq!(times.at(0.5), ms(50));
        assert_eq!(times.at(0.99), ms(99));
        assert_eq!(times.at(0.991), ms(100));
        assert_eq!((times.at(0.0), times.at(1.0), times.max()), (ms(1), ms(100), ms(100)));
        assert_eq!(times.mean(), Duration::from_micros(50_500));
        let one = Percentiles::of(vec![ms(7)]);
        assert_eq!((one.at(0.01), one.at(0.99), one.len()), (ms(7), ms(7), 1));
        let none = Percentiles::default();
        assert_eq!((none.at(0.5), none.mean(), none.max(), none.is_empty()), (ms(0), ms(0), ms(0), true));
    }
}
