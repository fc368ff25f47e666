//! Messages made of good and odd parts, from a seed.

use fastrand::Rng;

/// A part, and how often it is taken.
type Choice = (u32, &'static [u8]);

fn choose(rng: &mut Rng, choices: &[Choice]) -> &'static [u8] {
    let mut at = rng.u32(..choices.iter().map(|(weight, _)| weight).sum::<u32>());
    for (weight, part) in choices {
        if at < *weight {
            return part;
        }
        at -= weight;
    }
    b""
}

const STATUS_LINES: &[Choice] = &[
    (60, b"HTTP/1.1 200 OK"),
    (10, b"HTTP/1.0 200 OK"),
    (3, b"HTTP/1.1 204 No Content"),
    (3, b"HTTP/1.1 304 Not Modified"),
    (3, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created"),
    (2, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 503 Slow down"),
    (1, b"HTTP/1.1 101 Switching Protocols"),
    (1, b"\r\nHTTP/1.1 200 "),
    (1, b"HTTP/1.1 599"),
    (1, b"HTTP/1.1 099 X"),
    (1, b"HTTP/1.1 20 X"),
    (1, b"HTTP/1.1 200 \xe9"),
    (1, b"HTTP/2.0 200 OK"),
    (1, b"SSH-2.0-x"),
];

const REQUEST_LINES: &[Choice] = &[
    (60, b"POST /v1/completions HTTP/1.1"),
    (5, b"GET /a?b=c%20d HTTP/1.1"),
    (8, b"POST / HTTP/1.0"),
    (2, b"GET http://a/b HTTP/1.1"),
    (1, b"OPTIONS * HTTP/1.1"),
    (1, b"GET * HTTP/1.1"),
    (1, b"GET a:1 HTTP/1.1"),
    (1, b"\r\nPOST / HTTP/1.1"),
    (1, b"\nPOST / HTTP/1.1"),
    (1, b"POST /a\xff HTTP/1.1"),
    (1, b"POST /\xc3\xa9 HTTP/1.1"),
    (1, b"POST  / HTTP/1.1"),
    (1, b"POST /a b HTTP/1.1"),
    (1, b"POST /\tHTTP/1.1"),
    (1, b"POST / HTTP/1.2"),
    (1, b"POST / HTTP/2.0"),
    (1, b"P(ST / HTTP/1.1"),
];

const CODINGS: &[Choice] = &[
    (40, b"Transfer-Encoding: chunked"),
    (2, b"transfer-encoding:\tChunked "),
    (1, b"Transfer-Encoding: gzip, chunked"),
    (1, b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
    (1, b"Transfer-Encoding: chunked, chunked"),
    (1, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    (1, b"Transfer-Encoding: chunked, gzip"),
    (1, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
    (1, b"Transfer-Encoding: , chunked"),
    (1, b"Transfer-Encoding: \xff, chunked"),
    (1, b"Transfer-Encoding: chunked,"),
    (1, b"Transfer-Encoding: xchunked"),
    (1, b"Transfer-Encoding: identity"),
    (1, b"Transfer-Encoding:"),
    (1, b"Transfer-Encoding : chunked"),
    (1, b"Transfer-Encoding: chunked\r\nContent-Length: 5"),
    (1, b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
    (1, b"Content-Length: x\r\nTransfer-Encoding: chunked"),
];

const LENGTHS: &[Choice] = &[
    (40, b"Content-Length: 5"),
    (4, b"Content-Length: 0"),
    (2, b"content-length:5 \t"),
    (1, b"Content-Length: 05"),
    (1, b"Content-Length: 5\r\nContent-Length: 5"),
    (1, b"Content-Length: 5\r\nContent-Length: 6"),
    (1, b"Content-Length: 5, 5"),
    (1, b"Content-Length: +5"),
    (1, b"Content-Length: -5"),
    (1, b"Content-Length: 0x5"),
    (1, b"Content-Length: 5 5"),
    (1, b"Content-Length:"),
    (1, b"Content-Length : 5"),
    (1, b"Content-Length\0: 5"),
    (1, b"Content-Length: 18446744073709551615"),
    (1, b"Content-Length: 18446744073709551616"),
    (1, b"X: y\r\n Content-Length: 5"),
];

const OTHERS: &[Choice] = &[
    (6, b"X: y"),
    (4, b"x-mine:  a\tb \xe9 "),
    (2, b"Empty:"),
    (2, b"Connection: close"),
    (2, b"Connection: keep-alive"),
    (1, b"Connection: X, Close\r\nConnection: keep-alive"),
    (1, b"Connection: \xff, close"),
    (1, b"Fold: a\r\n b"),
    (1, b"Space : x"),
    (1, b"No colon"),
    (1, b": nameless"),
    (1, b"Nul: a\0b"),
    (1, b"Cr: a\rb"),
    (1, b"Del: a\x7fb"),
];

const HOSTS: &[Choice] =
    &[(40, b"Host: a"), (1, b"Host:"), (1, b""), (1, b"Host: a\r\nHost: a"), (1, b"Host : a")];

const LINE_ENDS: &[Choice] = &[(300, b"\r\n"), (1, b"\n"), (1, b"\r"), (1, b"\r\r\n"), (1, b" \r\n")];

const CHUNK_EXTENSIONS: &[Choice] = &[
    (50, b""),
    (3, b";a=b"),
    (2, b" ; a=\"b c\""),
    (1, b";"),
    (1, b" "),
    (1, b" x"),
    (1, b";a\0b"),
    (1, b";a\rb"),
    (1, b";a\nb"),
    (1, b",a"),
];

const CHUNK_PREFIXES: &[Choice] = &[
    (60, b""),
    (2, b"0"),
    (1, b"0000000000000000"),
    (1, b"0x"),
    (1, b"+"),
    (1, b" "),
    (1, b"1000000000000000"),
];

const CHUNK_ENDS: &[Choice] =
    &[(60, b"\r\n"), (1, b"\n"), (1, b"\r"), (1, b""), (1, b"\r\n\r\n"), (1, b"\n\r\n")];

const TRAILERS: &[Choice] = &[
    (50, b"\r\n"),
    (4, b"T: 1\r\n\r\n"),
    (2, b"T: 1\r\nU:\r\n\r\n"),
    (1, b"T: 1\n\r\n"),
    (1, b"\n"),
    (1, b"\n\r\n"),
    (1, b" \r\n\r\n"),
    (1, b"T : 1\r\n\r\n"),
    (1, b"T: 1\r\n 2\r\n\r\n"),
    (1, b"T: a\rb\r\n\r\n"),
    (1, b"GET / HTTP/1.1\r\n\r\n"),
    (1, b"T: 1\r\n"),
    (1, b""),
];

pub(crate) fn response(rng: &mut Rng) -> Vec<u8> {
    let mut wire = choose(rng, STATUS_LINES).to_vec();
    wire.extend_from_slice(choose(rng, LINE_ENDS));
    let is_chunked = framed_fields(rng, &mut wire);
    body(rng, &mut wire, is_chunked);
    if rng.u8(..8) == 0 {
        wire.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\n");
    }
    mutate(rng, &mut wire);
    wire
}

/// The request that comes after another one.
pub(crate) const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

pub(crate) fn request(rng: &mut Rng) -> Vec<u8> {
    let mut wire = choose(rng, REQUEST_LINES).to_vec();
    wire.extend_from_slice(choose(rng, LINE_ENDS));
    let host = choose(rng, HOSTS);
    if !host.is_empty() {
        wire.extend_from_slice(host);
        wire.extend_from_slice(choose(rng, LINE_ENDS));
    }
    let is_chunked = framed_fields(rng, &mut wire);
    body(rng, &mut wire, is_chunked);
    mutate(rng, &mut wire);
    wire.extend_from_slice(NEXT);
    wire
}

/// Fields and the empty line; whether the body is to have chunks.
fn framed_fields(rng: &mut Rng, wire: &mut Vec<u8>) -> Option<bool> {
    let framing = rng.u8(..8);
    let mut lines = Vec::new();
    for _ in 0..rng.usize(..3) {
        lines.push(choose(rng, OTHERS));
    }
    match framing {
        0..4 => lines.push(choose(rng, CODINGS)),
        4..7 => lines.push(choose(rng, LENGTHS)),
        _ => {}
    }
    rng.shuffle(&mut lines);
    for line in lines {
        wire.extend_from_slice(line);
        wire.extend_from_slice(choose(rng, LINE_ENDS));
    }
    wire.extend_from_slice(choose(rng, LINE_ENDS));
    (framing < 7).then_some(framing < 4)
}

fn body(rng: &mut Rng, wire: &mut Vec<u8>, is_chunked: Option<bool>) {
    match is_chunked {
        None => {}
        Some(false) => {
            wire.extend_from_slice(choose(rng, &[(30, b"hello"), (1, b"hell"), (1, b"hello!"), (4, b"")]))
        }
        Some(true) => {
            for data in [&b"hello"[..], b"0\r\n\r\n", b"0123456789ab\r\n"].iter().take(rng.usize(..4)) {
                chunk(rng, wire, data.len());
                wire.extend_from_slice(data);
                wire.extend_from_slice(choose(rng, CHUNK_ENDS));
            }
            chunk(rng, wire, 0);
            wire.extend_from_slice(choose(rng, TRAILERS));
        }
    }
}

/// A chunk's first line.
fn chunk(rng: &mut Rng, wire: &mut Vec<u8>, size: usize) {
    wire.extend_from_slice(choose(rng, CHUNK_PREFIXES));
    wire.extend(if rng.bool() { format!("{size:x}") } else { format!("{size:X}") }.into_bytes());
    wire.extend_from_slice(choose(rng, CHUNK_EXTENSIONS));
    wire.extend_from_slice(choose(rng, &[(60, b"\r\n"), (1, b"\n"), (1, b"\r"), (1, b"\n\r")]));
}

/// Now and then a byte is lost, doubled or changed.
fn mutate(rng: &mut Rng, wire: &mut Vec<u8>) {
    const ODD: &[u8] = b"\r\n\0 \t:;,0159aF\x7f\x80\xff";
    if rng.u8(..6) != 0 {
        return;
    }
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..wire.len().max(1)).min(wire.len().saturating_sub(1));
        match rng.u8(..4) {
            0 => drop(wire.remove(at)),
            1 => wire.insert(at, wire[at]),
            2 => wire[at] = ODD[rng.usize(..ODD.len())],
            _ => wire.insert(at, ODD[rng.usize(..ODD.len())]),
        }
    }
}

/// The bytes in pieces, as they might arrive.
pub(crate) fn pieces<'a>(rng: &mut Rng, wire: &'a [u8]) -> Vec<&'a [u8]> {
    let cuts = [0, 0, 1, 2, 5, wire.len()][rng.usize(..6)];
    let mut cuts: Vec<_> = (0..cuts).map(|_| rng.usize(..=wire.len())).chain([0, wire.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect()
}
