//! Times as the views show them.

use std::time::SystemTime;

use jiff::Timestamp;

/// RFC 3339, to the millisecond.
pub(super) fn text(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// RFC 3339, to the second.
pub(super) fn to_the_second(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.0}"))
}
