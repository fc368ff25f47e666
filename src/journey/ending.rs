//! The ending of a request, and the values around it: the gateway's own error, and the log's record of an attempt.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::balance::By;
use crate::classify::own_errors::About;
use crate::outcome::Outcome;

/// The words for a request that an operator has ended, for its client and the log.
pub const CANCELLED: &str = "an operator cancelled the request";

/// The words for a stream whose node failed when all had been said.
pub const FINISHED: &str = "resumed: nothing but the end was missing";

/// The end of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has the whole response.
    Whole,
    /// The client left.
    Left,
    /// No node has answered: the client gets an error of the gateway's own.
    Failed(Failure),
    /// The response broke off in the client's hands: it gets this event, if there is one, and sees a cut connection.
    Broken { closing_event: Bytes },
}

/// The reason for which a request ends without a node's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: u16,
    /// For the log, and for the client unless there is more to say to that.
    pub message: Box<str>,
    pub about: About,
    /// Seconds after which another try makes sense.
    pub retry_after: Option<u32>,
}

impl Failure {
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into().into(), about: About::Request, retry_after: None }
    }

    /// Of a request that an operator has ended. Clients repeat a 503 at once, but no 403 (RFC 9110 section 15.5.4: for any reason).
    pub fn cancelled() -> Self {
        Self::new(403, CANCELLED)
    }

    pub fn about(self, about: About) -> Self {
        Self { about, ..self }
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(u32::try_from(seconds).unwrap_or(u32::MAX)), ..self }
    }
}

/// One attempt that has ended, as the access log shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub node: Arc<str>,
    /// The reason for this node.
    pub by: By,
    /// `None`: it got no response head.
    pub status: Option<u16>,
    pub outcome: Outcome,
    /// The time of its lease; of one on a fresh connection, that of the end of the one before.
    pub began: Instant,
    pub ended: Instant,
}
