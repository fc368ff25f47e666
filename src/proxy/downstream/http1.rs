//! The answer to an HTTP/1 client, written to its connection without a session.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::http::date::get_cached_date;

use super::super::limit::within;
use super::client::{Client, Presence, Sent, Start, Unwritten};
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
}

impl Http1 {
    pub(crate) fn new(wire: Wire, asked: ReplyTo, keeps: bool, limit: Duration) -> Self {
        Self { wire, asked, coding: Coding::Plain, keeps, limit, sent: Sent::default() }
    }

    /// The connection, if another request may come on it.
    pub(crate) fn into_wire(self) -> Option<Wire> {
        self.keeps.then_some(self.wire)
    }

    /// Ends the connection of a client that may still be sending; see [`Wire::linger`].
    pub(crate) async fn linger(self) {
        self.wire.linger().await;
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

impl Presence for Http1 {
    async fn gone(&mut self) {
        poll_fn(|cx| self.wire.poll_gone(cx)).await;
    }
}

impl Client for Http1 {
    async fn begin(&mut self, start: Start<'_>, chunk: Bytes, ended: bool) -> Result<(), Unwritten> {
        let Start { head, ours, closes } = start;
        let (keeps, date) = (self.keeps && !closes, get_cached_date());
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
