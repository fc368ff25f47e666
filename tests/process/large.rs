//! An upload that is larger than the memory it may take.

use std::fs;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::LIMIT;
use crate::support::gateway::{Conf, Gateway};

const GIB: usize = 1 << 30;
const PIECE: usize = 1 << 20;
/// The buffers of an upload take some 200 KiB; the allocator may need a few times as much.
const GROWTH_MAX: u64 = 8 << 20;

/// The most memory that the gateway has had so far, in bytes.
fn peak(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.process.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

/// A node that counts the bytes of one request up to this end, and answers with their number.
async fn count(listener: &TcpListener, end: &[u8]) {
    let (mut node, _) = listener.accept().await.expect("the gateway connects");
    let (mut buffer, mut got, mut tail) = (vec![0; PIECE], 0, Vec::new());
    while !tail.ends_with(end) {
        let read = node.read(&mut buffer).await.expect("the gateway sends");
        assert_ne!(read, 0, "it ended after {got} bytes");
        got += read;
        tail.extend_from_slice(&buffer[read.saturating_sub(end.len())..read]);
        tail.drain(..tail.len().saturating_sub(end.len()));
    }
    let body = got.to_string();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    node.write_all(answer.as_bytes()).await.expect("the gateway reads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_passes_in_little_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let conf = Conf::new(&[listener.local_addr().expect("an address")]);
    let conf = conf.server("client: { max_body: 2GiB }").pool("retry: { body_limit: 1MiB }");
    let gateway = Gateway::start(conf).await;
    let before = peak(&gateway);
    for is_chunked in [false, true] {
        let sending = async {
            let mut client = TcpStream::connect(gateway.address()).await.expect("a connection");
            let framing = if is_chunked {
                "Transfer-Encoding: chunked".to_owned()
            } else {
                format!("Content-Length: {}", GIB + 5)
            };
            let head =
                format!("POST /v1/files HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{framing}\r\n\r\n");
            client.write_all(head.as_bytes()).await.expect("taken");
            let mut piece = if is_chunked { format!("{PIECE:x}\r\n").into_bytes() } else { Vec::new() };
            piece.resize(piece.len() + PIECE, b'x');
            piece.extend_from_slice(if is_chunked { b"\r\n" } else { b"" });
            for _ in 0..GIB / PIECE {
                client.write_all(&piece).await.expect("taken");
            }
            client.write_all(b"0\r\n\r\n").await.expect("taken");
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("an answer");
            answer
        };
        let passing = async { tokio::join!(sending, count(&listener, b"0\r\n\r\n")).0 };
        let answer = timeout(4 * LIMIT, passing).await.expect("it passes");
        let got: usize = answer.rsplit("\r\n").next().and_then(|got| got.parse().ok()).expect("a number");
        assert!(answer.starts_with("HTTP/1.1 200 ") && got > GIB, "{answer}");
    }
    let growth = peak(&gateway) - before;
    assert!(growth < GROWTH_MAX, "{growth} bytes more");
}
