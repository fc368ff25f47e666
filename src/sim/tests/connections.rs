use std::time::Duration;

use super::super::testing::*;
use super::super::{Limits, Options};

#[tokio::test]
async fn connections_are_kept_alive() {
    let node = node(Options::default());
    let mut client = Client::connect(&node).await;
    for _ in 0..3 {
        client.write(&chat(2, true, "")).await;
        client.read_to("\r\n0\r\n\r\n").await;
    }
    let stats = until(&node, |stats| stats.completed == 3).await;
    assert_eq!((stats.accepted, stats.open), (1, 1));
    assert!(stats.bytes_in > 300 && stats.bytes_out > 300);
}

#[tokio::test]
async fn idle_connections_are_closed_but_not_working_ones() {
    let options =
        Options { keepalive: Some(Duration::from_millis(20)), step: steps(10), ..Options::default() };
    let node = node(options);
    let mut client = Client::send(&node, &chat(6, true, "")).await;
    let (answer, ended) = client.rest().await;
    assert!(answer.contains("[DONE]"), "{answer}");
    assert_eq!(ended, Ended::Fin);
    assert_eq!(Client::connect(&node).await.rest().await, (String::new(), Ended::Fin));
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_sequence() {
    let node = node(Options {
        step: steps(3_600_000),
        limits: Limits { max_seqs: 2, ..Limits::default() },
        ..Options::default()
    });
    let streaming = Client::send(&node, &chat(9, true, "")).await;
    until(&node, |stats| stats.running == 1).await;
    let whole = Client::send(&node, &chat(9, false, "")).await;
    until(&node, |stats| stats.running == 2).await;
    let waiting = Client::send(&node, &chat(9, true, "")).await;
    until(&node, |stats| stats.waiting == 1).await;
    drop(streaming);
    until(&node, |stats| stats.running == 2 && stats.waiting == 0 && stats.aborted == 1).await;
    drop((whole, waiting));
    until(&node, |stats| stats.running == 0 && stats.aborted == 3 && stats.open == 0).await;
}

#[tokio::test]
async fn an_upgrade_echoes_raw_bytes() {
    let node = node(Options::default());
    let request = "GET /ws HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut client = Client::send(&node, request).await;
    let head = client.read_to("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client.write("\u{1}ping").await;
    assert_eq!(client.read_to("ping").await, "\u{1}ping");
    node.crash().await;
    assert_eq!(client.rest().await.1, Ended::Rst);
    node.restart(Duration::ZERO);
    node.ready().await;
    assert!(ask(&node, &get("/ws")).await.0.starts_with("HTTP/1.1 426 "));
}
