//! What became of one request, as its client saw it.

use std::fmt;
use std::time::Duration;

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Its number in the load, from 0.
    pub number: u64,
    /// When it began, from the start of the load.
    pub began: Duration,
    /// To the last byte of the response, or to the failure.
    pub latency: Duration,
    /// To the first byte of the response.
    pub first_byte: Option<Duration>,
    /// To the first event of a stream.
    pub first_event: Option<Duration>,
    /// The response's status, once its head was there.
    pub status: Option<u16>,
    /// Events of a stream, `[DONE]` included.
    pub events: u32,
    /// `None`: it got what it asked for, to the end.
    pub failure: Option<Failure>,
}

impl Record {
    pub fn is_success(&self) -> bool {
        self.failure.is_none()
    }
}

/// How a request failed, from its client's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// No connection.
    Connect,
    /// The connection ended before the response head.
    Reset,
    /// `Load::timeout` was over.
    Timeout,
    /// A status other than 2xx.
    Status(u16),
    /// The body broke off.
    Truncated,
    /// A stream that ended without `[DONE]`.
    NoDone,
    /// A stream with an error event.
    ErrorEvent,
    /// A stream that the engine was told to stop.
    Aborted,
    /// A stream was asked for, and something else came.
    NotAStream,
    /// It was not HTTP.
    Malformed,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Status(code) => return write!(f, "http_{code}"),
            Self::Truncated => "truncated",
            Self::NoDone => "no_done",
            Self::ErrorEvent => "error_event",
            Self::Aborted => "aborted",
            Self::NotAStream => "not_a_stream",
            Self::Malformed => "malformed",
        };
        f.pad(name)
    }
}
