//! Tests of nodes that are spoken to by HTTP/2: all that holds for others holds there, and streams share connections.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use evenkeel::outcome::Outcome;
use evenkeel::sim::Options;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::net::TcpListener;

use crate::harness::{
    Client, Front, Gateway, LIMIT, Pki, Raw, Script, ask, chat, eventually, fault, logged, node, nodes, pool,
    pool_of, post, run, steps, within,
};

const HTTP2: &str = "http_version: 2";

/// A node that does this with each request.
async fn scripted<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Copy + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(serve(request, respond));
                }
            });
        }
    });
    address
}

/// The scripted node first, and a good one for what that does not serve.
async fn with_another(address: SocketAddr, more: &str) -> Gateway {
    let good = node(Options { name: "b".into(), ..Options::default() });
    let nodes = format!(
        "{{ name: a, address: \"{address}\" }}, {{ name: b, address: \"{}\", weight: 0.000001 }}",
        good.addr()
    );
    Gateway::with("", &pool_of("p", &nodes, &format!("{HTTP2}, health: {{ max_fails: 0 }}{more}"))).await
}

fn head(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).unwrap()
}

#[test]
fn requests_share_connections() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, HTTP2).await;
        let mut client = Client::h2(&gateway).await;
        for _ in 0..20 {
            assert_eq!(client.ask(chat(&gateway, 3, true)).await.status, 200);
        }
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (request, address) = (chat(&gateway, 3, true), gateway.address);
            tasks.spawn(async move {
                Client::to(address, http::Version::HTTP_11).await.ask(request).await.status
            });
        }
        assert!(within(LIMIT, "all end", tasks.join_all()).await.iter().all(|status| *status == 200));
        let stats = nodes[0].stats();
        // one for each thread of the gateway
        assert!(stats.completed == 120 && stats.accepted <= 2, "{stats:?}");
        // what may not be repeated goes on the same ones
        for _ in 0..20 {
            assert_eq!(client.ask(post(&gateway, "/echo", "{}")).await.status, 200);
        }
        assert!(nodes[0].stats().accepted <= 2, "{:?}", nodes[0].stats());
        assert!(nodes[0].requests().iter().all(|one| one.version == http::Version::HTTP_2));
    });
}

/// A connection that has been idle is closed, and another is opened.
#[test]
fn connections_are_kept_for_a_while() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "http_version: 2, timeouts: { idle: 100ms }").await;
        for _ in 0..2 {
            assert_eq!(ask(&gateway, chat(&gateway, 3, false)).await.status, 200);
            eventually(LIMIT, "it is closed", || nodes[0].stats().open == 0).await;
        }
    });
}

#[test]
fn failures_lead_to_another_node() {
    run(async {
        let nodes = nodes(2);
        let more = "http_version: 2, health: { max_fails: 0 }, retry: { resume: on }, engine: vllm";
        let well = Gateway::start(&nodes, more).await;
        let whole = ask(&well, chat(&well, 8, true)).await.text();
        for what in ["reset", "close", "status:500", "error_event:0", "die:3", "truncate:3", "cut:3"] {
            let gateway = Gateway::start(&nodes, more).await;
            nodes[0].set_fault(fault(what));
            for _ in 0..2 {
                let answer = ask(&gateway, chat(&gateway, 8, true)).await;
                assert_eq!(words(&answer.text()), words(&whole), "{what}: {}", answer.text());
            }
            assert!(nodes[0].stats().received > 0);
            gateway.at_rest().await;
        }
    });
}

fn words(answer: &str) -> String {
    let events = answer.lines().filter_map(|line| line.strip_prefix("data: "));
    let texts = events.filter_map(|event| {
        let event: serde_json::Value = serde_json::from_str(event).ok()?;
        Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned())
    });
    texts.collect()
}

#[test]
fn a_request_is_cancelled_at_its_node() {
    run(async {
        let nodes = nodes(1);
        nodes[0].set_fault(fault("stall:3"));
        let gateway = Gateway::with("admin: free", &pool("p", &nodes, HTTP2)).await;
        let mut client = Raw::send(&gateway, stream_of(8)).await;
        client.read_to("data: ").await;
        let row = gateway.live.requests.list(std::time::Instant::now()).remove(0);
        gateway.live.requests.cancel(row.number).unwrap();
        let (rest, _) = client.rest_as_text().await;
        assert!(rest.contains("an operator cancelled the request") && !rest.contains("[DONE]"), "{rest}");
        gateway.at_rest().await;
        eventually(LIMIT, "the node has lost it", || nodes[0].stats().running == 0).await;
        // its connection goes on
        nodes[0].clear_faults();
        assert_eq!(ask(&gateway, chat(&gateway, 3, false)).await.status, 200);
    });
}

fn stream_of(tokens: u32) -> String {
    let body =
        format!(r#"{{"messages":[{{"role":"user","content":"x"}}],"max_tokens":{tokens},"stream":true}}"#);
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A client that does not read stops its own stream: others on the connection go on, and nothing piles up.
#[test]
fn a_client_that_does_not_read_stops_nobody_else() {
    run(async {
        let node = node(Options { name: "a".into(), step: steps(0), ..Options::default() });
        let gateway = Gateway::start(std::slice::from_ref(&node), HTTP2).await;
        let mut slow = Vec::new();
        for _ in 0..8 {
            let mut client = Raw::send(&gateway, stream_of(1_000_000)).await;
            client.read_to("data: ").await;
            slow.push(client);
        }
        let (mut last, mut same) = (0, 0);
        while same < 5 {
            assert_eq!(ask(&gateway, chat(&gateway, 3, true)).await.status, 200);
            tokio::time::sleep(Duration::from_millis(20)).await;
            let sent = node.stats().bytes_out;
            same = if sent < last + 100_000 { same + 1 } else { 0 };
            last = sent;
        }
        assert!(node.stats().accepted <= 2, "{:?}", node.stats());
        drop(slow);
        gateway.at_rest().await;
    });
}

/// A node that says that it has not taken a request is not to blame, and the request goes elsewhere, whatever its method.
#[test]
fn what_a_node_has_not_taken_goes_to_another() {
    run(async {
        let refusing = |_: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
            respond.send_reset(Reason::REFUSED_STREAM);
        };
        let gateway = with_another(scripted(refusing).await, "").await;
        for path in ["/v1/chat/completions", "/v1/files", "/echo"] {
            let answer = ask(&gateway, post(&gateway, path, "{}")).await;
            assert_eq!(answer.field("x-evenkeel-node"), Some("b"), "{path}: {}", answer.text());
        }
        assert_eq!(gateway.attempts("a", Outcome::Reset), 0);
    });
}

#[test]
fn what_breaks_before_and_after_the_head() {
    run(async {
        let odd = |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
            let mut response = head(200);
            match request.uri().path() {
                // nothing was said: another node is asked
                "/v1/chat/completions" => respond.send_reset(Reason::INTERNAL_ERROR),
                "/short" => {
                    response.headers_mut().insert("content-length", 5.into());
                    let mut body = respond.send_response(response, false).unwrap();
                    body.send_data("four".into(), true).unwrap();
                }
                _ => {
                    let mut body = respond.send_response(response, false).unwrap();
                    body.send_data("half".into(), false).unwrap();
                    tokio::task::yield_now().await;
                    body.send_reset(Reason::INTERNAL_ERROR);
                }
            }
        };
        let gateway = with_another(scripted(odd).await, ", retry: { paths: [/x] }").await;
        let answer = ask(&gateway, chat(&gateway, 3, false)).await;
        assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
        assert_eq!(gateway.attempts("a", Outcome::Reset), 1);
        for path in ["/short", "/cut"] {
            let request = post(&gateway, path, "{}");
            assert!(Client::h1(&gateway).await.try_ask(request).await.is_err(), "{path} is not whole");
        }
        assert_eq!(gateway.attempts("a", Outcome::Truncated), 2);
    });
}

#[test]
fn a_large_body_that_is_refused_early_gets_its_answer() {
    run(async {
        // it reads nothing, and does not say that it will not
        let refusing = |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
            let mut body = respond.send_response(head(413), false).unwrap();
            body.send_data("no".into(), true).unwrap();
            let _unread = (request, std::future::pending::<()>().await);
        };
        let address = scripted(refusing).await;
        let gateway = Gateway::with("", &pool_of("p", &format!("\"{address}\""), HTTP2)).await;
        let answer = ask(&gateway, post(&gateway, "/v1/files", vec![b'x'; 20_000_000])).await;
        assert_eq!((answer.status, &*answer.body), (413, &b"no"[..]));
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, HTTP2).await;
        let answer = ask(&gateway, post(&gateway, "/echo", vec![b'x'; 20_000_000])).await;
        assert_eq!((answer.status, answer.body.len()), (200, 20_000_000));
    });
}

#[test]
fn tls_with_and_without_http2() {
    run(async {
        let (first, second, pki) =
            (node(Options { name: "h2".into(), ..Options::default() }), nodes(1), Pki::new());
        let server = |alpn: &[u8]| {
            let mut server = pki.pair(&["127.0.0.1"]).server();
            server.alpn_protocols = vec![alpn.to_vec()];
            server
        };
        let well = Front::tls(first.addr(), server(b"h2")).await;
        let old = Front::tls(second[0].addr(), server(b"http/1.1")).await;
        let nodes = format!(
            "{{ name: well, address: \"{}\", weight: 0.000001 }}, {{ name: no-alpn, address: \"{}\" }}",
            well.address, old.address
        );
        let more = format!("{HTTP2}, health: {{ max_fails: 0 }}, {}", pki.trusted(""));
        let gateway = Gateway::with("", &pool_of("p", &nodes, &more)).await;
        for _ in 0..4 {
            let answer = ask(&gateway, chat(&gateway, 3, false)).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("well")));
        }
        assert!(gateway.attempts("no-alpn", Outcome::Connect) >= 1 && well.opened() <= 2);
        let lines = logged("node no-alpn: no TLS with it: it does not take the pool's `http_version` (ALPN)");
        assert_eq!(lines.len(), 1, "{lines:?}");
    });
}

/// With a client certificate that is missing, and one that speaks HTTP/1.1 alone: no connection, so another node serves.
#[test]
fn what_does_not_become_http2_is_no_connection() {
    run(async {
        let (good, pki) = (nodes(1), Pki::new());
        let mut server = pki.asking(&pki.pair(&["127.0.0.1"]));
        server.alpn_protocols = vec![b"h2".to_vec()];
        let asks = Front::tls(good[0].addr(), server).await;
        let script = Script::listen().await;
        let old = script.address;
        tokio::spawn(async move {
            loop {
                let mut node = script.accept().await;
                node.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
            }
        });
        for (name, address) in [("asks-h2", asks.address.clone()), ("http1", old.to_string())] {
            let tls = if name == "http1" { String::new() } else { format!(", {}", pki.trusted("")) };
            let nodes = format!(
                "{{ name: {name}, address: \"{address}\"{tls} }}, {{ name: b, address: \"{}\", weight: 0.000001 }}",
                good[0].addr()
            );
            let gateway =
                Gateway::with("", &pool_of("p", &nodes, &format!("{HTTP2}, health: {{ max_fails: 0 }}")))
                    .await;
            let answer = ask(&gateway, chat(&gateway, 3, false)).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")), "{name}");
            assert_eq!(gateway.attempts(name, Outcome::Connect), 1, "{name}");
        }
        assert_eq!(logged("node asks-h2: no TLS with it: it demands a certificate of the gateway").len(), 1);
    });
}

/// HTTP/2 has no switch of protocols: the offer is ignored.
#[test]
fn an_upgrade_is_not_taken() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, HTTP2).await;
        let upgrade =
            "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut client = Raw::send(&gateway, upgrade).await;
        assert_eq!(client.head().await.status, 200);
    });
}
