//! A failed response, held back in case no better one comes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tokio::time::timeout;

use super::answer::Answer;
use crate::http1::ResponseHead;
use crate::journey::{Attempt, Failure};

/// Largest body that is held back, in bytes.
const HELD_MAX: usize = 256 * 1024;
/// The longest time in which a failed response is read.
const HELD_WITHIN: Duration = Duration::from_secs(2);

/// A failed response: what the client gets if no better one comes.
#[derive(Debug)]
pub(crate) struct Fallback {
    pub node: Arc<str>,
    pub head: ResponseHead,
    pub body: Bytes,
}

impl Fallback {
    /// Its error, for a client to whom it cannot be given as it is.
    pub(crate) fn failure(&self) -> Failure {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let error = body.get("error").unwrap_or(&body);
        let message = error.as_str().or_else(|| error.get("message")?.as_str());
        match message {
            Some(message) => Failure::new(self.head.status, message),
            None => {
                Failure::new(self.head.status, format!("node {} answered {}", self.node, self.head.status))
            }
        }
    }

    pub(crate) fn of(attempt: &Attempt, head: ResponseHead, body: Bytes) -> Self {
        Self { node: Arc::clone(&attempt.node().name), head, body }
    }

    /// Reads a failed response to its end, within bounds; `start` of its body has been read.
    pub(crate) async fn read(attempt: &Attempt, answer: &mut Answer, start: Bytes) -> Option<Self> {
        let read = async {
            let mut body = BytesMut::from(start);
            while !answer.ended {
                let chunk = answer.next().await.ok()?;
                body.extend_from_slice(&chunk);
                if body.len() > HELD_MAX {
                    return None;
                }
            }
            Some(body.freeze())
        };
        let body = timeout(HELD_WITHIN, read).await.ok().flatten()?;
        Some(Self::of(attempt, answer.head.clone(), body))
    }
}
