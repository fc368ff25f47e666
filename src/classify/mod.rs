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
mod whole;
pub mod words;

pub use asks::asks_for_events;
pub use path::is_repeatable;
pub use whole::{completion_tokens, whole_answer};

use std::time::Duration;

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

/// `Retry-After` in seconds (RFC 9110 section 10.2.3). Inference engines do not use the date form, so it is ignored. 0 names no
/// time: a fleet that is full would be asked without a pause.
pub fn retry_after(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?;
    text.trim().parse().ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
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
    fn retry_after_in_seconds() {
        assert_eq!(retry_after(b"5"), Some(Duration::from_secs(5)));
        assert_eq!(retry_after(b" 120 "), Some(Duration::from_secs(120)));
        for nonsense in [&b"-1"[..], b"0", b"soon", b"Wed, 21 Oct 2026 07:28:00 GMT", b"\xff", b""] {
            assert_eq!(retry_after(nonsense), None);
        }
    }
}
