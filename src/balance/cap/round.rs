//! A part of a node's life, from which its cap is learned.

use std::time::Duration;

use super::super::learned::Work;

/// The range of the cap.
pub const CAP_MIN: u32 = 1;
pub const CAP_MAX: u32 = 4096;
/// The cap while nothing is known: a compromise. From a lower one it takes longer to climb where many do more work; from a
/// higher one, which fills memory, it takes longer to find down, see `tests/sim/goodput/caps`.
pub const CAP_START: u32 = 64;

/// More than this in a round says nothing.
const PART_MAX: f64 = 1e18;
/// A longer round than this says nothing.
const ROUND_MAX: Duration = Duration::from_secs(1);

/// A node's life since the last round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    pub work: Work,
    pub streams: Streams,
    /// Answers that ended.
    pub ended: f64,
    /// Requests in flight now.
    pub in_flight: u32,
    pub passed: Duration,
}

/// Streams of a node since the last round. Times are sums over all of them, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Streams {
    /// Streams that are under way now and have begun.
    pub open: f64,
    /// Streams that have begun.
    pub begun: f64,
    /// Events.
    pub events: f64,
    /// The time between events that followed each other as usual.
    pub flow: f64,
    /// Pauses: one stream had no event while the others of its node went on.
    pub pauses: f64,
    pub paused: f64,
    /// Answers that came whole, and the time that they took.
    pub wholes: f64,
    pub whole_time: f64,
}

impl Round {
    /// All is in range.
    pub(super) fn is_sound(&self) -> bool {
        let Work { units, seconds, pieces } = self.work;
        let Streams { open, begun, events, flow, pauses, paused, wholes, whole_time } = self.streams;
        let all = [
            units, seconds, pieces, self.ended, open, begun, events, flow, pauses, paused, wholes, whole_time,
        ];
        self.passed <= ROUND_MAX && all.iter().all(|part| (0.0..=PART_MAX).contains(part))
    }
}
