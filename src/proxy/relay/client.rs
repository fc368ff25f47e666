//! The connection of an HTTP/1.1 client, written to without a session.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;

use super::super::wire::Wire;
use super::head::Coding;
use super::limit::within;
use super::passing::{ClientLeft, Receiver};

/// A size in hexadecimal and the end of its line, in bytes.
const SIZE_LINE_MAX: usize = 2 * size_of::<usize>() + 2;

pub struct Client {
    wire: Wire,
    coding: Coding,
    /// `client.send_timeout`.
    limit: Duration,
    /// Bytes of body that it has got, without the coding.
    sent: u64,
}

impl Client {
    pub fn new(wire: Wire, coding: Coding, limit: Duration) -> Self {
        Self { wire, coding, limit, sent: 0 }
    }

    pub fn sent(&self) -> u64 {
        self.sent
    }

    pub fn into_wire(self) -> Wire {
        self.wire
    }

    /// Writes the head, or nothing in its place, and a piece of the body, which may be empty, in one go.
    pub async fn send(&mut self, head: &[u8], chunk: &Bytes, ended: bool) -> Result<(), ClientLeft> {
        let mut room = [0; SIZE_LINE_MAX];
        let is_chunk = self.coding == Coding::Chunked && !chunk.is_empty();
        let (line, line_end): (&[u8], &[u8]) =
            if is_chunk { (size_line(chunk.len(), &mut room), b"\r\n") } else { (b"", b"") };
        let last: &[u8] = if self.coding == Coding::Chunked && ended { b"0\r\n\r\n" } else { b"" };
        let mut parts = Some([head, line, chunk, line_end, last]);
        let mut flushed = pin!(poll_fn(|cx| {
            if let Some(parts) = parts.take() {
                self.wire.send(cx, parts)?;
            }
            self.wire.poll_flush(cx)
        }));
        let written = matches!(within(self.limit, flushed.as_mut()).await, Some(Ok(())));
        self.sent += if written { chunk.len() as u64 } else { 0 };
        if written { Ok(()) } else { Err(ClientLeft) }
    }
}

impl Receiver for Client {
    async fn write(&mut self, chunk: Bytes, ended: bool) -> Result<(), ClientLeft> {
        self.send(b"", &chunk, ended).await
    }

    async fn gone(&mut self) {
        poll_fn(|cx| self.wire.poll_gone(cx)).await;
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
