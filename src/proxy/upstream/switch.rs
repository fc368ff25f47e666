//! Connections of Pingora's own path to nodes of HTTP/1: for protocol switches, such as WebSocket.
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
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::fleet::NodeId;
use crate::live::UnderWay;
use crate::tls::nodes::{self, NodeStream, Opening};

/// Makes these connections.
#[derive(Debug)]
pub(crate) struct Connector {
    pub node: Arc<NodeId>,
    pub address: std::net::SocketAddr,
    pub opening: Opening,
    pub tunnel: Tunnel,
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
                    waited: false,
                    tunnel: self.tunnel.clone(),
                    under_way: self.under_way.clone(),
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
    /// The first read has let a turn pass.
    waited: bool,
    tunnel: Tunnel,
    under_way: Option<Arc<UnderWay>>,
    /// A byte passed, in either direction.
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// The tunnel has been silent for too long.
    fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.tunnel.is_open.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        loop {
            let end = self.last + self.tunnel.silence;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
    }

    /// An operator has ended the request; if not, the task is woken once one does.
    fn is_cancelled(&self, cx: &Context<'_>) -> bool {
        self.under_way.as_ref().is_some_and(|one| one.poll_cancelled(cx).is_ready())
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
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            self.last = Instant::now();
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
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, bytes) {
            return Poll::Ready(written);
        }
        if self.is_cancelled(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Pending
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
