//! Parses the head of a response, and derives the framing of its body (RFC 9112 sections 4 to 6).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::StatusCode;

use super::fields::Place;
use super::{Body, Chunked, Fields, Malformed, line};

/// The largest head, in bytes.
pub const HEAD_MAX: usize = 1024 * 1024;
/// The most fields in a head.
const FIELDS_MAX: usize = 256;
/// Longest name of a field, in bytes: no longer one can be told to an HTTP/2 client.
const NAME_MAX: usize = 65_535;

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// At least 100.
    pub status: u16,
    pub is_http10: bool,
    /// The reason phrase as received; empty if there was none, or if it is not ASCII.
    pub reason: Bytes,
    pub fields: Fields,
}

/// The framing of a response's body.
#[derive(Debug)]
pub struct Framing {
    pub body: Body,
    /// The connection may serve another request after this response.
    pub keeps_alive: bool,
}

/// The end of a response is in doubt: a bad or a repeated `Content-Length`, one beside a coding, or any coding but one
/// `chunked`. Whoever believes it may read another message than others do (RFC 9112 section 6.3), so that nginx, from 1.23 on, does
/// not either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFraming;

/// The framing that the fields of a response announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    Length(u64),
    Chunked,
    /// It ends with its connection.
    Nothing,
}

/// Parses the head at the start of `input`, possibly an informational one, and removes its bytes. `None`:
/// more bytes are needed. A bare LF may end a line (RFC 9112 section 2.2 allows it), because whatever is
/// forwarded is written anew.
pub fn parse_response(input: &mut Bytes) -> Result<Option<ResponseHead>, Malformed> {
    if input.is_empty() {
        return Ok(None);
    }
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let length = match parser.parse_response_with_uninit_headers(&mut response, input, &mut fields) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX => length,
        Ok(httparse::Status::Partial) if input.len() < HEAD_MAX => return Ok(None),
        _ => return Err(Malformed),
    };
    if length > NAME_MAX && response.headers.iter().any(|field| field.name.len() > NAME_MAX) {
        return Err(Malformed);
    }
    let status = StatusCode::from_u16(response.code.unwrap_or(0)).map_err(|_| Malformed)?;
    let reason = response.reason.unwrap_or_default();
    let reason = match status.canonical_reason() {
        // most reasons are the usual one, and need no allocation
        Some(usual) if usual == reason => Bytes::from_static(usual.as_bytes()),
        _ => Bytes::copy_from_slice(reason.as_bytes()),
    };
    let is_http10 = response.version == Some(0);
    let places = response.headers.iter();
    let places = places.map(|field| Place::of(field.name.as_bytes(), field.value, input)).collect();
    let fields = Fields::new(input.split_to(length), places);
    Ok(Some(ResponseHead { status: status.as_u16(), is_http10, reason, fields }))
}

impl ResponseHead {
    /// The framing of the body (RFC 9112 section 6.3), and whether the connection persists after it (section
    /// 9.3).
    pub fn framing(&self, request_was_head: bool) -> Result<Framing, BadFraming> {
        let is_empty = request_was_head || self.status < 200 || matches!(self.status, 204 | 304);
        let announced = announced(self.fields.iter())?;
        let body = match announced {
            _ if is_empty => Body::Done,
            Announced::Chunked => Body::Chunked(Chunked::default()),
            Announced::Length(length) => Body::Length(length),
            Announced::Nothing => Body::UntilClose,
        };
        let says = |token| self.fields.has_token("connection", token);
        // a coding in HTTP/1.0 is an error, and the connection is not reused after it (RFC 9112 section 6.1)
        let is_kept_by_default = !self.is_http10 || announced != Announced::Chunked && says("keep-alive");
        let keeps_alive = !matches!(body, Body::UntilClose) && is_kept_by_default && !says("close");
        Ok(Framing { body, keeps_alive })
    }

    /// Announces another length of the body, or none.
    pub fn set_length(&mut self, length: Option<usize>) {
        self.fields.replace("Content-Length", length.map(|length| length.to_string()).as_deref());
    }

    /// The announced length, if [`Self::framing`] has found no fault with it.
    pub fn content_length(&self) -> Option<u64> {
        self.fields.get("content-length").and_then(line::number)
    }
}

/// The framing that these fields of a response announce.
pub fn announced<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<Announced, BadFraming> {
    let mut found = Announced::Nothing;
    for (name, value) in fields {
        let next = if name.eq_ignore_ascii_case(b"content-length") {
            Announced::Length(line::number(value).ok_or(BadFraming)?)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") && is_chunked(value) {
            Announced::Chunked
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(BadFraming);
        } else {
            continue;
        };
        if std::mem::replace(&mut found, next) != Announced::Nothing {
            return Err(BadFraming);
        }
    }
    Ok(found)
}

fn is_chunked(codings: &[u8]) -> bool {
    codings.trim_ascii().eq_ignore_ascii_case(b"chunked")
}
