//! The decoder of a message body: by length, chunked, or until close (RFC 9112 section 6.3).

use bytes::Bytes;

use super::{Chunked, Malformed};

/// The peer closed the connection before the end of the message (RFC 9112 section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

/// The framing of a body, and the position within it.
#[derive(Debug)]
pub enum Body {
    /// This many bytes are still to come.
    Length(u64),
    Chunked(Chunked),
    /// All bytes until the peer closes the connection.
    UntilClose,
    Done,
}

impl Body {
    /// The body has ended.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_done(),
            Self::UntilClose => false,
            Self::Done => true,
        }
    }

    /// Takes the data from these bytes. Bytes that cannot be judged yet, and any after the end, stay in
    /// `input`; pass them again with more bytes appended.
    pub fn take(&mut self, input: &mut Bytes) -> Result<Bytes, Malformed> {
        match self {
            Self::Length(left) => {
                let here = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= here as u64;
                Ok(input.split_to(here))
            }
            Self::Chunked(chunked) => chunked.decode(input),
            Self::UntilClose => Ok(std::mem::take(input)),
            Self::Done => Ok(Bytes::new()),
        }
    }

    /// The number of these bytes that belong to the body, its coding included; see [`Chunked::pass`].
    pub fn pass(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        match self {
            Self::Length(left) => {
                let here = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= here as u64;
                Ok(here)
            }
            Self::Chunked(chunked) => chunked.pass(input),
            Self::UntilClose => Ok(input.len()),
            Self::Done => Ok(0),
        }
    }

    /// The peer has closed the connection, and everything it sent has been taken.
    pub fn closed(&mut self) -> Result<(), Truncated> {
        if let Self::UntilClose = self {
            *self = Self::Done;
        }
        if self.is_done() { Ok(()) } else { Err(Truncated) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_an_end() {
        type Case = (fn() -> Body, &'static [u8], &'static [u8], usize, bool, Result<(), Truncated>);
        let table: [Case; 9] = [
            (|| Body::Length(5), b"hello!", b"hello", 1, true, Ok(())),
            (|| Body::Length(5), b"hell", b"hell", 0, false, Err(Truncated)),
            (|| Body::Length(0), b"x", b"", 1, true, Ok(())),
            (|| Body::Length(u64::MAX), b"x", b"x", 0, false, Err(Truncated)),
            (|| Body::Chunked(Chunked::default()), b"1\r\nh\r\n0\r\n\r\nx", b"h", 1, true, Ok(())),
            (|| Body::Chunked(Chunked::default()), b"1\r\nh\r\n0\r\n", b"h", 0, false, Err(Truncated)),
            (|| Body::UntilClose, b"hello", b"hello", 0, false, Ok(())),
            (|| Body::UntilClose, b"", b"", 0, false, Ok(())),
            (|| Body::Done, b"x", b"", 1, true, Ok(())),
        ];
        for (body, wire, data, left, done, closed) in table {
            let (mut body, mut input) = (body(), Bytes::from_static(wire));
            let took = body.take(&mut input).unwrap();
            assert_eq!((&*took, input.len(), body.is_done()), (data, left, done), "{}", wire.escape_ascii());
            assert_eq!((body.closed(), body.is_done()), (closed, closed.is_ok()), "{}", wire.escape_ascii());
        }
    }
}
