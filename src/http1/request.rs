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
const TARGET_LENGTH: Rejection = Rejection { status: 414, message: "the request target is too long" };
pub(crate) const CONNECT: Rejection =
    Rejection { status: 405, message: "the gateway opens no tunnels for CONNECT" };
const NO_FIELD: Rejection = bad("a header line is not a name, a colon and a value");
const CONTROL: Rejection = bad("the request header contains a control character");
const NO_END: Rejection = bad("the request header is incomplete");
const NO_HOST: Rejection = bad("the request has no Host");
pub(crate) const BAD_HOST: Rejection = bad("the Host is not the name or address of a host");
const TWO_HOSTS: Rejection = bad("the request has more than one Host");
const OTHER_HOST: Rejection = bad("the Host is not the one that the request target names");
/// The answer to a head above `client.max_header` or `client.max_headers`.
pub(crate) const LARGE_HEAD: Rejection =
    Rejection { status: 431, message: "the request header is larger than the limits of client allow" };
const BAD_LENGTH: Rejection = bad("the Content-Length is not a number");
const TWO_LENGTHS: Rejection = bad("the request has more than one Content-Length");
const TWO_FRAMINGS: Rejection = bad("the request has both Content-Length and Transfer-Encoding");
const OLD_CODING: Rejection = bad("Transfer-Encoding is not allowed in HTTP/1.0");
const CODING: Rejection = bad("the Transfer-Encoding is not chunked");
const UNKNOWN_CODING: Rejection =
    Rejection { status: 501, message: "the Transfer-Encoding lists a coding other than chunked" };

/// The longest target, in bytes: the `http` crate holds no longer one.
const TARGET_MAX: usize = 65_534;

/// The most that a head may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    pub bytes: usize,
    pub fields: usize,
}

/// A head that is complete and right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestHead {
    /// In bytes, up to and including the empty line that ends it.
    pub length: usize,
    pub framing: RequestFraming,
}

/// The framing of a request's body (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFraming {
    /// There is none.
    None,
    Length(u64),
    Chunked,
}

impl RequestFraming {
    /// The length that is announced.
    pub(crate) fn length(self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(length),
            Self::None | Self::Chunked => None,
        }
    }

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
    let limits = HeadLimits { bytes: usize::MAX, fields: usize::MAX };
    read_head(raw, limits)?.map(|head| head.framing).ok_or(NO_END)
}

/// Reads a head from the bytes that have come so far. `None`: it is not complete.
pub(crate) fn read_head(raw: &[u8], limits: HeadLimits) -> Result<Option<RequestHead>, Rejection> {
    let mut lines = Lines { rest: without_empty_lines(raw) };
    let head = check_lines(&mut lines, limits.fields)?;
    let length = head.map_or(raw.len(), |_| raw.len() - lines.rest.len());
    if length > limits.bytes {
        return Err(LARGE_HEAD);
    }
    Ok(head.map(|framing| RequestHead { length, framing }))
}

fn check_lines(lines: &mut Lines<'_>, fields_max: usize) -> Result<Option<RequestFraming>, Rejection> {
    let Some(line) = lines.next()? else { return Ok(None) };
    let Asked { is_old, authority } = check_request_line(line)?;
    let mut seen = Seen::default();
    let mut fields = 0;
    loop {
        let Some(line) = lines.next()? else { return Ok(None) };
        if line.is_empty() {
            break;
        }
        let (name, value) = line::field(line).ok_or(NO_FIELD)?;
        seen.note(name, value)?;
        fields += 1;
        if fields > fields_max {
            return Err(LARGE_HEAD);
        }
    }
    // which of the two is meant depends on the reader (RFC 9112 section 3.2.2)
    if authority.zip(seen.host).is_some_and(|(authority, host)| authority != host) {
        return Err(OTHER_HOST);
    }
    seen.framing(is_old).map(Some)
}

/// The fields of a head that has passed [`check_request`].
pub fn request_fields(raw: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    let mut lines = Lines { rest: without_empty_lines(raw) };
    let _request_line = lines.next();
    lines.map_while(line::field)
}

/// A request line: its method, its target, and whether its version is 1.0.
type RequestLine<'a> = (&'a [u8], &'a [u8], bool);

/// The request line, if it is one, and the fields, without blanks around their values, of a head that may be broken or not
/// whole.
pub(crate) fn parts_of_head(
    raw: &[u8],
) -> (Option<RequestLine<'_>>, impl Iterator<Item = (&[u8], &[u8])> + Clone) {
    let without_end = |line: &'_ [u8]| line.len() - usize::from(line.ends_with(b"\r"));
    let mut lines = raw.split(|byte| *byte == b'\n').map(move |line| &line[..without_end(line)]);
    let line = lines.by_ref().find(|line| !line.is_empty()).and_then(|line| split_request_line(line).ok());
    let line = line.filter(|(_, target, _)| line::control(target).is_none());
    let fields = lines.take_while(|line| !line.is_empty()).filter_map(line::field);
    (line, fields.map(|(name, value)| (name, line::trim(value))))
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
    /// The next line, if it is complete, without its end, which is CRLF: a bare CR or LF is a line end for some parsers and not for others
    /// (RFC 9112 section 2.2). There is no other control character before it (RFC 9110 section 5.5).
    #[inline(always)]
    fn next(&mut self) -> Result<Option<&'a [u8]>, Rejection> {
        let Some(end) = line::control(self.rest) else { return Ok(None) };
        let (line, rest) = self.rest.split_at(end);
        match rest {
            [b'\r', b'\n', rest @ ..] => self.rest = rest,
            [b'\r'] => return Ok(None),
            [b'\r' | b'\n', ..] => return Err(BARE_LINE_END),
            _ => return Err(CONTROL),
        }
        Ok(Some(line))
    }
}

impl<'a> Lines<'a> {
    fn map_while<T>(self, read: impl Fn(&'a [u8]) -> Option<T> + Clone) -> impl Iterator<Item = T> + Clone {
        let mut lines = self;
        std::iter::from_fn(move || lines.next().ok().flatten().and_then(&read))
    }
}

/// The facts of a request line.
struct Asked<'a> {
    /// The version is 1.0.
    is_old: bool,
    /// The authority of a target that is a whole URI.
    authority: Option<&'a [u8]>,
}

/// Splits a request line, `method SP request-target SP HTTP-version` with single spaces (RFC 9112 section 3).
#[inline]
fn split_request_line(line: &[u8]) -> Result<RequestLine<'_>, Rejection> {
    let (method, rest) = line.split_at(line::token_length(line));
    let rest = rest.strip_prefix(b" ").filter(|_| !method.is_empty()).ok_or(NO_REQUEST_LINE)?;
    match rest.split_at_checked(rest.len().wrapping_sub(b" HTTP/1.1".len())) {
        Some((target, b" HTTP/1.1")) => Ok((method, target, false)),
        Some((target, b" HTTP/1.0")) => Ok((method, target, true)),
        _ => Err(NO_REQUEST_LINE),
    }
}

fn check_request_line(line: &[u8]) -> Result<Asked<'_>, Rejection> {
    let (method, target, is_old) = split_request_line(line)?;
    if memchr::memchr2(b' ', b'\t', target).is_some() {
        return Err(TARGET_BYTES);
    }
    if method == b"CONNECT" {
        return Err(CONNECT);
    }
    if target.len() > TARGET_MAX {
        return Err(TARGET_LENGTH);
    }
    if target.starts_with(b"/") || target == b"*" && method == b"OPTIONS" {
        return Ok(Asked { is_old, authority: None });
    }
    let authority = authority_of_uri(target).ok_or(TARGET_FORM)?;
    Ok(Asked { is_old, authority: Some(authority) })
}

/// May allocate, because absolute URIs are rare. A URI with credentials in it is none (RFC 9110 section
/// 4.2.4).
fn authority_of_uri(target: &[u8]) -> Option<&[u8]> {
    let without = |scheme: &[u8]| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let rest = without(b"http://").or_else(|| without(b"https://"))?;
    let uri: http::Uri = std::str::from_utf8(target).ok()?.parse().ok()?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let fits = uri.authority().is_some() && uri.path().starts_with('/') && !rest[..end].contains(&b'@');
    fits.then_some(&rest[..end])
}

/// The fields that determine the request's target and framing.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a [u8]>,
    /// With surrounding blanks, like `coding`.
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
}

impl<'a> Seen<'a> {
    fn note(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Rejection> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            4 if is("host") => {
                let host = line::trim(value);
                if self.host.replace(host).is_some() {
                    return Err(TWO_HOSTS);
                }
                if !is_host(host) {
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
        if self.host.is_none() && !is_old {
            return Err(NO_HOST);
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
