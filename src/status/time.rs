//! Times as the views show them.

use std::time::{Instant, SystemTime};

use jiff::Timestamp;

use crate::history::{History, Mark};

/// An instant, in both kinds of time.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub at: Instant,
    pub wall: SystemTime,
}

impl Moment {
    /// Milliseconds since 1970 at second 0 of the history.
    pub fn origin(self, history: &History) -> u64 {
        let start = self.wall.checked_sub(history.since_start(self.at)).unwrap_or(self.wall);
        Timestamp::try_from(start).map_or(0, |start| u64::try_from(start.as_millisecond()).unwrap_or(0))
    }

    pub(super) fn of(self, mark: &Mark, history: &History) -> SystemTime {
        let ago = history.since_start(self.at).saturating_sub(mark.at);
        self.wall.checked_sub(ago).unwrap_or(self.wall)
    }
}

/// RFC 3339, to the millisecond.
pub(super) fn text(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// RFC 3339, to the second: a time that has not come yet.
pub(super) fn in_future(at: Instant, moment: Moment) -> String {
    to_the_second(moment.wall + at.saturating_duration_since(moment.at))
}

/// RFC 3339, to the second.
pub(super) fn to_the_second(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.0}"))
}
