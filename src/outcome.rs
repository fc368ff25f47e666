//! The outcome of an attempt: its result, classified once.
//!
//! The one [`Outcome`] feeds the node's health, the retry decision, the metrics and the access log, so that
//! all four always agree.

use std::fmt;

/// The result of one try of one request on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The node answered. A 4xx is an answer, too: it is the client's fault.
    Ok,
    /// No connection: refused, unreachable or timed out.
    Connect,
    /// A kept-alive connection had been closed by the node before it could take the request.
    Stale,
    /// The connection broke after the request was sent and before the response head.
    Reset,
    /// No response head in time.
    Timeout,
    /// 500, 502, 504: the node is broken, or believes it is.
    Http5xx,
    /// 503, 429: the node is full or still loading. Load is not failure.
    Busy,
    /// The response broke off after its head.
    Truncated,
    /// Status 200, then an error event: the engine behind the server is broken.
    EngineError,
    /// The engine was told to stop in the middle of an answer (`finish_reason: "abort"`).
    Aborted,
    /// Silence for longer than `timeouts.stall`, either within a stream, or of a node that had this attempt
    /// among others; or of a node that its check has lost, before it answered.
    Stalled,
    /// The client left. Says nothing about the node.
    ClientGone,
    /// The gateway itself ran out of files or memory. Says nothing about the node.
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

    /// Counts towards the node's `max_fails`.
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

    /// The node went silent, so it must be asked again before it may serve as a last resort. A stalled node
    /// is no better than one that never answered, whatever it sent before.
    pub fn is_silence(self) -> bool {
        matches!(self, Self::Connect | Self::Reset | Self::Timeout | Self::Stalled)
    }

    /// The node died during the request. A request that kills nodes looks like this.
    pub fn is_death(self) -> bool {
        matches!(self, Self::Reset | Self::Truncated)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
