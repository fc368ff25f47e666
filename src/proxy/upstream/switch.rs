//! Connections for protocol switches, such as WebSocket.
//!
//! Pingora 0.9.1 loses a switch in a race: the end of the (empty) request body and the node's 101 wait for the same
//! task, and when it takes the 101 first, it takes the end of the body for the end of the switched stream and closes
//! it. A node on the same machine answers fast enough for that, about one time in ten on a busy machine. Here a new
//! connection lets one turn pass before it gives its first byte, in which the end of the body goes through.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::ext::set_tcp_keepalive;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Makes these connections.
#[derive(Debug)]
pub(crate) struct Connector {
    /// `timeouts.connect`.
    pub limit: Duration,
}

#[async_trait]
impl Connect for Connector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else { return Err(Error::new(ErrorType::ConnectError)) };
        match timeout(self.limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let socket = Box::new(Socket { stream, waited: false });
                Ok(Stream::from(VirtualSocketStream::new(socket)))
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(Error::because(ErrorType::ConnectRefused, "the node refused", error))
            }
            Ok(Err(error)) => {
                Err(Error::because(ErrorType::ConnectError, "no connection to the node", error))
            }
            Err(_) => Error::e_explain(ErrorType::ConnectTimedout, "no connection within timeouts.connect"),
        }
    }
}

#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    /// The first read has let a turn pass.
    waited: bool,
}

impl VirtualSocket for Socket {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            VirtualSockOpt::KeepAlive(keepalive) => {
                set_tcp_keepalive(&self.stream, &keepalive).map_err(io::Error::other)
            }
            _ => Ok(()),
        }
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
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
