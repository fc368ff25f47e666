//! Tests of clients that leave: the engine stops at once, the slot is released, the log says 499.

use std::time::Duration;

use evenkeel::outcome::Outcome;
use evenkeel::sim::{Node, Options};
use http::Version;
use http_body_util::BodyExt;

use crate::harness::{
    Client, Gateway, LIMIT, Outgoing, Raw, Script, chat, eventually, fault, free_port, nodes_like, pool,
    pool_of, run, steps, within,
};

/// Time limit for the node to notice. The best of several measurements counts, because other tests keep the machine busy.
const AT_ONCE: Duration = Duration::from_millis(100);
const TIMES: usize = 4;
const LOG: &str = "access_log: { path: access.json, format: json }";

async fn gateway(nodes: &[Node], more: &str) -> Gateway {
    Gateway::with(LOG, &pool("p", nodes, more)).await
}

fn statuses(gateway: &Gateway) -> Vec<u64> {
    gateway.log_lines("access.json").iter().map(|line| json(line)["status"].as_u64().unwrap()).collect()
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap()
}

fn slow() -> Vec<Node> {
    nodes_like(2, &Options { step: steps(5), ..Options::default() })
}

/// Starts a request `TIMES` times with each protocol, waits until `ready`, and leaves.
async fn leaves(gateway: &Gateway, nodes: &[Node], stream: bool, ready: impl Fn() -> bool) {
    let gone = || nodes.iter().map(|node| node.stats().aborted).sum::<u64>();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut best = LIMIT;
        for _ in 0..TIMES {
            let before = gone();
            let mut client = Client::over(gateway, version).await;
            let request = chat(gateway, 1_000_000, stream);
            let asking = tokio::spawn(async move {
                let mut body = client.begin(request).await.unwrap().into_body();
                while body.frame().await.is_some() {}
            });
            eventually(LIMIT, "it is at a node", &ready).await;
            asking.abort();
            best = best.min(eventually(LIMIT, "the engine stops", || gone() > before).await);
            gateway.at_rest().await;
        }
        assert!(best < AT_ONCE, "{version:?}: the engine stops after {best:?}");
    }
    eventually(LIMIT, "all are logged", || statuses(gateway).len() == 2 * TIMES).await;
    let left = gateway.attempts("a", Outcome::ClientGone) + gateway.attempts("b", Outcome::ClientGone);
    assert_eq!(left, 2 * TIMES as u64);
    assert_eq!(gateway.node("a").recent_failures + gateway.node("b").recent_failures, 0);
}

#[test]
fn before_the_head() {
    run(async {
        let nodes = slow();
        nodes.iter().for_each(|node| node.set_fault(fault("hang")));
        let gateway = gateway(&nodes, "").await;
        leaves(&gateway, &nodes, false, || nodes.iter().any(|node| node.stats().in_flight == 1)).await;
        assert!(statuses(&gateway).iter().all(|status| *status == 499), "{:?}", statuses(&gateway));
    });
}

/// The first byte of another request does not prove that the client still waits for the answer.
#[test]
fn a_client_leaves_after_starting_another_request() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with(LOG, &script.pool("")).await;
        let asked = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
        let mut client = Raw::send(&gateway, asked).await;
        let (node, _) = script.request().await;
        client.write("\r\n").await;
        drop(client);
        within(LIMIT, "the node sees it", node.rest()).await;
        eventually(LIMIT, "it is logged", || statuses(&gateway) == [499]).await;
    });
}

/// A stream that fails with its first event is read on, in case that no node does better; meanwhile its client leaves.
#[test]
fn while_a_failed_first_event_is_kept() {
    run(async {
        let (a, b) = (Script::listen().await, Script::listen().await);
        let nodes = format!("\"{}\", \"{}\"", a.address, b.address);
        let gateway = Gateway::with(LOG, &pool_of("p", &nodes, "")).await;
        let event = "data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n";
        let begun = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{event}\r\n",
            event.len()
        );
        for (round, version) in [Version::HTTP_11, Version::HTTP_2].repeat(TIMES).into_iter().enumerate() {
            let mut client = Client::over(&gateway, version).await;
            let request = chat(&gateway, 1, true);
            let asking = tokio::spawn(async move { client.begin(request).await.map(drop) });
            let (mut node, _) = tokio::select! {
                request = a.request() => request,
                request = b.request() => request,
            };
            node.write(&begun).await;
            // the gateway reads in the order in which bytes come, as good as always
            let refused = Raw::send(&gateway, "GET / HTTP/1.1\r\n\r\n").await;
            assert!(refused.rest_as_text().await.0.starts_with("HTTP/1.1 400 "));
            asking.abort();
            within(LIMIT, "the node sees it", node.rest()).await;
            gateway.at_rest().await;
            // each round has the line of its 400 too
            let logged = || gateway.log_lines("access.json").len() == 2 * (round + 1);
            eventually(LIMIT, "it is logged", logged).await;
            let last = json(gateway.log_lines("access.json").last().unwrap());
            let attempts = last["attempts"].as_array().unwrap();
            let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt["outcome"].as_str()).collect();
            assert_eq!((&last["status"], outcomes), (&499.into(), vec![Some("client_gone")]), "{version:?}");
        }
    });
}

#[test]
fn a_client_leaves_in_the_middle_of_a_stream() {
    run(async {
        let nodes = slow();
        let gateway = gateway(&nodes, "").await;
        let tokens = || nodes.iter().map(|node| node.stats().tokens).sum::<u64>();
        let running = || nodes.iter().any(|node| node.stats().running == 1) && tokens() > 3;
        leaves(&gateway, &nodes, true, running).await;
        let lines = gateway.log_lines("access.json");
        assert!(lines.iter().all(|line| json(line)["note"] == "the client left"), "{lines:?}");
    });
}

#[test]
fn a_client_leaves_while_it_waits_for_a_node() {
    run(async {
        let dead = format!("\"127.0.0.1:{}\"", free_port());
        let gateway = Gateway::with(LOG, &pool_of("p", &dead, "retry: { wait: 60s }")).await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut best = LIMIT;
            for _ in 0..TIMES {
                let mut client = Client::over(&gateway, version).await;
                let request = chat(&gateway, 1, false);
                let asking = tokio::spawn(async move { client.begin_patiently(request).await.map(drop) });
                eventually(LIMIT, "it waits", || gateway.status().requests == 1).await;
                asking.abort();
                best = best.min(eventually(LIMIT, "it is gone", || gateway.status().requests == 0).await);
            }
            assert!(best < AT_ONCE, "{version:?}: {best:?}");
        }
        eventually(LIMIT, "all are logged", || statuses(&gateway) == [499; 2 * TIMES]).await;
        gateway.at_rest().await;
    });
}

#[test]
fn a_client_leaves_in_the_middle_of_an_upload_that_is_kept() {
    run(async {
        let nodes = slow();
        let gateway = gateway(&nodes, "").await;
        for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
            let begun =
                format!("POST /v1/completions HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n5\r\nabcde\r\n");
            let client = Raw::send(&gateway, begun).await;
            eventually(LIMIT, "a part is kept", || gateway.live.kept_bytes.value() > 0).await;
            drop(client);
            gateway.at_rest().await;
        }
        assert_eq!(nodes.iter().map(|node| node.stats().received).sum::<u64>(), 0);
        eventually(LIMIT, "both are logged", || statuses(&gateway) == [499, 499]).await;
    });
}

#[test]
fn a_client_leaves_in_the_middle_of_an_upload_that_is_passed_on() {
    run(async {
        let nodes = slow();
        let gateway = gateway(&nodes, "retry: { body_limit: 1B }").await;
        for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
            let before: u64 = nodes.iter().map(|node| node.stats().aborted).sum();
            let begun =
                format!("POST /v1/completions HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n5\r\nabcde\r\n");
            let client = Raw::send(&gateway, begun).await;
            eventually(LIMIT, "it is at a node", || gateway.in_flight().iter().sum::<u32>() == 1).await;
            eventually(LIMIT, "which knows it", || nodes.iter().any(|node| node.stats().in_flight == 1))
                .await;
            drop(client);
            gateway.at_rest().await;
            let ended = || nodes.iter().all(|node| node.stats().in_flight == 0);
            eventually(LIMIT, "the node's request ends", ended).await;
            let after: u64 = nodes.iter().map(|node| node.stats().aborted).sum();
            let complete = nodes.iter().flat_map(Node::requests).filter(|request| request.complete).count();
            assert_eq!((complete, after >= before), (0, true));
        }
        assert_eq!(gateway.node("a").recent_failures + gateway.node("b").recent_failures, 0);
        eventually(LIMIT, "both are logged", || statuses(&gateway) == [499, 499]).await;
    });
}

#[test]
fn a_client_that_does_not_read_is_cut_after_send_timeout() {
    run(async {
        let nodes = slow();
        let pools = pool("p", &nodes, "");
        let gateway = Gateway::with("client: { send_timeout: 300ms }", &pools).await;
        let body = vec![b'x'; 20 << 20];
        let mut client = Client::h1(&gateway).await;
        let request = http::Request::post(gateway.url("/echo"));
        let response = client.begin(request.body(Outgoing::sized(body.into())).unwrap()).await.unwrap();
        gateway.at_rest().await;
        assert!(response.into_body().collect().await.is_err(), "it is not whole");
    });
}

#[test]
fn the_log_counts_only_bytes_that_a_client_has_received() {
    run(async {
        let script = Script::listen().await;
        let server = format!("client: {{ send_timeout: 100ms }}, {LOG}");
        let gateway = Gateway::with(&server, &script.pool("")).await;
        let client =
            Raw::send(&gateway, "POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").await;
        let (mut node, _) = script.request().await;
        node.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let size = 64 * 1024 * 1024;
        assert!(!node.try_write(format!("{size:x}\r\n{}", "x".repeat(size))).await, "it is cut off");
        gateway.at_rest().await;
        let counted = json(&gateway.log_lines("access.json")[0])["bytes_sent"].as_u64().unwrap();
        let (got, _) = client.rest().await;
        let got = got.iter().filter(|byte| **byte == b'x').count() as u64;
        assert!(0 < counted && counted <= got, "{counted} in the log, {got} came");
    });
}
