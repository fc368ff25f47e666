//! The rest of a response, after its session has ended: what comes from the node goes to the client's connection.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::TRANSFER_ENCODING;
use pingora_proxy::Session;
use tokio::time::timeout;

use super::super::connection;
use super::super::ctx::Ctx;
use super::super::intake::{self, Asked};
use super::super::wire::Wire;
use super::super::{Gateway, headers};
use super::attempt::Answer;
use super::respond::{self, Broken, ClientLeft, Receiver};
use crate::outcome::Outcome;

/// What a client sends before it has its answer is kept up to this size, in bytes. Then nothing more is read, and that it
/// has left shows only when a write fails.
const EARLY_MAX: usize = 64 * 1024;

/// A size in hexadecimal and the end of its line, in bytes.
const SIZE_LINE_MAX: usize = 2 * size_of::<usize>() + 2;

/// One response on its way, from after its first bytes to its end.
pub struct Rest {
    chunks: Chunks,
    ctx: Ctx,
    answer: Answer,
    gateway: Gateway,
    asked: Asked,
    outcome: Outcome,
    /// The kind of connection to the node, in Pingora's pool.
    reuse_hash: u64,
}

/// The client's connection, in the chunked transfer coding.
struct Chunks {
    wire: Wire,
    /// `client.send_timeout`.
    limit: Duration,
    /// Bytes of body that the client has got, without the coding.
    sent: u64,
}

/// The response goes on without the session, if it can: what is left is a chunked body for an HTTP/1.1 client that no
/// other node will continue. If it cannot, the answer comes back.
pub fn hand_over(
    gateway: &Gateway,
    session: &Session,
    ctx: &mut Ctx,
    answer: Answer,
    outcome: Outcome,
    reuse_hash: u64,
) -> Option<Answer> {
    let is_chunked = session.response_written().is_some_and(|head| {
        head.headers.get(TRANSFER_ENCODING).is_some_and(|coding| coding == headers::CHUNKED)
    });
    if answer.ended || !is_chunked || ctx.story.is_some() {
        return Some(answer);
    }
    let Some(wire) = connection::take_wire() else { return Some(answer) };
    let chunks = Chunks {
        wire,
        limit: ctx.fleet.config.server.client.send_timeout,
        sent: session.body_bytes_sent() as u64,
    };
    let asked = intake::asked(session);
    let handed_over = Ctx::handed_over(ctx.fleet.clone());
    let ctx = std::mem::replace(ctx, handed_over);
    let gateway = gateway.clone();
    connection::leave(Box::new(Rest { chunks, ctx, answer, gateway, asked, outcome, reuse_hash }));
    None
}

impl Rest {
    /// Relays it. Gives the connection back if the response is whole and another request may come on it.
    pub async fn relay(mut self: Box<Self>) -> Option<Wire> {
        let Self { chunks, ctx, answer, outcome, .. } = &mut *self;
        log::debug!("request {}: its response goes on without a session", ctx.request_id);
        let passed = respond::pass_rest(chunks, ctx, answer).await;
        let is_whole = passed.is_ok();
        match passed {
            Ok(()) => ctx.settle(*outcome, Instant::now()),
            Err(Broken { outcome: Outcome::ClientGone, .. }) => {
                ctx.client_gone = true;
                ctx.settle(Outcome::ClientGone, Instant::now());
            }
            Err(Broken { outcome, farewell, .. }) => {
                ctx.broke_off = true;
                ctx.settle(outcome, Instant::now());
                let refused = ctx.refused;
                super::not_resumed(ctx, refused);
                if !farewell.is_empty() && chunks.write(farewell, false).await.is_err() {
                    ctx.client_gone = true;
                }
            }
        }
        let Self { chunks, mut ctx, answer, gateway, asked, reuse_hash, .. } = *self;
        if let Some(member) = ctx.member.as_ref().filter(|_| is_whole) {
            respond::release(&gateway, member, reuse_hash, answer.node);
        }
        gateway.finish(asked, chunks.sent, &mut ctx);
        is_whole.then_some(chunks.wire)
    }
}

impl Receiver for Chunks {
    async fn write(&mut self, chunk: Bytes, ended: bool) -> Result<(), ClientLeft> {
        let mut room = [0; SIZE_LINE_MAX];
        let (line, line_end): (&[u8], &[u8]) =
            if chunk.is_empty() { (b"", b"") } else { (size_line(chunk.len(), &mut room), b"\r\n") };
        let last: &[u8] = if ended { b"0\r\n\r\n" } else { b"" };
        let mut parts = Some([line, &chunk, line_end, last]);
        let mut flushed = pin!(poll_fn(|cx| {
            if let Some(parts) = parts.take() {
                self.wire.send(cx, parts)?;
            }
            self.wire.poll_flush(cx)
        }));
        // most writes are taken at once: no timer for those
        let written = match poll_fn(|cx| Poll::Ready(flushed.as_mut().poll(cx))).await {
            Poll::Ready(flushed) => flushed.is_ok(),
            Poll::Pending => matches!(timeout(self.limit, flushed).await, Ok(Ok(()))),
        };
        self.sent += if written { chunk.len() as u64 } else { 0 };
        if written { Ok(()) } else { Err(ClientLeft) }
    }

    async fn gone(&mut self) {
        poll_fn(|cx| {
            while self.wire.unread() < EARLY_MAX {
                if ready!(self.wire.poll_peek(cx)).is_err() {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
        .await;
    }
}

/// The line before a chunk of this size, at the end of `room`.
fn size_line(size: usize, room: &mut [u8; SIZE_LINE_MAX]) -> &[u8] {
    let mut at = SIZE_LINE_MAX - 2;
    room[at..].copy_from_slice(b"\r\n");
    let mut left = size;
    while at > 0 {
        at -= 1;
        room[at] = b"0123456789ABCDEF"[left % 16];
        left /= 16;
        if left == 0 {
            break;
        }
    }
    &room[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_written_in_hexadecimal() {
        for size in [0, 1, 9, 10, 15, 16, 255, 256, 65_536, usize::MAX] {
            let mut room = [0; SIZE_LINE_MAX];
            assert_eq!(size_line(size, &mut room), format!("{size:X}\r\n").as_bytes());
        }
    }
}
