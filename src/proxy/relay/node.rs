//! The response of a node, as it comes from its connection.
//!
//! Pingora's client session keeps 64 KiB for each open response and copies each chunk once more. Here all connections
//! of a thread are read through one buffer, and a response holds no more than what has come and has not gone on.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::chunked::{Chunked, Malformed};

/// What is read at a time at the most, in bytes.
const READ_MAX: usize = 64 * 1024;
/// Largest response header, in bytes, and most fields in it.
const HEADER_MAX: usize = 1024 * 1024;
const FIELDS_MAX: usize = 256;
/// Room for those that the gateway adds on their way to the client.
const FIELDS_ADDED: usize = 4;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_MAX].into_boxed_slice());
}

/// Why there is no head, or no more of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The node has closed the connection.
    Closed,
    /// The connection broke.
    Broken,
    /// Nothing came for `timeouts.read`.
    Silent,
    /// It is no HTTP/1.1, or too large.
    Malformed,
    /// The length that it announces is no number, or two different ones.
    BadLength,
}

/// One response.
pub struct NodeSession {
    address: SocketAddr,
    stream: TcpStream,
    /// Has come and was not given out.
    unread: Bytes,
    body: Body,
    /// The connection may serve another request after this one.
    keeps: bool,
    silence: Silence,
    has_begun: bool,
}

#[derive(Debug)]
enum Body {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Done,
}

impl NodeSession {
    /// The request has been written; `read_limit` is the longest silence while its response is read.
    pub fn new(address: SocketAddr, stream: TcpStream, read_limit: Duration) -> Self {
        let silence = Silence { limit: read_limit, since: Instant::now(), timer: None };
        Self {
            address,
            stream,
            unread: Bytes::new(),
            body: Body::Done,
            keeps: false,
            silence,
            has_begun: false,
        }
    }

    /// The next response head, which may be an informational one. `is_head`: the request was HEAD.
    pub async fn head(&mut self, is_head: bool) -> Result<Box<ResponseHeader>, Unread> {
        loop {
            if let Some(mut head) = self.parse()? {
                self.frame(&mut head, is_head)?;
                return Ok(head);
            }
            if self.unread.len() > HEADER_MAX {
                return Err(Unread::Malformed);
            }
            self.fill().await?;
        }
    }

    /// A byte of the response has come.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Nothing more comes of the body.
    pub fn is_done(&self) -> bool {
        match &self.body {
            Body::Length(left) => *left == 0,
            Body::Chunked(chunked) => chunked.is_done(),
            Body::UntilClose => false,
            Body::Done => true,
        }
    }

    /// The next piece of the body, which is empty only at its end. Safe to cancel.
    pub async fn next(&mut self) -> Result<Bytes, Unread> {
        loop {
            if self.is_done() {
                return Ok(Bytes::new());
            }
            let piece = self.take()?;
            if !piece.is_empty() || self.is_done() {
                return Ok(piece);
            }
            match self.fill().await {
                Err(Unread::Closed) if matches!(self.body, Body::UntilClose) => self.body = Body::Done,
                filled => filled?,
            }
        }
    }

    /// The connection and the node's address, if it can serve another request.
    pub fn into_reusable(self) -> Option<(SocketAddr, TcpStream)> {
        (self.keeps && self.is_done() && self.unread.is_empty()).then_some((self.address, self.stream))
    }

    fn take(&mut self) -> Result<Bytes, Unread> {
        match &mut self.body {
            Body::Length(left) => {
                let here =
                    usize::try_from(*left).map_or(self.unread.len(), |left| left.min(self.unread.len()));
                *left -= here as u64;
                Ok(self.unread.split_to(here))
            }
            Body::Chunked(chunked) => chunked.decode(&mut self.unread).map_err(|Malformed| Unread::Malformed),
            Body::UntilClose => Ok(std::mem::take(&mut self.unread)),
            Body::Done => Ok(Bytes::new()),
        }
    }

    fn parse(&mut self) -> Result<Option<Box<ResponseHeader>>, Unread> {
        if self.unread.is_empty() {
            return Ok(None);
        }
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let parsed = parser.parse_response_with_uninit_headers(&mut response, &self.unread, &mut fields);
        let length = match parsed {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Unread::Malformed),
        };
        let head = self.header(&response).map_err(|_| Unread::Malformed)?;
        self.unread.advance(length);
        Ok(Some(Box::new(head)))
    }

    fn header(&self, response: &httparse::Response) -> Result<ResponseHeader> {
        let mut head =
            ResponseHeader::build(response.code.unwrap_or(0), Some(response.headers.len() + FIELDS_ADDED))?;
        head.set_version(if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 });
        head.set_reason_phrase(response.reason)?;
        for field in response.headers.iter() {
            let value = HeaderValue::from_maybe_shared(self.unread.slice_ref(field.value));
            let value = value.map_err(|_| Error::new(ErrorType::InvalidHTTPHeader))?;
            head.append_header(self.unread.slice_ref(field.name.as_bytes()), value)?;
        }
        // the coding decides where both are there (RFC 9112 section 6.3)
        if head.headers.contains_key(TRANSFER_ENCODING) {
            head.remove_header(&CONTENT_LENGTH);
        }
        Ok(head)
    }

    /// How long the body is (RFC 9112 section 6.3), and whether the connection goes on after it.
    fn frame(&mut self, head: &mut ResponseHeader, is_head: bool) -> Result<(), Unread> {
        let is_empty = is_head
            || head.status.is_informational()
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = length_of(&head.headers)?;
        if let Some(length) = length.filter(|_| head.headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some())
        {
            // said twice, it is passed on once
            head.insert_header(CONTENT_LENGTH, length).map_err(|_| Unread::Malformed)?;
        }
        let last_coding = head.headers.get_all(TRANSFER_ENCODING).iter().next_back();
        self.body = match (last_coding, length) {
            _ if is_empty => Body::Done,
            (Some(codings), _) if has_token_last(codings.as_bytes(), b"chunked") => {
                Body::Chunked(Chunked::default())
            }
            (None, Some(length)) => Body::Length(length),
            _ => Body::UntilClose,
        };
        let says = |token: &[u8]| {
            let values = head.headers.get_all(CONNECTION).iter();
            values
                .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
                .any(|word| word.trim_ascii().eq_ignore_ascii_case(token))
        };
        let is_old = head.version == Version::HTTP_10;
        self.keeps = !matches!(self.body, Body::UntilClose)
            && !says(b"close")
            && (!is_old || says(b"keep-alive") && last_coding.is_none());
        Ok(())
    }

    /// Reads once, and adds what comes to `unread`.
    async fn fill(&mut self) -> Result<(), Unread> {
        let Self { stream, unread, silence, .. } = self;
        silence.since = Instant::now();
        let read = poll_fn(|cx| match poll_fill(stream, unread, cx) {
            Poll::Ready(filled) => Poll::Ready(filled.map_err(|_| Unread::Broken)),
            Poll::Pending => silence.poll(cx).map(|()| Err(Unread::Silent)),
        });
        match read.await? {
            0 => Err(Unread::Closed),
            _ => {
                self.has_begun = true;
                Ok(())
            }
        }
    }
}

/// One number, however often it is said; a client might read another out of anything else (RFC 9112 section 6.3).
fn length_of(headers: &HeaderMap) -> Result<Option<u64>, Unread> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.as_bytes().trim_ascii();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let number =
            std::str::from_utf8(digits).ok().filter(|_| is_number).and_then(|text| text.parse().ok());
        match (length, number) {
            (_, None) => return Err(Unread::BadLength),
            (Some(first), Some(again)) if first != again => return Err(Unread::BadLength),
            (_, number) => length = number,
        }
    }
    Ok(length)
}

fn has_token_last(list: &[u8], token: &[u8]) -> bool {
    list.rsplit(|byte| *byte == b',').next().is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(token))
}

fn poll_fill(stream: &mut TcpStream, unread: &mut Bytes, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
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

/// The longest silence. A timer is set once and moved when it goes off, for most reads end long before.
struct Silence {
    limit: Duration,
    since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = self.since + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    /// What is made of a response: status and body, or why not; and whether the connection can be used again.
    async fn read(wire: &[&[u8]], resets: bool) -> (Result<(u16, Vec<u8>), Unread>, bool) {
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
            let mut node = NodeSession::new(address, near, Duration::from_secs(20));
            let mut body = Vec::new();
            let whole = async {
                let head = node.head(false).await?;
                while !node.is_done() {
                    body.extend_from_slice(&node.next().await?);
                }
                Ok(head.status.as_u16())
            };
            let whole = whole.await;
            (whole.map(|status| (status, body)), node.into_reusable().is_some())
        };
        tokio::join!(reading, writing).0
    }

    #[tokio::test]
    async fn how_long_a_body_is() {
        const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
        type Case = (&'static [&'static [u8]], Result<&'static [u8], Unread>, bool);
        let table: [Case; 12] = [
            (&[OK, b"Content-Length: 5\r\n\r\nhel", b"lo"], Ok(b"hello"), true),
            (&[OK, b"Content-Length: 5\r\n\r\nhello!"], Ok(b"hello"), false),
            (&[OK, b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"], Ok(b"hello"), true),
            (&[OK, b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"], Err(Unread::BadLength), false),
            (&[OK, b"Content-Length: +5\r\n\r\nhello"], Err(Unread::BadLength), false),
            (&[OK, b"Content-Length: 5\r\nConnection: x, Close\r\n\r\nhello"], Ok(b"hello"), false),
            (&[OK, b"Transfer-Encoding: chunked\r\n\r\n5\r", b"\nhello\r\n0\r\n\r\n"], Ok(b"hello"), true),
            (
                &[OK, b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n1\r\nh\r\n0\r\n\r\n"],
                Ok(b"h"),
                true,
            ),
            (&[OK, b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"], Err(Unread::Closed), false),
            (&[OK, b"Content-Length: 5\r\n\r\nhel"], Err(Unread::Closed), false),
            (&[OK, b"\r\nhel", b"lo"], Ok(b"hello"), false),
            (&[b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"], Ok(b"hi"), false),
        ];
        for (wire, body, reusable) in table {
            let want = (body.map(|body| (200, body.to_vec())), reusable);
            assert_eq!(read(wire, false).await, want, "{}", wire.concat().escape_ascii());
        }
    }

    #[tokio::test]
    async fn a_reset_is_no_end() {
        let (whole, _) = read(&[b"HTTP/1.1 200 OK\r\n\r\nhalf of it"], true).await;
        assert_eq!(whole, Err(Unread::Broken));
    }

    #[tokio::test]
    async fn what_is_no_response() {
        for wire in [&b"SSH-2.0-x\r\n"[..], b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n"] {
            assert_eq!(
                read(&[wire], false).await,
                (Err(Unread::Malformed), false),
                "{}",
                wire.escape_ascii()
            );
        }
        assert_eq!(read(&[b"HTTP/1.1 200 OK\r\nA: b"], false).await.0, Err(Unread::Closed));
    }
}
