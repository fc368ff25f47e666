//! The chunked transfer coding (RFC 9112 section 7.1): a decoder for bytes as they arrive, and the encoder.
//!
//! The decoder is as strict as the grammar: if two parsers find the end of a body in different places, they
//! read one connection as two different sequences of messages.

use bytes::{Buf, Bytes};

use super::{Joined, Malformed, line};

/// The longest line with a chunk's size and extensions, and the longest trailer section, in bytes.
const LINE_MAX: usize = 8 * 1024;
/// The most digits of a size, as many as 64 bits hold (RFC 9112 section 7.1 demands that a recipient guards
/// against overflow).
const DIGITS_MAX: usize = 16;

/// The position of the next byte in the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    Data(u64),
    /// The line end after a chunk's data.
    DataEnd,
    /// The trailer section, and the bytes that it may still have.
    Trailers(usize),
    End,
}

/// The next bytes, and their number.
enum Part {
    Data(usize),
    /// Sizes, line ends and trailers.
    Coding(usize),
}

/// The decoder.
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

    /// Takes the data from these bytes. Bytes that cannot be judged yet stay in `input`; pass them again with
    /// more bytes appended. Data before a fault is returned first; the faulty bytes stay in `input` for the
    /// next call.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Bytes, Malformed> {
        let mut data = Joined::default();
        loop {
            match self.step(input) {
                Ok(Some(Part::Data(length))) => data.push(input.split_to(length)),
                Ok(Some(Part::Coding(length))) => input.advance(length),
                Err(Malformed) if data.is_empty() => return Err(Malformed),
                Ok(None) | Err(Malformed) => return Ok(data.into_bytes()),
            }
        }
    }

    /// The number of bytes, data and coding, that the coding allows here. It stops before bytes that cannot be
    /// judged yet, before a fault, which is an error in the next call, and at the end.
    pub fn pass(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let mut passed = 0;
        loop {
            match self.step(&input[passed..]) {
                Ok(Some(Part::Data(length) | Part::Coding(length))) => passed += length,
                Err(Malformed) if passed == 0 => return Err(Malformed),
                Ok(None) | Err(Malformed) => return Ok(passed),
            }
        }
    }

    /// Advances by one step. `None`: more bytes are needed, or the body has ended. A fault changes nothing.
    fn step(&mut self, input: &[u8]) -> Result<Option<Part>, Malformed> {
        let (part, next) = match self.at {
            At::End => return Ok(None),
            At::Size => {
                let Some((length, size)) = size(input)? else { return Ok(None) };
                (Part::Coding(length), if size == 0 { At::Trailers(LINE_MAX) } else { At::Data(size) })
            }
            At::Data(left) => {
                if input.is_empty() {
                    return Ok(None);
                }
                let here = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                let left = left - here as u64;
                (Part::Data(here), if left == 0 { At::DataEnd } else { At::Data(left) })
            }
            At::DataEnd => match input {
                [b'\r', b'\n', ..] => (Part::Coding(2), At::Size),
                [] | [b'\r'] => return Ok(None),
                _ => return Err(Malformed),
            },
            // trailers are dropped: a client that did not ask for them need not receive them (RFC 9110
            // section 6.5.1)
            At::Trailers(left) => {
                let Some(trailer) = up_to_line_end(input, left)? else { return Ok(None) };
                let length = trailer.len() + 2;
                let is_last = trailer.is_empty();
                if !is_last && (line::field(trailer).is_none() || line::control(trailer).is_some()) {
                    return Err(Malformed);
                }
                (Part::Coding(length), if is_last { At::End } else { At::Trailers(left - length) })
            }
        };
        self.at = next;
        Ok(Some(part))
    }
}

/// The length of a chunk-size line, and the size: `1*HEXDIG [ chunk-ext ] CRLF`. Extensions are ignored, so
/// only their end matters.
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
            // blanks may precede an extension, not replace it (RFC 9112 section 7.1.1)
            let extension = line::trim(&whole[digits..]);
            let is_one = extension.starts_with(b";") && line::control(extension).is_none();
            if is_one { Ok(Some((whole.len() + 2, size))) } else { Err(Malformed) }
        }
        _ => Err(Malformed),
    }
}

/// The bytes before the first CRLF, if line and CRLF have at most `max` bytes. A bare LF may end a line in a
/// head (RFC 9112 section 2.2), but not here.
fn up_to_line_end(input: &[u8], max: usize) -> Result<Option<&[u8]>, Malformed> {
    match memchr::memchr(b'\n', &input[..input.len().min(max)]) {
        Some(end) if end > 0 && input[end - 1] == b'\r' => Ok(Some(&input[..end - 1])),
        None if input.len() < max => Ok(None),
        _ => Err(Malformed),
    }
}

/// The length of the longest chunk-size line, in bytes.
pub const SIZE_LINE_MAX: usize = 2 * size_of::<usize>() + 2;

/// The last chunk, which ends a body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The line that precedes a chunk of this size, written at the end of `room`. CRLF must follow the data.
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
