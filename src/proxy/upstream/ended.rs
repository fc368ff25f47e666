//! The ways in which an exchange with a node ends before its time.

use crate::http1::{BadFraming, Malformed, Rejection};

/// The reason for which there is no head, or no more of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The node has closed the connection.
    Closed,
    /// The connection broke, or the node has reset the stream.
    Broken,
    /// The node says that it has not taken the request (RFC 9113 section 8.7).
    Unprocessed,
    /// The node's version of HTTP has no such request: it was not sent, and its client is to blame.
    Unsayable(&'static Rejection),
    /// The node's TLS has refused the gateway, in these words.
    Refused(&'static str),
    /// Nothing came for `timeouts.read`.
    Silent,
    /// It is no HTTP, or too large.
    Malformed,
    /// The end that it announces is in doubt, see [`BadFraming`].
    BadFraming,
}

impl From<Malformed> for ReadError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<BadFraming> for ReadError {
    fn from(_: BadFraming) -> Self {
        Self::BadFraming
    }
}

/// The end of a write to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// The connection is closed, or broke.
    Closed,
    /// The node has answered before it had the whole request.
    Answered,
}
