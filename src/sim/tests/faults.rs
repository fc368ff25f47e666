use std::time::Duration;

use super::super::testing::*;
use super::super::{Fault, FaultKind, Health, Node, Options, Shape};

fn faulty(fault: impl Into<Fault>) -> Node {
    let node = node(Options::default());
    node.set_fault(fault);
    node
}

async fn streamed(fault: &str) -> (String, Ended) {
    ask(&faulty(fault.parse::<Fault>().unwrap()), &chat(8, true, "")).await
}

async fn whole(fault: &str) -> (String, Ended) {
    ask(&faulty(fault.parse::<Fault>().unwrap()), &chat(8, false, "")).await
}

#[tokio::test]
async fn a_status_for_the_next_two_requests() {
    let status = FaultKind::Status { code: 503, retry_after: Some(7), shape: Shape::Openai };
    let node = faulty(Fault::from(status).times(2));
    for _ in 0..2 {
        let (answer, _) = ask(&node, &chat(8, true, "")).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("retry-after: 7\r\n") && answer.contains(r#""error":{"#));
    }
    assert!(ask(&node, &chat(8, true, "")).await.0.starts_with("HTTP/1.1 200 "));
    assert_eq!(node.stats().struck, 2);
}

#[tokio::test]
async fn before_the_head() {
    for method in [streamed("reset").await, whole("reset").await, whole("die:3").await] {
        assert_eq!(method, (String::new(), Ended::Rst));
    }
    for method in [streamed("close").await, whole("close").await] {
        assert_eq!(method, (String::new(), Ended::Fin));
    }
    assert!(streamed("slow_head:1").await.0.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_hanging_request_ends_when_the_client_leaves() {
    let node = faulty(FaultKind::Hang);
    let client = Client::send(&node, &chat(8, true, "")).await;
    until(&node, |stats| stats.struck == 1).await;
    assert_eq!(node.stats().in_flight, 1);
    drop(client);
    until(&node, |stats| stats.in_flight == 0 && stats.aborted == 1).await;
}

#[tokio::test]
async fn a_stalled_stream_keeps_its_slot_until_the_client_leaves() {
    let node = faulty(FaultKind::Stall { after: 3 });
    let mut client = Client::send(&node, &chat(8, true, "")).await;
    client.read_to("2\"},").await;
    assert_eq!(node.stats().running, 1);
    drop(client);
    until(&node, |stats| stats.running == 0 && stats.aborted == 1).await;
}

#[tokio::test]
async fn streams_that_are_cut_after_some_tokens() {
    let (answer, ended) = streamed("die:3").await;
    assert_eq!((said(&answer).split(' ').count(), ended), (3, Ended::Rst));
    let (answer, ended) = streamed("truncate:3").await;
    assert_eq!((said(&answer).split(' ').count(), ended), (3, Ended::Fin));
    assert!(!answer.ends_with("0\r\n\r\n"));
    // the first event has a role and no text
    for (events_before, within) in [(4, false), (4, true), (10, false), (11, false)] {
        let (answer, ended) = streamed(&format!("cut:{events_before},within={within}")).await;
        assert_eq!((said(&answer).split(' ').count(), ended), (events_before.min(9) - 1, Ended::Fin));
        let events = events(&answer);
        assert_eq!(events.len(), events_before.min(10) + usize::from(within), "{answer}");
        let last = *events.last().unwrap();
        assert_eq!(last.starts_with('{') && !last.ends_with('}'), within, "{last}");
    }
}

#[tokio::test]
async fn streams_that_end_wrongly() {
    let (answer, _) = streamed("error_event:3").await;
    let after = events(&answer);
    assert_eq!((after.len(), after[5]), (6, "[DONE]"));
    assert!(after[4].contains("EngineCore") && after[4].contains(r#""code": 500"#));

    let (answer, _) = streamed("full").await;
    let only = events(&answer);
    assert!(only[0].contains(r#""code": 503"#), "{answer}");
    assert_eq!(only[1..], ["[DONE]"]);

    let (answer, _) = streamed("no_done").await;
    assert!(answer.contains(r#""finish_reason":"length""#) && !answer.contains("[DONE]"));
    assert!(answer.ends_with("0\r\n\r\n"));
    let (answer, _) = streamed("no_done:2").await;
    assert_eq!(events(&answer).len(), 3);

    let (answer, _) = streamed("abort:2").await;
    assert!(answer.contains(r#""finish_reason":"abort""#) && answer.contains("[DONE]"));
}

#[tokio::test]
async fn a_queue_that_takes_too_long_is_told_after_the_head() {
    let node = faulty(FaultKind::QueueTimeout { delay_ms: 20 });
    let mut client = Client::send(&node, &last(&chat(8, true, ""))).await;
    let head = client.read_to("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("data:"), "{head}");
    let rest = client.rest().await.0;
    let events = events(&rest);
    assert!(events[0].contains("queue timeout") && events[0].contains(r#""code": 503"#), "{rest}");
    assert_eq!(events[1..], ["[DONE]"]);
    assert!(whole("queue_timeout:1").await.0.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn whole_answers_that_go_wrong() {
    let (answer, ended) = whole("truncate").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(body.len() < length.parse().unwrap() && ended == Ended::Fin);
    assert!(whole("error_event").await.0.starts_with("HTTP/1.1 500 "));
    assert!(whole("full").await.0.starts_with("HTTP/1.1 503 "));
    assert!(whole("abort:1").await.0.contains(r#""finish_reason":"abort""#));
    assert!(whole("no_done").await.0.contains(r#""finish_reason":"length""#));
}

#[tokio::test]
async fn a_stale_connection_closes_as_the_next_request_arrives() {
    let node = faulty(FaultKind::Stale);
    let mut client = Client::send(&node, &chat(1, true, "")).await;
    client.read_to("\r\n0\r\n\r\n").await;
    client.write(&chat(1, true, "")).await;
    assert_eq!(client.rest().await.0, "");
    let stats = node.stats();
    assert_eq!((stats.received, stats.completed, stats.struck), (1, 1, 1));
}

#[tokio::test]
async fn a_crash_cuts_every_stream_and_the_node_comes_back() {
    let options = Options { step: steps(1), startup: Duration::from_millis(30), ..Options::default() };
    let node = node(options);
    let mut bystander = Client::send(&node, &chat(1_000_000, true, "")).await;
    bystander.read_to("data:").await;
    node.set_fault(Fault::from(FaultKind::Crash { after: Some(2) }).times(1));
    let (answer, ended) = ask(&node, &chat(8, true, "")).await;
    assert_eq!((said(&answer).split(' ').count(), ended), (2, Ended::Rst));
    assert_eq!(bystander.rest().await.1, Ended::Rst);
    node.ready().await;
    assert!(ask(&node, &chat(2, true, "")).await.0.contains("[DONE]"));
    let stats = node.stats();
    assert_eq!((stats.lost, stats.completed, stats.running), (2, 1, 0));
}

#[tokio::test]
async fn faults_over_http() {
    let node = node(Options::default());
    let (answer, _) = ask(&node, &post("/sim/fault", r#"{"kind":"status","code":500,"times":5}"#)).await;
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert!(ask(&node, &post("/echo", "x")).await.0.starts_with("HTTP/1.1 500 "));
    assert!(ask(&node, &get("/sim/fault")).await.0.contains(r#""times":4"#));
    ask(&node, "DELETE /sim/fault HTTP/1.1\r\nHost: node\r\n\r\n").await;
    assert!(ask(&node, &post("/echo", "x")).await.0.starts_with("HTTP/1.1 200 "));
    let (answer, _) = ask(&node, &post("/sim/fault", r#"[{"kind":"hang","tmies":5}]"#)).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("tmies"), "{answer}");
}

#[tokio::test]
async fn faults_by_header_only_where_allowed() {
    let request = chat(1, true, "").replacen("\r\n", "\r\nX-Sim-Fault: status:502\r\n", 1);
    assert!(ask(&node(Options::default()), &request).await.0.starts_with("HTTP/1.1 200 "));
    let node = node(Options { allow_header_faults: true, ..Options::default() });
    assert!(ask(&node, &request).await.0.starts_with("HTTP/1.1 502 "));
    let wrong = request.replace("status:502", "explode");
    assert!(ask(&node, &wrong).await.0.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn health_fails_independently_of_requests() {
    let node = node(Options::default());
    node.set_health(Health::Status { code: 503 });
    assert!(ask(&node, &get("/health")).await.0.starts_with("HTTP/1.1 503 "));
    assert!(ask(&node, &chat(1, false, "")).await.0.starts_with("HTTP/1.1 200 "));
    assert!(ask(&node, &post("/sim/health", r#"{"mode":"hang"}"#)).await.0.starts_with("HTTP/1.1 204 "));
    let mut client = Client::send(&node, &get("/health")).await;
    until(&node, |stats| stats.health_checks == 2).await;
    node.crash().await;
    assert_eq!(client.rest().await, (String::new(), Ended::Rst));
}

#[tokio::test]
async fn a_draining_node_says_healthy_and_500() {
    let node = faulty(FaultKind::Draining);
    assert!(ask(&node, &get("/health")).await.0.starts_with("HTTP/1.1 200 "));
    assert!(ask(&node, &chat(1, true, "")).await.0.starts_with("HTTP/1.1 500 "));
}
