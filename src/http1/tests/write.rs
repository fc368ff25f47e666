//! Tests of written heads: fields, framing, status line.

use bytes::Bytes;

use super::super::{Coding, ReplyTo, parse_response, put_field, write_request, write_response};

const OURS: [(&str, &str); 3] =
    [("X-Request-Id", "r1"), ("X-Evenkeel-Node", "a:1"), ("X-Evenkeel-Attempts", "2")];
const GET: ReplyTo = ReplyTo { is_head: false, is_http10: false };
const HEAD: ReplyTo = ReplyTo { is_head: true, is_http10: false };
const OLD: ReplyTo = ReplyTo { is_head: false, is_http10: true };

fn written(
    line: &str,
    fields: &str,
    ours: &[(&str, &str)],
    asked: ReplyTo,
    keeps: bool,
) -> (String, Coding, bool) {
    let mut wire = Bytes::from(format!("{line}\r\n{fields}\r\n"));
    let head = parse_response(&mut wire).unwrap().unwrap();
    head.framing(asked.is_head).unwrap();
    let (head, coding, keeps) = write_response(&head, ours, asked, keeps, "today");
    (String::from_utf8(head).unwrap(), coding, keeps)
}

#[test]
fn a_response_keeps_all_but_hop_by_hop_fields() {
    let fields = "Content-Length: 5\r\nX-Mine:1\r\nx-mine:  2 \r\nConnection: close, X-Hop\r\nX-Hop: x\r\n\
                  Keep-Alive: timeout=5\r\nDate: yesterday\r\nx-request-id: theirs\r\nX-EVENKEEL-Node: theirs\r\n";
    let want = "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-Mine: 1\r\nx-mine: 2\r\nX-Request-Id: r1\r\n\
                X-Evenkeel-Node: a:1\r\nX-Evenkeel-Attempts: 2\r\nDate: today\r\nConnection: keep-alive\r\n\r\n";
    let got = written("HTTP/1.0 200 Fine", fields, &OURS, GET, true);
    assert_eq!(got, (want.to_owned(), Coding::Plain, true));
}

#[test]
fn the_coding_of_a_body() {
    const LENGTH: &str = "Content-Length: 5\r\n";
    const CODING: &str = "Transfer-Encoding: chunked\r\n";
    const OLD_HEAD: ReplyTo = ReplyTo { is_head: true, is_http10: true };
    type Case = (u16, &'static str, ReplyTo, Coding, bool, &'static str);
    let table: [Case; 15] = [
        (200, LENGTH, GET, Coding::Plain, true, LENGTH),
        (200, "", GET, Coding::Chunked, true, CODING),
        (200, CODING, GET, Coding::Chunked, true, CODING),
        (200, LENGTH, HEAD, Coding::Plain, true, LENGTH),
        (200, "", HEAD, Coding::Plain, true, CODING),
        (200, LENGTH, OLD, Coding::Plain, true, LENGTH),
        (200, "", OLD, Coding::UntilClose, false, ""),
        (200, CODING, OLD, Coding::UntilClose, false, ""),
        (200, "", OLD_HEAD, Coding::Plain, true, ""),
        (204, LENGTH, GET, Coding::Plain, true, ""),
        (204, "", OLD, Coding::Plain, true, ""),
        (304, LENGTH, GET, Coding::Plain, true, LENGTH),
        (304, "", GET, Coding::Plain, true, ""),
        (304, "", OLD, Coding::Plain, true, ""),
        (103, LENGTH, GET, Coding::Plain, true, ""),
    ];
    for (status, fields, asked, coding, kept, framing) in table {
        for keeps in [true, false] {
            let got = written(&format!("HTTP/1.1 {status} X"), fields, &[], asked, keeps);
            let connection = if keeps && kept { "keep-alive" } else { "close" };
            // the node's length keeps its place, while the coding is appended by the gateway: no field
            // follows either
            let want =
                format!("HTTP/1.1 {status} X\r\n{framing}Date: today\r\nConnection: {connection}\r\n\r\n");
            assert_eq!(got, (want, coding, keeps && kept), "{status} {fields:?} {asked:?}");
        }
    }
}

#[test]
fn a_status_line_has_the_reason_that_came() {
    for (line, want) in [
        ("HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\n"),
        ("HTTP/1.1 503 Slow  down", "HTTP/1.1 503 Slow  down\r\n"),
        ("HTTP/1.1 404", "HTTP/1.1 404 \r\n"),
        ("HTTP/1.1 999 ", "HTTP/1.1 999 \r\n"),
    ] {
        assert!(written(line, "", &[], GET, true).0.starts_with(want), "{line}");
    }
}

type Field = (&'static str, &'static str);

fn request(fields: &[Field], length: Option<u64>, ours: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    String::from_utf8(write_request("POST", b"/v1/completions?a=b", fields, length, ours, 0)).unwrap()
}

#[test]
fn a_request_keeps_all_but_hop_by_hop_fields() {
    let fields = [
        ("host", "gpu"),
        ("Connection", "keep-alive, X-Private"),
        ("X-Private", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic x"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("Expect", "100-continue"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "99"),
        ("Authorization", "Bearer k"),
        ("X-Forwarded-For", "203.0.113.5"),
        ("X-kEPT", "2"),
        ("X-kEPT", "3"),
    ];
    let want = "POST /v1/completions?a=b HTTP/1.1\r\nhost: gpu\r\nAuthorization: Bearer k\r\nX-kEPT: 2\r\nX-kEPT: 3\r\n\
                Content-Length: 12\r\nX-Forwarded-For: 192.0.2.1\r\n";
    let mut got = request(&fields, Some(12), &[("X-Forwarded-For", "192.0.2.1")]);
    assert_eq!(got, want);
    let mut more = std::mem::take(&mut got).into_bytes();
    put_field(&mut more, b"A", b"");
    assert_eq!(more, format!("{want}A: \r\n").into_bytes());
}

#[test]
fn connection_cannot_strip_the_host_or_the_length() {
    let fields = [("Host", "gpu"), ("Connection", "Host, Content-Length")];
    let want = "POST /v1/completions?a=b HTTP/1.1\r\nHost: gpu\r\nContent-Length: 3\r\n";
    assert_eq!(request(&fields, Some(3), &[]), want);
}

#[test]
fn a_length_is_written_only_if_there_is_one() {
    assert_eq!(request(&[("Content-Length", "5")], None, &[]), "POST /v1/completions?a=b HTTP/1.1\r\n");
    for length in [0, 9, 10, 12_345, u64::MAX] {
        let want = format!("POST /v1/completions?a=b HTTP/1.1\r\nContent-Length: {length}\r\n");
        assert_eq!(request(&[], Some(length), &[]), want);
    }
}
