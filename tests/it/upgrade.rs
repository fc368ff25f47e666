//! Tests of protocol switches such as WebSocket: bytes pass both ways, and the lease lasts as long.

use std::time::{Duration, Instant};

use evenkeel::fleet::NodeState;
use evenkeel::outcome::Outcome;

use crate::harness::{Gateway, LIMIT, Raw, Script, eventually, fault, nodes, run};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";

#[test]
fn an_upgrade_passes_bytes_both_ways_and_is_leased_while_it_is_open() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, "").await;
        let mut client = Raw::send(&gateway, UPGRADE).await;
        let head = client.head().await;
        assert_eq!((head.status, head.field("upgrade")), (101, Some("websocket")));
        assert!(head.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
        for size in [1, 5000, 300_000] {
            let sent: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
            // in steps that fit into any buffer, because the echo is not read meanwhile
            for step in sent.chunks(10_000) {
                client.write(step).await;
                assert!(client.read(step.len()).await == step, "{size} bytes");
            }
        }
        assert_eq!((gateway.in_flight(), gateway.status().requests), (vec![1, 0], 1));
        drop(client);
        gateway.at_rest().await;
        eventually(LIMIT, "the node's side is closed too", || nodes[0].stats().open == 0).await;
        assert_eq!(gateway.answered(101), 1);
        assert_eq!(gateway.state("a"), NodeState::Up);
        assert_eq!(gateway.node("a").recent_failures, 0);
    });
}

#[test]
fn an_upgrade_ends_when_its_node_dies() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        let mut client = Raw::send(&gateway, UPGRADE).await;
        client.head().await;
        client.write("ping").await;
        assert_eq!(client.read(4).await, b"ping");
        nodes[0].crash().await;
        client.rest().await;
        gateway.at_rest().await;
    });
}

#[test]
fn a_refused_upgrade_is_passed_on_as_an_answer() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let mut client = Raw::send(&gateway, UPGRADE).await;
        let (mut node, head) = script.request().await;
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains("upgrade: websocket\r\n") && head.contains("sec-websocket-key: k\r\n"),
            "{head}"
        );
        node.write("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno").await;
        let (head, body) = client.response().await;
        assert_eq!((head.status, &*body), (426, "no"));
        drop(client);
        gateway.at_rest().await;
        assert_eq!(gateway.attempts("s", Outcome::Ok), 1);
    });
}

#[test]
fn an_upgrade_goes_to_a_reachable_node() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, "").await;
        nodes[0].crash().await;
        let mut client = Raw::send(&gateway, UPGRADE).await;
        let head = client.head().await;
        assert_eq!((head.status, head.field("x-evenkeel-node")), (101, Some("b")));
        assert_eq!(gateway.attempts("a", Outcome::Connect), 1);
    });
}

/// It is sent once, as switches of protocols are, and on a connection of its own.
#[test]
fn a_large_request_that_offers_h2c_is_like_any_other() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("retry: { body_limit: 1B }")).await;
        let large = |offer| {
            format!("POST /v1/completions HTTP/1.1\r\nHost: x\r\n{offer}Content-Length: 5\r\n\r\nlarge")
        };
        let offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n";
        let mut client = Raw::send(&gateway, large("")).await;
        for next in [Some(offer), Some(""), None] {
            // what is sent once gets a connection that no other request has left
            let mut node = script.accept().await;
            let head = node.read_to("\r\n\r\nlarge").await.to_ascii_lowercase();
            assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{head}");
            node.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            let (head, body) = client.response().await;
            assert_eq!((head.status, &*body), (200, "ok"));
            if let Some(offer) = next {
                client.write(large(offer)).await;
            }
        }
    });
}

/// Java's client offers an upgrade in every first request.
#[test]
fn an_offer_of_h2c_is_passed_over_and_the_request_is_like_any_other() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("reset"));
        let gateway = Gateway::start(&nodes, "").await;
        let body = r#"{"prompt":"x","max_tokens":1}"#;
        let request = format!(
            "POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAEAAEAA\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        for _ in 0..2 {
            let mut client = Raw::send(&gateway, &request).await;
            let (head, _) = client.response().await;
            assert_eq!((head.status, head.field("x-evenkeel-node")), (200, Some("b")));
        }
        let got = nodes[1].requests().pop().unwrap();
        assert!(!got.headers.iter().any(|(name, _)| name == "upgrade" || name == "http2-settings"));
        gateway.at_rest().await;
        assert!(gateway.attempts("a", Outcome::Reset) > 0);
    });
}

#[test]
fn a_silent_tunnel_lives_for_its_own_limit() {
    run(async {
        let script = Script::listen().await;
        let limits = "timeouts: { read: 100ms, tunnel: 1s }";
        let gateway = Gateway::with("client: { body_timeout: 100ms }", &script.pool(limits)).await;
        let mut client = Raw::send(&gateway, UPGRADE).await;
        let (mut node, _) = script.request().await;
        node.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        client.head().await;
        // one side is silent all the time
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1500) {
            client.write("a").await;
            assert_eq!(node.read(1).await, b"a");
        }
        let last = Instant::now();
        let (rest, _) = client.rest().await;
        assert!(last.elapsed() >= Duration::from_millis(900), "{:?}", last.elapsed());
        assert_eq!(rest, b"");
        gateway.at_rest().await;
        assert_eq!(gateway.attempts("s", Outcome::Ok), 1, "its silence is no fault of the node");
    });
}

#[test]
fn an_upgrade_that_connection_does_not_name_is_none() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        for connection in ["", "Connection: keep-alive, upgrades\r\n"] {
            let request = format!("GET /ws HTTP/1.1\r\nHost: x\r\n{connection}Upgrade: websocket\r\n\r\n");
            let head = Raw::send(&gateway, request).await.head().await;
            assert_ne!(head.status, 101, "{connection}");
            let got = nodes[0].requests().pop().unwrap();
            assert_eq!((got.header("upgrade"), got.header("connection")), (None, None), "{connection}");
        }
    });
}
