//! The record of one request as its client saw it: times, status, and failure.

use std::fmt;
use std::time::Duration;

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Its number in the load, from 0.
    pub number: u64,
    /// Start of the request, since the start of the load.
    pub began: Duration,
    /// Time to the last byte of the response, or to the failure.
    pub latency: Duration,
    /// Time to the first byte of the response.
    pub first_byte: Option<Duration>,
    /// Time to the first event of a stream.
    pub first_event: Option<Duration>,
    /// The response's status, if its head arrived.
    pub status: Option<u16>,
    /// Events of a stream, `[DONE]` included.
    pub events: u32,
    /// `None`: the request was answered as asked, to the end.
    pub failure: Option<Failure>,
}

impl Record {
    pub fn is_success(&self) -> bool {
        self.failure.is_none()
    }
}

/// A failure as the client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The connection could not be opened.
    Connect,
    /// It was opened, and its TLS handshake failed.
    Handshake,
    /// The connection ended before the response head.
    Reset,
    /// `Load::timeout` expired.
    Timeout,
    /// A status other than 2xx.
    Status(u16),
    /// The body broke off.
    Truncated,
    /// A stream that ended without `[DONE]`.
    NoDone,
    /// A stream with an error event.
    ErrorEvent,
    /// A stream aborted by the engine.
    Aborted,
    /// Something else came than the stream that was asked for.
    NotAStream,
    /// The response was not valid HTTP.
    Malformed,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
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
