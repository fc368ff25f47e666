//! Tests of response heads, and of the framing of their bodies.

use bytes::Bytes;

use super::super::{BadFraming, Body, HEAD_MAX, Malformed, parse_response};
use super::take;

/// The result of reading one response: its body, or the fault.
#[derive(Debug, PartialEq)]
enum Read {
    /// The body, and whether the connection can be used again.
    Whole(Vec<u8>, bool),
    Truncated,
    Malformed,
    BadFraming,
}

/// Reads a response from these bytes, after which the connection closes.
fn read(wire: &[u8], is_head: bool) -> Read {
    let mut input = Bytes::copy_from_slice(wire);
    let head = match parse_response(&mut input) {
        Ok(Some(head)) => head,
        Ok(None) => return Read::Truncated,
        Err(Malformed) => return Read::Malformed,
    };
    let Ok(mut framing) = head.framing(is_head) else { return Read::BadFraming };
    let (data, end, left) = take(&mut framing.body, &[&input]);
    match end {
        Err(Malformed) => Read::Malformed,
        Ok(_) if framing.body.closed().is_err() => Read::Truncated,
        Ok(_) => Read::Whole(data, framing.keeps_alive && left == 0),
    }
}

#[test]
fn body_framing() {
    let whole = |body: &[u8], reusable| Read::Whole(body.to_vec(), reusable);
    let table: [(&str, &[u8], Read); 35] = [
        ("HTTP/1.1 200", b"Content-Length: 5\r\n\r\nhello", whole(b"hello", true)),
        ("HTTP/1.1 200", b"Content-Length: 5\r\n\r\nhello!", whole(b"hello", false)),
        ("HTTP/1.1 200", b"Content-Length: 0\r\n\r\n", whole(b"", true)),
        ("HTTP/1.1 200", b"Content-Length: 5\r\ncontent-length:\t5\r\n\r\nhello", Read::BadFraming),
        ("HTTP/1.1 200", b"Content-Length: 5\r\nContent-Length: 05\r\n\r\nhello", Read::BadFraming),
        ("HTTP/1.1 200", b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", Read::BadFraming),
        ("HTTP/1.1 200", b"Content-Length: 5, 5\r\n\r\nhello", Read::BadFraming),
        ("HTTP/1.1 200", b"Content-Length: +5\r\n\r\nhello", Read::BadFraming),
        ("HTTP/1.1 200", b"Content-Length: 0x5\r\n\r\nhello", Read::BadFraming),
        ("HTTP/1.1 200", b"Content-Length:\r\n\r\nhello", Read::BadFraming),
        ("HTTP/1.1 200", b"Content-Length: 18446744073709551616\r\n\r\nhello", Read::BadFraming),
        ("HTTP/1.1 200", b"Content-Length: 5\r\nConnection: x, Close\r\n\r\nhello", whole(b"hello", false)),
        ("HTTP/1.1 200", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", whole(b"hello", true)),
        (
            "HTTP/1.1 200",
            b"Transfer-Encoding: gzip\r\ntransfer-encoding: x, Chunked\r\n\r\n0\r\n\r\n",
            Read::BadFraming,
        ),
        (
            "HTTP/1.1 200",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
            Read::BadFraming,
        ),
        (
            "HTTP/1.1 200",
            b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n1\r\nh\r\n0\r\n\r\n",
            Read::BadFraming,
        ),
        (
            "HTTP/1.1 200",
            b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n0\r\n\r\n",
            Read::BadFraming,
        ),
        (
            "HTTP/1.1 200",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Read::BadFraming,
        ),
        ("HTTP/1.1 200", b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", Read::BadFraming),
        ("HTTP/1.1 200", b"Transfer-Encoding: foo\r\n\r\nhello", Read::BadFraming),
        ("HTTP/1.1 200", b"Transfer-Encoding:\r\n\r\nhello", Read::BadFraming),
        ("HTTP/1.1 200", b"Transfer-Encoding: , chunked\r\n\r\n0\r\n\r\n", Read::BadFraming),
        ("HTTP/1.1 200", b"Transfer-Encoding:\t Chunked \r\n\r\n0\r\n\r\n", whole(b"", true)),
        ("HTTP/1.1 200", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", Read::Truncated),
        ("HTTP/1.1 200", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello!", Read::Malformed),
        ("HTTP/1.1 200", b"Content-Length: 5\r\n\r\nhel", Read::Truncated),
        ("HTTP/1.1 200", b"\r\nhello", whole(b"hello", false)),
        ("HTTP/1.0 200", b"Content-Length: 2\r\n\r\nhi", whole(b"hi", false)),
        ("HTTP/1.0 200", b"Content-Length: 2\r\nConnection: Keep-Alive\r\n\r\nhi", whole(b"hi", true)),
        (
            "HTTP/1.0 200",
            b"Content-Length: 2\r\nConnection: keep-alive, close\r\n\r\nhi",
            whole(b"hi", false),
        ),
        (
            "HTTP/1.0 200",
            b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
            whole(b"", false),
        ),
        ("HTTP/1.1 204", b"Content-Length: 5\r\n\r\n", whole(b"", true)),
        ("HTTP/1.1 304", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Read::BadFraming),
        ("HTTP/1.1 304", b"\r\n", whole(b"", true)),
        ("HTTP/1.1 103", b"Content-Length: 5\r\n\r\n", whole(b"", true)),
    ];
    for (line, rest, want) in table {
        let wire = [line.as_bytes(), b" X\r\n", rest].concat();
        assert_eq!(read(&wire, false), want, "{}", wire.escape_ascii());
    }
}

#[test]
fn the_answer_to_head_has_no_body() {
    for fields in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        let wire = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        assert_eq!(read(wire.as_bytes(), true), Read::Whole(Vec::new(), true), "{fields}");
    }
    assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", true), Read::BadFraming);
}

#[test]
fn bytes_that_are_not_a_response() {
    let table: [&[u8]; 9] = [
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 099 X\r\n\r\n",
        b"HTTP/1.1 2000 X\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSpace : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
    ];
    for wire in table {
        assert_eq!(read(wire, false), Read::Malformed, "{}", wire.escape_ascii());
    }
    for partial in
        [&b""[..], b"\r\n", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nA: b", b"HTTP/1.1 200 OK\r\nA: b\r\n\r"]
    {
        assert_eq!(read(partial, false), Read::Truncated, "{}", partial.escape_ascii());
    }
}

#[test]
fn a_head_is_limited() {
    let long = |size: usize| {
        let frame = "HTTP/1.1 200 OK\r\nA: \r\n\r\n".len();
        format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(size - frame)).into_bytes()
    };
    let many = |count: usize| format!("HTTP/1.1 204 X\r\n{}\r\n", "A: b\r\n".repeat(count)).into_bytes();
    assert_eq!(read(&long(HEAD_MAX), true), Read::Whole(Vec::new(), true));
    assert_eq!(read(&long(HEAD_MAX + 1), true), Read::Malformed);
    assert_eq!(read(&long(HEAD_MAX + 1)[..HEAD_MAX], true), Read::Malformed);
    assert_eq!(read(&long(HEAD_MAX + 1)[..HEAD_MAX - 1], true), Read::Truncated);
    assert_eq!(read(&many(256), true), Read::Whole(Vec::new(), true));
    assert_eq!(read(&many(257), true), Read::Malformed);
}

#[test]
fn the_facts_of_a_head() {
    let table: [(&[u8], u16, bool, &[u8]); 6] = [
        (b"HTTP/1.1 200 OK\r\n\r\nrest", 200, false, b"OK"),
        (b"HTTP/1.0 503 Slow down\r\n\r\nrest", 503, true, b"Slow down"),
        (b"HTTP/1.1 404 \r\n\r\nrest", 404, false, b""),
        (b"HTTP/1.1 599\r\n\r\nrest", 599, false, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nrest", 100, false, b"Continue"),
        (b"\r\nHTTP/1.1 200 \xe9\n\nrest", 200, false, b""),
    ];
    for (wire, status, is_http10, reason) in table {
        let mut input = Bytes::from_static(wire);
        let head = parse_response(&mut input).unwrap().unwrap();
        let facts = (head.status, head.is_http10, &*head.reason, &*input);
        assert_eq!(facts, (status, is_http10, reason, &b"rest"[..]), "{}", wire.escape_ascii());
    }
}

#[test]
fn a_bad_framing_is_distinguished_from_bad_bytes() {
    let head = parse_response(&mut Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Length: 1 \r\n\r\n"))
        .unwrap()
        .unwrap();
    assert!(matches!(head.framing(false).unwrap().body, Body::Length(1)));
    let head = parse_response(&mut Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Length: 1 1\r\n\r\n"))
        .unwrap()
        .unwrap();
    assert_eq!(head.framing(false).unwrap_err(), BadFraming);
}
