//! A stream of events on its way: what it says of itself is watched, and an end that is not one is made visible.
//!
//! The bytes go on as they come. Only two things are held back: the head, until the first event shows that the stream
//! has begun well (`timeouts.first_event`), and the `[DONE]` of a stream that has failed, for a client that saw it would
//! take the broken answer for a whole one.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use memchr::memmem;
use pingora::http::ResponseHeader;
use tokio::time::{Instant, timeout_at};

use super::attempt::Answer;
use super::respond::next;
use crate::classify::stream::{First, Watcher, error_event, trouble, wants_done};
use crate::outcome::Outcome;

/// How much of a stream is held back with its head at the most, in bytes.
const HELD_BACK_MAX: usize = 64 * 1024;

/// Watches one stream.
pub struct Watch {
    watcher: Watcher,
    wants_done: bool,
}

/// What becomes of a chunk.
pub enum Chunk {
    Pass(Bytes),
    /// The stream has failed: this is the last that the client gets of it.
    Last(Bytes, Outcome),
}

impl Watch {
    /// For a response that is a stream of events; nothing else is looked into.
    pub fn of(head: &ResponseHeader, path: &str) -> Option<Self> {
        let kind = head.headers.get(CONTENT_TYPE)?.as_bytes();
        let events = kind.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"));
        (events && head.status == StatusCode::OK)
            .then(|| Self { watcher: Watcher::default(), wants_done: wants_done(path) })
    }

    /// Reads until the first event is complete, or nothing more may be held back. The outcome is that of a first event
    /// which is an error, with its code.
    pub async fn first_event(
        &mut self,
        answer: &mut Answer,
        deadline: Instant,
    ) -> Result<Bytes, (Outcome, Option<u16>, Bytes)> {
        let mut start = BytesMut::new();
        while !answer.ended && start.len() < HELD_BACK_MAX {
            let Ok(chunk) = timeout_at(deadline, next(answer)).await else { break };
            let chunk = chunk.map_err(|outcome| (outcome, None, Bytes::new()))?;
            self.watcher.look(&chunk);
            start.extend_from_slice(&chunk);
            match self.watcher.seen().first {
                None => {}
                Some(First::Good) => break,
                Some(First::Error(code)) => match error_event(code) {
                    Outcome::Ok => break,
                    outcome => return Err((outcome, code, start.freeze())),
                },
            }
        }
        // one that is over before its first event has told nobody anything
        match trouble(self.watcher.seen(), answer.ended, self.wants_done) {
            Some(outcome) if self.watcher.seen().first.is_none() => Err((outcome, None, Bytes::new())),
            _ => Ok(start.freeze()),
        }
    }

    /// Looks at the next bytes. `ended`: they are the last.
    pub fn look(&mut self, chunk: Bytes, ended: bool) -> Chunk {
        self.watcher.look(&chunk);
        self.judge(chunk, ended)
    }

    /// The same for bytes that were looked at while they were held back.
    pub fn judge(&self, chunk: Bytes, ended: bool) -> Chunk {
        let seen = self.watcher.seen();
        let Some(outcome) = trouble(seen, ended, self.wants_done) else { return Chunk::Pass(chunk) };
        let end = memmem::rfind(&chunk, b"data: [DONE]").unwrap_or(chunk.len());
        let mut last = BytesMut::from(&chunk[..end]);
        if seen.error.is_none() {
            last.extend_from_slice(&self.farewell(outcome));
        }
        Chunk::Last(last.freeze(), outcome)
    }

    /// The error event of our own with which a stream ends that says nothing itself.
    pub fn farewell(&self, outcome: Outcome) -> Bytes {
        let separator = if self.watcher.is_between_lines() { "" } else { "\n\n" };
        let message = match outcome {
            Outcome::Aborted => "the node was stopped before the answer was complete",
            _ => "the node broke off before the answer was complete",
        };
        format!(
            "{separator}data: {{\"error\":{{\"message\":\"{message}\",\"type\":\"upstream_error\",\"param\":null,\"code\":502}}}}\n\n"
        )
        .into()
    }
}
