//! Protocol detection: HTTP/1.1 or HTTP/2, told from the first bytes of a connection without TLS.
//!
//! Pingora waits for the 24 bytes of the HTTP/2 preface (RFC 9113 section 3.4) before it looks, and waits for ever: a
//! client that sends nothing would stay, and `GET / HTTP/1.0` has only 18 bytes. Here the first byte that differs
//! decides, and the wait has a deadline.

use std::future::poll_fn;

use super::lent::Connection;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// Looks at the first bytes, which stay unread. `None`: the client left.
pub(crate) async fn detect(slot: &Connection) -> Option<Speaks> {
    loop {
        if let Some(speaks) = poll_fn(|cx| slot.poll(|wire| wire.poll_peek(cx).map_ok(judge))).await.ok()? {
            return Some(speaks);
        }
    }
}

/// `None`: not decided yet.
fn judge(start: &[u8]) -> Option<Speaks> {
    if start.starts_with(PREFACE) {
        Some(Speaks::Http2)
    } else if PREFACE.starts_with(start) {
        None
    } else {
        Some(Speaks::Http1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_decides() {
        assert_eq!(judge(b"G"), Some(Speaks::Http1));
        assert_eq!(judge(b"P"), None);
        assert_eq!(judge(b"PO"), Some(Speaks::Http1));
        assert_eq!(judge(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"), None);
        assert_eq!(judge(PREFACE), Some(Speaks::Http2));
        assert_eq!(judge(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12"), Some(Speaks::Http2));
    }
}
