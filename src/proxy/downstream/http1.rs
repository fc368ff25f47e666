//! The answer to an HTTP/1 client, written to its connection without a session.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::http::date::get_cached_date;

use super::super::limit::within;
use super::body::{BodyError, UNFRAMED};
use super::client::{Client, Presence, Sent, Start, Unwritten};
use super::inlet::{Inlet, Source};
use super::own_error::{self, OwnError};
use super::wire::Wire;
use crate::http1::{Coding, LAST_CHUNK, ReplyTo, SIZE_LINE_MAX, size_line, write_response};

pub(crate) struct Http1 {
    wire: Wire,
    asked: ReplyTo,
    coding: Coding,
    /// The connection may serve another request.
    keeps: bool,
    /// `client.send_timeout`.
    limit: Duration,
    sent: Sent,
    /// The body that it is sending, if that is not kept.
    inlet: Option<Box<Inlet>>,
}

impl Http1 {
    pub(crate) fn new(
        wire: Wire,
        inlet: Option<Box<Inlet>>,
        asked: ReplyTo,
        keeps: bool,
        limit: Duration,
    ) -> Self {
        Self { wire, asked, coding: Coding::Plain, keeps, limit, sent: Sent::default(), inlet }
    }

    /// It has not sent the whole of its request.
    pub(crate) fn is_sending(&self) -> bool {
        self.inlet.is_some() && !self.wire.is_settled()
    }

    /// The connection, if another request may come on it.
    pub(crate) fn into_wire(self) -> Option<Wire> {
        (self.keeps && !self.is_sending()).then_some(self.wire)
    }

    /// Ends the connection of a client that may still be sending; see [`Wire::linger`].
    pub(crate) async fn linger(self) {
        self.wire.linger().await;
    }

    /// The same, unless its answer broke off and only a reset can say that; see [`Self::break_off`].
    pub(crate) async fn end_sending(self, is_whole: bool) {
        if !is_whole && self.coding == Coding::UntilClose {
            self.break_off(true).await;
        } else {
            self.linger().await;
        }
    }

    /// Ends the connection of an answer that broke off. A body without chunks and length ends with its connection: only a
    /// reset can say that it is not whole (RFC 9112 section 8). `reads`: the client still takes what it is sent.
    pub(crate) async fn break_off(self, reads: bool) {
        if self.coding == Coding::UntilClose {
            self.wire.reset(if reads { self.limit } else { Duration::ZERO }).await;
        }
    }

    /// Writes the head, or nothing in its place, and a piece of the body, which may be empty, in one go.
    async fn send(&mut self, head: &[u8], chunk: &Bytes, ended: bool) -> Result<(), Unwritten> {
        let mut room = [0; SIZE_LINE_MAX];
        let is_chunk = self.coding == Coding::Chunked && !chunk.is_empty();
        let (line, line_end): (&[u8], &[u8]) =
            if is_chunk { (size_line(chunk.len(), &mut room), b"\r\n") } else { (b"", b"") };
        let last = if self.coding == Coding::Chunked && ended { LAST_CHUNK } else { b"" };
        let mut parts = Some([head, line, chunk, line_end, last]);
        let mut flushed = pin!(poll_fn(|cx| {
            if let Some(parts) = parts.take() {
                self.wire.send(cx, parts)?;
            }
            self.wire.poll_flush(cx)
        }));
        match within(self.limit, flushed.as_mut()).await {
            Some(Ok(())) => {
                self.sent.bytes += chunk.len() as u64;
                Ok(())
            }
            _ => Err(Unwritten::ClientLeft),
        }
    }
}

impl Source for Wire {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        self.poll_piece(cx).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => BodyError::Failed(UNFRAMED.into()),
            _ => BodyError::ClientGone,
        })
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_gone(cx)
    }
}

impl Presence for Http1 {
    async fn gone(&mut self) {
        let Self { wire, inlet, .. } = self;
        poll_fn(|cx| match inlet {
            None => wire.poll_gone(cx),
            Some(inlet) => inlet.poll(wire, cx),
        })
        .await;
    }
}

impl Client for Http1 {
    async fn begin(&mut self, start: Start<'_>, chunk: Bytes, ended: bool) -> Result<(), Unwritten> {
        let Start { head, ours, closes } = start;
        // what a client sends after an answer cannot be told from its next request
        let keeps = self.keeps && !closes && !self.is_sending();
        let date = get_cached_date();
        let (wire, coding, keeps) =
            write_response(head, ours, self.asked, keeps, date.to_str().unwrap_or_default());
        (self.coding, self.keeps) = (coding, keeps);
        self.send(&wire, &chunk, ended).await?;
        self.sent.status = Some(head.status);
        Ok(())
    }

    async fn write(&mut self, chunk: Bytes, ended: bool) -> Result<(), Unwritten> {
        self.send(b"", &chunk, ended).await
    }

    async fn refuse(&mut self, error: &OwnError<'_>) -> Result<(), Unwritten> {
        let body = own_error::body(error);
        let date = get_cached_date();
        let date = date.to_str().unwrap_or_default();
        let head = own_error::http1_head(error, body.len(), date);
        (self.coding, self.keeps) = (Coding::Plain, false);
        let body = if self.asked.is_head { Bytes::new() } else { body };
        self.send(&head, &body, true).await?;
        self.sent.status = Some(error.failure.status);
        Ok(())
    }

    fn sent(&self) -> Sent {
        self.sent
    }
}
