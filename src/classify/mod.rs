//! Classifying responses: maps status codes to an [`Outcome`].
//!
//! Load is not failure: 503 and 429 mean "full" or "loading" and never eject. 501, 505 and the other 4xx concern the
//! request, not the node. 500, 502 and 504 mean that the node is broken; any other 5xx only if `retry.on` lists it.

mod asks;
mod choices;
pub mod dialect;
pub mod members;
pub mod own_errors;
mod path;
pub mod response_id;
mod silent;
pub mod stream;
mod usage;
mod whole;
pub mod words;

pub use asks::asks_for_events;
pub use path::is_repeatable;
pub use usage::Usage;
pub use whole::whole_answer;

use std::time::{Duration, SystemTime};

use crate::outcome::Outcome;

/// The outcome of a response with this status code. `listed`: the code is in `retry.on`.
pub fn status(code: u16, listed: bool) -> Outcome {
    match code {
        429 | 503 | 529 => Outcome::Busy,
        500 | 502 | 504 => Outcome::Http5xx,
        500..=599 if listed => Outcome::Http5xx,
        _ => Outcome::Ok,
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110 section 10.2.3), which proxies and providers use. 0 and a date that is past name
/// no time: a fleet that is full would be asked without a pause.
pub fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let time = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?,
    };
    Some(time).filter(|time| !time.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_code_has_its_outcome() {
        for code in 100..600 {
            let want = match code {
                429 | 503 | 529 => Outcome::Busy,
                500 | 502 | 504 => Outcome::Http5xx,
                _ => Outcome::Ok,
            };
            assert_eq!(status(code, false), want, "{code}");
        }
    }

    #[test]
    fn a_listed_code_counts_only_among_the_5xx() {
        assert_eq!(status(507, true), Outcome::Http5xx);
        assert_eq!(status(404, true), Outcome::Ok, "a listed 4xx is retried, but no node is charged");
        assert_eq!(status(503, true), Outcome::Busy);
    }

    #[test]
    fn retry_after_in_seconds_or_as_a_date() {
        // Wed, 21 Oct 2026 07:28:00 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_792_567_680);
        let table: [(&[u8], Option<u64>); 13] = [
            (b"5", Some(5)),
            (b" 120 ", Some(120)),
            (b"Wed, 21 Oct 2026 07:28:09 GMT", Some(9)),
            (b" Wed, 21 Oct 2026 08:28:00 GMT ", Some(3600)),
            (b"Wednesday, 21-Oct-26 07:29:00 GMT", Some(60)),
            (b"Wed Oct 21 07:29:00 2026", Some(60)),
            (b"Wed, 21 Oct 2026 07:28:00 GMT", None),
            (b"Tue, 20 Oct 2026 07:28:00 GMT", None),
            (b"-1", None),
            (b"0", None),
            (b"soon", None),
            (b"\xff", None),
            (b"", None),
        ];
        for (value, want) in table {
            assert_eq!(retry_after(value, now), want.map(Duration::from_secs), "{}", value.escape_ascii());
        }
    }
}
