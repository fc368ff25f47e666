//! Tests of bodies that are too large to keep: passed on piece by piece, and sent once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel::outcome::Outcome;
use evenkeel::sim::body_hash;
use http::{Request, Version};
use http_body_util::BodyExt;

use crate::harness::{
    Client, Ended, Gateway, LIMIT, Outgoing, Raw, Script, ask, eventually, get, nodes, pool, pool_of, run,
    within,
};

const UNKEPT: &str = "retry: { body_limit: 10B }";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// More than the buffers of all the sockets on the way hold.
const LARGE: usize = 24 << 20;

/// The head of an upload over HTTP/1 that is larger than what is kept, and the first bytes of its body, `first`.
fn begun(length: Option<usize>) -> String {
    match length {
        Some(length) => {
            format!("POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nfirst")
        }
        None => "POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n\
                 b\r\n of so many\r\n"
            .to_owned(),
    }
}

fn upload(gateway: &Gateway, path: &str, body: Outgoing) -> Request<Outgoing> {
    Request::post(gateway.url(path)).body(body).unwrap()
}

/// Sends a mebibyte after the other until the connection breaks, or so many were taken.
async fn sends_on(client: &mut Raw, pieces: usize) -> usize {
    let piece = vec![b'x'; 1 << 20];
    for sent in 0..pieces {
        if !client.try_write(&piece).await {
            return sent;
        }
    }
    pieces
}

/// Waits until something has been sent, and then nothing more for a while.
async fn stands_still(sent: &AtomicUsize) {
    let (mut last, mut same) = (0, 0);
    while same < 20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = sent.load(Ordering::Acquire);
        same = if now > 0 && now == last { same + 1 } else { 0 };
        last = now;
    }
}

#[test]
fn a_node_has_the_first_piece_before_the_client_has_sent_the_last() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool(UNKEPT)).await;
        let mut client = Raw::send(&gateway, begun(Some(16))).await;
        let (mut node, head) = script.request().await;
        assert!(head.contains("\r\nContent-Length: 16\r\n"), "{head}");
        assert_eq!(node.read(5).await, b"first");
        for piece in [" of", " so", " many"] {
            client.write(piece).await;
            assert_eq!(node.read(piece.len()).await, piece.as_bytes());
        }
        node.write(OK).await;
        assert_eq!(client.response().await.1, "ok");

        client.write(begun(None)).await;
        let (mut node, head) = script.request().await;
        assert!(head.contains("\r\nTransfer-Encoding: chunked\r\n"), "{head}");
        assert!(!head.to_ascii_lowercase().contains("content-length"), "{head}");
        node.read_to(" many\r\n").await;
        eventually(LIMIT, "the node has what was read before", || gateway.live.kept_bytes.value() == 0).await;
        client.write("3;a=b\r\nlas").await;
        assert_eq!(node.read(8).await, b"3\r\nlas\r\n");
        client.write("\r\n0\r\nTrailer: x\r\n\r\n").await;
        assert_eq!(node.read(5).await, b"0\r\n\r\n");
        node.write(OK).await;
        assert_eq!(client.response().await.1, "ok");
        gateway.at_rest().await;
        assert!(gateway.metrics().contains("evenkeel_unkept_bodies_total{pool=\"p\"} 2"));
    });
}

#[test]
fn a_request_may_follow_an_upload_in_the_same_bytes() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, UNKEPT).await;
        let body: String = (0..40_000).map(|number| format!("{number:05}")).collect();
        let chunks: Vec<_> = body
            .as_bytes()
            .chunks(7001)
            .map(|part| format!("{:x};x=\"y\"\r\n{}\r\n", part.len(), String::from_utf8_lossy(part)))
            .collect();
        let chunked = format!(
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\nT: x\r\n\r\n",
            chunks.concat()
        );
        let sized = format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let small = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nsmall";
        let mut client = Raw::send(&gateway, [&chunked, small, &sized, small].concat()).await;
        for want in [&*body, "small", &body, "small"] {
            let (head, got) = client.response().await;
            assert_eq!((head.status, head.field("connection")), (200, Some("keep-alive")));
            assert!(got == want, "{} bytes came back", got.len());
        }
        client.write(small).await;
        assert_eq!(client.response().await.1, "small");
        assert_eq!(gateway.live.connections.value(), 1);
    });
}

#[test]
fn a_client_that_leaves_in_mid_body_costs_the_node_nothing() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool(UNKEPT)).await;
        for (round, length) in [Some(1000), None].into_iter().enumerate() {
            let client = Raw::send(&gateway, begun(length)).await;
            let (mut node, _) = script.request().await;
            node.read_to("first").await;
            drop(client);
            let (rest, _) = node.rest_as_text().await;
            assert!(!rest.contains("0\r\n\r\n"), "{length:?}: {rest:?}");
            gateway.at_rest().await;
            assert_eq!(gateway.attempts("s", Outcome::ClientGone), round as u64 + 1);
        }
        let mut client = Client::h2(&gateway).await;
        let request = upload(&gateway, "/v1/files", Outgoing::stopping_after("first of many".into()));
        let asking = tokio::spawn(async move { client.begin_patiently(request).await.map(drop) });
        let (mut node, _) = script.request().await;
        node.read_to("first of many").await;
        asking.abort();
        let (rest, _) = node.rest_as_text().await;
        assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
        gateway.at_rest().await;
        assert_eq!((gateway.attempts("s", Outcome::ClientGone), gateway.answered(499)), (3, 3));
        assert_eq!(gateway.node("s").recent_failures, 0);
    });
}

/// Nothing of its body is read any more then. Over HTTP/1 that hides the end of its connection.
#[test]
fn a_client_that_leaves_while_its_node_does_not_read_is_noticed() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool(&format!("{UNKEPT}, timeouts: {{ send: 1h }}"))).await;
        let mut client = Client::h2(&gateway).await;
        let request = upload(&gateway, "/v1/files", Outgoing::chunked(vec![b'x'; LARGE].into()));
        let taken = request.body().taken();
        let asking = tokio::spawn(async move { client.begin_patiently(request).await.map(drop) });
        let node = script.accept().await;
        stands_still(&taken).await;
        asking.abort();
        gateway.at_rest().await;
        assert_eq!(gateway.attempts("s", Outcome::ClientGone), 1);
        drop(node);
    });
}

#[test]
fn a_node_that_breaks_off_in_mid_body_is_charged_and_the_request_is_not_repeated() {
    run(async {
        let script = Script::listen().await;
        let more = format!("{UNKEPT}, health: {{ max_fails: 0 }}");
        let gateway = Gateway::with("", &script.pool(&more)).await;
        for length in [Some(LARGE), None] {
            let mut client = Raw::send(&gateway, begun(length)).await;
            let (mut node, _) = script.request().await;
            node.read_to("first").await;
            drop(node);
            let (head, body) = client.response().await;
            assert_eq!((head.status, head.field("connection")), (502, Some("close")), "{body}");
            assert!(body.contains("sent only once"), "{body}");
            // a reset would take the answer away from a client that goes on
            assert_eq!(sends_on(&mut client, 8).await, 8, "{length:?}");
            drop(client);
        }
        let mut client = Client::h2(&gateway).await;
        let request = upload(&gateway, "/v1/files", Outgoing::stopping_after("first of many".into()));
        let answering = async {
            let (mut node, _) = script.request().await;
            node.read_to("first").await;
        };
        let (answer, ()) = tokio::join!(client.ask(request), answering);
        assert_eq!(answer.status, 502, "{}", answer.text());
        gateway.at_rest().await;
        assert_eq!(gateway.attempts("s", Outcome::Reset), 3);
    });
}

#[test]
fn a_client_that_sends_on_gets_an_early_refusal_whole() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool(&format!("{UNKEPT}, timeouts: {{ send: 1h }}"))).await;
        let no = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
        for (round, length) in [Some(LARGE), None].into_iter().enumerate() {
            let mut client = Raw::send(&gateway, begun(length)).await;
            let mut node = script.accept().await;
            node.read_to("\r\n\r\n").await;
            node.write(no).await;
            if length.is_none() {
                client.try_write(format!("{LARGE:x}\r\n")).await;
            }
            assert_eq!(sends_on(&mut client, 20).await, 20, "{length:?}");
            let (head, body) = client.response().await;
            assert_eq!((head.status, head.field("connection"), &*body), (403, Some("close"), "no"));
            assert_eq!(client.rest().await.1, Ended::Fin, "{length:?}");
            gateway.at_rest().await;
            assert_eq!(gateway.attempts("s", Outcome::Ok), round as u64 + 1);
            // what it was sent was no whole request
            node.rest().await;
        }
        let mut client = Client::h2(&gateway).await;
        let body = Bytes::from(vec![b'x'; LARGE]);
        let answering = async {
            let mut node = script.accept().await;
            node.read_to("\r\n\r\n").await;
            node.write(no).await;
            node
        };
        let request = upload(&gateway, "/v1/files", Outgoing::chunked(body));
        let (answer, node) = tokio::join!(client.ask(request), answering);
        assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
        node.rest().await;
        // other requests share the connection
        let asking = client.ask(get(&gateway, "/v1/x"));
        let answering = async { script.request().await.0.write(OK).await };
        assert_eq!(tokio::join!(asking, answering).0.status, 200);
        gateway.at_rest().await;
    });
}

#[test]
fn a_node_that_answers_well_and_reads_on_gets_the_whole_body() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool(UNKEPT)).await;
        for length in [Some(22), None] {
            let mut client = Raw::send(&gateway, begun(length)).await;
            let (mut node, _) = script.request().await;
            node.write(OK).await;
            let (head, body) = client.response().await;
            assert_eq!((head.status, head.field("connection"), &*body), (200, Some("close"), "ok"));
            assert_eq!(gateway.in_flight(), [1], "the node is at work");
            let rest = if length.is_some() { " of so many bytes" } else { "6\r\n bytes\r\n0\r\n\r\n" };
            client.write(rest).await;
            node.read_to(if length.is_some() { "bytes" } else { " bytes\r\n0\r\n\r\n" }).await;
            assert_eq!(client.rest().await.1, Ended::Fin);
            gateway.at_rest().await;
        }
        assert_eq!(gateway.attempts("s", Outcome::Ok), 2);
    });
}

#[test]
fn a_body_and_its_answer_pass_at_the_same_time() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, UNKEPT).await;
        let body = Bytes::from((0..LARGE).map(|at| (at / 7) as u8).collect::<Vec<_>>());
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for outgoing in [Outgoing::sized(body.clone()), Outgoing::chunked(body.clone())] {
                let mut client = Client::over(&gateway, version).await;
                let response = client.begin(upload(&gateway, "/echo-stream", outgoing)).await.unwrap();
                let echoed = within(LIMIT, "it ends", response.into_body().collect()).await.unwrap();
                assert_eq!(body_hash(&echoed.to_bytes()), body_hash(&body), "{version:?}");
            }
        }
        gateway.at_rest().await;
        assert_eq!(gateway.attempts("a", Outcome::Ok), 4);
    });
}

#[test]
fn a_client_that_falls_silent_in_mid_body_is_408() {
    run(async {
        let script = Script::listen().await;
        let limits = ["body_timeout: 200ms", "body_timeout: 1s, body_min_rate: 100KiB"];
        for (round, limit) in limits.into_iter().enumerate() {
            let gateway = Gateway::with(&format!("client: {{ {limit} }}"), &script.pool(UNKEPT)).await;
            for length in [Some(LARGE), None] {
                let mut client = Raw::send(&gateway, begun(length)).await;
                let (mut node, _) = script.request().await;
                node.read_to("first").await;
                let piece = if length.is_some() { "x" } else { "1\r\nx\r\n" };
                while round == 1 && gateway.answered(408) == 0 && client.try_write(piece).await {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                let (text, _) = client.rest_as_text().await;
                let key = if round == 0 { "client.body_timeout" } else { "client.body_min_rate" };
                assert!(text.starts_with("HTTP/1.1 408 ") && text.contains(key), "{limit}: {text}");
                let (rest, _) = node.rest_as_text().await;
                assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
                if round == 1 {
                    break;
                }
            }
            if round == 0 {
                let mut client = Client::h2(&gateway).await;
                let silent = Outgoing::stopping_after("first of many".into());
                assert_eq!(client.ask(upload(&gateway, "/v1/files", silent)).await.status, 408);
            }
            gateway.at_rest().await;
            assert_eq!(gateway.node("s").recent_failures, 0);
            assert_eq!(gateway.attempts("s", Outcome::ClientGone), if round == 0 { 3 } else { 1 });
        }
    });
}

#[test]
fn the_time_in_which_a_node_reads_nothing_is_not_its_clients() {
    run(async {
        let script = Script::listen().await;
        let server = "client: { body_timeout: 200ms, body_min_rate: 1GiB }";
        let gateway = Gateway::with(server, &script.pool(UNKEPT)).await;
        let mut client = Raw::send(&gateway, begun(Some(LARGE))).await;
        let mut node = script.accept().await;
        node.read_to("\r\n\r\n").await;
        let sending = async {
            client.write(vec![b'x'; LARGE - 5]).await;
            client
        };
        let reading = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            node.read(LARGE).await;
            node.write(OK).await;
        };
        let (mut client, ()) = tokio::join!(sending, reading);
        assert_eq!(client.response().await.1, "ok");
    });
}

#[test]
fn a_node_that_takes_nothing_is_timed_out_after_send() {
    run(async {
        let script = Script::listen().await;
        let more = format!("{UNKEPT}, timeouts: {{ send: 300ms, first_byte: 1h }}");
        let gateway = Gateway::with("", &script.pool(&more)).await;
        let mut client = Raw::send(&gateway, begun(Some(LARGE))).await;
        let node = script.accept().await;
        sends_on(&mut client, LARGE >> 20).await;
        let (head, body) = client.response().await;
        assert_eq!(head.status, 504, "{body}");
        gateway.at_rest().await;
        assert_eq!(gateway.attempts("s", Outcome::Timeout), 1);
        drop(node);
    });
}

#[test]
fn first_byte_counts_from_the_end_of_the_body() {
    run(async {
        let script = Script::listen().await;
        // the one or the other of them ends the wait, and neither begins before
        let limits = ["first_byte: 1h, read: 100ms", "first_byte: 100ms, read: 1h"];
        for (limits, answers) in limits.into_iter().flat_map(|limits| [(limits, true), (limits, false)]) {
            let more = format!("{UNKEPT}, timeouts: {{ {limits} }}");
            let gateway = Gateway::with("", &script.pool(&more)).await;
            let mut client = Raw::send(&gateway, begun(Some(16))).await;
            let (mut node, _) = script.request().await;
            tokio::time::sleep(Duration::from_millis(600)).await;
            client.write(" of so many").await;
            node.read_to(" many").await;
            let began = Instant::now();
            if answers {
                node.write(OK).await;
                assert_eq!(client.response().await.1, "ok");
            } else {
                assert_eq!(client.head().await.status, 504, "{limits}");
                assert!(began.elapsed() >= Duration::from_millis(90), "{limits}: {:?}", began.elapsed());
                assert_eq!(gateway.attempts("s", Outcome::Timeout), 1);
            }
        }
    });
}

#[test]
fn an_upload_goes_to_a_reachable_node_and_waits_for_one() {
    run(async {
        let nodes = nodes(2);
        let [a, b] = [nodes[0].addr(), nodes[1].addr()];
        let list =
            format!("{{ name: a, address: \"{a}\" }}, {{ name: b, address: \"{b}\", weight: 0.000001 }}");
        let gateway = Gateway::with("", &pool_of("p", &list, UNKEPT)).await;
        nodes[0].crash().await;
        let body = Bytes::from(vec![b'x'; 1 << 20]);
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for outgoing in [Outgoing::sized(body.clone()), Outgoing::chunked(body.clone())] {
                let answer =
                    Client::over(&gateway, version).await.ask(upload(&gateway, "/echo", outgoing)).await;
                assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
                assert!(answer.body == body);
            }
        }
        assert!(gateway.attempts("a", Outcome::Connect) > 0);
        // none is left: it waits, and is sent whole when one is back
        nodes[1].crash().await;
        let waits = async { ask(&gateway, upload(&gateway, "/echo", Outgoing::chunked(body.clone()))).await };
        let back = async {
            eventually(LIMIT, "it waits", || gateway.live.requests.count() == 1).await;
            nodes[1].restart(Duration::ZERO);
        };
        let (answer, ()) = tokio::join!(waits, back);
        assert!(answer.status == 200 && answer.body == body);
        gateway.at_rest().await;
    });
}

#[test]
fn a_client_that_leaves_while_its_upload_waits_for_a_node_is_noticed() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::with("", &pool("p", &nodes, "retry: { body_limit: 10B, wait: 1h }")).await;
        nodes[0].crash().await;
        let client = Raw::send(&gateway, begun(None)).await;
        eventually(LIMIT, "it waits", || gateway.live.kept_bytes.value() > 0).await;
        drop(client);
        gateway.at_rest().await;
        assert_eq!(gateway.answered(499), 1);
    });
}

#[test]
fn an_upload_is_sent_no_faster_than_its_node_reads() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool(UNKEPT)).await;
        let mut client = Raw::send(&gateway, begun(Some(60 << 20))).await;
        let node = script.accept().await;
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let filling = tokio::spawn(async move {
            while client.try_write([b'x'; 65536]).await {
                count.fetch_add(65536, Ordering::AcqRel);
            }
        });
        stands_still(&sent).await;
        // the sockets' own buffers take some
        let taken = sent.load(Ordering::Acquire);
        assert!((65536..48 << 20).contains(&taken), "{taken} bytes");
        drop(node);
        filling.await.unwrap();
    });
}

/// By HTTP/2 to the nodes: early answers of both kinds, a client that leaves, a body without a length.
#[test]
fn uploads_pass_to_nodes_that_speak_http_2() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, &format!("{UNKEPT}, http_version: 2")).await;
        let body = Bytes::from((0..8 << 20).map(|at| (at / 7) as u8).collect::<Vec<_>>());
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for path in ["/echo", "/echo-stream"] {
                for outgoing in [Outgoing::sized(body.clone()), Outgoing::chunked(body.clone())] {
                    let mut client = Client::over(&gateway, version).await;
                    let answer = client.ask(upload(&gateway, path, outgoing)).await;
                    let start = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]);
                    assert_eq!((answer.status, answer.body.len()), (200, body.len()), "{path}: {start}");
                    assert!(answer.body == body, "{version:?} {path}: other bytes came back");
                }
            }
        }
        for request in nodes[0].requests() {
            assert!(request.version == Version::HTTP_2 && request.header("transfer-encoding").is_none());
        }
        gateway.at_rest().await;
        assert_eq!(gateway.attempts("a", Outcome::Ok), 8);
        let client = Raw::send(&gateway, begun(Some(1000))).await;
        eventually(LIMIT, "its node knows it", || nodes[0].stats().in_flight == 1).await;
        drop(client);
        gateway.at_rest().await;
        eventually(LIMIT, "its stream is reset", || nodes[0].stats().in_flight == 0).await;
        assert_eq!(gateway.attempts("a", Outcome::ClientGone), 1);
        assert!(gateway.metrics().contains("evenkeel_unkept_bodies_total{pool=\"p\"} 9"));
    });
}
