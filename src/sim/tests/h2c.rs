use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::super::testing::*;
use super::super::{FaultKind, Node, Options};

async fn connect(node: &Node) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(node.addr()).await.unwrap();
    let io = TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask_chat(sender: &mut SendRequest<Full<Bytes>>, tokens: u32) -> hyper::Result<Response<Incoming>> {
    let text = chat(tokens, true, "");
    let body = text.split_once("\r\n\r\n").unwrap().1.to_owned();
    let request = Request::post("http://node/v1/chat/completions").body(Full::new(Bytes::from(body)));
    sender.send_request(request.unwrap()).await
}

/// The text of a body, up to its end or failure.
async fn read(mut body: Incoming) -> (String, bool) {
    let mut text = String::new();
    loop {
        match body.frame().await {
            None => return (text, true),
            Some(Err(_)) => return (text, false),
            Some(Ok(frame)) => text += &String::from_utf8_lossy(&frame.into_data().unwrap_or_default()),
        }
    }
}

#[tokio::test]
async fn streams_share_one_connection() {
    let node = node(Options { step: steps(1), ..Options::default() });
    let mut sender = connect(&node).await;
    let mut other = sender.clone();
    let (first, second) = tokio::join!(ask_chat(&mut sender, 4), ask_chat(&mut other, 4));
    for answer in [first, second] {
        let (text, whole) = read(answer.unwrap().into_body()).await;
        assert!(whole && text.ends_with("data: [DONE]\n\n"), "{text}");
    }
    let stats = until(&node, |stats| stats.completed == 2).await;
    assert_eq!(stats.accepted, 1);
}

#[tokio::test]
async fn a_cancelled_stream_frees_its_sequence() {
    let node = node(Options { step: steps(3_600_000), ..Options::default() });
    let mut sender = connect(&node).await;
    let answer = ask_chat(&mut sender, 4).await.unwrap();
    until(&node, |stats| stats.running == 1).await;
    drop(answer);
    until(&node, |stats| stats.running == 0 && stats.aborted == 1).await;
    assert_eq!(node.stats().open, 1);
}

#[tokio::test]
async fn faults_cut_the_connection_after_the_tokens() {
    let node = node(Options::default());
    for fault in [FaultKind::Die { after: 3 }, FaultKind::Truncate { after: 3 }] {
        node.set_fault(fault);
        let answer = ask_chat(&mut connect(&node).await, 8).await.unwrap();
        let (text, whole) = read(answer.into_body()).await;
        assert_eq!((said(&text).split(' ').count(), whole), (3, false), "{text}");
    }
    node.set_fault(FaultKind::Reset);
    assert!(ask_chat(&mut connect(&node).await, 8).await.is_err());
    node.clear_faults();
    let mut sender = connect(&node).await;
    let answer = ask_chat(&mut sender, 2).await.unwrap();
    assert!(read(answer.into_body()).await.1);
    node.crash().await;
    until(&node, |stats| stats.open == 0 && stats.in_flight == 0).await;
}
