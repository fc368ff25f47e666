//! A client's connection with its two buffers: bytes received but not yet read, and written but not yet sent.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use filedescriptor::FileDescriptor;
use pingora::protocols::Stream;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::unconstrained;
use tokio::time::{sleep, timeout};

use super::gate::Gate;
use crate::http1::{HeadLimits, HeadReader, Rejection, RequestHead};
use crate::tls;

/// Written bytes are put together up to this size, so that head and body of a short answer go out in one write.
pub(crate) const TOGETHER_MAX: usize = 4096;
/// Size of a single read of bytes that the client sends early.
pub(crate) const READ_SIZE: usize = 4096;
/// Largest single read of a body that is passed on piece by piece, in bytes.
const PIECE_MAX: usize = 64 * 1024;
/// The longest time until a client notices that it gets no more.
const LINGER_MAX: Duration = Duration::from_secs(5);
/// The most bytes that it may send meanwhile.
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most reads of that before the connection is closed.
const DRAIN_READS: usize = 16;
/// The most bytes kept that a client sends before it has its answer.
const EARLY_MAX: usize = 64 * 1024;
/// Interval at which a connection that is to be reset is asked whether all has been sent.
const LOOK_EVERY: Duration = Duration::from_millis(5);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE_MAX].into_boxed_slice());
}

/// A connection, and what is on its way through it.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    /// Has come and was not given out.
    unread: BytesMut,
    /// So many of the unread bytes have passed the gate.
    passed: usize,
    gate: Gate,
    /// Was written and has not been sent.
    unsent: BytesMut,
}

impl Wire {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, unread: BytesMut::new(), passed: 0, gate: Gate::Open, unsent: BytesMut::new() }
    }

    /// Reads once, without giving it out; returns all that is unread.
    pub(crate) fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let mut room = [MaybeUninit::uninit(); READ_SIZE];
        let mut buffer = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if read.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.unread.extend_from_slice(read);
        Poll::Ready(Ok(&self.unread))
    }

    /// Resolves when something is unread.
    pub(crate) fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() { self.poll_peek(cx).map_ok(|_| ()) } else { Poll::Ready(Ok(())) }
    }

    /// The next request's head, which stays unread.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut HeadReader,
        limits: HeadLimits,
    ) -> Poll<io::Result<Result<RequestHead, Rejection>>> {
        loop {
            if let Some(judged) = reader.read(&mut self.unread, limits).transpose() {
                return Poll::Ready(Ok(judged));
            }
            ready!(self.poll_peek(cx))?;
        }
    }

    /// Takes out this head, and what has come and passed of its body. From now on the rest of the body can be read, and
    /// nothing after it.
    pub(crate) fn begin(&mut self, head: RequestHead) -> BytesMut {
        self.gate = Gate::Body(head.framing.body());
        // a fault shows when the body is read on
        let body = self.gate.pass(&self.unread[head.length..]).unwrap_or(0);
        let length = head.length + body;
        if length == self.unread.len() {
            return std::mem::take(&mut self.unread);
        }
        self.unread.split_to(length)
    }

    /// From now on everything can be read.
    pub(crate) fn open(&mut self) {
        self.gate = Gate::Open;
    }

    /// A session reads no more of the body than what has passed: the rest is for [`Self::poll_piece`].
    pub(crate) fn hold(&mut self) {
        self.gate.hold();
    }

    /// The next piece of a body that is held, without its coding; `None` at its end.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            if self.gate.is_done() {
                return Poll::Ready(Ok(None));
            }
            if !self.unread.is_empty() {
                let mut unread = std::mem::take(&mut self.unread).freeze();
                let piece = self.gate.take(&mut unread);
                if !unread.is_empty() {
                    self.unread = unread.into();
                }
                let piece = piece?;
                if !piece.is_empty() {
                    return Poll::Ready(Ok(Some(piece)));
                }
                if self.gate.is_done() {
                    continue;
                }
            }
            ready!(self.poll_much(cx))?;
        }
    }

    /// Reads once, as much as there is.
    fn poll_much(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.unread.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(()))
        })
    }

    /// The request that began last has been read to its end, and nothing of another.
    pub(crate) fn is_settled(&self) -> bool {
        self.gate.is_done() && self.passed == 0
    }

    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Resolves when the client has left. Bytes that it sends before it has its answer are kept up to a limit; then nothing more
    /// is read, and that it has left shows only when a write fails.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.unread.len() < EARLY_MAX {
            if ready!(self.poll_peek(cx)).is_err() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Sends these parts, as far as they are taken at once; the rest goes with the next flush.
    pub(crate) fn send(&mut self, cx: &mut Context<'_>, parts: [&[u8]; 5]) -> io::Result<()> {
        let mut sent = 0;
        if self.unsent.is_empty() && parts.iter().any(|part| !part.is_empty()) {
            let slices = parts.map(IoSlice::new);
            if let Poll::Ready(taken) = Pin::new(&mut self.stream).poll_write_vectored(cx, &slices) {
                sent = taken?;
            }
        }
        for part in parts {
            let skipped = sent.min(part.len());
            sent -= skipped;
            self.unsent.extend_from_slice(&part[skipped..]);
        }
        Ok(())
    }

    /// Reads what passes the gate. After the end of a request it waits until the client has left.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.passed == 0 && !self.unread.is_empty() {
                self.passed = self.gate.pass(&self.unread)?;
            }
            if self.passed > 0 {
                let here = self.passed.min(buffer.remaining());
                buffer.put_slice(&self.unread.split_to(here));
                self.passed -= here;
                return Poll::Ready(Ok(()));
            }
            if self.gate.is_held() {
                // it is asked once more for what it has, and never again
                return Poll::Pending;
            }
            if self.gate.is_done() {
                return self.poll_gone(cx).map(Ok);
            }
            if !self.unread.is_empty() {
                // they cannot be judged without those that follow
                ready!(self.poll_peek(cx))?;
                continue;
            }
            let start = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            let read = &buffer.filled()[start..];
            let (passed, has_ended) = (self.gate.pass(read)?, read.is_empty());
            self.unread.extend_from_slice(&read[passed..]);
            buffer.set_filled(start + passed);
            if passed > 0 || has_ended {
                return Poll::Ready(Ok(()));
            }
        }
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.unsent.len() + bytes.len() <= TOGETHER_MAX {
            self.unsent.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// Sends what is unsent. An idle connection keeps no buffer.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.unsent.advance(sent),
            }
        }
        self.unsent = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Ends the connection with a reset, once the client has all that was written or `limit` has passed: a reset drops
    /// what is still unsent.
    pub(crate) async fn reset(mut self, limit: Duration) {
        let sent = async {
            // a client that takes nothing more gets nothing more
            let _ = poll_fn(|cx| self.poll_flush(cx)).await;
            while self.has_unsent() {
                sleep(LOOK_EVERY).await;
            }
        };
        let _ = timeout(limit, sent).await;
        self.reset_when_closed();
    }

    /// Says that nothing more will be sent, and reads on for a while, until the client notices: a socket that is closed with
    /// unread bytes in it resets its connection, and the reset may overtake the answer. The client would see a broken pipe
    /// in place of a 413 (nginx calls it a lingering close).
    pub(crate) async fn linger(mut self) {
        let mut left = LINGER_BYTES_MAX;
        let drained = poll_fn(|cx| {
            if ready!(self.poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            loop {
                match ready!(self.poll_drop(cx)) {
                    Ok(dropped @ 1..) if dropped <= left => left -= dropped,
                    _ => return Poll::Ready(()),
                }
            }
        });
        let _ = timeout(LINGER_MAX, drained).await;
    }

    /// Reads once and drops it; 0 at the end.
    fn poll_drop(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); READ_SIZE];
        let mut buffer = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Something that the socket has taken has not been acknowledged by the client.
    fn has_unsent(&self) -> bool {
        let info = self.stream.get_socket_digest().and_then(|digest| digest.tcp_info());
        info.is_some_and(|info| info.tcpi_notsent_bytes > 0 || info.tcpi_unacked > 0)
    }

    fn reset_when_closed(&self) {
        tls::cut(&self.stream);
        let set = FileDescriptor::dup(&self.stream.id()).map_err(io::Error::other);
        let set = set.and_then(|socket| SockRef::from(&socket).set_linger(Some(Duration::ZERO)));
        if let Err(error) = set {
            log::debug!("a connection cannot be reset: {error}; it is closed");
        }
    }
}

/// Written bytes go out before the connection is closed, if they are taken at once. Bytes that have come are read: a socket
/// that is closed with unread bytes in it resets its connection, and the reset may overtake the answer.
impl Drop for Wire {
    fn drop(&mut self) {
        let end = poll_fn(|cx| {
            let _ = self.poll_flush(cx);
            for _ in 0..DRAIN_READS {
                if !matches!(self.poll_drop(cx), Poll::Ready(Ok(1..))) {
                    break;
                }
            }
            Poll::Ready(())
        });
        // a task that has used up tokio's budget would do none of it
        let _ = pin!(unconstrained(end)).poll(&mut Context::from_waker(Waker::noop()));
    }
}
