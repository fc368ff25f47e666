//! Tests of uploads that do not come to their end: they hold no memory that other requests need.

use std::time::Duration;

use evenkeel::sim::Node;

use crate::harness::{
    Ended, Gateway, LIMIT, Raw, Script, ask, eventually, fault, nodes, pool, pool_of, post, run,
};

/// Longer than the time after which an upload without progress has stalled.
const STALLED: Duration = Duration::from_millis(700);
const PAUSE: Duration = Duration::from_millis(50);

fn head(length: usize) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
}

/// A client that has sent this much of a body, and then sends a byte now and then until it is told otherwise.
async fn trickle(gateway: &Gateway, length: usize, sent: usize) {
    let mut raw = Raw::connect(gateway).await;
    let start = format!("{}{}", head(length), "x".repeat(sent));
    tokio::spawn(async move {
        let mut goes_on = raw.try_write(start).await;
        while goes_on {
            tokio::time::sleep(PAUSE).await;
            goes_on = raw.try_write("x").await && !raw.is_closed();
        }
    });
}

/// Two nodes: the first gets every request first, and dies of each.
async fn first_dies(retry: &str) -> (Vec<Node>, Gateway) {
    let nodes = nodes(2);
    nodes[0].set_fault(fault("reset"));
    let [a, b] = [nodes[0].addr(), nodes[1].addr()];
    let entries =
        format!("{{ name: a, address: \"{a}\" }}, {{ name: b, address: \"{b}\", weight: 0.000001 }}");
    let more = format!("health: {{ max_fails: 0 }}, retry: {{ {retry}, paths: [/echo] }}");
    let gateway = Gateway::with("", &pool_of("p", &entries, &more)).await;
    (nodes, gateway)
}

#[test]
fn a_hundred_slow_uploads_take_nobodys_retries_away() {
    run(async {
        let (_nodes, gateway) = first_dies("body_limit: 1MiB, body_total: 16MiB").await;
        for _ in 0..100 {
            trickle(&gateway, 1_000_000, 400_000).await;
        }
        let held = || gateway.live.kept_bytes.value();
        eventually(LIMIT, "they hold what one client may", || held() > 3_500_000).await;
        tokio::time::sleep(STALLED).await;
        for number in 0..20 {
            let answer = ask(&gateway, post(&gateway, "/echo", "y".repeat(200_000))).await;
            let seen = (answer.status, answer.field("x-evenkeel-node"), answer.field("x-evenkeel-attempts"));
            assert_eq!(seen, (200, Some("b"), Some("2")), "request {number}, {} bytes held", held());
        }
        assert!(held() > 2_000_000, "there was no need to end them all: {} bytes", held());
    });
}

#[test]
fn large_uploads_take_no_retries_of_small_bodies_away_and_go_on() {
    run(async {
        let (_nodes, gateway) = first_dies("body_limit: 4MiB, body_total: 8MiB").await;
        let mut large = Raw::send(&gateway, format!("{}{}", head(4_000_000), "x".repeat(3_999_999))).await;
        eventually(LIMIT, "it is kept", || gateway.live.kept_bytes.value() == 3_999_999).await;
        for _ in 0..5 {
            let answer = ask(&gateway, post(&gateway, "/echo", "y".repeat(300_000))).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-attempts")), (200, Some("2")));
        }
        large.write("x").await;
        assert_eq!(large.head().await.status, 200);
    });
}

#[test]
fn a_stalled_upload_gives_way_and_is_told_so() {
    run(async {
        let nodes = nodes(1);
        let more = "retry: { body_limit: 1MiB, body_total: 1MiB }";
        let gateway = Gateway::start(&nodes, more).await;
        // from then on it is silent, and yet it learns of it
        let mut slow = Raw::send(&gateway, format!("{}{}", head(1_000_000), "x".repeat(900_000))).await;
        eventually(LIMIT, "it is kept", || gateway.live.kept_bytes.value() == 900_000).await;
        tokio::time::sleep(STALLED).await;
        let answer = ask(&gateway, post(&gateway, "/echo", "y".repeat(400_000))).await;
        assert_eq!((answer.status, answer.body.len()), (200, 400_000));
        let (head, body) = slow.response().await;
        assert!(head.status == 408 && body.contains("retry.body_total"), "{head:?} {body}");
        assert_eq!(slow.rest().await.1, Ended::Fin);
        gateway.at_rest().await;
    });
}

#[test]
fn an_upload_without_progress_is_left_alone_while_there_is_room() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let mut slow = Raw::send(&gateway, format!("{}{}", head(100_002), "x".repeat(100_000))).await;
        for _ in 0..2 {
            tokio::time::sleep(STALLED).await;
            slow.write("x").await;
        }
        let (mut node, _) = script.request().await;
        node.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(slow.response().await.1, "ok");
    });
}

#[test]
fn a_body_slower_than_its_least_rate_is_408() {
    run(async {
        let nodes = nodes(1);
        let server = "client: { body_timeout: 2s, body_min_rate: 100KiB }";
        let gateway = Gateway::with(server, &pool("p", &nodes, "")).await;
        let refused = || gateway.status().unrouted.requests.get(&408).copied().unwrap_or(0);
        for (number, framing) in ["Content-Length: 1000000", "Transfer-Encoding: chunked"].iter().enumerate()
        {
            let head = format!("POST /echo HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
            let mut raw = Raw::send(&gateway, head).await;
            // never as silent as it may be
            let piece = if framing.contains("chunked") { "1\r\nx\r\n" } else { "x" };
            while refused() == number as u64 && raw.try_write(piece).await {
                tokio::time::sleep(PAUSE).await;
            }
            let (text, _) = raw.rest_as_text().await;
            assert!(text.contains("client.body_min_rate"), "{framing}: {text}");
        }
        assert_eq!(nodes[0].stats().received, 0);
        gateway.at_rest().await;
    });
}
