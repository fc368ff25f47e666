//! What can become of an attempt.
//!
//! An attempt is classified once; its [`Outcome`] then feeds the node's health, the retry decision,
//! the metrics and the access log, so that all four always tell the same story.

use std::fmt;

/// What became of one try of one request on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The node answered; a 4xx is the client's affair and an answer all the same.
    Ok,
    /// No connection: refused, unreachable or timed out.
    Connect,
    /// A kept-alive connection had been closed by the node before it could take the request.
    Stale,
    /// The connection broke after the request was sent and before the response head.
    Reset,
    /// No response head in time.
    Timeout,
    /// 500, 502, 504: the node is broken, or thinks that it is.
    Http5xx,
    /// 503, 429: the node is full or still loading. Load is not failure.
    Busy,
    /// The response broke off after its head.
    Truncated,
    /// 200, and then an error event: the engine behind the server is broken.
    EngineError,
    /// The engine was told to stop in the middle of an answer (`finish_reason: "abort"`).
    Aborted,
    /// Silence for longer than `timeouts.stall`: of a stream that had begun, or of a node that had this attempt among others.
    Stalled,
    /// The client left; says nothing about the node.
    ClientGone,
    /// The gateway itself failed, being out of files or memory; says nothing about the node.
    Gateway,
}

impl Outcome {
    /// All outcomes, in the order in which metrics and status show them.
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::Connect,
        Self::Stale,
        Self::Reset,
        Self::Timeout,
        Self::Http5xx,
        Self::Busy,
        Self::Truncated,
        Self::EngineError,
        Self::Aborted,
        Self::Stalled,
        Self::ClientGone,
        Self::Gateway,
    ];

    /// The name in logs, metrics and the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Connect => "connect",
            Self::Stale => "stale",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Http5xx => "http_5xx",
            Self::Busy => "busy",
            Self::Truncated => "truncated",
            Self::EngineError => "engine_error",
            Self::Aborted => "aborted",
            Self::Stalled => "stalled",
            Self::ClientGone => "client_gone",
            Self::Gateway => "gateway",
        }
    }

    /// Whether it counts towards the node's `max_fails`.
    pub fn is_failure(self) -> bool {
        match self {
            Self::Connect
            | Self::Reset
            | Self::Timeout
            | Self::Http5xx
            | Self::Truncated
            | Self::EngineError
            | Self::Aborted
            | Self::Stalled => true,
            Self::Ok | Self::Stale | Self::Busy | Self::ClientGone | Self::Gateway => false,
        }
    }

    /// Whether the node said nothing (any more): it is asked again before it serves as the last resort. One that stalls is
    /// as good as one that never answered, whatever it said before.
    pub fn is_silence(self) -> bool {
        matches!(self, Self::Connect | Self::Reset | Self::Timeout | Self::Stalled)
    }

    /// Whether the node died under the request: what a request that kills nodes looks like.
    pub fn is_death(self) -> bool {
        matches!(self, Self::Reset | Self::Truncated)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
