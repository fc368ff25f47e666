//! nginx's times and sizes, as values and as the config has them.

use std::time::Duration;

use crate::config::units::show_duration;

/// In milliseconds. `M` and `m` differ.
const TIMES: [(&str, u64); 9] = [
    ("ms", 1),
    ("s", 1_000),
    ("", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
    ("M", 2_592_000_000),
    ("y", 31_536_000_000),
];

/// The longest time that a key of the config takes.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// `30`, `30s`, `1m30s`, `500ms`, `1M`.
pub(super) fn time(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let (_, millis) = TIMES.iter().find(|(name, _)| *name == unit.trim())?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        rest = next;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

/// A time as a key of the config takes it, from 1ms on.
pub(super) fn word(time: Duration) -> String {
    show_duration(time.clamp(Duration::from_millis(1), LONGEST))
}

/// `8k`, `64m`, `1g`, and bare bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_of_nginx() {
        for (text, millis) in
            [("30", 30_000), ("500ms", 500), ("1m30s", 90_000), ("1M", 2_592_000_000), ("0", 0)]
        {
            assert_eq!(time(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5x", "99999999999999999999s", "$time"] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(word(Duration::ZERO), "1ms");
        assert_eq!(word(Duration::MAX), "366d");
        assert_eq!(
            [size("0"), size("8k"), size("64M"), size("1T"), size("")],
            [Some(0), Some(8 << 10), Some(64 << 20), None, None]
        );
    }
}
