//! The response head as an HTTP/1.1 client gets it: the node's, without what concerned its connection, framed anew.
//!
//! It is written straight from the node's, for the reason that [`super::request`] gives.

use std::borrow::Cow;
use std::io::Write as _;

use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::date::get_cached_date;

use super::super::ctx::Ctx;
use super::super::headers::{self, CHUNKED, HopByHop, X_REQUEST_ID};

/// First capacity, in bytes: more than most heads need.
const USUAL: usize = 512;

/// How the body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As it is: its length is known, or there is none.
    Plain,
    Chunked,
}

/// What the gateway tells the client about how it was served, whatever the node's fields of these names say.
pub struct Told<'a> {
    request_id: &'a str,
    /// The node, and how many were asked.
    served_by: Option<(&'a str, Cow<'static, str>)>,
}

impl<'a> Told<'a> {
    pub fn of(ctx: &'a Ctx, node: &'a str) -> Self {
        let attempts = || match ctx.attempts_so_far() {
            1 => Cow::Borrowed("1"),
            more => Cow::Owned(more.to_string()),
        };
        let tells = ctx.fleet.config.server.response_headers;
        Self { request_id: &ctx.request_id, served_by: tells.then(|| (node, attempts())) }
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let served_by = self.served_by.iter();
        let served_by = served_by
            .flat_map(|(node, attempts)| [("X-Evenkeel-Node", *node), ("X-Evenkeel-Attempts", attempts)]);
        std::iter::once((X_REQUEST_ID, self.request_id)).chain(served_by)
    }

    /// Adds it to a head that Pingora writes.
    pub fn dress(&self, head: &mut ResponseHeader) -> Result<()> {
        self.fields().try_for_each(|(name, value)| head.insert_header(name, value))
    }
}

/// The head, and how the body after it is to be written. `keeps`: the connection may serve another request.
pub fn head(node: &ResponseHeader, asked: &RequestHeader, told: &Told<'_>, keeps: bool) -> (Vec<u8>, Coding) {
    let is_empty = node.status == StatusCode::NO_CONTENT;
    // a client that believed a length would wait for a body that never comes (RFC 9110 section 8.6)
    let is_sized = node.headers.contains_key(CONTENT_LENGTH) && !is_empty;
    let is_chunked = !is_sized && !is_empty && node.status != StatusCode::NOT_MODIFIED;
    let hop_by_hop = HopByHop::of(&node.headers);
    let mut out = Vec::with_capacity(USUAL);
    let _ = write!(out, "HTTP/1.1 {} ", node.status.as_str());
    out.extend_from_slice(node.get_reason_phrase().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    headers::put_those(&mut out, node, |name| {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let is_replaced = || is("date") || told.fields().any(|(other, _)| is(other));
        !(hop_by_hop.has(name) || is_replaced() || is_empty && is("content-length"))
    });
    for (name, value) in told.fields() {
        headers::put(&mut out, name.as_bytes(), value.as_bytes());
    }
    if is_chunked {
        headers::put(&mut out, b"Transfer-Encoding", CHUNKED.as_bytes());
    }
    headers::put(&mut out, b"Date", get_cached_date().as_bytes());
    headers::put(&mut out, b"Connection", if keeps { b"keep-alive" } else { b"close" });
    out.extend_from_slice(b"\r\n");
    // the answer to HEAD says how its body would be written
    let has_chunks = is_chunked && asked.method != Method::HEAD;
    (out, if has_chunks { Coding::Chunked } else { Coding::Plain })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: Told<'_> = Told { request_id: "r1", served_by: Some(("a:1", Cow::Borrowed("2"))) };

    fn written(code: u16, fields: &[(&'static str, &str)], method: &str, keeps: bool) -> (String, Coding) {
        let mut node = ResponseHeader::build(code, None).unwrap();
        for (name, value) in fields {
            node.append_header(*name, *value).unwrap();
        }
        let asked = RequestHeader::build(method, b"/v1/completions", None).unwrap();
        let (head, coding) = head(&node, &asked, &TOLD, keeps);
        let head = String::from_utf8(head).unwrap();
        let (before, date) = head.split_once("Date: ").unwrap();
        let (date, after) = date.split_once("\r\n").unwrap();
        assert!(date.ends_with(" GMT"), "{date}");
        (format!("{before}{after}"), coding)
    }

    #[test]
    fn a_head_is_the_nodes_but_for_its_connection() {
        const OURS: &str = "X-Request-Id: r1\r\nX-Evenkeel-Node: a:1\r\nX-Evenkeel-Attempts: 2\r\n";
        let fields = [
            ("Content-Length", "5"),
            ("X-Mine", "1"),
            ("x-mine", "2"),
            ("Connection", "close, X-Hop"),
            ("X-Hop", "x"),
            ("Keep-Alive", "timeout=5"),
            ("Date", "yesterday"),
            ("x-request-id", "theirs"),
            ("X-Evenkeel-Node", "theirs"),
        ];
        let (head, coding) = written(200, &fields, "POST", true);
        let want = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Mine: 1\r\nx-mine: 2\r\n";
        assert_eq!(head, format!("{want}{OURS}Connection: keep-alive\r\n\r\n"));
        assert_eq!(coding, Coding::Plain);
    }

    #[test]
    fn how_a_body_is_written() {
        let length = &[("Content-Length", "5")];
        type Fields = &'static [(&'static str, &'static str)];
        type Case = (u16, Fields, &'static str, Coding, &'static [&'static str], &'static [&'static str]);
        let table: [Case; 7] = [
            (200, length, "GET", Coding::Plain, &["Content-Length: 5"], &["Transfer-Encoding"]),
            (200, &[], "GET", Coding::Chunked, &["Transfer-Encoding: chunked"], &["Content-Length"]),
            (200, length, "HEAD", Coding::Plain, &["Content-Length: 5"], &["Transfer-Encoding"]),
            (200, &[], "HEAD", Coding::Plain, &["Transfer-Encoding: chunked"], &[]),
            (204, length, "GET", Coding::Plain, &[], &["Content-Length", "Transfer-Encoding"]),
            (304, length, "GET", Coding::Plain, &["Content-Length: 5"], &["Transfer-Encoding"]),
            (304, &[], "GET", Coding::Plain, &[], &["Content-Length", "Transfer-Encoding"]),
        ];
        for (code, fields, method, want, there, not_there) in table {
            let (head, coding) = written(code, fields, method, false);
            assert_eq!(coding, want, "{method} {code}");
            assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
            assert!(there.iter().all(|field| head.contains(field)), "{head}");
            assert!(not_there.iter().all(|field| !head.contains(field)), "{head}");
        }
    }

    /// What Pingora would have written, for the paths that it writes.
    #[test]
    fn both_ways_say_the_same() {
        let fields = [("Content-Type", "text/plain"), ("Connection", "X-Hop"), ("X-Hop", "x"), ("Via", "y")];
        let mut node = ResponseHeader::build(503, None).unwrap();
        for (name, value) in fields {
            node.append_header(name, value).unwrap();
        }
        let asked = RequestHeader::build("POST", b"/", None).unwrap();
        let mut dressed = node.clone();
        headers::to_client(&mut dressed, &asked).and_then(|()| TOLD.dress(&mut dressed)).unwrap();
        let mut theirs = Vec::new();
        dressed.header_to_h1_wire(&mut theirs);
        let sorted = |wire: &[u8]| {
            let mut lines: Vec<_> = wire.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            lines.retain(|line| line.len() > 1 && !line.starts_with(b"HTTP/") && !line.starts_with(b"Date"));
            lines.retain(|line| !line.starts_with(b"Connection"));
            lines.sort();
            lines
        };
        assert_eq!(sorted(&head(&node, &asked, &TOLD, true).0), sorted(&theirs));
    }
}
