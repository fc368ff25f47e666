//! The chunked transfer coding (RFC 9112 section 7.1), taken off as the bytes come.

use bytes::{Buf, Bytes};

use super::joined::Joined;

/// Longest line with a chunk's size and its extensions, and longest trailer section; in bytes.
const LINE_MAX: usize = 8 * 1024;

/// It is not what the coding demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Where in the coding the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    Data(u64),
    /// The line end after a chunk's data.
    DataEnd,
    /// How many bytes they may still have.
    Trailers(usize),
    End,
}

/// Takes the coding off.
#[derive(Debug)]
pub struct Chunked {
    at: At,
}

impl Default for Chunked {
    fn default() -> Self {
        Self { at: At::Size }
    }
}

impl Chunked {
    pub fn is_done(&self) -> bool {
        self.at == At::End
    }

    /// The data in these bytes. What cannot be judged yet stays in `input`, and is to be there again with more behind it.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Bytes, Malformed> {
        let mut data = Joined::default();
        while let Some(more) = self.step(input)? {
            data.push(more);
        }
        Ok(data.into_bytes())
    }

    /// One step on; `None`: more bytes are needed, or it is the end.
    fn step(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        match self.at {
            At::End => return Ok(None),
            At::Size => {
                // httparse takes a line without any digit for a 0, and with it a broken body for a whole one
                if input.first().is_some_and(|digit| !digit.is_ascii_hexdigit()) {
                    return Err(Malformed);
                }
                let (length, size) = match httparse::parse_chunk_size(input) {
                    Ok(httparse::Status::Complete(found)) => found,
                    Ok(httparse::Status::Partial) if input.len() <= LINE_MAX => return Ok(None),
                    _ => return Err(Malformed),
                };
                input.advance(length);
                self.at = if size == 0 { At::Trailers(LINE_MAX) } else { At::Data(size) };
            }
            At::Data(left) => {
                if input.is_empty() {
                    return Ok(None);
                }
                let here = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                let data = input.split_to(here);
                let left = left - here as u64;
                self.at = if left == 0 { At::DataEnd } else { At::Data(left) };
                return Ok(Some(data));
            }
            At::DataEnd => match &input[..] {
                [b'\r', b'\n', ..] => {
                    input.advance(2);
                    self.at = At::Size;
                }
                [] | [b'\r'] => return Ok(None),
                _ => return Err(Malformed),
            },
            // trailers are dropped: a client that did not ask for them need not get them (RFC 9110 section 6.5.1)
            At::Trailers(left) => match memchr::memchr(b'\n', input) {
                Some(end) if end < left => {
                    let line = input.split_to(end + 1);
                    let is_last = line.trim_ascii().is_empty();
                    self.at = if is_last { At::End } else { At::Trailers(left - line.len()) };
                }
                None if input.len() < left => return Ok(None),
                _ => return Err(Malformed),
            },
        }
        Ok(Some(Bytes::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All data, and whether it came to the end; the bytes in pieces, as they might arrive.
    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), Malformed> {
        let mut chunked = Chunked::default();
        let (mut out, mut rest) = (Vec::new(), Bytes::new());
        for piece in pieces {
            rest = Bytes::from([&rest[..], piece].concat());
            out.extend_from_slice(&chunked.decode(&mut rest)?);
        }
        Ok((out, chunked.is_done(), rest.len()))
    }

    #[test]
    fn what_is_chunked_well() {
        let table: [(&[u8], &[u8], bool, usize); 7] = [
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello", true, 0),
            (b"5;a=\"b\"\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!", true, 0),
            (b"A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", b"0123456789", true, 0),
            (b"0\r\n\r\nmore", b"", true, 4),
            (b"5\r\nhel", b"hel", false, 0),
            (b"5\r\nhello\r\n", b"hello", false, 0),
            (b"5\r\nhello\r\n0\r\n", b"hello", false, 0),
        ];
        for (wire, data, done, left) in table {
            assert_eq!(decode(&[wire]), Ok((data.to_vec(), done, left)), "{}", wire.escape_ascii());
        }
    }

    #[test]
    fn what_is_not() {
        let long = [b"5;".as_slice(), &b"x".repeat(LINE_MAX)].concat();
        let trailers = [b"0\r\n".as_slice(), &b"T: 1\r\n".repeat(LINE_MAX / 6 + 1)].concat();
        let table: [&[u8]; 9] = [
            &trailers,
            b";a\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"5\r\nhelloX",
            b"5\r\nhello\n0",
            b"10000000000000000\r\n",
            b"\r\n",
            &long,
        ];
        for wire in table {
            assert_eq!(decode(&[wire]), Err(Malformed), "{}", wire.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_data(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in proptest::collection::vec(0_usize..200, 0..10),
        ) {
            let mut wire: Vec<u8> = Vec::new();
            for chunk in &chunks {
                wire.extend(format!("{:x};e\r\n", chunk.len()).bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
            }
            wire.extend(b"0\r\nT: 1\r\n\r\n");
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(wire.len())).chain([0, wire.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(&pieces), Ok((chunks.concat(), true, 0)));
        }
    }
}
