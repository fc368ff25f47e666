//! A connection of the simulated node that request handlers can cut, by FIN or RST, in the middle of a
//! response: dying processes do that, but HTTP libraries offer no way to.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::stats::{Counters, add, subtract};

/// The phase of a node's life, which its connections follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// Finish requests in flight, accept no more.
    Draining,
    /// Cut everything now.
    Crashed,
}

/// A way to cut a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Close like a process that exits: FIN, or RST if bytes are left unread.
    Fin = 1,
    /// Reset, as a kernel does for a process that was killed.
    Rst = 2,
}

/// Shared by the connection's task, its requests and its socket.
pub(super) struct Conn {
    pub phase: watch::Receiver<Phase>,
    cut: AtomicU8,
    cut_now: Notify,
    active: AtomicU32,
    served: AtomicU64,
    born: Instant,
    /// Milliseconds after `born` when the last request ended.
    idle_since: AtomicU64,
}

impl Conn {
    pub(super) fn new(phase: watch::Receiver<Phase>) -> Self {
        Conn {
            phase,
            cut: AtomicU8::new(0),
            cut_now: Notify::new(),
            active: AtomicU32::new(0),
            served: AtomicU64::new(0),
            born: Instant::now(),
            idle_since: AtomicU64::new(0),
        }
    }

    /// Asks the connection's task to cut it. Data already handed to the HTTP library is written first,
    /// because the task checks for a cut only after driving the connection.
    pub(super) fn cut(&self, how: Cut) {
        self.cut.store(how as u8, Ordering::Release);
        self.cut_now.notify_one();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire) != 0
    }

    /// Resolves when `cut` was called. For one waiter: the task that owns the socket.
    pub(super) async fn wait_cut(&self) {
        self.cut_now.notified().await;
    }

    /// True if the connection has served a request before this one.
    pub(super) fn is_reused(&self) -> bool {
        self.served.load(Ordering::Acquire) > 0
    }

    pub(super) fn request_began(&self) {
        self.active.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn request_ended(&self) {
        let now = self.born.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        self.idle_since.store(now, Ordering::Release);
        self.served.fetch_add(1, Ordering::AcqRel);
        self.active.fetch_sub(1, Ordering::AcqRel);
    }

    /// The time at which the connection will have been idle for `keepalive`. None while it serves a
    /// request.
    pub(super) fn idle_until(&self, keepalive: Duration) -> Option<Instant> {
        let since = Duration::from_millis(self.idle_since.load(Ordering::Acquire));
        (self.active.load(Ordering::Acquire) == 0).then(|| self.born + since + keepalive)
    }
}

/// The socket: counts bytes, and when dropped sends RST if asked to.
pub(super) struct Socket {
    stream: TcpStream,
    conn: Arc<Conn>,
    counters: Arc<Counters>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, conn: Arc<Conn>, counters: Arc<Counters>) -> Self {
        add(&counters.accepted, 1);
        add(&counters.open, 1);
        Socket { stream, conn, counters }
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = result {
            add(&self.counters.bytes_out, count as u64);
        }
        result
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.conn.cut.load(Ordering::Acquire) == Cut::Rst as u8 {
            // If this fails, the close is a FIN; there is no better fallback.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
        subtract(&self.counters.open, 1);
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        add(&this.counters.bytes_in, (buf.filled().len() - before) as u64);
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_idle_only_between_requests() {
        let (_phase, receiver) = watch::channel(Phase::Serving);
        let conn = Conn::new(receiver);
        let keepalive = Duration::from_secs(5);
        assert!(conn.idle_until(keepalive).is_some());
        conn.request_began();
        assert!(conn.idle_until(keepalive).is_none() && !conn.is_reused());
        conn.request_ended();
        assert!(conn.idle_until(keepalive).is_some() && conn.is_reused());
        assert!(!conn.is_cut());
        conn.cut(Cut::Rst);
        conn.wait_cut().await;
        assert!(conn.is_cut());
    }
}
