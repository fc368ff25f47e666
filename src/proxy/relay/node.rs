//! The response of a node, as it comes from its connection.
//!
//! Pingora's client session keeps 64 KiB for each open response and copies each chunk once more. Here all connections
//! of a thread are read through one buffer, and a response holds no more than what has come and has not gone on.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::Stream;
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::super::framing::content_length;
use super::chunked::{Chunked, Malformed};

/// What is read at a time at the most, in bytes.
const READ_MAX: usize = 64 * 1024;
/// Largest response header, in bytes, and most fields in it.
const HEADER_MAX: usize = 1024 * 1024;
const FIELDS_MAX: usize = 256;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_MAX].into_boxed_slice());
}

/// Why there is no head, or no more of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The connection is closed, or broke.
    Closed,
    /// Nothing came for `timeouts.read`.
    Silent,
    /// It is no HTTP/1.1, or too large.
    Malformed,
    /// The length that it announces is no number.
    BadLength,
}

/// One response.
pub struct NodeSession {
    stream: Stream,
    /// Has come and was not given out.
    unread: Bytes,
    body: Body,
    /// The connection may serve another request after this one.
    keeps: bool,
    silence: Silence,
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
    pub fn new(stream: Stream, read_limit: Duration) -> Self {
        let silence = Silence { limit: read_limit, since: Instant::now(), timer: None };
        Self { stream, unread: Bytes::new(), body: Body::Done, keeps: false, silence }
    }

    /// The next response head, which may be an informational one. `is_head`: the request was HEAD.
    pub async fn head(&mut self, is_head: bool) -> Result<Box<ResponseHeader>, Unread> {
        loop {
            if let Some(head) = self.parse()? {
                self.frame(&head, is_head)?;
                return Ok(head);
            }
            if self.unread.len() > HEADER_MAX {
                return Err(Unread::Malformed);
            }
            self.fill().await?;
        }
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

    /// The connection, if it can serve another request.
    pub fn into_reusable(self) -> Option<Stream> {
        (self.keeps && self.is_done() && self.unread.is_empty()).then_some(self.stream)
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
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(&self.unread) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Unread::Malformed),
        };
        let head = self.header(&response).map_err(|_| Unread::Malformed)?;
        self.unread.advance(length);
        Ok(Some(Box::new(head)))
    }

    fn header(&self, response: &httparse::Response) -> Result<ResponseHeader> {
        let mut head = ResponseHeader::build(response.code.unwrap_or(0), Some(response.headers.len()))?;
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
    fn frame(&mut self, head: &ResponseHeader, is_head: bool) -> Result<(), Unread> {
        let is_empty = is_head
            || head.status.is_informational()
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let last_coding = head.headers.get_all(TRANSFER_ENCODING).iter().next_back();
        let length = content_length(&head.headers);
        if length.is_none() && head.headers.contains_key(CONTENT_LENGTH) {
            return Err(Unread::BadLength);
        }
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
            Poll::Ready(filled) => Poll::Ready(filled.map_err(|_| Unread::Closed)),
            Poll::Pending => silence.poll(cx).map(|()| Err(Unread::Silent)),
        });
        match read.await? {
            0 => Err(Unread::Closed),
            _ => Ok(()),
        }
    }
}

fn has_token_last(list: &[u8], token: &[u8]) -> bool {
    list.rsplit(|byte| *byte == b',').next().is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(token))
}

fn poll_fill(stream: &mut Stream, unread: &mut Bytes, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
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
