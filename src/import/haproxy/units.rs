//! HAProxy's times, as values and as the config has them.

use std::time::Duration;

use crate::config::units::show_duration;

/// The longest time that a key of the config takes.
const LONGEST: Duration = Duration::from_hours(366 * 24);
/// In microseconds. A bare number is milliseconds.
const TIMES: [(&str, u64); 7] = [
    ("us", 1),
    ("ms", 1_000),
    ("", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

/// `5000`, `5s`, `1m`.
pub(super) fn time(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, micros) = TIMES.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_micros(number.parse::<u64>().ok()?.checked_mul(*micros)?))
}

/// A time as a key of the config takes it, from 1ms on.
pub(super) fn word(time: Duration) -> String {
    show_duration(Duration::from_millis(
        u64::try_from(time.clamp(Duration::from_millis(1), LONGEST).as_millis()).unwrap_or(1),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_haproxy() {
        let table =
            [("5000", 5_000), ("5s", 5_000), ("2m", 120_000), ("500us", 0), ("1d", 86_400_000), ("0", 0)];
        for (text, millis) in table {
            assert_eq!(time(text).map(|time| time.as_millis()), Some(millis), "{text}");
        }
        for text in ["", "s", "1w", "-1", "99999999999999999999", "99999999999999999d"] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(
            (word(Duration::from_micros(500)), word(Duration::MAX)),
            ("1ms".to_owned(), "366d".to_owned())
        );
    }
}
