//! The `Client` trait: what the relay asks of a client's side, whether HTTP/1 or HTTP/2.

use std::pin::Pin;

use bytes::Bytes;

use super::own_error::OwnError;
use crate::http1::ResponseHead;

/// A client, who may leave while something is done for them.
pub(crate) trait Presence: Send {
    /// Resolves when the client has left.
    fn gone(&mut self) -> impl Future<Output = ()> + Send;

    /// Does this while the client is there.
    fn attend<T: Send>(
        &mut self,
        first: First,
        what: Pin<&mut (impl Future<Output = T> + Send)>,
    ) -> impl Future<Output = Result<T, Left>> + Send {
        let _ = first;
        async move {
            tokio::select! {
                biased;
                () = self.gone() => Err(Left),
                done = what => Ok(done),
            }
        }
    }
}

/// The client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left;

/// The one who is looked at first, if both have news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    Client,
    Node,
}

/// The receiver of an answer.
pub(crate) trait Client: Presence {
    /// Sends the head and the first bytes of the body, which may be none. `ended`: they are all of it.
    fn begin(
        &mut self,
        start: Start<'_>,
        chunk: Bytes,
        ended: bool,
    ) -> impl Future<Output = Result<(), Unwritten>> + Send;
    /// Sends these bytes, which may be none at the end. Not to be called again before it has returned.
    fn write(&mut self, chunk: Bytes, ended: bool) -> impl Future<Output = Result<(), Unwritten>> + Send;
    /// Sends an answer of the gateway's own, where nothing else was sent.
    fn refuse(&mut self, error: &OwnError<'_>) -> impl Future<Output = Result<(), Unwritten>> + Send;
    /// From now on it gets nothing but the answer.
    fn leave_alone(&mut self) {}
    /// The answer so far.
    fn sent(&self) -> Sent;
}

/// The head of an answer, as the node gave it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    pub head: &'a ResponseHead,
    /// The gateway's own fields, in place of the node's of the same names.
    pub ours: &'a [(&'a str, &'a str)],
    /// The process is stopping: the connection serves no other request.
    pub closes: bool,
}

/// The part of an answer that a client has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub status: Option<u16>,
    /// Of the body, without its coding.
    pub bytes: u64,
}

/// The reason that nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritten {
    ClientLeft,
    /// The node's head cannot be said in the client's protocol.
    Unspeakable,
}
