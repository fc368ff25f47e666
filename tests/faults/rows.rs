//! The rows of the fault matrix: all faults, and the expected end of each.

use std::fmt;

use evenkeel::outcome::Outcome;

use super::answer::Saw;
use super::cell::{Charge, End};

/// Tokens of a request, and tokens before a fault in the middle of the answer.
pub(crate) const TOKENS: u64 = 8;
const AFTER: u64 = 3;

/// Time limit, long enough for a healthy node on a busy machine; each hanging request costs this time.
const FIRST_BYTE: &str = "timeouts: { first_byte: 5s }";
const STALL: &str = "timeouts: { first_byte: 5s, stall: 5s }";
const RESUME: &str = "engine: vllm, health: { check: off }, retry: { resume: on }";

/// The way to make the node fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    /// There is no node: nothing listens on its port.
    ClosedPort,
    /// A fault of the simulated node, in its short form.
    Fault(&'static str),
}

/// The kind of answer that the client requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Whole,
    Stream,
    /// A stream, with `retry.resume`.
    Resumed,
}

/// One fault and mode.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The fault's name in the table.
    pub fault: &'static str,
    pub arm: Arm,
    pub mode: Mode,
    /// Further keys of the pool.
    pub conf: String,
    /// The gateway cannot hide the fault from the client.
    pub visible: bool,
    pub expected: End,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, streaming: {}", self.fault, self.mode)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Whole => "no",
            Mode::Stream => "yes",
            Mode::Resumed => "yes, `resume: on`",
        })
    }
}

/// All rows in the order of the table.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    before_the_first_byte(&mut rows);
    in_the_middle(&mut rows);
    rows
}

/// The other node answers, and the client sees no fault.
fn hidden(outcome: Outcome) -> End {
    End { saw: Saw::Whole, charge: Charge::of(outcome), elsewhere: true }
}

/// The client sees the fault, and no other node is tried.
fn shown(saw: String, outcome: Outcome) -> End {
    End { saw: Saw::Failure(saw), charge: Charge::of(outcome), elsewhere: false }
}

fn before_the_first_byte(rows: &mut Vec<Row>) {
    let mut either = |fault, arm, conf: &str, whole: End, stream: End| {
        for (mode, expected) in [(Mode::Whole, whole), (Mode::Stream, stream)] {
            rows.push(Row { fault, arm, mode, conf: conf.to_owned(), visible: false, expected });
        }
    };
    either("connection refused", Arm::ClosedPort, "", hidden(Outcome::Connect), hidden(Outcome::Connect));
    // the same node gets the request on a fresh connection
    let stale = End { elsewhere: false, ..hidden(Outcome::Stale) };
    either("kept-alive connection was closed", Arm::Fault("stale,times=1"), "", stale.clone(), stale);
    let table = [
        ("reset before the head", "reset", "", Outcome::Reset, Outcome::Reset),
        ("closed before the head", "close", "", Outcome::Reset, Outcome::Reset),
        ("crash before the head", "crash", "", Outcome::Reset, Outcome::Reset),
        ("no head (`first_byte` is set)", "hang", FIRST_BYTE, Outcome::Timeout, Outcome::Timeout),
        ("status 500", "status:500", "", Outcome::Http5xx, Outcome::Http5xx),
        ("status 502", "status:502", "", Outcome::Http5xx, Outcome::Http5xx),
        ("status 504", "status:504", "", Outcome::Http5xx, Outcome::Http5xx),
        ("status 503", "status:503", "", Outcome::Busy, Outcome::Busy),
        ("503 with `Retry-After`", "status:503,retry_after=2", "", Outcome::Busy, Outcome::Busy),
        ("status 429", "status:429", "", Outcome::Busy, Outcome::Busy),
        ("SGLang is full", "full", "", Outcome::Busy, Outcome::Busy),
        ("an error event first", "error_event:0", "", Outcome::Http5xx, Outcome::EngineError),
    ];
    for (fault, text, conf, whole, stream) in table {
        either(fault, Arm::Fault(text), conf, hidden(whole), hidden(stream));
    }
}

fn in_the_middle(rows: &mut Vec<Row>) {
    // an answer that is not streamed has no middle: there each of these faults equals one of those above, or none
    let table = [
        ("error event, then `[DONE]`", "error_event:3", "", Some(Outcome::Http5xx), Outcome::EngineError),
        ("end without `finish_reason` and `[DONE]`", "no_done:3", "", None, Outcome::Truncated),
        ("reset after some tokens", "die:3", "", Some(Outcome::Reset), Outcome::Truncated),
        ("closed without the last chunk", "truncate:3", "", Some(Outcome::Truncated), Outcome::Truncated),
        ("`finish_reason: \"abort\"`", "abort:3", "", Some(Outcome::Aborted), Outcome::Aborted),
        (
            "silence (`stall`, `first_byte` are set)",
            "stall:3",
            STALL,
            Some(Outcome::Timeout),
            Outcome::Stalled,
        ),
        ("crash after some tokens", "crash:3", "", Some(Outcome::Reset), Outcome::Truncated),
    ];
    for (fault, text, conf, whole, stream) in table {
        let mut push = |mode, conf: String, visible, expected| {
            rows.push(Row { fault, arm: Arm::Fault(text), mode, conf, visible, expected });
        };
        if let Some(outcome) = whole {
            push(Mode::Whole, conf.to_owned(), false, hidden(outcome));
        }
        let saw = broken(text);
        push(Mode::Stream, conf.to_owned(), true, shown(saw, stream));
        let comma = if conf.is_empty() { "" } else { ", " };
        let resumed = hidden(stream);
        push(Mode::Resumed, format!("{RESUME}{comma}{conf}"), false, resumed);
    }
}

/// The client's view of a stream that breaks off.
fn broken(fault: &str) -> String {
    let tokens = AFTER;
    let reason = if fault == "abort:3" { ", `finish_reason: \"abort\"`" } else { "" };
    format!("{tokens} of {TOKENS} tokens{reason}, error event, no `[DONE]`, cut off")
}
