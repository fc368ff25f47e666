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

/// Waits are kept in this unit, so that an attempt holds 8 bytes.
const WAITED: Duration = Duration::from_millis(16);

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
    /// One has come, after so many times [`WAITED`]; the node's events by then.
    Begun {
        waited: u16,
        seen: u32,
    },
    /// More have.
    Streaming {
        seen: u32,
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

    /// All events so far, modulo 2^32.
    fn events(&self) -> u32 {
        [Kind::Begun, Kind::Flow, Kind::Paused]
            .map(|kind| self.counts[kind as usize].load(Ordering::Relaxed))
            .iter()
            .fold(0, |sum: u32, count| sum.wrapping_add(*count as u32))
    }

    /// An event of this stream has come, so long after the one before, or after the request.
    pub(super) fn event(&self, track: Track, after: Duration) -> Track {
        let seen = self.events();
        match track {
            Track::Off => Track::Off,
            Track::Waiting => {
                self.open.fetch_add(1, Ordering::Relaxed);
                self.count(Kind::Begun, after);
                let waited = u16::try_from(after.as_millis() / WAITED.as_millis()).unwrap_or(u16::MAX);
                Track::Begun { waited, seen }
            }
            Track::Begun { seen: last, .. } | Track::Streaming { seen: last } => {
                let most = EVENTS_EACH * self.open.load(Ordering::Relaxed) + EVENTS;
                let is_paused = u64::from(seen.wrapping_sub(last)) > most;
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
            self.count(Kind::Whole, WAITED * u32::from(waited));
        }
        if matches!(track, Track::Begun { .. } | Track::Streaming { .. }) {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn totals(&self) -> Totals {
        let load = |all: &[AtomicU64; KINDS]| std::array::from_fn(|i| all[i].load(Ordering::Relaxed));
        Totals { counts: load(&self.counts), times: load(&self.times) }
    }

    /// The sums since the previous call.
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

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(30);

    /// The streams of a node with so many open ones.
    fn open(count: usize) -> (Streams, Vec<Track>) {
        let streams = Streams::default();
        streams.follow(true);
        let tracks = (0..count).map(|_| streams.event(streams.track(), STEP)).collect();
        (streams, tracks)
    }

    fn pauses(streams: &Streams) -> f64 {
        streams.catch_up(&mut Totals::default()).pauses
    }

    #[test]
    fn one_that_is_silent_while_the_others_go_on_has_paused() {
        for (steps, expected) in [(1, 0.0), (2, 0.0), (3, 1.0), (100, 1.0)] {
            let (streams, mut tracks) = open(10);
            for _ in 0..steps {
                tracks[1..].iter_mut().for_each(|track| *track = streams.event(*track, STEP));
            }
            tracks[0] = streams.event(tracks[0], STEP * (steps + 1));
            let seen = streams.catch_up(&mut Totals::default());
            assert_eq!((seen.pauses, seen.open, seen.begun), (expected, 10.0, 10.0), "{steps}");
            let flowed = f64::from(9 * steps + if expected == 0.0 { steps + 1 } else { 0 });
            assert!((seen.flow - 0.03 * flowed).abs() < 1e-9, "{seen:?}");
        }
    }

    #[test]
    fn silence_of_all_is_no_pause_and_neither_is_that_of_a_slow_client() {
        let (streams, mut tracks) = open(10);
        for _ in 0..3 {
            tracks.iter_mut().for_each(|track| *track = streams.event(*track, 1000 * STEP));
        }
        assert_eq!(pauses(&streams), 0.0);
        for _ in 0..100 {
            tracks[1..].iter_mut().for_each(|track| *track = streams.event(*track, STEP));
        }
        let track = streams.event(streams.excuse(tracks[0]), 100 * STEP);
        assert_eq!(pauses(&streams), 0.0);
        assert!(matches!(track, Track::Streaming { .. }));
    }

    #[test]
    fn an_answer_with_one_event_is_whole_and_what_is_not_followed_counts_nothing() {
        let (streams, tracks) = open(3);
        let going_on = streams.event(tracks[0], STEP);
        streams.end(going_on);
        streams.end(tracks[1]);
        streams.follow(false);
        let off = streams.event(streams.track(), STEP);
        streams.end(off);
        let seen = streams.catch_up(&mut Totals::default());
        assert_eq!((seen.open, seen.begun, seen.events, seen.wholes), (1.0, 2.0, 3.0, 1.0));
        assert!((seen.whole_time - 0.016).abs() < 1e-9);
        assert_eq!(off, Track::Off);
    }
}
