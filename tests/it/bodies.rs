//! Tests of request bodies of any size and framing: resent byte for byte if kept, otherwise streamed to a node once.

use bytes::Bytes;
use evenkeel::outcome::Outcome;
use evenkeel::sim::{Node, Options, body_hash};
use http::{Request, Version};

use crate::harness::{
    Client, Gateway, LIMIT, Outgoing, Raw, Script, ask, eventually, fault, get, node, nodes, post, run,
    within,
};

const SIZES: [usize; 6] = [1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 1 << 20, 20 << 20];
const GENERATION: &str = "/v1/completions";

/// Bytes without repetition, so that no two places look alike.
fn body(size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(size as u64).fill(&mut bytes);
    bytes.into()
}

fn framed(gateway: &Gateway, path: &str, body: &Bytes, chunked: bool) -> Request<Outgoing> {
    let outgoing = if chunked { Outgoing::chunked(body.clone()) } else { Outgoing::sized(body.clone()) };
    Request::post(gateway.url(path)).body(outgoing).unwrap()
}

fn assert_got(node: &Node, body: &Bytes, what: &str) {
    let requests = node.requests();
    let last = requests.last().unwrap_or_else(|| panic!("{what}: nothing arrived"));
    assert!(last.complete, "{what}: it broke off");
    assert_eq!((last.body_len, last.body_hash), (body.len() as u64, body_hash(body)), "{what}");
    assert_eq!(last.header("content-length"), Some(body.len().to_string().as_str()), "{what}");
}

/// The first node fails every request; the second must get the same bytes, on one client connection.
async fn replay(version: Version, chunked: bool) {
    for text in ["reset", "status:500"] {
        let nodes = nodes(2);
        nodes[0].set_fault(fault(text));
        let gateway = Gateway::start(&nodes, "health: { max_fails: 0 }").await;
        let mut client = Client::over(&gateway, version).await;
        for size in SIZES {
            let body = body(size);
            let what = format!("{text}, {version:?}, chunked: {chunked}, {size} bytes");
            nodes.iter().for_each(Node::clear_requests);
            while nodes[0].requests().is_empty() {
                // the body is not JSON, so the node that reads it answers 400
                let answer = client.ask(framed(&gateway, GENERATION, &body, chunked)).await;
                assert_eq!((answer.status, answer.field("x-evenkeel-node")), (400, Some("b")), "{what}");
            }
            if text != "reset" {
                assert_got(&nodes[0], &body, &what);
            }
            assert_got(&nodes[1], &body, &what);
        }
        assert_eq!(client.ask(get(&gateway, "/v1/models")).await.status, 200);
        drop(client);
        gateway.at_rest().await;
    }
}

#[test]
fn replay_is_byte_identical_for_a_content_length() {
    run(replay(Version::HTTP_11, false));
}

#[test]
fn replay_is_byte_identical_for_a_chunked_body() {
    run(replay(Version::HTTP_11, true));
}

#[test]
fn replay_is_byte_identical_for_h2c_with_a_length() {
    run(replay(Version::HTTP_2, false));
}

#[test]
fn replay_is_byte_identical_for_h2c_without_a_length() {
    run(replay(Version::HTTP_2, true));
}

/// Checks that `/echo` returns the body that was sent.
async fn echoed(more: &str, size: usize, unkept: u64) {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for chunked in [false, true] {
            let what = format!("{more}, {version:?}, chunked: {chunked}, {size} bytes");
            let nodes = nodes(2);
            let gateway = Gateway::start(&nodes, more).await;
            let body = body(size);
            let mut client = Client::over(&gateway, version).await;
            for round in 1..=2 {
                let request = client.ask(framed(&gateway, "/echo", &body, chunked));
                let answer = within(LIMIT, &what, request).await;
                assert_eq!(answer.status, 200, "{what}");
                assert!(answer.body == body, "{what}: other bytes came back");
                let metric = format!("evenkeel_unkept_bodies_total{{pool=\"p\"}} {}", unkept * round);
                assert!(gateway.metrics().contains(&metric), "{what}: {metric}");
            }
            let received: u64 = nodes.iter().map(|node| node.stats().received).sum();
            assert_eq!(received, 2, "{what}");
            drop(client);
            gateway.at_rest().await;
        }
    }
}

#[test]
fn bodies_of_any_size_and_framing_pass_unchanged() {
    run(async {
        for size in [0, 1, 70_000, 3 << 20] {
            echoed("", size, 0).await;
        }
    });
}

#[test]
fn a_body_above_the_limit_is_forwarded_once_and_counted() {
    run(async {
        for size in [(64 << 10) + 1, 200_000, 3 << 20] {
            echoed("retry: { body_limit: 64KiB }", size, 1).await;
        }
    });
}

#[test]
fn a_body_above_the_total_is_forwarded_once_and_counted() {
    run(async {
        // an unfinished request takes up most of the total
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for chunked in [false, true] {
                let nodes = nodes(1);
                let gateway = Gateway::start(&nodes, "retry: { body_limit: 1MiB, body_total: 1MiB }").await;
                let begun = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
                let _holds = Raw::send(&gateway, format!("{begun}{}", "x".repeat(900_000))).await;
                eventually(LIMIT, "it holds its share", || gateway.live.kept_bytes.value() == 900_000).await;
                let body = body(500_000);
                let mut client = Client::over(&gateway, version).await;
                let answer = client.ask(framed(&gateway, "/echo", &body, chunked)).await;
                assert!(answer.status == 200 && answer.body == body, "{version:?}, chunked: {chunked}");
                assert!(gateway.metrics().contains("evenkeel_unkept_bodies_total{pool=\"p\"} 1"));
            }
        }
    });
}

/// Otherwise clients that never send what they announce would use up the total.
#[test]
fn an_announced_length_takes_up_nothing() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "retry: { body_limit: 1MiB, body_total: 1MiB }").await;
        let begun = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc";
        let _begun = Raw::send(&gateway, begun).await;
        eventually(LIMIT, "three bytes are kept", || gateway.live.kept_bytes.value() == 3).await;
        let body = body(500_000);
        let answer = ask(&gateway, framed(&gateway, "/echo", &body, false)).await;
        assert!(answer.status == 200 && answer.body == body);
        assert!(gateway.metrics().contains("evenkeel_unkept_bodies_total{pool=\"p\"} 0"));
    });
}

#[test]
fn an_unkept_body_ends_once() {
    run(async {
        for (version, chunked) in
            [(Version::HTTP_11, true), (Version::HTTP_2, true), (Version::HTTP_2, false)]
        {
            let script = Script::listen().await;
            let gateway = Gateway::with("", &script.pool("retry: { body_limit: 10B }")).await;
            let mut client = Client::over(&gateway, version).await;
            let request = framed(&gateway, "/echo", &"x".repeat(50_000).into(), chunked);
            let asking = tokio::spawn(async move { client.ask(request).await });
            let (mut node, head) = script.request().await;
            if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
                node.read_to("\r\n0\r\n\r\n").await;
            } else {
                node.read(50_000).await;
            }
            node.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
            assert_eq!(asking.await.unwrap().status, 200);
            let (more, _) = node.rest().await;
            assert_eq!(String::from_utf8_lossy(&more), "", "{version:?}, chunked: {chunked}");
        }
    });
}

#[test]
fn the_bytes_read_of_an_unkept_body_count_until_a_node_has_them() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "retry: { body_limit: 64KiB, wait: 1m }").await;
        nodes[0].crash().await;
        let mut client = Client::over(&gateway, Version::HTTP_11).await;
        let request = framed(&gateway, "/echo", &body(1 << 20), true);
        let waits = tokio::spawn(async move { client.try_ask(request).await.map(drop).ok() });
        eventually(LIMIT, "it waits for a node", || {
            gateway.metrics().contains("unkept_bodies_total{pool=\"p\"} 1")
        })
        .await;
        assert!(gateway.live.kept_bytes.value() > 0);
        waits.abort();
        let _ = waits.await;
    });
}

#[test]
fn an_unkept_body_is_not_sent_twice() {
    run(async {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for chunked in [false, true] {
                let nodes = nodes(2);
                nodes.iter().for_each(|node| node.set_fault(fault("reset")));
                let gateway = Gateway::start(&nodes, "retry: { body_limit: 1KiB }").await;
                let mut client = Client::over(&gateway, version).await;
                let answer = client.ask(framed(&gateway, GENERATION, &body(100_000), chunked)).await;
                assert_eq!(answer.status, 502, "{version:?}, chunked: {chunked}");
                assert_eq!(nodes.iter().map(|node| node.stats().received).sum::<u64>(), 1);
                gateway.at_rest().await;
            }
        }
    });
}

#[test]
fn a_body_above_max_body_is_413_in_any_framing() {
    run(async {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for chunked in [false, true] {
                for more in ["", "retry: { body_limit: 1KiB }"] {
                    let nodes = nodes(1);
                    let pools = crate::harness::pool("p", &nodes, more);
                    let gateway = Gateway::with("client: { max_body: 1MiB }", &pools).await;
                    let what = format!("{version:?}, chunked: {chunked}, {more}");
                    let mut client = Client::over(&gateway, version).await;
                    let exactly = client.ask(framed(&gateway, "/echo", &body(1 << 20), chunked)).await;
                    assert_eq!(exactly.status, 200, "{what}");
                    let above =
                        client.try_ask(framed(&gateway, "/echo", &body((1 << 20) + 1), chunked)).await;
                    let above = above.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                    assert_eq!(above.status, 413, "{what}: {above:?}");
                    assert!(above.text().contains(r#""code":413"#), "{what}: {above:?}");
                    drop(client);
                    gateway.at_rest().await;
                }
            }
        }
    });
}

#[test]
fn a_client_that_sends_much_too_much_still_reads_its_413() {
    run(async {
        let nodes = nodes(1);
        let pools = crate::harness::pool("p", &nodes, "");
        let gateway = Gateway::with("client: { max_body: 1KiB }", &pools).await;
        for head in ["Content-Length: 5000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4c4b40\r\n"] {
            let mut raw = Raw::send(&gateway, format!("POST /echo HTTP/1.1\r\nHost: x\r\n{head}")).await;
            raw.try_write(vec![b'x'; 5_000_000]).await;
            let (head, body) = raw.response().await;
            assert_eq!((head.status, head.field("connection")), (413, Some("close")));
            assert!(body.contains("max_body"), "{body}");
        }
        assert_eq!(nodes[0].stats().received, 0);
    });
}

#[test]
fn a_client_that_goes_on_sending_after_its_413_is_not_reset() {
    run(async {
        let nodes = nodes(1);
        let gateway =
            Gateway::with("client: { max_body: 1KiB }", &crate::harness::pool("p", &nodes, "")).await;
        let mut raw =
            Raw::send(&gateway, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\nabc")
                .await;
        let (head, _) = raw.response().await;
        assert_eq!(head.status, 413);
        for _ in 0..10 {
            assert!(raw.try_write(vec![b'x'; 1_000_000]).await, "the connection was reset");
        }
        drop(raw);
        eventually(LIMIT, "the connection is gone", || gateway.live.connections.value() == 0).await;
    });
}

#[test]
fn a_kept_body_is_freed_as_soon_as_the_response_begins() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let mut client = Client::h1(&gateway).await;
        let request = framed(&gateway, GENERATION, &body(300_000), false);
        let asking =
            tokio::spawn(async move { client.begin(request).await.map(|response| (client, response)) });
        let (mut node, _) = script.request().await;
        assert_eq!(node.read(300_000).await, body(300_000));
        assert_eq!(gateway.live.kept_bytes.value(), 300_000);
        node.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let open = asking.await.unwrap().unwrap();
        eventually(LIMIT, "it is given back", || gateway.live.kept_bytes.value() == 0).await;
        assert_eq!(gateway.in_flight(), [1], "while the response goes on");
        drop(open);
        gateway.at_rest().await;
    });
}

#[test]
fn an_answer_sent_before_the_whole_request_was_read_is_passed_on() {
    run(async {
        for more in ["", "retry: { body_limit: 1KiB }"] {
            for version in [Version::HTTP_11, Version::HTTP_2] {
                for chunked in [false, true] {
                    let node = node(Options { max_body: 100_000, name: "a".into(), ..Options::default() });
                    let gateway = Gateway::start(std::slice::from_ref(&node), more).await;
                    let what = format!("{more}, {version:?}, chunked: {chunked}");
                    let mut client = Client::over(&gateway, version).await;
                    let answer = client.try_ask(framed(&gateway, GENERATION, &body(20 << 20), chunked)).await;
                    let answer = answer.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                    assert_eq!(answer.status, 413, "{what}: {}", answer.text());
                    assert!(answer.text().contains("cannot be read"), "{what}: {}", answer.text());
                    drop(client);
                    gateway.at_rest().await;
                    assert_eq!(gateway.node("a").recent_failures, 0, "{what}");
                }
            }
        }
    });
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it_and_its_body_is_replayed() {
    run(async {
        for more in ["", "retry: { body_limit: 1KiB }"] {
            for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
                let nodes = nodes(2);
                if more.is_empty() {
                    nodes[0].set_fault(fault("reset"));
                }
                let gateway = Gateway::start(&nodes, more).await;
                let head = format!(
                    "POST {GENERATION} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{framing}\r\n\r\n"
                );
                let mut raw = Raw::send(&gateway, head).await;
                assert_eq!(raw.head().await.status, 100, "{more} {framing}");
                let body = body(100_000);
                if framing.starts_with("Transfer") {
                    raw.write("186a0\r\n").await;
                    raw.write(&body).await;
                    raw.write("\r\n0\r\n\r\n").await;
                } else {
                    raw.write(&body).await;
                }
                let (head, text) = raw.response().await;
                assert_eq!(
                    head.status, 400,
                    "{more} {framing}: no second 100, and the node's own answer: {text}"
                );
                let last = nodes.iter().flat_map(Node::requests).rfind(|request| request.complete).unwrap();
                assert_eq!(last.body_hash, body_hash(&body), "{more} {framing}");
                raw.write("GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n").await;
                assert_eq!(raw.response().await.0.status, 200, "{more} {framing}");
            }
        }
    });
}

#[test]
fn a_malformed_chunked_body_is_400_and_reaches_no_node() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        for chunk in ["zz\r\nabc\r\n0\r\n\r\n", "3\r\nabcde\r\n0\r\n\r\n", "-1\r\n\r\n"] {
            let head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
            let (text, _) = Raw::send(&gateway, format!("{head}{chunk}")).await.rest_as_text().await;
            assert!(text.starts_with("HTTP/1.1 400 "), "{chunk:?}: {text}");
        }
        assert_eq!(nodes[0].stats().received, 0);
    });
}

#[test]
fn a_body_that_stops_coming_is_408() {
    run(async {
        let nodes = nodes(1);
        let pools = crate::harness::pool("p", &nodes, "");
        let gateway = Gateway::with("client: { body_timeout: 200ms }", &pools).await;
        let begun = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc";
        let (text, _) = Raw::send(&gateway, begun).await.rest_as_text().await;
        assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
        // Pingora has no such limit over HTTP/2
        let begun = Outgoing::stopping_after("abc".into());
        let request = Request::post(gateway.url("/echo")).body(begun).unwrap();
        assert_eq!(Client::h2(&gateway).await.ask(request).await.status, 408);
        gateway.at_rest().await;
        assert_eq!(nodes[0].stats().received, 0);
    });
}

#[test]
fn responses_of_any_size_pass_unchanged() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut client = Client::over(&gateway, version).await;
            for size in [0, 1, 65_536, 300_000, 20 << 20] {
                let body = body(size);
                let answer = client.ask(framed(&gateway, "/echo", &body, false)).await;
                assert!(answer.body == body, "{version:?}, {size} bytes");
            }
        }
    });
}

/// RFC 9112 section 9.5. The node reads no more than the head of a body that fits into no socket's buffers.
#[test]
fn an_answer_before_the_body_has_been_read_is_heard() {
    run(async {
        for more in ["", ", retry: { body_limit: 0 }"] {
            let script = Script::listen().await;
            let gateway = Gateway::with("", &script.pool(&format!("timeouts: {{ send: 1h }}{more}"))).await;
            let large = Bytes::from(vec![b'x'; 12 << 20]);
            let asking = async { ask(&gateway, post(&gateway, "/v1/completions", large)).await };
            let answering = async {
                let mut node = script.accept().await;
                node.read_to("\r\n\r\n").await;
                node.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno").await;
                node
            };
            let (answer, _node) = tokio::join!(asking, answering);
            assert_eq!((answer.status, answer.text().as_str()), (413, "no"), "{more}");
            gateway.at_rest().await;
            assert_eq!(gateway.attempts("s", Outcome::Ok), 1, "{more}: no node is charged");
        }
    });
}
