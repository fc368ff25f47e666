//! When an event was sent, told in the event itself: what a client on the same machine reads how long it was under way from.

use std::fmt::Write;

use rustix::time::{ClockId, clock_gettime};

/// How each event begins, and its first key where it has a stamp.
const EVENT: &str = "data: {";
const KEY: &str = r#""sent_ns":"#;

/// Nanoseconds of a clock that all processes of the machine share and nobody sets.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // never negative, and the sum is enough for 500 years
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Begins an event that is sent now. `start` is how it would begin without a stamp.
pub(super) fn begin(start: &str, out: &mut String) {
    let rest = start.strip_prefix(EVENT).unwrap_or(start);
    // writing to a String cannot fail
    let _ = write!(out, "{EVENT}{KEY}{},{rest}", now());
}

/// The stamp of an event, `data` being what follows `data: {`.
pub(super) fn read(data: &[u8]) -> Option<u64> {
    let digits = data.strip_prefix(KEY.as_bytes())?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back() {
        let before = now();
        let mut event = String::new();
        begin(r#"data: {"id":1,"#, &mut event);
        assert!(event.ends_with(r#","id":1,"#), "{event}");
        let stamp = read(event.strip_prefix(EVENT).unwrap().as_bytes()).unwrap();
        assert!((before..=now()).contains(&stamp));
        assert_eq!(read(br#""id":1}"#), None);
        assert_eq!(read(br#""sent_ns":"#), None);
    }
}
