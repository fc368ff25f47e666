//! Tests of request heads: framing, host, request line, field lines.

use super::super::request::read_head;
use super::super::{HeadLimits, RequestFraming, RequestHead, check_request};

/// The framing, or the status code of the refusal.
fn verdict(raw: &[u8]) -> Result<RequestFraming, u16> {
    check_request(raw).map_err(|refusal| refusal.status)
}

#[test]
fn framing_is_unambiguous() {
    let length = |length| Ok(RequestFraming::Length(length));
    let table: [(&str, Result<RequestFraming, u16>); 41] = [
        ("", Ok(RequestFraming::None)),
        ("Content-Length: 7\r\n", length(7)),
        ("Content-Length:7\r\n", length(7)),
        ("content-LENGTH: \t7 \r\n", length(7)),
        ("Content-Length: 0\r\n", length(0)),
        ("Content-Length: 18446744073709551615\r\n", length(u64::MAX)),
        ("Content-Length: 7\r\nContent-Length: 7\r\n", Err(400)),
        ("Content-Length: 7\r\nContent-Length: 8\r\n", Err(400)),
        ("Content-Length: 7, 7\r\n", Err(400)),
        ("Content-Length: +7\r\n", Err(400)),
        ("Content-Length: -7\r\n", Err(400)),
        ("Content-Length: 0x7\r\n", Err(400)),
        ("Content-Length: 7 7\r\n", Err(400)),
        ("Content-Length: 7.0\r\n", Err(400)),
        ("Content-Length:\r\n", Err(400)),
        ("Content-Length: 18446744073709551616\r\n", Err(400)),
        ("Content-Length: 99999999999999999999\r\n", Err(400)),
        ("Transfer-Encoding: chunked\r\n", Ok(RequestFraming::Chunked)),
        ("transfer-encoding:\tChunked \r\n", Ok(RequestFraming::Chunked)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 7\r\n", Err(400)),
        ("Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", Err(400)),
        ("Content-Length: x\r\nTransfer-Encoding: chunked\r\n", Err(400)),
        ("Content-Length: 7\r\nTransfer-Encoding: identity\r\n", Err(400)),
        ("Transfer-Encoding: gzip\r\n", Err(400)),
        ("Transfer-Encoding: identity\r\n", Err(400)),
        ("Transfer-Encoding: xchunked\r\n", Err(400)),
        ("Transfer-Encoding: chunked;q=1\r\n", Err(400)),
        ("Transfer-Encoding: \"chunked\"\r\n", Err(400)),
        ("Transfer-Encoding:\r\n", Err(400)),
        ("Transfer-Encoding: ,\r\n", Err(400)),
        ("Transfer-Encoding: , chunked\r\n", Err(400)),
        ("Transfer-Encoding: chunked,\r\n", Err(400)),
        ("Transfer-Encoding: chunked, gzip\r\n", Err(400)),
        ("Transfer-Encoding: chunked, chunked\r\n", Err(400)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(400)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Err(400)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n", Err(400)),
        ("Transfer-Encoding: chunked, gzip, chunked\r\n", Err(400)),
        ("Transfer-Encoding: gzip, chunked\r\n", Err(501)),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", Err(501)),
        ("X-Content-Length: 7\r\nTransfer-Encodin: x\r\n", Ok(RequestFraming::None)),
    ];
    for (fields, want) in table {
        let raw = format!("POST /v1/completions HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(verdict(raw.as_bytes()), want, "{fields:?}");
    }
}

#[test]
fn http_1_0_knows_no_coding_and_needs_no_host() {
    let old = |fields: &str| verdict(format!("POST / HTTP/1.0\r\n{fields}\r\n").as_bytes());
    assert_eq!(old(""), Ok(RequestFraming::None));
    assert_eq!(old("Content-Length: 7\r\n"), Ok(RequestFraming::Length(7)));
    assert_eq!(old("Transfer-Encoding: chunked\r\n"), Err(400));
    assert_eq!(old("Host: a\r\nhost: a\r\n"), Err(400));
}

#[test]
fn exactly_one_host_is_required() {
    for (fields, fits) in
        [("Host: a\r\n", true), ("Host:\r\n", true), ("", false), ("Host: a\r\nhost: a\r\n", false)]
    {
        let raw = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(verdict(raw.as_bytes()).is_ok(), fits, "{fields:?}");
    }
}

#[test]
fn a_request_line_has_three_parts_and_two_spaces() {
    let good: [&[u8]; 10] = [
        b"GET / HTTP/1.1",
        b"GET /a\xff HTTP/1.1",
        b"GET /a%20b?c=%0A HTTP/1.1",
        b"GET //a HTTP/1.0",
        b"GET http://a/b HTTP/1.1",
        b"GET HTTPS://a/b?c HTTP/1.1",
        b"GET http://a?c HTTP/1.1",
        b"M-SEARCH / HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"\r\n\r\nGET / HTTP/1.1",
    ];
    let bad: [&[u8]; 41] = [
        b"GET http://b/ HTTP/1.1",
        b"GET http://a:1/ HTTP/1.1",
        b"GET http://a@a/ HTTP/1.1",
        b"GET http://a\\b/ HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET /\tHTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /a\tb HTTP/1.1",
        b"GET /a\0b HTTP/1.1",
        b"GET /a\x7fb HTTP/1.1",
        b"GET /a\rb HTTP/1.1",
        b"GET http://a /b HTTP/1.1",
        b"GET http://a\r/b HTTP/1.1",
        b"GET http://a\0/b HTTP/1.1",
        b"GET / HTTP/1.2",
        b"GET / HTTP/3.7",
        b"GET / HTTP/2.0",
        b"GET / http/1.1",
        b"GET / HTTP/1.10",
        b"GET / HTTP/1.",
        b"GET /",
        b"GET HTTP/1.1",
        b"GET  HTTP/1.1",
        b"GET",
        b"G(T / HTTP/1.1",
        b"/ HTTP/1.1",
        b"\nGET / HTTP/1.1",
        b"\rGET / HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET a/b HTTP/1.1",
        b"GET ?a HTTP/1.1",
        b"GET ftp://a/b HTTP/1.1",
        b"GET http:// HTTP/1.1",
        b"GET http:///b HTTP/1.1",
        b"GET http://a/\xff HTTP/1.1",
        b"what is this, a request?",
    ];
    for (line, fits) in good.map(|line| (line, true)).into_iter().chain(bad.map(|line| (line, false))) {
        let raw = [line, b"\r\nHost: a\r\n\r\n"].concat();
        let want = if fits { Ok(RequestFraming::None) } else { Err(400) };
        assert_eq!(verdict(&raw), want, "{}", line.escape_ascii());
    }
}

#[test]
fn a_line_is_a_field_and_ends_with_crlf() {
    let good: [&[u8]; 5] =
        [b"X: y\r\n", b"X:\r\n", b"X: a\tb \xff\r\n", b"x!#$%&'*+-.^_`|~9: y\r\n", b"X: a:b\r\n"];
    let bad: [&[u8]; 23] = [
        b"X: y\n",
        b"\nX: y\r\n",
        b"X: y\r",
        b"X: a\rb\r\n",
        b"X: a\nb: c\r\n",
        b"X: y\r\r\n",
        b"X: a\0b\r\n",
        b"X: a\x01b\r\n",
        b"X: a\x7fb\r\n",
        b"X\0: y\r\n",
        b"X : y\r\n",
        b"X\t: y\r\n",
        b"Content-Length : 7\r\n",
        b"Content-Length\x0b: 7\r\n",
        b"X Y: z\r\n",
        b"X: y\r\n z\r\n",
        b"X: y\r\n\tz\r\n",
        b" X: y\r\n",
        b" \r\n",
        b"no colon\r\n",
        b": nameless\r\n",
        b"(X): y\r\n",
        b"\xffX: y\r\n",
    ];
    for (lines, fits) in good.map(|lines| (lines, true)).into_iter().chain(bad.map(|lines| (lines, false))) {
        let want = if fits { Ok(RequestFraming::None) } else { Err(400) };
        // the rule holds for the first line as for the last
        for raw in [[b"Host: a\r\n", lines].concat(), [lines, b"Host: a\r\n"].concat()] {
            let raw = [b"GET / HTTP/1.1\r\n", &raw[..], b"\r\n"].concat();
            assert_eq!(verdict(&raw), want, "{}", raw.escape_ascii());
        }
    }
}

#[test]
fn a_head_has_an_end() {
    let raw = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for length in 0..raw.len() {
        assert_eq!(verdict(&raw[..length]), Err(400), "{length}");
    }
    for raw in [
        &b"GET / HTTP/1.1\r\nHost: a\n\n"[..],
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    ] {
        assert_eq!(verdict(raw), Err(400), "{}", raw.escape_ascii());
    }
}

#[test]
fn refusals_with_a_status_of_their_own() {
    let long = |length| format!("GET /{} HTTP/1.1", "a".repeat(length));
    for (line, status) in [
        ("CONNECT a:443 HTTP/1.1".to_owned(), Err(405)),
        ("CONNECT / HTTP/1.1".to_owned(), Err(405)),
        ("CONNECT a:443 HTTP/1.2".to_owned(), Err(400)),
        ("connect / HTTP/1.1".to_owned(), Ok(RequestFraming::None)),
        (long(65_533), Ok(RequestFraming::None)),
        (long(65_534), Err(414)),
    ] {
        let raw = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(verdict(raw.as_bytes()), status, "{}", &line[..line.len().min(40)]);
    }
}

#[test]
fn a_head_is_read_as_it_comes_and_within_its_limits() {
    let raw = b"\r\nGET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    let read = |length: usize, bytes, fields| {
        read_head(&raw[..length], HeadLimits { bytes, fields }).map_err(|refusal| refusal.status)
    };
    for length in 0..raw.len() {
        assert_eq!(read(length, raw.len(), 2), Ok(None), "{length}");
        assert_eq!(read(length, length.saturating_sub(1), 2), if length == 0 { Ok(None) } else { Err(431) });
    }
    let whole = RequestHead { length: raw.len(), framing: RequestFraming::None };
    assert_eq!(read(raw.len(), raw.len(), 2), Ok(Some(whole)));
    assert_eq!(read(raw.len(), raw.len() - 1, 2), Err(431));
    assert_eq!(read(raw.len(), raw.len(), 1), Err(431));
    assert_eq!(read(raw.len() - 2, raw.len(), 1), Err(431), "before its end");
    let with_body = [&raw[..], b"POST"].concat();
    assert_eq!(read_head(&with_body, HeadLimits { bytes: raw.len(), fields: 2 }), Ok(Some(whole)));
}
