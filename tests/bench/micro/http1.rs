//! Benchmark of HTTP/1 heads: forwarding a node's response head to a client, and checking a request head.

use std::hint::black_box;

use bytes::Bytes;
use criterion::Criterion;
use evenkeel::http1::{ReplyTo, check_request, parse_response, write_response};

use super::counts::Case;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ndate: Sun, 29 Nov 2026 07:00:00 GMT\r\nserver: uvicorn\r\n\
    cache-control: no-cache\r\nx-accel-buffering: no\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
    transfer-encoding: chunked\r\n\r\n";
const REQUEST: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nHost: llm.example.org\r\nAccept: application/json\r\n\
    Content-Type: application/json\r\nUser-Agent: OpenAI/Python 2.8.0\r\nX-Stainless-Lang: python\r\n\
    X-Stainless-Package-Version: 2.8.0\r\nX-Stainless-Runtime: CPython\r\nAuthorization: Bearer sk-0123456789abcdef\r\n\
    Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nContent-Length: 181\r\n\r\n";
const OURS: [(&str, &str); 3] = [
    ("X-Request-Id", "0123456789abcdef0123456789abcdef"),
    ("X-Evenkeel-Node", "gpu-1"),
    ("X-Evenkeel-Attempts", "1"),
];

/// Rewrites a node's response head for the client.
fn respond() -> usize {
    let mut input = Bytes::copy_from_slice(black_box(RESPONSE));
    let head = parse_response(&mut input).expect("a head").expect("all of it");
    let framing = head.framing(false).expect("a framing");
    let (out, ..) = write_response(
        &head,
        &OURS,
        ReplyTo::default(),
        framing.keeps_alive,
        "Sun, 29 Nov 2026 07:00:00 GMT",
    );
    out.len()
}

fn check() -> bool {
    check_request(black_box(REQUEST)).is_ok()
}

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("http1/response head", || respond), Case::new("http1/request check", || check)]
}

pub(crate) fn bench(c: &mut Criterion) {
    c.bench_function("http1/response head", |b| b.iter(respond));
    c.bench_function("http1/request check", |b| b.iter(check));
}
