//! What a request must look like before anything else is done with it.
//!
//! There is one framing rule for everyone: a request that two parsers could read in two ways is refused, and its
//! connection closed (RFC 9112 sections 3.2, 6.1 and 6.3). Pingora refuses most of them; this closes what it lets
//! through of a header. How a chunked body is read is Pingora's affair; the node gets it framed anew.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Version};
use pingora::http::RequestHeader;

use crate::config;

/// Why a request is refused: a status code and words for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub status: u16,
    pub message: &'static str,
}

const fn bad(message: &'static str) -> Rejection {
    Rejection { status: 400, message }
}

/// Checks a request header; `raw` is what came on the wire, where the protocol has such a thing.
pub fn check(header: &RequestHeader, raw: Option<&[u8]>, limits: &config::Client) -> Result<(), Rejection> {
    let headers = &header.headers;
    check_size(headers, raw, limits)?;
    check_target(header)?;
    if header.version < Version::HTTP_2 {
        check_host(header)?;
        check_framing(headers, raw)?;
    }
    if let Some(length) = content_length(headers)
        && length > limits.max_body
    {
        return Err(TOO_LARGE);
    }
    Ok(())
}

/// The answer to a body above `client.max_body`.
pub const TOO_LARGE: Rejection =
    Rejection { status: 413, message: "the request body is larger than client.max_body" };

/// The answer to a body that stops coming.
pub const BODY_TOO_SLOW: Rejection =
    Rejection { status: 408, message: "the request body did not come within client.body_timeout" };

fn check_size(headers: &HeaderMap, raw: Option<&[u8]>, limits: &config::Client) -> Result<(), Rejection> {
    let parsed = || headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let size = raw.map_or_else(parsed, <[u8]>::len);
    if size > limits.max_header || headers.len() > limits.max_headers {
        return Err(Rejection {
            status: 431,
            message: "the request header is larger than the limits of client allow",
        });
    }
    Ok(())
}

/// Pingora mends a target with spaces in it, so that two spaces before it become a part of it. Of a whole URI it leaves
/// only the path in `uri`, once it has seen that Host says the same. What passes here can stand in a request line.
fn check_target(header: &RequestHeader) -> Result<(), Rejection> {
    let target = header.raw_path();
    if target.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r' | b' ')) {
        return Err(bad("the request target has a space, a line end or a zero byte in it"));
    }
    let begins =
        |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let whole = header.uri.path().starts_with('/') && header.raw_path_is_utf8();
    if whole && (begins(b"http://") || begins(b"https://")) {
        return Ok(());
    }
    if target.starts_with(b"/") || (target == b"*" && header.method == Method::OPTIONS) {
        return Ok(());
    }
    Err(bad("the request target is neither a path nor a URI"))
}

fn check_host(header: &RequestHeader) -> Result<(), Rejection> {
    let hosts = header.headers.get_all(HOST).iter().count();
    match hosts {
        0 if header.version == Version::HTTP_11 => Err(bad("the request has no Host")),
        0 | 1 => Ok(()),
        _ => Err(bad("the request has more than one Host")),
    }
}

fn check_framing(headers: &HeaderMap, raw: Option<&[u8]>) -> Result<(), Rejection> {
    let lengths = headers.get_all(CONTENT_LENGTH);
    if lengths.iter().count() > 1 || lengths.iter().any(|value| value.as_bytes().contains(&b',')) {
        return Err(bad("the request has more than one Content-Length"));
    }
    let Some(raw) = raw else { return Ok(()) };
    // the parser drops Content-Length where there is Transfer-Encoding: only the raw bytes still have both
    if headers.contains_key(TRANSFER_ENCODING) && has_field(raw, b"content-length") {
        return Err(bad("the request has both Content-Length and Transfer-Encoding"));
    }
    if has_bare_line_feed(raw) {
        return Err(bad("a header line ends with a bare line feed"));
    }
    Ok(())
}

fn has_field(raw: &[u8], name: &[u8]) -> bool {
    let is_it = |line: &[u8]| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            && line.get(name.len()) == Some(&b':')
    };
    raw.split(|byte| *byte == b'\n').any(is_it)
}

fn has_bare_line_feed(raw: &[u8]) -> bool {
    let mut before = 0;
    for byte in raw {
        if *byte == b'\n' && before != b'\r' {
            return true;
        }
        before = *byte;
    }
    false
}

/// The length that the header announces.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn limits() -> config::Client {
        config::Client {
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(120),
            keepalive: Duration::from_secs(65),
            max_header: 1000,
            max_headers: 5,
            max_body: 100,
            max_connections: 10,
        }
    }

    /// As the parser leaves it: without Content-Length where there is Transfer-Encoding.
    fn verdict(fields: &[(&'static str, &str)]) -> u16 {
        let mut header = RequestHeader::build("POST", b"/v1/completions", None).unwrap();
        let mut raw = b"POST /v1/completions HTTP/1.1\r\n".to_vec();
        for (name, value) in fields {
            header.append_header(*name, *value).unwrap();
            raw.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if header.headers.contains_key(TRANSFER_ENCODING) {
            header.remove_header(&CONTENT_LENGTH);
        }
        raw.extend_from_slice(b"\r\n");
        check(&header, Some(&raw), &limits()).map_or_else(|e| e.status, |()| 200)
    }

    #[test]
    fn one_framing_rule() {
        let host = ("Host", "a");
        assert_eq!(verdict(&[host]), 200);
        assert_eq!(verdict(&[host, ("Content-Length", "7")]), 200);
        assert_eq!(verdict(&[host, ("Transfer-Encoding", "chunked")]), 200);
        assert_eq!(verdict(&[host, ("Transfer-Encoding", "chunked"), ("content-length", "7")]), 400);
        assert_eq!(verdict(&[host, ("Content-Length", "7"), ("Content-Length", "7")]), 400);
        assert_eq!(verdict(&[host, ("Content-Length", "7, 7")]), 400);
        assert_eq!(verdict(&[]), 400);
        assert_eq!(verdict(&[host, host]), 400);
    }

    #[test]
    fn a_target_that_would_end_early_or_add_a_line_is_refused() {
        let verdict = |target: &[u8]| {
            let mut header = RequestHeader::build("GET", target, None).unwrap();
            header.append_header("Host", "a").unwrap();
            check(&header, None, &limits()).map_or_else(|e| e.status, |()| 200)
        };
        // `RequestHeader` itself takes them only where it keeps the target apart from its path
        for byte in [b' ', b'\r', b'\n', 0] {
            assert_eq!(verdict(&[b"http://a".as_slice(), &[byte], b"b/c"].concat()), 400, "{byte}");
        }
        for fits in [b"/a\xff".as_slice(), b"/a%20b?c=%0A", b"http://a/b"] {
            assert_eq!(verdict(fits), 200, "{}", fits.escape_ascii());
        }
    }

    #[test]
    fn limits_hold() {
        let host = ("Host", "a");
        assert_eq!(verdict(&[host, ("Content-Length", "100")]), 200);
        assert_eq!(verdict(&[host, ("Content-Length", "101")]), 413);
        assert_eq!(verdict(&[host, ("X-Long", &"x".repeat(1000))]), 431);
        assert_eq!(verdict(&[host, ("a", ""), ("b", ""), ("c", ""), ("d", "")]), 200);
        assert_eq!(verdict(&[host, ("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")]), 431);
    }

    #[test]
    fn bare_line_feeds() {
        assert!(!has_bare_line_feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(has_bare_line_feed(b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"));
        assert!(has_bare_line_feed(b"\n"));
    }
}
