//! The streams of a node with `max_in_flight: auto`: those that are open, the time in which they flow, and their pauses.
//!
//! A pause is counted in events of the node: one stream has none while each of the others has several. Whatever slows all alike
//! is none. An event costs two additions and a comparison.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::balance::cap;

/// A stream pauses if its node has so many events for each open stream between two of its own, and so many besides.
const EVENTS_EACH: u64 = 2;
const EVENTS: u64 = 16;

/// The streams of one node. The node and all of its leases hold it.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The node's cap is learned.
    is_on: AtomicBool,
    /// Attempts whose answers have begun.
    open: AtomicU64,
    /// In the order of [`Kind`].
    counts: [AtomicU64; KINDS],
    /// In nanoseconds.
    times: [AtomicU64; KINDS],
}

const KINDS: usize = 4;

#[derive(Clone, Copy)]
enum Kind {
    /// First events; their time is that of the wait.
    Begun,
    /// Events that follow another one.
    Flow,
    Paused,
    /// Answers with a single event.
    Whole,
}

/// One attempt's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Track {
    Off,
    /// No event has come.
    Waiting,
    /// One has come, after so many milliseconds; the node's events by then.
    Begun {
        waited: u32,
        seen: u64,
    },
    /// More have.
    Streaming {
        seen: u64,
    },
}

/// The totals at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    counts: [u64; KINDS],
    times: [u64; KINDS],
}

impl Streams {
    /// Attempts that begin from now on are followed, or not.
    pub(super) fn follow(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    pub(super) fn track(&self) -> Track {
        if self.is_on.load(Ordering::Relaxed) { Track::Waiting } else { Track::Off }
    }

    fn count(&self, kind: Kind, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[kind as usize].fetch_add(1, Ordering::Relaxed);
        self.times[kind as usize].fetch_add(nanos, Ordering::Relaxed);
    }

    /// All events so far.
    fn events(&self) -> u64 {
        [Kind::Begun, Kind::Flow, Kind::Paused]
            .map(|kind| self.counts[kind as usize].load(Ordering::Relaxed))
            .iter()
            .fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// An event of this stream has come, so long after the one before, or after the request.
    pub(super) fn event(&self, track: Track, after: Duration) -> Track {
        let seen = self.events();
        match track {
            Track::Off => Track::Off,
            Track::Waiting => {
                self.open.fetch_add(1, Ordering::Relaxed);
                self.count(Kind::Begun, after);
                Track::Begun { waited: u32::try_from(after.as_millis()).unwrap_or(u32::MAX), seen }
            }
            Track::Begun { seen: last, .. } | Track::Streaming { seen: last } => {
                let most = EVENTS_EACH * self.open.load(Ordering::Relaxed) + EVENTS;
                let is_paused = seen.wrapping_sub(last) > most;
                self.count(if is_paused { Kind::Paused } else { Kind::Flow }, after);
                Track::Streaming { seen }
            }
        }
    }

    /// The client would not read: the silence until the next event says nothing about the node.
    pub(super) fn excuse(&self, track: Track) -> Track {
        match track {
            Track::Begun { waited, .. } => Track::Begun { waited, seen: self.events() },
            Track::Streaming { .. } => Track::Streaming { seen: self.events() },
            other => other,
        }
    }

    /// The attempt has ended.
    pub(super) fn end(&self, track: Track) {
        if let Track::Begun { waited, .. } = track {
            self.count(Kind::Whole, Duration::from_millis(waited.into()));
        }
        if matches!(track, Track::Begun { .. } | Track::Streaming { .. }) {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn totals(&self) -> Totals {
        let load = |all: &[AtomicU64; KINDS]| std::array::from_fn(|i| all[i].load(Ordering::Relaxed));
        Totals { counts: load(&self.counts), times: load(&self.times) }
    }

    /// What has come since the previous call.
    pub(super) fn catch_up(&self, then: &mut Totals) -> cap::Streams {
        let now = self.totals();
        let then = std::mem::replace(then, now);
        let count = |kind: Kind| now.counts[kind as usize].wrapping_sub(then.counts[kind as usize]) as f64;
        let time = |kind: Kind| now.times[kind as usize].wrapping_sub(then.times[kind as usize]) as f64 / 1e9;
        let wholes = count(Kind::Whole);
        let begun = (count(Kind::Begun) - wholes).max(0.0);
        cap::Streams {
            open: self.open.load(Ordering::Relaxed) as f64,
            begun,
            events: begun + count(Kind::Flow) + count(Kind::Paused),
            flow: time(Kind::Flow),
            pauses: count(Kind::Paused),
            paused: time(Kind::Paused),
            wholes,
            whole_time: time(Kind::Whole),
        }
    }
}
