//! A request by HTTP/1.1 and its response, as it comes from its connection.
//!
//! Pingora's client session keeps 64 KiB for each open response and copies each chunk once more. Here all connections
//! of a thread are read through one buffer, and a response holds no more than what has come and has not gone on.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::super::limit::Silence;
use super::ended::{ReadError, WriteError};
use super::outlet::{Outlet, Unsent};
use crate::http1::{Body, Framing, ResponseHead, parse_response};
use crate::tls::nodes::{Endpoint, NodeStream, refusal};

/// Largest single read, in bytes.
const READ_MAX: usize = 64 * 1024;

/// The beginning of an informational response.
const INFORMATIONAL: &[u8] = b"HTTP/1.1 1";
/// So many bytes of a response tell whether it is one.
pub(super) const TOLD_BY: usize = INFORMATIONAL.len();

/// Something of an answer is still to come: what has come begins an informational response, or may begin one.
pub(super) fn may_be_informational(start: &[u8]) -> bool {
    INFORMATIONAL.starts_with(&start[..start.len().min(TOLD_BY)])
}

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_MAX].into_boxed_slice());
}

/// One request on a connection, and its response.
pub(crate) struct Http1 {
    node: Endpoint,
    stream: NodeStream,
    /// A write that has to wait looks for an answer.
    listens: bool,
    /// Has come and was not given out.
    unread: Bytes,
    body: Body,
    /// The connection may serve another request after this one.
    keeps: bool,
    silence: Silence,
    has_begun: bool,
    is_last: bool,
    /// The rest of a request whose body is not kept.
    outlet: Option<Box<Outlet>>,
}

impl Http1 {
    /// Nothing of the request has been written; `read_limit` is the longest silence while its response is read.
    pub(crate) fn new(node: Endpoint, stream: NodeStream, read_limit: Duration) -> Self {
        let silence = Silence::new(read_limit);
        let (unread, body) = (Bytes::new(), Body::Done);
        Self {
            node,
            stream,
            listens: true,
            unread,
            body,
            keeps: false,
            silence,
            has_begun: false,
            is_last: false,
            outlet: None,
        }
    }

    pub(super) fn sending(self, outlet: Box<Outlet>) -> Self {
        Self { outlet: Some(outlet), ..self }
    }

    pub(super) fn is_sending(&self) -> bool {
        self.outlet.is_some()
    }

    pub(super) fn stop_sending(&mut self) {
        if let Some(outlet) = self.outlet.take() {
            outlet.upload().set_unwanted();
            self.close_after();
        }
    }

    pub(super) async fn send_rest(&mut self) {
        poll_fn(|cx| self.poll_send(cx).map(drop)).await;
    }

    /// An error: the node has taken nothing for too long.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        let Some(outlet) = &mut self.outlet else { return Poll::Ready(Ok(())) };
        match ready!(outlet.poll(&mut self.stream, cx)) {
            Ok(()) => self.outlet = None,
            Err(unsent) => {
                self.stop_sending();
                if unsent == Unsent::TimedOut {
                    return Poll::Ready(Err(ReadError::Silent));
                }
            }
        }
        // only now is it expected to answer
        self.silence.restart();
        Poll::Ready(Ok(()))
    }

    /// Writes these parts, in one system call if the node takes them all.
    pub(crate) async fn write(&mut self, parts: [&[u8]; 3]) -> io::Result<()> {
        let mut sent = self.stream.write_vectored(&parts.map(IoSlice::new)).await?;
        for part in parts {
            let done = sent.min(part.len());
            sent -= done;
            if done < part.len() {
                self.stream.write_all(&part[done..]).await?;
            }
        }
        self.stream.flush().await
    }

    /// Writes some of these bytes of a large body, and listens while it has to wait: a node may refuse the body before it has read
    /// it, and read no more (RFC 9112 section 9.5). The last of them may wait for [`Self::poll_flush`].
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(written) => Poll::Ready(written.map_err(|_| WriteError::Closed)),
            Poll::Pending => self.poll_answer(cx).map(Err),
        }
    }

    /// Sends what [`Self::poll_write`] has taken, and listens likewise.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(|_| WriteError::Closed)),
            Poll::Pending => self.poll_answer(cx).map(Err),
        }
    }

    /// An answer ends the writing. It is kept for [`Self::head`].
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<WriteError> {
        if !self.listens {
            return Poll::Pending;
        }
        let filled = ready!(poll_fill(&mut self.stream, &mut self.unread, cx));
        if !filled.is_ok_and(|length| length > 0) {
            return Poll::Ready(WriteError::Closed);
        }
        self.has_begun = true;
        if may_be_informational(&self.unread) {
            // it has to be read in its turn
            self.listens = false;
            return Poll::Pending;
        }
        Poll::Ready(WriteError::Answered)
    }

    /// The next response head, which may be an informational one. `is_head`: the request was HEAD.
    pub(crate) async fn head(&mut self, is_head: bool) -> Result<ResponseHead, ReadError> {
        loop {
            if let Some(head) = parse_response(&mut self.unread)? {
                let Framing { body, keeps_alive } = head.framing(is_head)?;
                (self.body, self.keeps) = (body, keeps_alive);
                return Ok(head);
            }
            self.fill().await?;
        }
    }

    /// The request was not sent to its end: the connection serves no other.
    pub(crate) fn close_after(&mut self) {
        self.is_last = true;
    }

    /// A byte of the response has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Nothing more comes of the body.
    pub(crate) fn is_done(&self) -> bool {
        self.body.is_done()
    }

    /// The next piece of the body, which is empty only at its end. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Bytes, ReadError> {
        loop {
            if self.is_done() {
                return Ok(Bytes::new());
            }
            let piece = self.body.take(&mut self.unread)?;
            if !piece.is_empty() || self.is_done() {
                return Ok(piece);
            }
            match self.fill().await {
                Err(ReadError::Closed) => self.body.closed().map_err(|_| ReadError::Closed)?,
                filled => filled?,
            }
        }
    }

    /// The connection and its far end, if it can serve another request.
    pub(crate) fn into_reusable(self) -> Option<(Endpoint, NodeStream)> {
        (self.keeps && !self.is_last && self.is_done() && self.unread.is_empty() && self.outlet.is_none())
            .then_some((self.node, self.stream))
    }

    /// Reads once, and adds what comes to `unread`.
    async fn fill(&mut self) -> Result<(), ReadError> {
        self.silence.restart();
        let read = poll_fn(|cx| {
            let sends = self.outlet.is_some() && self.poll_send(cx)?.is_pending();
            match poll_fill(&mut self.stream, &mut self.unread, cx) {
                Poll::Ready(filled) => {
                    let broken = |error| refusal(&error).map_or(ReadError::Broken, ReadError::Refused);
                    Poll::Ready(filled.map_err(broken))
                }
                Poll::Pending if sends => Poll::Pending,
                Poll::Pending => self.silence.poll(cx).map(|()| Err(ReadError::Silent)),
            }
        });
        match read.await? {
            0 => Err(ReadError::Closed),
            _ => {
                self.has_begun = true;
                Ok(())
            }
        }
    }
}

fn poll_fill(stream: &mut NodeStream, unread: &mut Bytes, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        *unread = if unread.is_empty() {
            Bytes::copy_from_slice(read)
        } else {
            Bytes::from([&unread[..], read].concat())
        };
        Poll::Ready(Ok(read.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    /// The result of reading a response: status and body, or the error; and whether the connection can be reused.
    async fn read(wire: &[&[u8]], resets: bool) -> (Result<(u16, Vec<u8>), ReadError>, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (near, (mut far, _)) = (near.expect("a connection"), far.expect("a connection"));
        let writing = async {
            for part in wire {
                far.write_all(part).await.expect("the gateway reads");
                tokio::task::yield_now().await;
            }
            if resets {
                socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("a socket");
            }
            drop(far);
        };
        let reading = async {
            let mut node = Http1::new(Endpoint::Tcp(address), NodeStream::Tcp(near), Duration::from_secs(20));
            let mut body = Vec::new();
            let whole = async {
                let head = node.head(false).await?;
                while !node.is_done() {
                    body.extend_from_slice(&node.next().await?);
                }
                Ok(head.status)
            };
            let whole = whole.await;
            (whole.map(|status| (status, body)), node.into_reusable().is_some())
        };
        tokio::join!(reading, writing).0
    }

    #[tokio::test]
    async fn how_long_a_body_is() {
        const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
        type Case = (&'static [&'static [u8]], Result<&'static [u8], ReadError>, bool);
        let table: [Case; 12] = [
            (&[OK, b"Content-Length: 5\r\n\r\nhel", b"lo"], Ok(b"hello"), true),
            (&[OK, b"Content-Length: 5\r\n\r\nhello!"], Ok(b"hello"), false),
            (
                &[OK, b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"],
                Err(ReadError::BadFraming),
                false,
            ),
            (
                &[OK, b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"],
                Err(ReadError::BadFraming),
                false,
            ),
            (&[OK, b"Content-Length: +5\r\n\r\nhello"], Err(ReadError::BadFraming), false),
            (&[OK, b"Content-Length: 5\r\nConnection: x, Close\r\n\r\nhello"], Ok(b"hello"), false),
            (&[OK, b"Transfer-Encoding: chunked\r\n\r\n5\r", b"\nhello\r\n0\r\n\r\n"], Ok(b"hello"), true),
            (
                &[OK, b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n1\r\nh\r\n0\r\n\r\n"],
                Err(ReadError::BadFraming),
                false,
            ),
            (&[OK, b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"], Err(ReadError::Closed), false),
            (&[OK, b"Content-Length: 5\r\n\r\nhel"], Err(ReadError::Closed), false),
            (&[OK, b"\r\nhel", b"lo"], Ok(b"hello"), false),
            (&[b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"], Ok(b"hi"), false),
        ];
        for (wire, body, reusable) in table {
            let want = (body.map(|body| (200, body.to_vec())), reusable);
            assert_eq!(read(wire, false).await, want, "{}", wire.concat().escape_ascii());
        }
    }

    /// The end of writing without end to a node that sends these bytes and reads nothing, and the status of its response.
    async fn written_to(wire: &'static [u8]) -> (WriteError, Result<u16, ReadError>) {
        let (near, mut far) = tokio::net::UnixStream::pair().expect("a pair");
        let endpoint = Endpoint::Unix(std::path::Path::new("/node").into());
        let mut node = Http1::new(endpoint, NodeStream::Unix(near), Duration::from_secs(20));
        let writing = poll_fn(|cx| {
            loop {
                match ready!(node.poll_write(cx, &[b'x'; 4096])) {
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(error),
                }
            }
        });
        let answering = async {
            far.write_all(wire).await.expect("the gateway reads");
            if may_be_informational(wire) {
                drop(far);
                return None;
            }
            Some(far)
        };
        let (error, _far) = tokio::join!(writing, answering);
        (error, node.head(false).await.map(|head| head.status))
    }

    #[tokio::test]
    async fn a_write_that_waits_hears_an_answer() {
        let refused = b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(written_to(refused).await, (WriteError::Answered, Ok(413)));
        assert_eq!(written_to(b"HTTP/1.1 100 Go on\r\n\r\n").await, (WriteError::Closed, Ok(100)));
    }

    #[tokio::test]
    async fn a_reset_is_no_end() {
        let (whole, _) = read(&[b"HTTP/1.1 200 OK\r\n\r\nhalf of it"], true).await;
        assert_eq!(whole, Err(ReadError::Broken));
    }

    #[tokio::test]
    async fn what_is_no_response() {
        for wire in [&b"SSH-2.0-x\r\n"[..], b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n"] {
            assert_eq!(
                read(&[wire], false).await,
                (Err(ReadError::Malformed), false),
                "{}",
                wire.escape_ascii()
            );
        }
        assert_eq!(read(&[b"HTTP/1.1 200 OK\r\nA: b"], false).await.0, Err(ReadError::Closed));
    }
}
