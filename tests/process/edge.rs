//! Tests of connections whose clients send little or nothing.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::LIMIT;
use crate::support::gateway::{Conf, Gateway};
use crate::support::nodes::node;

/// Sends these bytes on a connection of their own and reads to the end. Returns the first line and the time taken.
async fn say(gateway: &Gateway, text: &str) -> (String, Duration) {
    let began = Instant::now();
    let mut stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    stream.write_all(text.as_bytes()).await.expect("it takes some bytes");
    let mut answer = String::new();
    let read = timeout(LIMIT, stream.read_to_string(&mut answer)).await;
    read.unwrap_or_else(|_| panic!("{text:?}: neither answered nor closed")).expect("a clean end");
    (answer.lines().next().unwrap_or_default().to_owned(), began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_shorter_than_the_start_of_http_2_is_answered() {
    let a = node("a", Duration::ZERO);
    let gateway = Gateway::start(Conf::new(&[a.addr()])).await;
    let (answer, _) = say(&gateway, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.") && answer.contains(" 40"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_complete_header_is_closed_in_time() {
    let a = node("a", Duration::ZERO);
    let conf = Conf::new(&[a.addr()]).server("client: { header_timeout: 1s }");
    let gateway = Gateway::start(conf).await;
    for text in ["", "G", "PRI * HTTP/2.0\r\n", "GET /v1/models HTTP/1.1\r\nHost: a\r\n"] {
        let (_, took) = say(&gateway, text).await;
        assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(10), "{text:?}: {took:?}");
    }
    gateway.until_status("all are gone", |status| status["connections"] == 0).await;
}
