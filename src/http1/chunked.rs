//! The chunked transfer coding (RFC 9112 section 7.1): taken off as the bytes come, and put on.
//!
//! As strict as its grammar: two parsers that find the end of a body in different places read one connection as two
//! different rows of messages.

use bytes::{Buf, Bytes};

use super::{Joined, Malformed, line};

/// Longest line with a chunk's size and its extensions, and longest trailer section; in bytes.
const LINE_MAX: usize = 8 * 1024;
/// Most digits of a size: more than fit into 64 bits (RFC 9112 section 7.1 demands that a recipient is ready for them).
const DIGITS_MAX: usize = 16;

/// Where in the coding the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    Data(u64),
    /// The line end after a chunk's data.
    DataEnd,
    /// The trailer section, and how many bytes it may still have.
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
    /// Data before a fault is given out first; the fault stays in `input` for the next call.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Bytes, Malformed> {
        let mut data = Joined::default();
        loop {
            match self.step(input) {
                Ok(Some(more)) => data.push(more),
                Err(Malformed) if data.is_empty() => return Err(Malformed),
                Ok(None) | Err(Malformed) => return Ok(data.into_bytes()),
            }
        }
    }

    /// One step on; `None`: more bytes are needed, or it is the end. A fault takes nothing from `input`.
    fn step(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        match self.at {
            At::End => return Ok(None),
            At::Size => {
                let Some((length, size)) = size(input)? else { return Ok(None) };
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
            At::Trailers(left) => {
                let Some(trailer) = up_to_line_end(input, left)? else { return Ok(None) };
                let length = trailer.len() + 2;
                let is_last = trailer.is_empty();
                if !is_last && (line::field(trailer).is_none() || line::control(trailer).is_some()) {
                    return Err(Malformed);
                }
                input.advance(length);
                self.at = if is_last { At::End } else { At::Trailers(left - length) };
            }
        }
        Ok(Some(Bytes::new()))
    }
}

/// The length of the line with a chunk's size, and that size: `1*HEXDIG [ chunk-ext ] CRLF`. Extensions are ignored,
/// so that only where they end matters.
fn size(input: &[u8]) -> Result<Option<(usize, u64)>, Malformed> {
    let mut size = 0_u64;
    let mut digits = 0;
    while let Some(digit) = input.get(digits).and_then(|byte| char::from(*byte).to_digit(16)) {
        if digits == DIGITS_MAX {
            return Err(Malformed);
        }
        size = size << 4 | u64::from(digit);
        digits += 1;
    }
    match &input[digits..] {
        [] => Ok(None),
        _ if digits == 0 => Err(Malformed),
        [b'\r', b'\n', ..] => Ok(Some((digits + 2, size))),
        [b'\r'] => Ok(None),
        [b';' | b' ' | b'\t', ..] => {
            let Some(whole) = up_to_line_end(input, LINE_MAX)? else { return Ok(None) };
            // blanks may stand before an extension, not in its place (RFC 9112 section 7.1.1)
            let extension = line::trim(&whole[digits..]);
            let is_one = extension.starts_with(b";") && line::control(extension).is_none();
            if is_one { Ok(Some((whole.len() + 2, size))) } else { Err(Malformed) }
        }
        _ => Err(Malformed),
    }
}

/// The bytes before the first line end, which is CRLF, if line and line end have at most `max` bytes. A recipient may
/// take a bare LF for a line end in a head (RFC 9112 section 2.2), not here.
fn up_to_line_end(input: &[u8], max: usize) -> Result<Option<&[u8]>, Malformed> {
    match memchr::memchr(b'\n', &input[..input.len().min(max)]) {
        Some(end) if end > 0 && input[end - 1] == b'\r' => Ok(Some(&input[..end - 1])),
        None if input.len() < max => Ok(None),
        _ => Err(Malformed),
    }
}

/// A size in hexadecimal and the end of its line, in bytes.
pub const SIZE_LINE_MAX: usize = 2 * size_of::<usize>() + 2;

/// The end of a body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The line before a chunk of this size, at the end of `room`. After the data comes CRLF.
pub fn size_line(size: usize, room: &mut [u8; SIZE_LINE_MAX]) -> &[u8] {
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
