use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::TcpStream;

use super::super::testing::*;
use super::super::{Loading, Options, State};

#[tokio::test]
async fn a_crashed_node_refuses_until_it_is_back() {
    let node = node(Options { step: steps(3_600_000), ..Options::default() });
    let mut client = Client::send(&node, &chat(9, true, "")).await;
    until(&node, |stats| stats.running == 1).await;
    node.crash().await;
    assert_eq!(client.rest().await.1, Ended::Rst);
    let refused = TcpStream::connect(node.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let stats = node.stats();
    assert_eq!((stats.running, stats.lost, stats.open), (0, 1, 0));
    node.restart(Duration::from_millis(5));
    assert_eq!(node.state(), State::Down);
    node.ready().await;
    assert!(ask(&node, &get("/health")).await.0.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_loading_node_may_answer_503() {
    let node = node(Options { loading: Loading::Answer503, ..Options::default() });
    node.restart(Duration::from_secs(3600));
    until(&node, |_| node.state() == State::Loading).await;
    for request in [get("/health"), chat(1, true, "")] {
        let (answer, _) = ask(&node, &request).await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Loading model"), "{answer}");
    }
    node.restart(Duration::ZERO);
    node.ready().await;
    assert!(ask(&node, &get("/health")).await.0.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_stop_finishes_requests_in_flight() {
    let node = node(Options { step: steps(5), ..Options::default() });
    let mut client = Client::send(&node, &chat(5, true, "")).await;
    let mut idle = Client::connect(&node).await;
    client.read_to("data:").await;
    until(&node, |stats| stats.open == 2).await;
    node.stop().await;
    assert!(client.rest().await.0.contains("[DONE]"));
    assert_eq!(idle.rest().await.1, Ended::Fin);
    assert!(TcpStream::connect(node.addr()).await.is_err());
    assert_eq!(node.stats().completed, 1);
}

#[tokio::test]
async fn a_termination_aborts_running_sequences() {
    let node = node(Options { step: steps(3_600_000), ..Options::default() });
    let mut client = Client::send(&node, &chat(5, true, "")).await;
    until(&node, |stats| stats.running == 1).await;
    node.terminate().await;
    let (answer, _) = client.rest().await;
    assert!(answer.contains(r#""finish_reason":"abort""#) && answer.contains("[DONE]"), "{answer}");
}

#[tokio::test]
async fn a_drain_lets_run_what_runs_and_refuses_what_is_new() {
    let node = node(Options { step: steps(20), ..Options::default() });
    let mut client = Client::send(&node, &chat(20, true, "")).await;
    until(&node, |stats| stats.running == 1).await;
    assert!(ask(&node, &post("/sim/drain", "3600")).await.0.starts_with("HTTP/1.1 204 "));
    until(&node, |_| node.state() == State::Draining).await;
    let (refused, _) = ask(&node, &chat(1, true, "")).await;
    assert!(refused.starts_with("HTTP/1.1 500 ") && refused.contains("after shutdown"), "{refused}");
    assert!(ask(&node, &get("/health")).await.0.starts_with("HTTP/1.1 200 "));
    let (answer, _) = client.rest().await;
    assert!(answer.contains(r#""finish_reason":"length""#) && answer.contains("[DONE]"), "{answer}");
    until(&node, |_| node.state() == State::Down).await;
    // one that has not ended in time is aborted
    node.restart(Duration::ZERO);
    node.ready().await;
    let mut client = Client::send(&node, &chat(1_000_000, true, "")).await;
    until(&node, |stats| stats.running == 1).await;
    node.drain(Duration::ZERO).await;
    assert!(client.rest().await.0.contains(r#""finish_reason":"abort""#));
}

#[tokio::test]
async fn a_crash_ends_a_pending_stop() {
    let node = node(Options { step: steps(3_600_000), ..Options::default() });
    let _client = Client::send(&node, &chat(5, true, "")).await;
    until(&node, |stats| stats.running == 1).await;
    let crash = async {
        until(&node, |_| node.state() == State::Down).await;
        node.crash().await;
    };
    tokio::join!(node.stop(), crash);
    assert_eq!(node.stats().lost, 1);
}

#[tokio::test]
async fn the_last_command_wins() {
    let node = node(Options::default());
    node.restart(Duration::ZERO);
    node.crash().await;
    assert!(TcpStream::connect(node.addr()).await.is_err());
    assert_eq!(node.state(), State::Down);
}
