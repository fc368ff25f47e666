//! The node's side of an upload: request head and body, written as the pieces come.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::super::limit::Silence;
use super::super::upload::{Next, Upload};
use crate::http1::{LAST_CHUNK, SIZE_LINE_MAX, size_line};
use crate::live::Share;

/// The reason for which a node does not get the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// It took nothing for `timeouts.send`.
    TimedOut,
    Closed,
}

/// The request on its way.
pub(crate) struct Outlet {
    upload: Arc<Upload>,
    is_chunked: bool,
    /// To be written next, one part after the other: a head or a chunk's size, its data, and the line end behind that.
    parts: [Bytes; 3],
    /// Of the piece that is being written.
    share: Option<Share>,
    has_ended: bool,
    silence: Silence,
}

impl Outlet {
    /// `is_chunked`: the head announces no length; `limit`: `timeouts.send`.
    pub(crate) fn new(upload: &Arc<Upload>, head: Bytes, is_chunked: bool, limit: Duration) -> Box<Self> {
        let (upload, parts) = (Arc::clone(upload), [head, Bytes::new(), Bytes::new()]);
        let silence = Silence::new(limit);
        Box::new(Self { upload, is_chunked, parts, share: None, has_ended: false, silence })
    }

    pub(crate) fn upload(&self) -> &Arc<Upload> {
        &self.upload
    }

    /// Writes what is there. Resolves when the node has the whole request, or will not get it.
    pub(crate) fn poll(
        &mut self,
        node: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unsent>> {
        loop {
            ready!(self.poll_write(node, cx))?;
            self.share = None;
            if self.has_ended {
                self.upload.set_sent();
                return Poll::Ready(Ok(()));
            }
            match self.upload.take() {
                Next::Piece(piece, share) => {
                    self.frame(piece);
                    self.share = share;
                    // for the client's side: there is room again
                    cx.waker().wake_by_ref();
                }
                Next::End => {
                    self.parts[0] = Bytes::from_static(if self.is_chunked { LAST_CHUNK } else { b"" });
                    self.has_ended = true;
                }
                Next::Nothing => return Poll::Pending,
            }
            self.silence.restart();
        }
    }

    fn frame(&mut self, piece: Bytes) {
        self.parts = if self.is_chunked {
            let size = Bytes::copy_from_slice(size_line(piece.len(), &mut [0; SIZE_LINE_MAX]));
            [size, piece, Bytes::from_static(b"\r\n")]
        } else {
            [Bytes::new(), piece, Bytes::new()]
        };
    }

    fn poll_write(
        &mut self,
        node: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unsent>> {
        match self.poll_parts(node, cx) {
            Poll::Ready(written) => Poll::Ready(written.map_err(|_| Unsent::Closed)),
            Poll::Pending => self.silence.poll(cx).map(|()| Err(Unsent::TimedOut)),
        }
    }

    fn poll_parts(
        &mut self,
        node: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.parts.iter().any(|part| !part.is_empty()) {
            let slices = self.parts.each_ref().map(|part| IoSlice::new(part));
            let mut written = ready!(Pin::new(&mut *node).poll_write_vectored(cx, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            for part in &mut self.parts {
                let here = written.min(part.len());
                part.advance(here);
                written -= here;
            }
            self.silence.restart();
        }
        Pin::new(node).poll_flush(cx)
    }
}
