//! Send times inside events, from which a client on the same machine computes the transit time.

use std::fmt::Write;

use rustix::time::{ClockId, clock_gettime};

/// The start of each event, and the first key of a stamped one.
const EVENT: &str = "data: {";
const KEY: &str = r#""sent_ns":"#;

/// Nanoseconds of the monotonic clock, which all processes of the machine share.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // never negative, and it overflows only after 500 years
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Starts an event with the current time. `start` is its beginning without a stamp.
pub(super) fn begin(start: &str, out: &mut String) {
    let rest = start.strip_prefix(EVENT).unwrap_or(start);
    // writing to a String cannot fail
    let _ = write!(out, "{EVENT}{KEY}{},{rest}", now());
}

/// The stamp of an event; `data` starts after `data: {`.
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
