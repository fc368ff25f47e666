//! Numbers and outcomes in words.

use std::time::Duration;

use crate::fleet::Reason;
use crate::outcome::Outcome;

/// `40 s`, `3 min`, `2 h`.
pub(super) fn time(time: Duration) -> String {
    match time.as_secs() {
        0 if time.as_millis() > 0 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// `1 request`, `12 requests`.
pub(super) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// The meaning of a failure, as the end of a sentence that begins with the node.
pub(super) fn failure(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Connect => "takes no connection: its server is down, or its address is wrong",
        Outcome::Reset => "breaks the connection before it answers: its server has crashed",
        Outcome::Truncated => "breaks off in the middle of answers: its server has crashed",
        Outcome::Timeout => "does not answer in time (timeouts.first_byte)",
        Outcome::Http5xx => "answers with server errors (5xx)",
        Outcome::EngineError => "answers with error events: the engine behind its server is broken",
        Outcome::Aborted => "was told to stop: it ends answers with finish_reason abort",
        Outcome::Stalled => "hangs: it sends nothing more for the requests that it has",
        Outcome::Busy => "says that it is full (503, 429)",
        Outcome::Ok | Outcome::Stale | Outcome::ClientGone | Outcome::Gateway => "fails",
    }
}

/// The reason that a node is out, in the same form.
pub(super) fn out(reason: Reason) -> String {
    match reason {
        Reason::Failures(outcome) => failure(outcome).to_owned(),
        Reason::ProbeFailed(outcome) => {
            format!("failed the request that tried it again: it {}", failure(outcome))
        }
        Reason::Stalled => failure(Outcome::Stalled).to_owned(),
        Reason::CheckFailed => "fails its health check".to_owned(),
        Reason::Unresolved => "has a name that cannot be resolved".to_owned(),
        Reason::Operator => "was ejected by an operator".to_owned(),
        Reason::Unchecked => "has registered itself, and has not passed its first check yet".to_owned(),
        Reason::CheckPassed | Reason::Answered | Reason::AtWork | Reason::NotItsFault | Reason::Resolved => {
            reason.to_string()
        }
    }
}
