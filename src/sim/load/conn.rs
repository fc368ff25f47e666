//! A client's kept-alive connection: it sends a request in one write and reads the response in place.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::framing::{self, Body, Head};
use super::record::Failure;
use super::secure::{Agreed, Client, Transport};
use super::sse::Sse;
use super::tally::Tally;
use crate::sim::stamp;

const BUFFER: usize = 16 * 1024;

pub(super) struct Conn {
    stream: Transport,
    buffer: BytesMut,
    /// Responses received on this connection.
    pub served: u64,
    /// The terms of its TLS.
    pub agreed: Option<Agreed>,
}

/// The observed part of a response, also of one that fails.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub first_byte: Option<Instant>,
    pub first_event: Option<Instant>,
    pub status: Option<u16>,
    pub sse: Sse,
    /// The connection can be reused.
    pub keeps: bool,
}

impl Seen {
    pub(super) fn reset(&mut self) {
        self.sse.reset();
        let sse = std::mem::take(&mut self.sse);
        *self = Self { sse, ..Self::default() };
    }

    /// The number of events before this read.
    fn events_came(&mut self, before: u32, tally: &Tally) {
        if self.first_event.is_none() {
            self.first_event = Some(Instant::now());
            tally.stream_began();
        }
        tally.events_came(u64::from(self.sse.events - before));
        if !self.sse.stamps.is_empty() {
            tally.came_late(self.sse.stamps.drain(..), stamp::now());
        }
    }
}

impl Conn {
    pub(super) async fn open(address: SocketAddr, tls: Option<&Client>) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await.map_err(|_| Failure::Connect)?;
        // without TCP_NODELAY the next request would wait for the server's ACK
        let _ = stream.set_nodelay(true);
        let (stream, agreed) = match tls {
            Some(tls) => {
                let (stream, agreed) = tls.shake_hands(stream).await.map_err(|_| Failure::Handshake)?;
                (stream, Some(agreed))
            }
            None => (Transport::Plain(stream), None),
        };
        Ok(Self { stream, buffer: BytesMut::with_capacity(BUFFER), served: 0, agreed })
    }

    /// Sends a request and reads its response to the end.
    pub(super) async fn exchange(
        &mut self,
        request: &[u8],
        stream: bool,
        seen: &mut Seen,
        tally: &Tally,
    ) -> Result<(), Failure> {
        // the server may have answered early and closed: read its response all the same
        let sent = self.stream.write_all(request).await;
        let head = self.head(seen).await?;
        seen.status = Some(head.status);
        self.body(&head, seen, tally).await?;
        self.served += 1;
        seen.keeps = sent.is_ok() && !head.closes;
        verdict(&head, stream, &seen.sse)
    }

    async fn head(&mut self, seen: &mut Seen) -> Result<Head, Failure> {
        loop {
            if !self.buffer.is_empty() {
                seen.first_byte.get_or_insert_with(Instant::now);
                if let Some((head, length)) = framing::head(&self.buffer).map_err(|_| Failure::Malformed)? {
                    self.buffer.advance(length);
                    if head.status < 200 {
                        continue;
                    }
                    return Ok(head);
                }
            }
            if !self.read().await {
                return Err(Failure::Reset);
            }
        }
    }

    async fn body(&mut self, head: &Head, seen: &mut Seen, tally: &Tally) -> Result<(), Failure> {
        let mut body = head.body;
        loop {
            let before = seen.sse.events;
            let sse = &mut seen.sse;
            let feed = |data: &[u8]| {
                if head.is_stream {
                    sse.feed(data);
                }
            };
            let used = body.take(&self.buffer, feed).map_err(|_| Failure::Malformed)?;
            self.buffer.advance(used);
            if seen.sse.events > before {
                seen.events_came(before, tally);
            }
            if body.has_ended() {
                return Ok(());
            }
            if !self.read().await {
                return if body == Body::Rest { Ok(()) } else { Err(Failure::Truncated) };
            }
        }
    }

    /// Reads more bytes. False if the connection has ended, for whatever reason.
    async fn read(&mut self) -> bool {
        self.buffer.reserve(BUFFER);
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(length) if length > 0)
    }
}

/// Checks that a complete response is the one asked for.
fn verdict(head: &Head, stream: bool, sse: &Sse) -> Result<(), Failure> {
    match head.status {
        200..300 => {}
        status => return Err(Failure::Status(status)),
    }
    match head.is_stream {
        false if stream => Err(Failure::NotAStream),
        false => Ok(()),
        true if sse.error => Err(Failure::ErrorEvent),
        true if sse.aborted => Err(Failure::Aborted),
        true if !sse.done => Err(Failure::NoDone),
        true => Ok(()),
    }
}
