//! Connections of Pingora's own path to nodes of HTTP/1: for protocol switches, such as WebSocket, and for uploads.
//!
//! A node may refuse a large body before it has read it, and read no more (RFC 9112 section 9.5). Pingora 0.9.1 reads nothing
//! while it waits to write (`proxy_h1.rs`), so that the client would hear of it only after `timeouts.send`, and the request would hold
//! its slot for as long. Here such a write fails as soon as an answer has come; after a failed write Pingora reads what there is.
//!
//! Pingora 0.9.1 loses a switch in a race: the end of the (empty) request body and the node's 101 wait for the same
//! task, and when it takes the 101 first, it takes the end of the body for the end of the switched stream and closes
//! it. A node on the same machine answers fast enough for that, about one time in ten on a busy machine. Here a new
//! connection lets one turn pass before it gives its first byte, in which the end of the body goes through.
//!
//! Once the protocol has been switched, nobody knows whose turn it is to speak: a tunnel ends when neither side has sent
//! a byte for `timeouts.tunnel`. Each byte of either side passes through the connection to the node, so it keeps the time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::http1::{TOLD_BY, may_be_informational};
use crate::fleet::NodeId;
use crate::live::UnderWay;
use crate::tls::nodes::{self, NodeStream, Opening};

/// Makes these connections.
#[derive(Debug)]
pub(crate) struct Connector {
    pub node: Arc<NodeId>,
    pub address: std::net::SocketAddr,
    pub opening: Opening,
    /// A write that waits looks for an answer, which only HTTP/1 gives as it is.
    pub listens: bool,
    /// For a switch of protocols.
    pub tunnel: Option<Tunnel>,
    /// The request, which an operator may end.
    pub under_way: Option<Arc<UnderWay>>,
}

/// The connection of one request, from when it has become a tunnel.
#[derive(Clone, Debug)]
pub(crate) struct Tunnel {
    is_open: Arc<AtomicBool>,
    /// `timeouts.tunnel`.
    silence: Duration,
}

impl Tunnel {
    pub(crate) fn new(silence: Duration) -> Self {
        Self { is_open: Arc::default(), silence }
    }

    /// The node has switched protocols.
    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Connect for Connector {
    /// Pingora's own address says less.
    async fn connect(&self, _address: &SocketAddr) -> Result<Stream> {
        match nodes::connect(&self.node, self.address, self.opening).await {
            Ok(stream) => {
                let socket = Box::new(Socket {
                    stream,
                    // the race is one of switches
                    waited: self.tunnel.is_none(),
                    ear: if self.listens { Ear::Open } else { Ear::Closed },
                    tunnel: self.tunnel.clone(),
                    under_way: self.under_way.clone(),
                    unread: Bytes::new(),
                    last: Instant::now(),
                    timer: None,
                });
                Ok(Stream::from(VirtualSocketStream::new(socket)))
            }
            Err(error) => {
                let kind = match error.kind() {
                    io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                    io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
                    _ => ErrorType::ConnectError,
                };
                Err(Error::because(kind, "no connection to the node", error))
            }
        }
    }
}

#[derive(Debug)]
struct Socket {
    stream: NodeStream,
    /// Came while a write had to wait.
    unread: Bytes,
    /// The first read has let a turn pass.
    waited: bool,
    ear: Ear,
    tunnel: Option<Tunnel>,
    under_way: Option<Arc<UnderWay>>,
    /// A byte passed, in either direction.
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The attention of a write that has to wait: it may look for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ear {
    Closed,
    Open,
    /// The node has answered, or closed the connection: it gets nothing more, not even what is buffered.
    HasHeard,
}

impl Ear {
    /// Behind the beginning of an answer that has been read. A node that refuses the request wants no more of it; one that has begun
    /// well may go on to read.
    fn after(start: &[u8]) -> Self {
        match start.get(TOLD_BY - 1) {
            Some(b'4' | b'5') => Self::HasHeard,
            Some(b'2' | b'3') => Self::Closed,
            _ => Self::Open,
        }
    }
}

impl Socket {
    /// The tunnel has been silent for too long.
    fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_open = |tunnel: &&Tunnel| tunnel.is_open.load(Ordering::Relaxed);
        let Some(silence) = self.tunnel.as_ref().filter(is_open).map(|tunnel| tunnel.silence) else {
            return Poll::Pending;
        };
        loop {
            let end = self.last + silence;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
    }
}

impl Socket {
    /// An operator has ended the request; if not, the task is woken once one does.
    fn is_cancelled(&self, cx: &Context<'_>) -> bool {
        self.under_way.as_ref().is_some_and(|one| one.poll_cancelled(cx).is_ready())
    }

    /// While a write has to wait.
    fn poll_answered(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.ear {
            Ear::Closed => return Poll::Pending,
            Ear::HasHeard => return Poll::Ready(()),
            Ear::Open => {}
        }
        let mut start = [0; TOLD_BY];
        let mut seen = ReadBuf::new(&mut start);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut seen));
        self.unread = Bytes::copy_from_slice(seen.filled());
        if read.is_ok() && !self.unread.is_empty() && may_be_informational(&self.unread) {
            // Pingora reads it in its turn
            self.ear = Ear::Closed;
            return Poll::Pending;
        }
        self.ear = Ear::HasHeard;
        Poll::Ready(())
    }
}

impl VirtualSocket for Socket {
    /// They were set when it was opened.
    fn set_socket_option(&self, _option: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.waited, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !self.unread.is_empty() {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            self.last = Instant::now();
            if self.ear == Ear::Open {
                self.ear = Ear::after(&buffer.filled()[before..]);
            }
            return Poll::Ready(read);
        }
        if self.is_cancelled(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        // read as the end of the stream, which is nobody's fault
        self.poll_silent(cx).map(Ok)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.last = Instant::now();
        if self.ear != Ear::HasHeard
            && let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, bytes)
        {
            return Poll::Ready(written);
        }
        if self.is_cancelled(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.poll_answered(cx).map(|()| Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
