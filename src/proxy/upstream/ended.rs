//! The ways in which an exchange with a node ends before its time, and the silence that is one of them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::http1::{BadFraming, Malformed};

/// The reason for which there is no head, or no more of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The node has closed the connection.
    Closed,
    /// The connection broke, or the node has reset the stream.
    Broken,
    /// The node says that it has not taken the request (RFC 9113 section 8.7).
    Unprocessed,
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

/// The longest silence. The timer is set once and moved when it fires, because most reads end long before.
pub(super) struct SilenceTimer {
    limit: Duration,
    since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl SilenceTimer {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: Instant::now(), timer: None }
    }

    pub(super) fn restart(&mut self) {
        self.since = Instant::now();
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = self.since + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
    }
}
