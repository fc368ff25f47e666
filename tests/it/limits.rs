//! Tests of the limits on clients: time for the header, idle time, number of connections.

use std::time::{Duration, Instant};

use crate::harness::{Ended, Gateway, LIMIT, Raw, eventually, nodes, pool, run};

const SLOW: Duration = Duration::from_millis(100);

/// A gateway in front of one node, which runs until the test ends.
async fn gateway(client: &str) -> Gateway {
    let node = nodes(1);
    Gateway::with(&format!("client: {{ {client} }}"), &pool("p", &node, "")).await
}

/// Sends these pieces a tenth of a second apart; returns the time until the connection was closed.
async fn dripped(gateway: &Gateway, pieces: impl Iterator<Item = &str>) -> Duration {
    let began = Instant::now();
    let mut raw = Raw::connect(gateway).await;
    for piece in pieces {
        if !raw.try_write(piece).await || raw.is_closed() {
            break;
        }
        tokio::time::sleep(SLOW).await;
    }
    let (_, _) = raw.rest().await;
    began.elapsed()
}

#[test]
fn a_slow_header_is_cut_by_its_total_time() {
    run(async {
        let gateway = gateway("header_timeout: 1s").await;
        let begun = "GET /echo HTTP/1.1\r\nHost: x\r\n";
        let fields = std::iter::once(begun).chain(std::iter::repeat_n("X-Y: z\r\n", 100));
        let took = dripped(&gateway, fields).await;
        assert!(took > Duration::from_millis(900) && took < Duration::from_secs(3), "{took:?}");
        eventually(LIMIT, "it is gone", || gateway.live.connections.value() == 0).await;
    });
}

#[test]
fn a_first_line_sent_byte_by_byte_is_cut_by_its_total_time() {
    run(async {
        let gateway = gateway("header_timeout: 1s").await;
        // fewer bytes than the preface of HTTP/2, which Pingora looks for first
        let took = dripped(&gateway, std::iter::repeat_n("G", 20).chain(std::iter::repeat_n("E", 80))).await;
        assert!(took > Duration::from_millis(900) && took < Duration::from_secs(3), "{took:?}");
        eventually(LIMIT, "it is gone", || gateway.live.connections.value() == 0).await;
    });
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    run(async {
        let gateway = gateway("header_timeout: 1s").await;
        let began = Instant::now();
        let (bytes, _) = Raw::connect(&gateway).await.rest().await;
        let took = began.elapsed();
        assert!(
            bytes.is_empty() && took > Duration::from_millis(900) && took < Duration::from_secs(3),
            "{took:?}"
        );
    });
}

#[test]
fn a_connection_that_begins_http_2_and_says_no_more_is_closed() {
    run(async {
        let gateway = gateway("header_timeout: 1s, keepalive: 1s").await;
        let settings = "\0\0\0\u{4}\0\0\0\0\0";
        for begun in ["PRI * HTTP/2.0\r\n\r\nSM", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let began = Instant::now();
            Raw::send(&gateway, begun).await.rest().await;
            assert!(began.elapsed() < Duration::from_secs(4), "{begun:?}: {:?}", began.elapsed());
        }
        let began = Instant::now();
        Raw::send(&gateway, format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{settings}")).await.rest().await;
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        eventually(LIMIT, "all are gone", || gateway.live.connections.value() == 0).await;
    });
}

#[test]
fn an_idle_connection_is_closed_after_keepalive() {
    run(async {
        let gateway = gateway("keepalive: 1s").await;
        let mut raw = Raw::connect(&gateway).await;
        for _ in 0..3 {
            raw.write("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n").await;
            assert_eq!(raw.response().await.0.field("connection"), Some("keep-alive"));
        }
        let began = Instant::now();
        let (rest, ended) = raw.rest().await;
        let took = began.elapsed();
        assert_eq!((rest.len(), ended), (0, Ended::Fin));
        assert!(took > Duration::from_millis(800) && took < Duration::from_secs(3), "{took:?}");
    });
}

#[test]
fn a_fraction_of_a_second_does_not_mean_off() {
    run(async {
        let gateway = gateway("keepalive: 200ms").await;
        let mut raw = Raw::connect(&gateway).await;
        for _ in 0..2 {
            raw.write("GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n").await;
            assert_eq!(raw.response().await.0.field("connection"), Some("keep-alive"));
        }
    });
}

#[test]
fn keepalive_off_closes_after_each_answer() {
    run(async {
        let gateway = gateway("keepalive: off").await;
        let raw = Raw::send(&gateway, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (text, _) = raw.rest_as_text().await;
        assert!(text.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{text}");
    });
}

#[test]
fn connections_above_the_limit_are_closed_at_once_and_counted() {
    run(async {
        let gateway = gateway("max_connections: 3").await;
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut raw = Raw::send(&gateway, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n").await;
            assert_eq!(raw.response().await.0.status, 200);
            held.push(raw);
        }
        // over TLS there is not even a handshake
        if let Some(raw) = Raw::try_connect(&gateway).await {
            assert!(raw.rest().await.0.is_empty());
        }
        assert!(gateway.metrics().contains("evenkeel_refused_connections_total 1"));
        assert_eq!(gateway.status().connections, 3);
        held.pop();
        eventually(LIMIT, "there is room again", || gateway.status().connections == 2).await;
        let mut raw = Raw::send(&gateway, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(raw.response().await.0.status, 200);
    });
}
