//! A raw client for the simulator's tests, which sees the bytes on the wire and how the connection ends.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::options::{Options, StepTimes};
use super::{Node, Stats};

/// Limit of each wait, generous for a busy machine; only failing tests reach it.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// A node that a test starts on a free port.
pub(super) fn node(options: Options) -> Node {
    Node::start(options).unwrap()
}

/// Steps of this many milliseconds, independent of the load.
pub(super) fn steps(milliseconds: u64) -> StepTimes {
    StepTimes { base: Duration::from_millis(milliseconds), ..StepTimes::default() }
}

pub(super) async fn until(node: &Node, condition: impl Fn(&Stats) -> bool) -> Stats {
    node.until(LIMIT, condition).await.unwrap()
}

/// The end of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Fin,
    Rst,
}

pub(super) struct Client {
    stream: TcpStream,
}

impl Client {
    pub(super) async fn connect(node: &Node) -> Client {
        Client { stream: TcpStream::connect(node.addr()).await.unwrap() }
    }

    /// Connects and sends these bytes.
    pub(super) async fn send(node: &Node, request: &str) -> Client {
        let mut client = Client::connect(node).await;
        client.write(request).await;
        client
    }

    pub(super) async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until the text holds `wanted`.
    pub(super) async fn read_to(&mut self, wanted: &str) -> String {
        let mut seen = Vec::new();
        timeout(LIMIT, async {
            while !String::from_utf8_lossy(&seen).contains(wanted) {
                assert_ne!(self.stream.read_buf(&mut seen).await.unwrap(), 0, "ended before {wanted:?}");
            }
        })
        .await
        .unwrap();
        String::from_utf8(seen).unwrap()
    }

    /// Reads to the end of the connection.
    pub(super) async fn rest(&mut self) -> (String, Ended) {
        let mut seen = Vec::new();
        let ended = timeout(LIMIT, async {
            loop {
                match self.stream.read_buf(&mut seen).await {
                    Ok(0) => return Ended::Fin,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ended::Rst,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let ended = ended.await.unwrap();
        (String::from_utf8(seen).unwrap(), ended)
    }
}

/// A POST that keeps the connection open.
pub(super) fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: node\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The request with `Connection: close`.
pub(super) fn last(request: &str) -> String {
    request.replacen("\r\n", "\r\nConnection: close\r\n", 1)
}

/// A request without a body.
pub(super) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n")
}

/// A chat request for so many tokens, with more fields.
pub(super) fn chat(tokens: u32, stream: bool, more: &str) -> String {
    let messages = r#"[{"role":"user","content":"Tell me of the sea"}]"#;
    let body =
        format!(r#"{{"model":"m","messages":{messages},"max_tokens":{tokens},"stream":{stream}{more}}}"#);
    post("/v1/chat/completions", &body)
}

/// Sends one request on a connection of its own and reads everything.
pub(super) async fn ask(node: &Node, request: &str) -> (String, Ended) {
    Client::send(node, &last(request)).await.rest().await
}

/// The `data:` payloads of a streamed answer, however it was chunked.
pub(super) fn events(answer: &str) -> Vec<&str> {
    answer.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
}

/// The text of a streamed chat.
pub(super) fn said(answer: &str) -> String {
    let texts = events(answer).into_iter().filter_map(|event| {
        let event: serde_json::Value = serde_json::from_str(event).ok()?;
        Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned())
    });
    texts.collect()
}
