//! Tests of hanging nodes, which accept requests and answer none while their `/health` says 200.

use std::time::Duration;

use evenkeel::fleet::{NodeState, Reason};
use evenkeel::outcome::Outcome;
use evenkeel::sim::{Health, Node};
use http::Version;
use http_body_util::BodyExt;
use tokio::task::JoinSet;

use crate::harness::{
    Answer, Client, Ended, Gateway, Head, LIMIT, Raw, Script, chat, eventually, fault, nodes, run, within,
};

/// A long timeout, because on a busy machine a check could fail once, and its next pass would readmit the node.
const CHECK: &str = "interval: 100ms, timeout: 20s";

fn pool(more: &str) -> String {
    format!(
        "engine: vllm, health: {{ fail_timeout: 30s, check: {{ {CHECK} }} }}, timeouts: {{ stall: 1s, {more} }}"
    )
}

/// Concurrent requests, each on a connection of its own.
fn send(gateway: &Gateway, count: usize, stream: bool) -> JoinSet<Answer> {
    let mut set = JoinSet::new();
    for _ in 0..count {
        let (request, address) = (chat(gateway, 3, stream), gateway.address);
        set.spawn(async move { Client::to(address, Version::HTTP_11).await.ask(request).await });
    }
    set
}

/// Waits until all requests have reached a node and those on `b` are answered; returns the number that hang.
async fn hanging(gateway: &Gateway, nodes: &[Node], count: u64) -> u64 {
    let reached = || nodes.iter().map(|node| node.stats().received).sum::<u64>() == count;
    eventually(LIMIT, "some hang, the others are answered", || reached() && gateway.in_flight()[1] == 0)
        .await;
    let hang = gateway.in_flight()[0];
    assert!(hang > 0);
    hang.into()
}

/// Sends requests to the other nodes until the condition holds, so that they are not silent.
async fn asking(gateway: &Gateway, condition: impl Fn() -> bool) {
    let mut client = Client::h1(gateway).await;
    within(LIMIT, "the condition, while another node answers", async {
        while !condition() {
            let answer = client.ask(chat(gateway, 1, false)).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
        }
    })
    .await;
}

/// Requests that hang on `a` are answered by `b`.
async fn goes_elsewhere(nodes: &[Node], text: &str, stream: bool) {
    nodes[0].set_fault(fault(text));
    let gateway = Gateway::start(nodes, &pool("first_event: 20s")).await;
    let clients = send(&gateway, 6, stream);
    let hang = hanging(&gateway, nodes, 6).await;
    asking(&gateway, || gateway.state("a") == NodeState::Ejected).await;
    for answer in within(LIMIT, "all have an answer", clients.join_all()).await {
        assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")), "{text}");
        assert!(!stream || answer.text().ends_with("data: [DONE]\n\n"));
    }
    let node = gateway.node("a");
    assert_eq!((node.reason, node.ejections, node.recent_failures), (Some(Reason::Stalled), 1, 0), "{text}");
    assert_eq!(node.attempts_with(Outcome::Stalled), hang, "{text}");
    let left = node.ejected_for.unwrap();
    assert!(left > Duration::from_secs(10) && left <= Duration::from_secs(30), "one event: {left:?}");
    let checks = || nodes[0].stats().health_checks;
    let before = checks();
    eventually(LIMIT, "its check passes again and again", || checks() > before + 5).await;
    assert_eq!(gateway.state("a"), NodeState::Ejected, "it waits for its time and its probe");
    gateway.at_rest().await;
}

#[test]
fn requests_waiting_for_a_head_are_retried_elsewhere() {
    run(async {
        for stream in [false, true] {
            goes_elsewhere(&nodes(2), "hang", stream).await;
        }
    });
}

#[test]
fn requests_waiting_for_the_first_event_are_retried_elsewhere() {
    run(async { goes_elsewhere(&nodes(2), "stall:0", true).await });
}

/// A pool of a scripted node and a simulated one.
fn scripted(a: &Script, b: &Node, more: &str) -> String {
    let list = format!("{{ name: a, address: \"{}\" }}, {{ name: b, address: \"{}\" }}", a.address, b.addr());
    crate::harness::pool_of("p", &list, more)
}

#[test]
fn requests_waiting_for_the_rest_of_an_answer_are_retried_elsewhere() {
    run(async {
        let (script, nodes) = (Script::listen().await, nodes(2));
        let gateway = Gateway::with("", &scripted(&script, &nodes[1], "timeouts: { stall: 1s }")).await;
        let first = tokio::spawn(within(LIMIT, "an answer", {
            let request = chat(&gateway, 1, false);
            let address = gateway.address;
            async move { Client::to(address, Version::HTTP_11).await.ask(request).await }
        }));
        let (mut node, _) = script.request().await;
        node.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{").await;
        asking(&gateway, || gateway.state("a") == NodeState::Ejected).await;
        assert_eq!(first.await.unwrap().field("x-evenkeel-node"), Some("b"));
        assert_eq!(gateway.node("a").reason, Some(Reason::Stalled));
    });
}

/// The server hangs too, so that the check ejects the node first. The requests waiting on it must still be retried.
#[test]
fn requests_waiting_on_a_node_ejected_by_its_check_are_retried_elsewhere() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("hang"));
        let check = "check: { interval: 100ms, timeout: 200ms, fall: 1 }";
        let more =
            format!("engine: vllm, health: {{ fail_timeout: 60s, {check} }}, timeouts: {{ stall: 2s }}");
        let gateway = Gateway::start(&nodes, &more).await;
        let clients = send(&gateway, 6, false);
        let hang = hanging(&gateway, &nodes, 6).await;
        nodes[0].set_health(Health::Hang);
        eventually(LIMIT, "its check fails", || gateway.state("a") == NodeState::Ejected).await;
        asking(&gateway, || gateway.in_flight()[0] == 0).await;
        for answer in within(LIMIT, "all have an answer", clients.join_all()).await {
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
        }
        let node = gateway.node("a");
        assert_eq!((node.reason, node.ejections), (Some(Reason::CheckFailed), 1));
        assert_eq!(node.attempts_with(Outcome::Stalled), hang);
    });
}

/// The server sends the heads of its streams at once while its engine hangs, so the client has the head.
#[test]
fn streams_with_nothing_but_a_head_begin_again_elsewhere() {
    run(async {
        for resume in [true, false] {
            let nodes = nodes(2);
            nodes[0].set_fault(fault("stall:0"));
            let more = if resume { ", retry: { resume: on }" } else { "" };
            let more = format!("{}{more}", pool("first_event: 10ms"));
            let gateway = Gateway::start(&nodes, &more).await;
            let mut client = Client::h1(&gateway).await;
            let response = client.begin(chat(&gateway, 3, true)).await.unwrap();
            assert_eq!(response.headers()["x-evenkeel-node"], "a");
            asking(&gateway, || gateway.state("a") == NodeState::Ejected).await;
            assert_eq!(gateway.node("a").reason, Some(Reason::Stalled));
            let body = within(LIMIT, "its end", response.into_body().collect()).await;
            let text = String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap();
            assert!(text.ends_with("data: [DONE]\n\n") && !text.contains("\"error\""), "{text}");
            gateway.at_rest().await;
            let node = gateway.node("a");
            assert_eq!((node.ejections, node.attempts_with(Outcome::Stalled)), (1, 1));
        }
    });
}

/// The node has data to send that the client does not read, so the silence is the client's fault.
#[test]
fn a_client_that_does_not_read_is_not_charged_to_its_node() {
    const EVENTS: usize = 4096;
    run(async {
        for more in ["", ", retry: { resume: on }, engine: vllm, health: { check: off }"] {
            let (script, nodes) = (Script::listen().await, nodes(2));
            let more = format!("timeouts: {{ stall: 300ms }}{more}");
            let gateway = Gateway::with("", &scripted(&script, &nodes[1], &more)).await;
            let body = r#"{"model":"m","stream":true,"messages":[]}"#;
            let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nConnection: close\r\n";
            let mut client =
                Raw::send(&gateway, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
            let (mut node, asked) = script.request().await;
            // a socket that is closed with unread bytes in it resets its connection
            node.read(Head::of_request(&asked).length()).await;
            let event = |text: &str, reason: &str| {
                format!(
                    "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":{reason}}}]}}\n\n"
                )
            };
            let long = event(&"x".repeat(16 * 1024), "null");
            let end = event("", "\"stop\"") + "data: [DONE]\n\n";
            let says = tokio::spawn(async move {
                node.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
                    .await;
                for _ in 0..EVENTS {
                    node.write(&long).await;
                }
                node.write(end).await;
            });
            client.head().await;
            let began = std::time::Instant::now();
            asking(&gateway, || began.elapsed() > Duration::from_millis(1500)).await;
            assert!(!says.is_finished(), "it waits for its reader");
            assert_eq!((gateway.state("a"), gateway.node("a").ejections), (NodeState::Up, 0), "{more}");
            let (seen, ended) = client.rest_as_text().await;
            assert!(seen.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"), "{}", &seen[seen.len() - 200..]);
            assert_eq!((ended, gateway.attempts("a", Outcome::Ok)), (Ended::Fin, 1));
            says.await.unwrap();
        }
    });
}

/// A body that is passed on as it arrives makes the node wait for the client too.
#[test]
fn a_client_that_uploads_slowly_is_not_charged_to_its_node() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, "retry: { body_limit: 0 }, timeouts: { stall: 300ms }").await;
        let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":1}"#;
        let (now, later) = body.split_at(20);
        for sends in [now, ""] {
            let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nConnection: close\r\n";
            let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
            let mut client = Raw::send(&gateway, format!("{head}{sends}")).await;
            eventually(LIMIT, "it is on its way", || gateway.in_flight()[0] == 1).await;
            let began = std::time::Instant::now();
            asking(&gateway, || began.elapsed() > Duration::from_millis(1200)).await;
            assert_eq!((gateway.state("a"), gateway.node("a").ejections), (NodeState::Up, 0), "{sends:?}");
            client.write(if sends.is_empty() { body } else { later }).await;
            assert_eq!(client.head().await.status, 200);
            gateway.at_rest().await;
        }
    });
}

#[test]
fn over_h2_to_the_nodes_a_client_that_does_not_read_is_not_held_against_its_node_either() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, "http_version: 2, timeouts: { stall: 300ms }").await;
        let body =
            r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}],"max_tokens":1000000}"#;
        let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nConnection: close\r\n";
        let mut client =
            Raw::send(&gateway, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
        client.read_to("data: ").await;
        let began = std::time::Instant::now();
        asking(&gateway, || began.elapsed() > Duration::from_millis(2000)).await;
        assert_eq!((gateway.in_flight()[0], gateway.node("a").ejections), (1, 0), "{:?}", gateway.node("a"));
        drop(client);
        gateway.at_rest().await;
    });
}

/// A node that is frozen, with its server: the kernel takes connections, nobody reads them. No `timeouts.stall` is set.
#[test]
fn requests_without_an_answer_leave_a_node_that_its_check_has_lost() {
    run(async {
        let (frozen, nodes) = (Script::listen().await, nodes(2));
        let check = "health: { check: { path: /health, interval: 100ms, timeout: 200ms, fall: 3 } }";
        let gateway = Gateway::with("", &scripted(&frozen, &nodes[1], check)).await;
        let clients = send(&gateway, 4, false);
        for answer in within(LIMIT, "all have an answer", clients.join_all()).await {
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
        }
        let node = gateway.node("a");
        assert_eq!((node.reason, node.ejections), (Some(Reason::CheckFailed), 1));
        assert_eq!((node.attempts_with(Outcome::Stalled), node.recent_failures), (2, 0));
        gateway.at_rest().await;
    });
}

#[test]
fn a_request_that_has_a_byte_stays_with_a_node_that_its_check_has_lost() {
    run(async {
        let (script, nodes) = (Script::listen().await, nodes(2));
        let check = "health: { check: { path: /health, interval: 100ms, timeout: 1s, fall: 2 } }";
        let gateway = Gateway::with("", &scripted(&script, &nodes[1], check)).await;
        let begun = tokio::spawn({
            let (request, address) = (chat(&gateway, 1, false), gateway.address);
            async move { Client::to(address, Version::HTTP_11).await.ask(request).await }
        });
        let mut node = loop {
            let (mut node, head) = script.request().await;
            if head.starts_with("POST") {
                break node;
            }
            node.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        };
        node.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{").await;
        eventually(LIMIT, "its check fails", || gateway.state("a") == NodeState::Ejected).await;
        let checked = nodes[1].stats().health_checks;
        eventually(LIMIT, "it goes on failing", || nodes[1].stats().health_checks > checked + 10).await;
        node.write("}").await;
        let answer = within(LIMIT, "an answer", begun).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.field("x-evenkeel-attempts")), ("{}", Some("1")));
    });
}

/// A body that is passed on as it comes makes the node wait for the client, until it has it all.
#[test]
fn a_client_whose_upload_is_slow_is_not_charged_to_its_node_and_a_hung_node_is() {
    run(async {
        let nodes = nodes(2);
        let more = "retry: { body_limit: 10B }, timeouts: { stall: 300ms }";
        let gateway = Gateway::start(&nodes, more).await;
        let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":1}"#;
        let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nConnection: close\r\n";
        let (now, later) = body.split_at(20);
        let sized = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n14\r\n{now}\r\n");
        let rest = format!("{:x}\r\n{later}\r\n0\r\n\r\n", later.len());
        for (first, then) in [(format!("{sized}{now}"), later), (sized, body), (chunked, &rest)] {
            let mut client = Raw::send(&gateway, &first).await;
            eventually(LIMIT, "it is on its way", || gateway.in_flight()[0] == 1).await;
            let began = std::time::Instant::now();
            asking(&gateway, || began.elapsed() > Duration::from_millis(1200)).await;
            assert_eq!((gateway.state("a"), gateway.node("a").ejections), (NodeState::Up, 0), "{first:?}");
            client.write(then).await;
            assert_eq!(client.head().await.status, 200);
            gateway.at_rest().await;
        }
        nodes[0].set_fault(fault("hang"));
        let mut client =
            Raw::send(&gateway, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
        eventually(LIMIT, "it is on its way", || gateway.in_flight()[0] == 1).await;
        asking(&gateway, || gateway.node("a").ejections == 1).await;
        assert_eq!(client.head().await.status, 504);
    });
}
