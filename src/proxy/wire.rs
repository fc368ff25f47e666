//! A client's connection. Pingora's session reads requests from it; the response takes it away from there.
//!
//! So one that has begun holds a connection and its place in the log, not the session, its buffers and the futures
//! around it. (One that `retry.resume` may continue keeps them.)

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::unconstrained;

/// Written bytes are put together up to this size, so that head and body of a short answer go out in one write.
const TOGETHER_MAX: usize = 4096;
/// What is read at a time of what the client sends too early.
const READ_SIZE: usize = 4096;
/// Most reads of that before the connection is closed.
const DRAIN_READS: usize = 16;
/// What a client sends before it has its answer is kept up to this size, in bytes.
const EARLY_MAX: usize = 64 * 1024;

/// A connection, and what is on its way through it.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    /// Has come and was not given out.
    unread: Bytes,
    /// Was written and has not been sent.
    unsent: BytesMut,
}

impl Wire {
    fn new(stream: Stream) -> Self {
        Self { stream, unread: Bytes::new(), unsent: BytesMut::new() }
    }

    /// Reads once, without giving it out; returns all that is unread.
    pub fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let mut room = [MaybeUninit::uninit(); READ_SIZE];
        let mut buffer = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if read.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.unread = if self.unread.is_empty() {
            Bytes::copy_from_slice(read)
        } else {
            Bytes::from([&self.unread[..], read].concat())
        };
        Poll::Ready(Ok(&self.unread))
    }

    /// Resolves when the client has left. What it sends before it has its answer is kept, up to a limit; then nothing more
    /// is read, and that it has left shows only when a write fails.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.unread.len() < EARLY_MAX {
            if ready!(self.poll_peek(cx)).is_err() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Sends these parts, as far as they are taken at once; the rest goes with the next flush.
    pub fn send(&mut self, cx: &mut Context<'_>, parts: [&[u8]; 5]) -> io::Result<()> {
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

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let here = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(here));
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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

    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

/// What was written goes out before the connection is closed, if it is taken at once. What has come is read, for a socket
/// that is closed with unread bytes in it resets its connection, and the reset may overtake the answer.
impl Drop for Wire {
    fn drop(&mut self) {
        let end = poll_fn(|cx| {
            let _ = self.poll_flush(cx);
            for _ in 0..DRAIN_READS {
                let mut room = [MaybeUninit::uninit(); READ_SIZE];
                let mut buffer = ReadBuf::uninit(&mut room);
                let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
                if !matches!(read, Poll::Ready(Ok(()))) || buffer.filled().is_empty() {
                    break;
                }
            }
            Poll::Ready(())
        });
        // a task that has used up tokio's budget would do none of it
        let _ = pin!(unconstrained(end)).poll(&mut Context::from_waker(Waker::noop()));
    }
}

/// Where the connection is while no response has taken it away.
#[derive(Clone, Debug)]
pub struct Slot(Arc<Mutex<Option<Wire>>>);

impl Slot {
    pub fn new(stream: Stream) -> Self {
        Self(Arc::new(Mutex::new(Some(Wire::new(stream)))))
    }

    /// For a session, as its stream.
    pub fn lend(&self) -> Lent {
        Lent(self.clone())
    }

    /// From now on what the session writes goes nowhere.
    pub fn take(&self) -> Option<Wire> {
        self.0.lock().take()
    }

    pub fn put(&self, wire: Wire) {
        *self.0.lock() = Some(wire);
    }

    /// Reads once, see [`Wire::poll_peek`].
    pub fn poll_peek<T>(&self, cx: &mut Context<'_>, look: impl FnOnce(&[u8]) -> T) -> Poll<io::Result<T>> {
        match &mut *self.0.lock() {
            Some(wire) => wire.poll_peek(cx).map_ok(look),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// See [`Wire::poll_gone`]; never while a response has the connection.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.lock().as_mut().map_or(Poll::Pending, |wire| wire.poll_gone(cx))
    }

    fn stream<T>(&self, ask: impl FnOnce(&Stream) -> Option<T>) -> Option<T> {
        self.0.lock().as_ref().and_then(|wire| ask(&wire.stream))
    }
}

/// The connection as a session sees it. Once it has been taken away, writes are swallowed and reads say that it has ended.
#[derive(Debug)]
pub struct Lent(Slot);

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self.0.0.lock() {
            Some(wire) => wire.poll_read(cx, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self.0.0.lock() {
            Some(wire) => wire.poll_write(cx, bytes),
            None => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.0.lock() {
            Some(wire) => wire.poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.0.lock() {
            Some(wire) => {
                ready!(wire.poll_flush(cx))?;
                Pin::new(&mut wire.stream).poll_shutdown(cx)
            }
            None => Poll::Ready(Ok(())),
        }
    }
}

#[async_trait]
impl Shutdown for Lent {
    async fn shutdown(&mut self) {
        // it may be gone already
        let _ = tokio::io::AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Lent {
    fn id(&self) -> UniqueIDType {
        self.0.stream(|stream| Some(stream.id())).unwrap_or_default()
    }
}

impl Ssl for Lent {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.0.stream(|stream| stream.get_ssl_digest())
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.0.stream(|stream| stream.selected_alpn_proto())
    }
}

impl GetTimingDigest for Lent {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.0.stream(|stream| Some(stream.get_timing_digest())).unwrap_or_default()
    }
}

impl GetProxyDigest for Lent {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.0.stream(|stream| stream.get_proxy_digest())
    }
}

impl GetSocketDigest for Lent {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.0.stream(|stream| stream.get_socket_digest())
    }
}

/// Not supported: [`super::preface`] has looked before there was a session. Pingora, which would look for HTTP/2 here, then
/// believes what it was told.
impl Peek for Lent {}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::protocols::l4::stream::Stream as Tcp;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn connection() -> (Slot, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Slot::new(Box::new(Tcp::from(near.expect("a connection")))), far.expect("a connection").0)
    }

    async fn read(from: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        from.read_exact(&mut bytes).await.expect("as many");
        bytes
    }

    #[tokio::test]
    async fn small_writes_go_out_together_and_large_ones_at_once() {
        let (slot, mut client) = connection().await;
        let mut session = slot.lend();
        session.write_all(b"head").await.expect("taken");
        session.write_all(b"body").await.expect("taken");
        assert_eq!(client.try_read(&mut [0; 8]).expect_err("not sent yet").kind(), io::ErrorKind::WouldBlock);
        session.flush().await.expect("sent");
        assert_eq!(read(&mut client, 8).await, b"headbody");
        session.write_all(b"head").await.expect("taken");
        session.write_all(&[b'x'; TOGETHER_MAX]).await.expect("sent");
        assert_eq!(
            read(&mut client, 4 + TOGETHER_MAX).await,
            [b"head".as_slice(), &[b'x'; TOGETHER_MAX]].concat()
        );
    }

    #[tokio::test]
    async fn a_session_whose_connection_was_taken_away_disturbs_nobody() {
        let (slot, mut client) = connection().await;
        let mut session = slot.lend();
        session.write_all(b"first").await.expect("taken");
        let mut wire = slot.take().expect("a connection");
        session.write_all(b"the session's last chunk").await.expect("swallowed");
        session.flush().await.expect("nothing to do");
        Shutdown::shutdown(&mut session).await;
        assert_eq!(session.read(&mut [0; 8]).await.expect("its end"), 0);
        poll_fn(|cx| {
            wire.send(cx, [b", ", b"then", b"", b" the", b" rest"])?;
            wire.poll_flush(cx)
        })
        .await
        .expect("sent");
        slot.put(wire);
        session.write_all(b"; next").await.expect("taken");
        session.flush().await.expect("sent");
        assert_eq!(read(&mut client, 26).await, b"first, then the rest; next");
    }

    #[tokio::test]
    async fn what_was_looked_at_is_read_again() {
        let (slot, mut client) = connection().await;
        client.write_all(b"GET / HTTP/1.1").await.expect("sent");
        let first = poll_fn(|cx| slot.poll_peek(cx, |seen| seen[0])).await.expect("something");
        assert_eq!(first, b'G');
        assert_eq!(read(&mut slot.lend(), 14).await, b"GET / HTTP/1.1");
    }

    #[tokio::test]
    async fn what_was_written_is_sent_before_the_end() {
        let (slot, mut client) = connection().await;
        slot.lend().write_all(b"farewell").await.expect("taken");
        drop(slot);
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.expect("an orderly end");
        assert_eq!(all, b"farewell");
    }

    #[tokio::test]
    async fn a_task_that_has_done_much_still_ends_its_connection_well() {
        let (slot, mut client) = connection().await;
        client.write_all(&[b'x'; READ_SIZE + 1]).await.expect("sent");
        poll_fn(|cx| slot.poll_peek(cx, |_| ())).await.expect("something, with more behind it");
        slot.lend().write_all(b"farewell").await.expect("taken");
        poll_fn(|cx| {
            while pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
            Poll::Ready(())
        })
        .await;
        drop(slot);
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.expect("an orderly end");
        assert_eq!(all, b"farewell");
    }
}
