//! A node's response whose head has been read, with the connection that the rest comes on.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};

use super::super::upstream::ended::ReadError;
use super::super::upstream::exchange::Exchange;
use super::events::Watch;
use super::opening::HELD_BACK_MAX;
use crate::classify;
use crate::http1::ResponseHead;
use crate::journey::Recorder;
use crate::outcome::Outcome;

pub(crate) struct Answer {
    pub node: Exchange,
    pub head: ResponseHead,
    /// There is no (more) body.
    pub ended: bool,
    /// Looks on, if it is a stream of events.
    pub watch: Option<Watch>,
    /// Looks for the id of a response that its node stores.
    pub recorder: Option<Recorder>,
}

/// The beginning of a stream, up to its first event or to the time that may be waited for it.
pub(crate) enum FirstEvent {
    /// Nothing bad, so far.
    Good(Bytes),
    /// An error, with its code if it has one, and the bytes it came in.
    Failed { outcome: Outcome, code: Option<u16>, start: Bytes },
}

impl Answer {
    pub(crate) fn new(node: Exchange, head: ResponseHead, watch: Option<Watch>) -> Self {
        Self { ended: node.is_done(), node, head, watch, recorder: None }
    }

    /// The next piece of the body, which may be empty.
    pub(crate) async fn next(&mut self) -> Result<Bytes, Outcome> {
        let chunk = self.node.next().await.map_err(|error| match error {
            ReadError::Silent => Outcome::Timeout,
            ReadError::Closed
            | ReadError::Broken
            | ReadError::Refused(_)
            | ReadError::Unprocessed
            | ReadError::Malformed
            | ReadError::Unsayable(_)
            | ReadError::BadFraming => Outcome::Truncated,
        })?;
        self.ended = self.node.is_done();
        self.recorder.take_if(|recorder| !recorder.look(&chunk));
        Ok(chunk)
    }

    /// Reads until the first event of a stream is complete, or nothing more may be held back.
    pub(crate) async fn first_event(&mut self, deadline: Instant) -> FirstEvent {
        let failed = |outcome, code, start| FirstEvent::Failed { outcome, code, start };
        let mut start = BytesMut::new();
        while !self.ended && start.len() < HELD_BACK_MAX {
            let Ok(chunk) = timeout_at(deadline, self.next()).await else { break };
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(outcome) => return failed(outcome, None, Bytes::new()),
            };
            start.extend_from_slice(&chunk);
            let ended = self.ended;
            match self.watch.as_mut().and_then(|watch| watch.look_at_first(&chunk, ended)) {
                None => {}
                Some(Ok(())) => break,
                Some(Err((outcome, code))) => return failed(outcome, code, start.freeze()),
            }
        }
        // a stream that is over before its first event has told nobody anything: llama-cpp-python's answer to a long prompt
        let is_empty = self.ended && self.watch.as_ref().is_some_and(Watch::lacks_first);
        if is_empty {
            return failed(Outcome::EngineError, None, Bytes::new());
        }
        FirstEvent::Good(start.freeze())
    }

    /// The time for which the node wants to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        classify::retry_after(self.head.fields.get("retry-after")?, SystemTime::now())
    }

    /// Events so far.
    pub(crate) fn events(&self) -> u64 {
        self.watch.as_ref().map_or(0, Watch::events)
    }
}
