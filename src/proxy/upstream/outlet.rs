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

    /// The head, and the rest of it for a node that frames it in its own way.
    pub(super) fn into_parts(self) -> (Bytes, Arc<Upload>, Silence) {
        let [head, ..] = self.parts;
        (head, self.upload, self.silence)
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, duplex};

    use super::*;
    use crate::proxy::upload::Stage;

    const HEAD: &[u8] = b"POST / HTTP/1.1\r\n\r\n";

    fn outlet(start: &'static [u8], is_chunked: bool, limit: Duration) -> Box<Outlet> {
        let upload = Arc::new(Upload::new(Bytes::from_static(start), None));
        Outlet::new(&upload, Bytes::from_static(HEAD), is_chunked, limit)
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_are_written_as_they_come_and_framed_as_the_head_says() {
        for (is_chunked, want) in [(false, &b"onetwo"[..]), (true, b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")] {
            // each write is taken in parts
            let (mut near, mut far) = duplex(2);
            let mut outlet = outlet(b"one", is_chunked, Duration::from_secs(60));
            let upload = Arc::clone(outlet.upload());
            let mut pieces = [Some(Bytes::from_static(b"two")), None].into_iter();
            let writing = poll_fn(|cx| {
                while upload.has_room()
                    && let Some(piece) = pieces.next()
                {
                    upload.put(piece);
                }
                outlet.poll(&mut near, cx)
            });
            let mut got = vec![0; HEAD.len() + want.len()];
            let (written, read) = tokio::join!(writing, far.read_exact(&mut got));
            assert_eq!((written, read.is_ok(), upload.stage()), (Ok(()), true, Stage::Sent));
            assert_eq!(got.escape_ascii().to_string(), [HEAD, want].concat().escape_ascii().to_string());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_takes_nothing_or_is_gone_ends_it_and_a_silent_client_does_not() {
        let limit = Duration::from_millis(20);
        let (mut near, far) = duplex(HEAD.len() + 1);
        let mut stuck = outlet(b"more", false, limit);
        assert_eq!(poll_fn(|cx| stuck.poll(&mut near, cx)).await, Err(Unsent::TimedOut));
        drop(far);
        let mut gone = outlet(b"more", false, limit);
        assert_eq!(poll_fn(|cx| gone.poll(&mut near, cx)).await, Err(Unsent::Closed));
        let (mut near, _far) = duplex(1024);
        let mut waits = outlet(b"more", false, limit);
        let waited = tokio::time::timeout(3 * limit, poll_fn(|cx| waits.poll(&mut near, cx))).await;
        assert!(waited.is_err(), "{waited:?}");
        assert!(waits.upload().has_begun() && waits.upload().has_room());
    }
}
