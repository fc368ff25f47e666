//! The deadline that a request names.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;

use crate::config::units::parse_duration;
use crate::config::{self, Pool};

/// Unix times from this on are in milliseconds, as JavaScript has them; in seconds it is the year 5138.
const MILLIS_FROM: f64 = 1e11;

/// The time up to which a request is of use to its client. What cannot be read is as if it were not there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deadline {
    /// From its arrival; 0 or longer.
    pub within: Option<Duration>,
    /// A point in time, perhaps one that has passed; up to the year 9999.
    pub at: Option<SystemTime>,
}

/// The deadline of a request to this pool.
pub fn deadline(pool: &Pool, headers: &HeaderMap) -> Deadline {
    let config::Deadline { timeout, at, millis } = &pool.deadline;
    let value = |name: &Option<HeaderName>| headers.get(name.as_ref()?)?.to_str().ok().map(str::trim);
    let within = [value(timeout).and_then(timeout_of), value(millis).and_then(millis_of)];
    Deadline { within: within.into_iter().flatten().min(), at: value(at).and_then(time_of) }
}

/// A duration as the config has them, or seconds with decimals.
fn timeout_of(text: &str) -> Option<Duration> {
    parse_duration(text).or_else(|| seconds_of(text))
}

fn millis_of(text: &str) -> Option<Duration> {
    number_of(text).and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok())
}

fn seconds_of(text: &str) -> Option<Duration> {
    number_of(text).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// Digits and perhaps decimals: no sign, no exponent, no word.
fn number_of(text: &str) -> Option<f64> {
    let is_plain = text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| is_plain)
}

/// RFC 3339, or a Unix time.
fn time_of(text: &str) -> Option<SystemTime> {
    let Some(number) = number_of(text) else {
        return text.parse::<Timestamp>().ok().map(SystemTime::from);
    };
    let seconds = if number < MILLIS_FROM { number } else { number / 1000.0 };
    Timestamp::from_microsecond((seconds * 1e6).round() as i64).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn timeouts_of_requests() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (text, want) in [
            ("30", ms(30_000)),
            ("0", ms(0)),
            ("2.5", ms(2500)),
            ("500ms", ms(500)),
            ("1m30s", ms(90_000)),
            ("-1", None),
            ("1e3", None),
            ("inf", None),
            (".5", None),
            ("soon", None),
            ("", None),
            ("99999999999999999999999999", None),
        ] {
            assert_eq!(timeout_of(text), want, "{text}");
        }
        assert_eq!(
            (millis_of("250"), millis_of("0.5"), millis_of("1s")),
            (ms(250), Some(Duration::from_micros(500)), None)
        );
    }

    #[test]
    fn deadlines_of_requests() {
        let at = |ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms));
        for (text, want) in [
            ("1970-01-01T00:00:10Z", at(10_000)),
            ("1970-01-01T01:00:10.5+01:00", at(10_500)),
            ("10", at(10_000)),
            ("1732263000.25", at(1_732_263_000_250)),
            ("1732263000250", at(1_732_263_000_250)),
            ("1970-01-01T00:00:10", None),
            ("tomorrow", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(time_of(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_will_do(text in ".{0,40}") {
            let _ = (timeout_of(&text), millis_of(&text), time_of(&text));
        }
    }
}
