//! Tests of header fields: forwarding, identity of the client, request ids, and hop-by-hop fields.

use evenkeel::outcome::Outcome;
use evenkeel::sim::{Node, RecordedRequest};
use http::Version;

use crate::harness::{
    Client, Gateway, LIMIT, Raw, Script, Transport, ask, chat, eventually, fault, get, nodes, pool, run,
};

async fn arrived(node: &Node) -> RecordedRequest {
    eventually(LIMIT, "a request arrives", || !node.requests().is_empty()).await;
    node.requests().pop().unwrap()
}

/// Sends a generation with these header lines and returns the request as the node received it.
async fn sent(gateway: &Gateway, node: &Node, lines: &str) -> RecordedRequest {
    node.clear_requests();
    let request = format!("POST /echo HTTP/1.1\r\n{lines}Content-Length: 2\r\n\r\nhi");
    let (head, body) = Raw::send(gateway, request).await.response().await;
    assert_eq!((head.status, &*body), (200, "hi"), "{lines}");
    arrived(node).await
}

#[test]
fn the_node_gets_the_clients_address_and_the_request_id() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        let got = sent(&gateway, &nodes[0], "Host: gpu.example:8000\r\n").await;
        assert_eq!(got.header("x-real-ip"), Some("127.0.0.1"));
        assert_eq!(got.header("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(got.header("x-forwarded-proto"), Some(Transport::of_run().scheme()));
        assert_eq!(got.header("host"), Some("gpu.example:8000"));
        let id = got.header("x-request-id").unwrap();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    });
}

#[test]
fn forwarded_fields_of_a_stranger_are_replaced() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        let lies = "Host: x\r\nX-Real-IP: 9.9.9.9\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 8.8.8.8\r\n\
                    X-Forwarded-Proto: gopher\r\n";
        let got = sent(&gateway, &nodes[0], lies).await;
        let scheme = Transport::of_run().scheme();
        for (name, want) in
            [("x-real-ip", "127.0.0.1"), ("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", scheme)]
        {
            let all: Vec<_> =
                got.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value).collect();
            assert_eq!(all, [want], "{name}");
        }
    });
}

#[test]
fn forwarded_fields_of_a_trusted_proxy_are_kept() {
    run(async {
        let nodes = nodes(1);
        let pools = pool("p", &nodes, "");
        let gateway = Gateway::with("trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]", &pools).await;
        let lines =
            "Host: x\r\nX-Forwarded-For: 1.1.1.1, 192.0.2.9, 10.1.2.3\r\nX-Forwarded-Proto: https\r\n";
        let got = sent(&gateway, &nodes[0], lines).await;
        assert_eq!(got.header("x-real-ip"), Some("192.0.2.9"));
        assert_eq!(got.header("x-forwarded-for"), Some("1.1.1.1, 192.0.2.9, 10.1.2.3, 127.0.0.1"));
        assert_eq!(got.header("x-forwarded-proto"), Some("https"));
    });
}

#[test]
fn a_request_id_is_kept_and_comes_back() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("reset"));
        let gateway = Gateway::start(&nodes, "").await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut request = chat(&gateway, 1, false);
            request.headers_mut().insert("x-request-id", "mine-1".parse().unwrap());
            let answer = Client::over(&gateway, version).await.ask(request).await;
            assert_eq!(answer.field("x-request-id"), Some("mine-1"));
            assert_eq!(nodes[1].requests().last().unwrap().header("x-request-id"), Some("mine-1-2"));
        }
    });
}

#[test]
fn each_attempt_has_an_id_of_its_own() {
    run(async {
        let nodes = nodes(3);
        nodes.iter().for_each(|node| node.set_fault(fault("reset")));
        let gateway = Gateway::start(&nodes, "health: { max_fails: 0 }").await;
        let mut request = chat(&gateway, 1, false);
        request.headers_mut().insert("x-request-id", "a".parse().unwrap());
        let answer = ask(&gateway, request).await;
        assert_eq!((answer.status, answer.field("x-request-id")), (502, Some("a")));
        let requests = nodes.iter().flat_map(Node::requests);
        let mut ids: Vec<_> =
            requests.filter_map(|got| got.header("x-request-id").map(str::to_owned)).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["a", "a-2", "a-3"]);
    });
}

#[test]
fn hop_by_hop_fields_of_the_client_are_not_forwarded() {
    run(async {
        for more in ["", "retry: { body_limit: 0 }"] {
            let nodes = nodes(1);
            let gateway = Gateway::start(&nodes, more).await;
            let lines = "Host: x\r\nX-Private: 1\r\n\
                         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X\r\n\
                         Proxy-Authorization: Basic eDp5\r\nAuthorization: Bearer k\r\nX-Kept: 2\r\n";
            let lines = format!("Connection: keep-alive, X-Private, Host, Content-Length\r\n{lines}");
            let got = sent(&gateway, &nodes[0], &lines).await;
            let gone = [
                "x-private",
                "keep-alive",
                "proxy-connection",
                "te",
                "trailer",
                "proxy-authorization",
                "upgrade",
                "transfer-encoding",
            ];
            for name in gone {
                assert_eq!(got.header(name), None, "{more}: {name}");
            }
            assert!(got.header("connection").is_none_or(|value| !value.contains("X-Private")), "{more}");
            assert_eq!((got.header("x-kept"), got.header("authorization")), (Some("2"), Some("Bearer k")));
            assert_eq!((got.header("host"), got.header("content-length")), (Some("x"), Some("2")));
        }
    });
}

#[test]
fn hop_by_hop_fields_of_the_node_are_not_forwarded() {
    run(async {
        for (more, body) in [("", "{}"), ("retry: { body_limit: 1B }", "{}")] {
            let script = Script::listen().await;
            let gateway = Gateway::with("", &script.pool(more)).await;
            let length = body.len();
            let request =
                format!("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
            let mut client = Raw::send(&gateway, request).await;
            let (mut node, _) = script.request().await;
            node.write(
                "HTTP/1.1 418 Teapot\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                 Proxy-Authenticate: Basic\r\nX-Kept: 1\r\nX-Kept: 2\r\nContent-Length: 2\r\n\r\nhi",
            )
            .await;
            let (head, body) = client.response().await;
            assert_eq!((head.status, &*body), (418, "hi"), "{more}");
            for name in ["x-hop", "keep-alive", "proxy-authenticate"] {
                assert_eq!(head.field(name), None, "{more}: {name}");
            }
            assert_eq!(
                head.lines.iter().filter(|line| line.to_lowercase().starts_with("x-kept:")).count(),
                2
            );
            assert!(head.field("connection").is_none_or(|value| !value.contains("X-Hop")));
        }
    });
}

#[test]
fn over_h2c_the_authority_becomes_the_host() {
    run(async {
        let nodes = nodes(1);
        for more in ["", "http_version: 2", "retry: { body_limit: 1B }"] {
            let gateway = Gateway::start(&nodes, more).await;
            nodes[0].clear_requests();
            let mut client = Client::h2(&gateway).await;
            assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200, "{more}");
            let got = arrived(&nodes[0]).await;
            let host = gateway.address.to_string();
            if got.version == Version::HTTP_2 {
                // there it is the authority again, which the record does not show
                assert!(got.header("host").is_none_or(|shown| shown == host), "{more}");
            } else {
                assert_eq!(got.header("host"), Some(host.as_str()), "{more}");
            }
            assert_eq!(got.path, "/v1/chat/completions");
        }
    });
}

/// RFC 9113 section 8.2.3.
#[test]
fn cookies_that_come_in_crumbs_over_h2_reach_the_node_as_one_field() {
    run(async {
        let nodes = nodes(1);
        for more in ["", "retry: { body_limit: 1B }"] {
            let gateway = Gateway::start(&nodes, more).await;
            nodes[0].clear_requests();
            let mut client = Client::h2(&gateway).await;
            let mut request = chat(&gateway, 1, false);
            for crumb in ["a=1", "b=2; c=3", "d=4"] {
                request.headers_mut().append("cookie", crumb.parse().unwrap());
            }
            assert_eq!(client.ask(request).await.status, 200, "{more}");
            let got = arrived(&nodes[0]).await;
            let cookies: Vec<_> = got.headers.iter().filter(|(name, _)| name == "cookie").collect();
            assert_eq!(cookies.len(), 1, "{more}: {cookies:?}");
            assert_eq!(got.header("cookie"), Some("a=1; b=2; c=3; d=4"), "{more}");
        }
    });
}

#[test]
fn the_request_target_passes_unchanged() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        for target in ["/echo?a=1&b=%20%2F", "/echo?", "/echo/../x//y?z", "/%C3%A9"] {
            nodes[0].clear_requests();
            let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
            Raw::send(&gateway, request).await.head().await;
            assert_eq!(arrived(&nodes[0]).await.path, target);
        }
    });
}

#[test]
fn an_absolute_uri_reaches_the_node_as_a_path() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        for (target, want) in
            [("http://x/echo?a=b", "/echo?a=b"), ("HTTP://x", "/"), ("http://x//y/http://z", "//y/http://z")]
        {
            for more in ["", "Connection: upgrade\r\nUpgrade: x\r\n"] {
                nodes[0].clear_requests();
                let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{more}\r\n");
                Raw::send(&gateway, request).await.head().await;
                assert_eq!(arrived(&nodes[0]).await.path, want, "{target} {more}");
            }
        }
        for wrong in ["http://y/echo", "ftp://x/echo", "http:/x", "http://"] {
            let request = format!("GET {wrong} HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_eq!(Raw::send(&gateway, request).await.head().await.status, 400, "{wrong}");
        }
    });
}

#[test]
fn the_client_is_told_the_node_and_the_attempts_unless_that_is_off() {
    run(async {
        for (server, want) in [("", true), ("response_headers: off", false)] {
            let nodes = nodes(2);
            nodes[0].set_fault(fault("status:500"));
            let gateway = Gateway::with(server, &pool("p", &nodes, "")).await;
            for version in [Version::HTTP_11, Version::HTTP_2] {
                let answer = Client::over(&gateway, version).await.ask(chat(&gateway, 1, true)).await;
                assert_eq!(answer.field("x-evenkeel-node"), want.then_some("b"), "{version:?}");
                assert!(answer.field("x-evenkeel-attempts").is_some() == want);
                assert!(answer.field("x-request-id").is_some());
            }
        }
    });
}

#[test]
fn an_answer_of_the_gateways_own_has_the_request_id() {
    run(async {
        let nodes = nodes(1);
        nodes[0].set_fault(fault("reset"));
        let gateway = Gateway::start(&nodes, "retry: { on: off }").await;
        let mut request = get(&gateway, "/v1/models");
        request.headers_mut().insert("x-request-id", "mine-2".parse().unwrap());
        let answer = crate::harness::ask(&gateway, request).await;
        assert_eq!((answer.status, answer.field("x-request-id")), (502, Some("mine-2")));
        assert_eq!(answer.field("connection"), Transport::of_run().closing());
    });
}

#[test]
fn requests_that_pingora_refuses_are_answered() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        let request =
            "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, Host\r\nUpgrade: websocket\r\n\r\n";
        let (text, _) = Raw::send(&gateway, request).await.rest_as_text().await;
        assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
        assert_eq!(nodes[0].stats().received, 0);
        gateway.at_rest().await;
    });
}

/// HTTP/2 could not say it; so it is refused before anybody has a part of it.
#[test]
fn a_field_whose_name_has_64_kib_makes_an_answer_that_no_client_gets() {
    run(async {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let script = Script::listen().await;
            let gateway = Gateway::with("", &script.pool("retry: { attempts: 1 }")).await;
            let mut client = Client::over(&gateway, version).await;
            let node = async {
                let (mut node, _) = script.request().await;
                let name = "x".repeat(65_536);
                node.write(format!("HTTP/1.1 200 OK\r\n{name}: y\r\nContent-Length: 0\r\n\r\n")).await;
            };
            let (answer, ()) = tokio::join!(client.ask(get(&gateway, "/v1/models")), node);
            assert_eq!((answer.status, gateway.attempts("s", Outcome::Reset)), (502, 1), "{version:?}");
        }
    });
}
