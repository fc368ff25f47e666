use std::time::Duration;

use proptest::prelude::*;

use crate::config::units::{parse_duration, parse_size, show_duration, show_size};

#[test]
fn durations() {
    let cases = [
        ("500ms", 500),
        ("5s", 5_000),
        ("2m", 120_000),
        ("24h", 86_400_000),
        ("1d", 86_400_000),
        ("1h30m", 5_400_000),
        ("1d2h3m4s5ms", 93_784_005),
        ("30", 30_000),
        ("0", 0),
        ("0s", 0),
    ];
    for (text, millis) in cases {
        assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
    }
    let overflow = format!("{}d", u64::MAX);
    for text in ["", "s", "5 s", "-5s", "1.5s", "5S", "5sec", "30m1h", "1m1m", "5m3", "１s", &overflow] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn sizes() {
    let cases = [
        ("32KiB", 32_768),
        ("32k", 32_768),
        ("1m", 1 << 20),
        ("1MiB", 1 << 20),
        ("64MB", 64_000_000),
        ("64mb", 64_000_000),
        ("1GiB", 1 << 30),
        ("7B", 7),
        ("7", 7),
    ];
    for (text, bytes) in cases {
        assert_eq!(parse_size(text), Some(bytes), "{text}");
    }
    for text in ["", "KiB", "1.5k", "-1", "1 k", "1PiB", "99999999999999999999", "99999999999TiB"] {
        assert_eq!(parse_size(text), None, "{text}");
    }
}

#[test]
fn shown_as_people_write_them() {
    assert_eq!(show_duration(Duration::from_secs(90)), "1m30s");
    assert_eq!(show_duration(Duration::ZERO), "0s");
    assert_eq!(show_size(32 << 10), "32KiB");
    assert_eq!(show_size(1000), "1000B");
    assert_eq!(show_size(0), "0B");
}

proptest! {
    #[test]
    fn a_duration_survives_being_shown(millis in any::<u64>()) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
    }

    #[test]
    fn a_size_survives_being_shown(bytes in any::<u64>()) {
        prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,12}") {
        _ = parse_duration(&text);
        _ = parse_size(&text);
    }
}
