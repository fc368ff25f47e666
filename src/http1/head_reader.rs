//! Reads a request's head from bytes as they come, and looks at each of them a few times at the most.

use bytes::{Buf, BytesMut};

use super::line;
use super::request::{HeadLimits, Rejection, RequestHead, read_head};

/// The progress with one head.
#[derive(Debug, Default)]
pub(crate) struct HeadReader {
    /// So many bytes have been looked at.
    looked: usize,
}

impl HeadReader {
    /// `unread`: all bytes that have come and were not read; empty lines before the request are dropped. `None`: more are
    /// needed.
    pub(crate) fn read(
        &mut self,
        unread: &mut BytesMut,
        limits: HeadLimits,
    ) -> Result<Option<RequestHead>, Rejection> {
        while unread.starts_with(b"\r\n") {
            unread.advance(2);
            self.looked = self.looked.saturating_sub(2);
        }
        // until a line ends, or something comes that no line has, there is nothing to judge
        let has_news = line::control(&unread[self.looked..]).is_some() || unread.len() > limits.bytes;
        self.looked = unread.len();
        if has_news { read_head(unread, limits) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 40, fields: 3 };

    /// The verdict on bytes that come one by one, and how many had come by then.
    fn one_by_one(wire: &[u8]) -> (Option<Result<usize, u16>>, usize) {
        let (mut reader, mut unread) = (HeadReader::default(), BytesMut::new());
        for (at, byte) in wire.iter().enumerate() {
            unread.extend_from_slice(&[*byte]);
            match reader.read(&mut unread, LIMITS) {
                Ok(None) => {}
                Ok(Some(head)) => return (Some(Ok(head.length)), at + 1),
                Err(refusal) => return (Some(Err(refusal.status)), at + 1),
            }
        }
        (None, wire.len())
    }

    #[test]
    fn a_head_is_judged_as_soon_as_it_can_be() {
        type Case = (&'static [u8], Option<Result<usize, u16>>, usize);
        let table: [Case; 11] = [
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nmore", Some(Ok(27)), 27),
            (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(Ok(27)), 31),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r", None, 26),
            (b"GET / HTTP/1.1\nHost: a\r\n\r\n", Some(Err(400)), 15),
            (b"GET / HTTP/1.1\r\r\n", Some(Err(400)), 16),
            (b"what is this\r\n", Some(Err(400)), 14),
            (b"\x16\x03\x01", Some(Err(400)), 1),
            (b"GET / HTTP/1.1\r\nno colon\r\n", Some(Err(400)), 26),
            (b"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Some(Err(431)), 41),
            (b"GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\nd:\r\n", Some(Err(431)), 32),
            (b"\r\n\r\n", None, 4),
        ];
        for (wire, verdict, came) in table {
            assert_eq!(one_by_one(wire), (verdict, came), "{}", wire.escape_ascii());
        }
    }
}
