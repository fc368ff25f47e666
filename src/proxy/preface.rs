//! HTTP/1.1 or HTTP/2, from the first bytes of a connection without TLS.
//!
//! Pingora waits for the 24 bytes of the HTTP/2 preface (RFC 9113 section 3.4) before it looks, and waits for ever: a
//! client that sends nothing would stay, and `GET / HTTP/1.0` has only 18 bytes. Here the first byte that differs
//! decides, and the wait has a deadline.

use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as Tcp;
use tokio::io::AsyncReadExt;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Http1,
    Http2,
}

/// Looks at the first bytes and puts them back. `None`: the client left.
pub async fn detect(stream: Stream) -> Option<(Stream, Speaks)> {
    if !stream.as_any().is::<Tcp>() {
        // behind TLS the protocol was agreed on there
        return Some((stream, Speaks::Http1));
    }
    let mut tcp: Box<Tcp> = stream.into_any().downcast().ok()?;
    let mut start = [0; PREFACE.len()];
    let mut read = 0;
    let mut verdict = None;
    while verdict.is_none() {
        let more = tcp.read(&mut start[read..]).await.ok().filter(|more| *more > 0)?;
        read += more;
        verdict = judge(&start[..read]);
    }
    tcp.rewind(&start[..read]);
    Some((tcp, verdict?))
}

/// `None`: not decided yet.
fn judge(start: &[u8]) -> Option<Speaks> {
    if start == PREFACE {
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
    }
}
