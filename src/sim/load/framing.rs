//! Finding the end of a response body: by length, by chunks, or with the connection.

use httparse::{EMPTY_HEADER, ParserConfig, Status};

/// Most header fields of a response.
const HEADERS_MAX: usize = 64;

/// The bytes are not valid HTTP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A response head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub status: u16,
    pub body: Body,
    pub is_stream: bool,
    pub closes: bool,
}

/// The rest of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunk(Chunk),
    /// Everything until the connection ends.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    Size,
    Data(u64),
    /// The line end after the data.
    DataEnd,
    Trailer,
    Ended,
}

/// The response head and its length in bytes, if it is complete.
pub(super) fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Malformed> {
    let mut fields = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = ParserConfig::default().parse_response(&mut response, bytes).map_err(|_| Malformed)?;
    let Status::Complete(length) = parsed else { return Ok(None) };
    let status = response.code.ok_or(Malformed)?;
    let mut head = Head { status, body: Body::Rest, is_stream: false, closes: response.version == Some(0) };
    for field in response.headers.iter() {
        let is = |text: &str| field.value.eq_ignore_ascii_case(text.as_bytes());
        if field.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(field.value).map_err(|_| Malformed)?;
            head.body = Body::Length(text.parse().map_err(|_| Malformed)?);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") && is("chunked") {
            head.body = Body::Chunk(Chunk::Size);
        } else if field.name.eq_ignore_ascii_case("content-type") {
            head.is_stream = field.value.starts_with(b"text/event-stream");
        } else if field.name.eq_ignore_ascii_case("connection") {
            head.closes |= is("close");
        }
    }
    if matches!(status, 204 | 304) {
        head.body = Body::Length(0);
    }
    head.closes |= head.body == Body::Rest;
    Ok(Some((head, length)))
}

impl Body {
    pub(super) fn has_ended(self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunk(Chunk::Ended))
    }

    /// Consumes as much input as possible, passes the content to `data`, and returns the number of bytes consumed.
    pub(super) fn take(&mut self, input: &[u8], mut data: impl FnMut(&[u8])) -> Result<usize, Malformed> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            if rest.is_empty() || self.has_ended() {
                return Ok(used);
            }
            used += match self {
                Self::Rest => {
                    data(rest);
                    rest.len()
                }
                Self::Length(left) => content(left, rest, &mut data),
                Self::Chunk(chunk) => match chunk.take(rest, &mut data)? {
                    0 => return Ok(used),
                    step => step,
                },
            };
        }
    }
}

impl Chunk {
    /// Consumes one piece of input; 0 means that more input is needed.
    fn take(&mut self, input: &[u8], data: &mut impl FnMut(&[u8])) -> Result<usize, Malformed> {
        match self {
            Self::Size => match httparse::parse_chunk_size(input).map_err(|_| Malformed)? {
                Status::Complete((length, size)) => {
                    *self = if size == 0 { Self::Trailer } else { Self::Data(size) };
                    Ok(length)
                }
                Status::Partial => Ok(0),
            },
            Self::Data(left) => {
                let length = content(left, input, data);
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                Ok(length)
            }
            Self::DataEnd if input.len() < 2 => Ok(0),
            Self::DataEnd if input.starts_with(b"\r\n") => {
                *self = Self::Size;
                Ok(2)
            }
            Self::DataEnd => Err(Malformed),
            Self::Trailer => {
                let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
                if matches!(&input[..end], b"" | b"\r") {
                    *self = Self::Ended;
                }
                Ok(end + 1)
            }
            Self::Ended => Ok(0),
        }
    }
}

/// Takes up to `left` bytes.
fn content(left: &mut u64, input: &[u8], data: &mut impl FnMut(&[u8])) -> usize {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    data(&input[..length]);
    *left -= length as u64;
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n3";
        let wanted = Head { status: 200, body: Body::Chunk(Chunk::Size), is_stream: true, closes: false };
        assert_eq!(head(text), Ok(Some((wanted, text.len() - 1))));
        assert_eq!(head(&text[..40]), Ok(None));
        assert_eq!(head(b"nonsense\r\n\r\n"), Err(Malformed));
        let close =
            head(b"HTTP/1.1 503 No\r\ncontent-length: 7\r\nconnection: Close\r\n\r\n").unwrap().unwrap().0;
        assert_eq!((close.status, close.body, close.closes), (503, Body::Length(7), true));
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").unwrap().unwrap().0.closes);
    }

    #[test]
    fn chunks_however_they_are_cut() {
        let text = b"4\r\nabcd\r\n1;x=y\r\ne\r\n0\r\nTrailer: 1\r\n\r\nnext";
        for step in 1..=text.len() {
            let (mut body, mut said, mut buffer) = (Body::Chunk(Chunk::Size), Vec::new(), Vec::new());
            for piece in text.chunks(step) {
                buffer.extend_from_slice(piece);
                let used = body.take(&buffer, |data| said.extend_from_slice(data)).unwrap();
                buffer.drain(..used);
            }
            assert_eq!((said.as_slice(), body.has_ended()), (&b"abcde"[..], true), "{step}");
            assert_eq!(buffer, b"next", "{step}");
        }
        assert_eq!(Body::Chunk(Chunk::DataEnd).take(b"xx", |_| ()), Err(Malformed));
    }
}
