//! The client's side of an upload: its pieces as they come, under the limits of `client`.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::super::limit::Silence;
use super::super::upload::Upload;
use super::body::{BELOW_MIN_RATE, BodyError, Limits, TOO_LARGE, TOO_SLOW, UNFRAMED, Unkept};
use crate::http1::Rejection;

/// A client that sends a body.
pub(crate) trait Source {
    /// The next piece, without its coding; `None` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>>;
    /// Resolves when the client has left. Reads nothing away.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The body that a client is sending.
pub(crate) struct Inlet {
    upload: Arc<Upload>,
    limits: Limits,
    /// The length that its head has told the node too.
    announced: Option<u64>,
    received: u64,
    /// The time for which the client was waited for.
    waited: Duration,
    /// Of the client, while it is waited for.
    silence: Silence,
    is_waiting: bool,
}

impl Inlet {
    /// The body of which this has been read.
    pub(crate) fn new(upload: &Arc<Upload>, read: &Unkept) -> Box<Self> {
        let Unkept { ref start, limits, announced, elapsed: waited, .. } = *read;
        let (upload, received) = (Arc::clone(upload), start.len() as u64);
        let silence = Silence::new(limits.silence);
        Box::new(Self { upload, limits, announced, received, waited, silence, is_waiting: false })
    }

    /// Passes on what the client sends, as long as there is room for it. Resolves when the client has left, or has sent what ends the
    /// request.
    pub(crate) fn poll(&mut self, client: &mut impl Source, cx: &mut Context<'_>) -> Poll<()> {
        while self.upload.has_room() {
            if !std::mem::replace(&mut self.is_waiting, true) {
                self.silence.restart();
            }
            match client.poll_piece(cx) {
                Poll::Pending => return self.silence.poll(cx).map(|()| self.upload.fail(TOO_SLOW.into())),
                Poll::Ready(Ok(piece)) => {
                    if let Err(fault) = self.count(piece.as_ref().map(Bytes::len)) {
                        self.upload.fail(fault.into());
                        return Poll::Ready(());
                    }
                    if piece.as_ref().is_none_or(|piece| !piece.is_empty()) {
                        self.upload.put(piece);
                        // for the node's side, which may have been asked before
                        cx.waker().wake_by_ref();
                    }
                }
                Poll::Ready(Err(BodyError::ClientGone)) => return Poll::Ready(()),
                Poll::Ready(Err(BodyError::Failed(failure))) => {
                    self.upload.fail(failure);
                    return Poll::Ready(());
                }
            }
        }
        client.poll_gone(cx)
    }

    /// So many bytes more have come, or the end. The time in which the node took none is not the client's.
    fn count(&mut self, more: Option<usize>) -> Result<(), Rejection> {
        self.is_waiting = false;
        self.waited += self.silence.elapsed();
        self.received += more.unwrap_or(0) as u64;
        let has_ended = more.is_none();
        if self.received > self.limits.max {
            Err(TOO_LARGE)
        } else if self.announced.is_some_and(|all| self.received > all || has_ended && self.received < all) {
            Err(UNFRAMED)
        } else if !has_ended && self.limits.is_too_slow(self.received, self.waited) {
            Err(BELOW_MIN_RATE)
        } else {
            Ok(())
        }
    }
}
