//! Times as the views show them.

use std::time::{Instant, SystemTime};

use jiff::Timestamp;

use super::Moment;

/// RFC 3339, to the millisecond.
pub(super) fn text(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// RFC 3339, to the second: a time that has not come yet.
pub(super) fn in_future(at: Instant, moment: Moment) -> String {
    let time = moment.wall + at.saturating_duration_since(moment.at);
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.0}"))
}
