//! A client's connection, lent to Pingora's sessions: they read requests from it, and the relay takes it away for the
//! answer.
//!
//! So a request that has been read holds a connection and its place in the log, not the session, its buffers and the
//! futures around it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::BytesMut;
use parking_lot::Mutex;
use pingora::protocols::http::ServerSession;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire::Wire;
use crate::http1::RequestHead;

/// The rest of a request, after its session has ended. It gives the connection back if another request may come on it.
pub(crate) type Sequel = Pin<Box<dyn Future<Output = Option<Wire>> + Send>>;

/// The place of the connection, while no answer has taken it away, and of what is to follow its session.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Shared>);

struct Shared {
    wire: Mutex<Option<Wire>>,
    sequel: Mutex<Option<Sequel>>,
    /// The session has the present request, and may answer it.
    is_heard: AtomicBool,
}

impl Connection {
    pub(crate) fn new(stream: Stream) -> Self {
        let wire = Mutex::new(Some(Wire::new(stream)));
        Self(Arc::new(Shared { wire, sequel: Mutex::default(), is_heard: AtomicBool::new(true) }))
    }

    /// Of the connection that this session runs on; `None` over HTTP/2, where others share it.
    pub(crate) fn of(session: &ServerSession) -> Option<&Self> {
        let stream = session.stream()?;
        (**stream).as_any().downcast_ref::<Lent>().map(|lent| &lent.0)
    }

    /// For a session, as its stream.
    pub(crate) fn lend(&self) -> Lent {
        Lent(self.clone())
    }

    /// From now on what the session writes goes nowhere.
    pub(crate) fn take(&self) -> Option<Wire> {
        self.0.wire.lock().take()
    }

    pub(crate) fn put(&self, wire: Wire) {
        *self.0.wire.lock() = Some(wire);
    }

    /// To be run when the session has ended.
    pub(crate) fn leave(&self, sequel: Sequel) {
        *self.0.sequel.lock() = Some(sequel);
    }

    pub(crate) fn sequel(&self) -> Option<Sequel> {
        self.0.sequel.lock().take()
    }

    /// Takes out a request's head for a session, see [`Wire::begin`]. Until the session is known to have read it, what it writes
    /// goes nowhere: Pingora would answer by itself what it cannot read.
    pub(crate) fn begin(&self, head: RequestHead) -> BytesMut {
        self.0.is_heard.store(false, Ordering::Relaxed);
        self.0.wire.lock().as_mut().map(|wire| wire.begin(head)).unwrap_or_default()
    }

    /// The session has read the head.
    pub(crate) fn set_heard(&self) {
        self.0.is_heard.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_heard(&self) -> bool {
        self.0.is_heard.load(Ordering::Relaxed)
    }

    /// The session reads no more of the body than what has passed, see [`Wire::hold`].
    pub(crate) fn hold(&self) {
        self.0.wire.lock().iter_mut().for_each(Wire::hold);
    }

    /// The client and its node speak another protocol from now on.
    pub(crate) fn open(&self) {
        self.0.wire.lock().iter_mut().for_each(Wire::open);
    }

    /// Another request may follow.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.wire.lock().as_ref().is_some_and(Wire::is_settled)
    }

    /// Asks the connection, which is there between two requests.
    pub(crate) fn poll<T>(&self, ask: impl FnOnce(&mut Wire) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *self.0.wire.lock() {
            Some(wire) => ask(wire),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn stream<T>(&self, ask: impl FnOnce(&Stream) -> Option<T>) -> Option<T> {
        self.0.wire.lock().as_ref().and_then(|wire| ask(wire.stream()))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_heard", &self.0.is_heard).finish_non_exhaustive()
    }
}

/// The connection as a session sees it. Once it has been taken away, writes are swallowed and reads say that it has ended.
#[derive(Debug)]
pub(crate) struct Lent(Connection);

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self.0.0.wire.lock() {
            Some(wire) => wire.poll_read(cx, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self.0.0.wire.lock() {
            Some(wire) if self.0.is_heard() => wire.poll_write(cx, bytes),
            _ => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.0.wire.lock() {
            Some(wire) => wire.poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.0.wire.lock() {
            Some(wire) if self.0.is_heard() => wire.poll_shutdown(cx),
            _ => Poll::Ready(Ok(())),
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
    use std::future::poll_fn;
    use std::pin::pin;

    use super::super::wire::{READ_SIZE, TOGETHER_MAX};
    use super::*;
    use pingora::protocols::l4::stream::Stream as Tcp;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn connection() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Connection::new(Box::new(Tcp::from(near.expect("a connection")))), far.expect("a connection").0)
    }

    async fn read(from: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        from.read_exact(&mut bytes).await.expect("as many");
        bytes
    }

    /// Pingora gives out the stream that a session runs on, and lets it be recognised.
    #[tokio::test]
    async fn the_connection_is_found_from_its_session() {
        let (slot, _client) = connection().await;
        let session = ServerSession::new_http1(Box::new(slot.lend()));
        let found = Connection::of(&session).expect("it runs on a lent connection");
        assert!(Arc::ptr_eq(&found.0, &slot.0));
        let (not_lent, _other) = tokio::io::duplex(1);
        assert!(Connection::of(&ServerSession::new_http1(Box::new(not_lent))).is_none());
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
        let first = poll_fn(|cx| slot.poll(|wire| wire.poll_peek(cx).map_ok(|seen| seen[0])))
            .await
            .expect("something");
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
        poll_fn(|cx| slot.poll(|wire| wire.poll_peek(cx).map_ok(|_| ())))
            .await
            .expect("something, with more behind it");
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
