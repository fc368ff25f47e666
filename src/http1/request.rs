//! Checks request heads, and refuses any that two parsers could read differently.
//!
//! There is one framing rule for everyone (RFC 9112 sections 2.2, 3, 5 and 6). One pass over the bytes,
//! without an allocation.

use super::host::is_host;
use super::{Body, Chunked, line};

/// The reason for refusing a request: a status code, and a message for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub status: u16,
    pub message: &'static str,
}

const fn bad(message: &'static str) -> Rejection {
    Rejection { status: 400, message }
}

const BARE_LINE_END: Rejection = bad("a line does not end with CRLF");
const NO_REQUEST_LINE: Rejection = bad("the request line is not a method, a target and a version of HTTP/1");
const TARGET_BYTES: Rejection = bad("the request target contains a space, a line end or a zero byte");
const TARGET_FORM: Rejection = bad("the request target is neither a path nor a URI");
const NO_FIELD: Rejection = bad("a header line is not a name, a colon and a value");
const CONTROL: Rejection = bad("the request header contains a control character");
const NO_END: Rejection = bad("the request header is incomplete");
const NO_HOST: Rejection = bad("the request has no Host");
pub(crate) const BAD_HOST: Rejection = bad("the Host is not the name or address of a host");
const TWO_HOSTS: Rejection = bad("the request has more than one Host");
const BAD_LENGTH: Rejection = bad("the Content-Length is not a number");
const TWO_LENGTHS: Rejection = bad("the request has more than one Content-Length");
const TWO_FRAMINGS: Rejection = bad("the request has both Content-Length and Transfer-Encoding");
const OLD_CODING: Rejection = bad("Transfer-Encoding is not allowed in HTTP/1.0");
const CODING: Rejection = bad("the Transfer-Encoding is not chunked");
const UNKNOWN_CODING: Rejection =
    Rejection { status: 501, message: "the Transfer-Encoding lists a coding other than chunked" };

/// The framing of a request's body (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFraming {
    /// There is none.
    None,
    Length(u64),
    Chunked,
}

impl RequestFraming {
    /// The decoder for this framing.
    pub fn body(self) -> Body {
        match self {
            Self::None => Body::Done,
            Self::Length(length) => Body::Length(length),
            Self::Chunked => Body::Chunked(Chunked::default()),
        }
    }
}

/// Checks a head. `raw` is all of it, up to and including the empty line that ends it; bytes after that do
/// not matter.
pub fn check_request(raw: &[u8]) -> Result<RequestFraming, Rejection> {
    let mut lines = Lines { rest: without_empty_lines(raw) };
    let is_old = check_request_line(lines.next()?)?;
    let mut seen = Seen::default();
    loop {
        let line = lines.next()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line::field(line).ok_or(NO_FIELD)?;
        seen.note(name, value)?;
    }
    seen.framing(is_old)
}

/// The fields of a head that has passed [`check_request`].
pub fn request_fields(raw: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    let mut lines = Lines { rest: without_empty_lines(raw) };
    let _request_line = lines.next();
    lines.map_while(line::field)
}

/// Skips empty lines before a request, as a server should (RFC 9112 section 2.2).
fn without_empty_lines(mut raw: &[u8]) -> &[u8] {
    while let [b'\r', b'\n', rest @ ..] = raw {
        raw = rest;
    }
    raw
}

#[derive(Clone)]
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    /// The next line, without its end, which is CRLF: a bare CR or LF is a line end for some parsers and not for others
    /// (RFC 9112 section 2.2). There is no other control character before it (RFC 9110 section 5.5).
    #[inline(always)]
    fn next(&mut self) -> Result<&'a [u8], Rejection> {
        let end = line::control(self.rest).ok_or(NO_END)?;
        let (line, rest) = self.rest.split_at(end);
        match rest {
            [b'\r', b'\n', rest @ ..] => self.rest = rest,
            [b'\r' | b'\n', ..] => return Err(BARE_LINE_END),
            _ => return Err(CONTROL),
        }
        Ok(line)
    }
}

impl<'a> Lines<'a> {
    fn map_while<T>(self, read: impl Fn(&'a [u8]) -> Option<T> + Clone) -> impl Iterator<Item = T> + Clone {
        let mut lines = self;
        std::iter::from_fn(move || lines.next().ok().and_then(&read))
    }
}

/// Checks the request line, `method SP request-target SP HTTP-version` with single spaces (RFC 9112 section
/// 3). Returns whether the version is 1.0.
fn check_request_line(line: &[u8]) -> Result<bool, Rejection> {
    let (method, rest) = line.split_at(line::token_length(line));
    let rest = rest.strip_prefix(b" ").filter(|_| !method.is_empty()).ok_or(NO_REQUEST_LINE)?;
    let (target, is_old) = match rest.split_at_checked(rest.len().wrapping_sub(b" HTTP/1.1".len())) {
        Some((target, b" HTTP/1.1")) => (target, false),
        Some((target, b" HTTP/1.0")) => (target, true),
        _ => return Err(NO_REQUEST_LINE),
    };
    if memchr::memchr2(b' ', b'\t', target).is_some() {
        return Err(TARGET_BYTES);
    }
    let fits = target.starts_with(b"/") || target == b"*" && method == b"OPTIONS" || is_whole_uri(target);
    if fits { Ok(is_old) } else { Err(TARGET_FORM) }
}

/// May allocate, because absolute URIs are rare.
fn is_whole_uri(target: &[u8]) -> bool {
    let begins =
        |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if !begins(b"http://") && !begins(b"https://") {
        return false;
    }
    let parsed = std::str::from_utf8(target).ok().and_then(|text| text.parse::<http::Uri>().ok());
    parsed.is_some_and(|uri| uri.authority().is_some() && uri.path().starts_with('/'))
}

/// The fields that determine the request's target and framing.
#[derive(Default)]
struct Seen<'a> {
    hosts: usize,
    /// With surrounding blanks, like `coding`.
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
}

impl<'a> Seen<'a> {
    fn note(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Rejection> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            4 if is("host") => {
                self.hosts += 1;
                if !is_host(line::trim(value)) {
                    return Err(BAD_HOST);
                }
            }
            14 if is("content-length") && self.length.replace(value).is_some() => return Err(TWO_LENGTHS),
            17 if is("transfer-encoding") => {
                // several lines form one list (RFC 9110 section 5.3), which is never exactly `chunked`
                if let Some(first) = self.coding.replace(value) {
                    return Err(refused_codings(first.split(is_comma).chain(value.split(is_comma))));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn framing(self, is_old: bool) -> Result<RequestFraming, Rejection> {
        match self.hosts {
            0 if !is_old => return Err(NO_HOST),
            0 | 1 => {}
            _ => return Err(TWO_HOSTS),
        }
        match (self.coding.map(line::trim), self.length.map(line::trim)) {
            (None, None) => Ok(RequestFraming::None),
            (None, Some(length)) if length.contains(&b',') => Err(TWO_LENGTHS),
            (None, Some(length)) => line::number(length).map(RequestFraming::Length).ok_or(BAD_LENGTH),
            // one of the two is meant for another parser (RFC 9112 section 6.3)
            (Some(_), Some(_)) => Err(TWO_FRAMINGS),
            (Some(_), None) if is_old => Err(OLD_CODING),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(RequestFraming::Chunked),
            (Some(codings), None) => Err(refused_codings(codings.split(is_comma))),
        }
    }
}

fn is_comma(byte: &u8) -> bool {
    *byte == b','
}

/// 501 if only an unknown coding keeps the body from being read (RFC 9112 section 6.1); otherwise 400,
/// because `chunked` is not the last coding, or appears twice (section 6.3).
fn refused_codings<'a>(codings: impl Iterator<Item = &'a [u8]>) -> Rejection {
    let (mut chunked, mut others, mut is_last) = (0, 0, false);
    for coding in codings.map(line::trim).filter(|coding| !coding.is_empty()) {
        is_last = coding.eq_ignore_ascii_case(b"chunked");
        *(if is_last { &mut chunked } else { &mut others }) += 1;
    }
    if is_last && chunked == 1 && others > 0 { UNKNOWN_CODING } else { CODING }
}
