//! Tests of HTTP framing: ambiguous requests are refused and reach no node, and connections stay usable.

use evenkeel::outcome::Outcome;
use evenkeel::sim::Node;
use http::Request;

use crate::harness::{Client, Ended, Gateway, LIMIT, Outgoing, Raw, Script, eventually, nodes, pool, run};

/// Sends these bytes; the connection must end with this status and nothing else.
async fn refused(gateway: &Gateway, nodes: &[Node], bytes: &str, status: u16) {
    let (text, _) = Raw::send(gateway, bytes).await.rest_as_text().await;
    let bytes = &bytes[..bytes.len().min(200)];
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:?}: {text:?}");
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{bytes:?}: one answer: {text:?}");
    assert_eq!(nodes.iter().map(|node| node.stats().received).sum::<u64>(), 0, "{bytes:?}");
}

#[test]
fn ambiguous_requests_are_400_and_the_connection_is_closed() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        let smuggled = "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n";
        let wrong = [
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc",
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0x3\r\n\r\nabc",
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc",
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n",
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            "POST /echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET /echo HTTP/1.1\r\n\r\n",
            "GET /echo HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
            "GET /echo HTTP/1.1\r\nHost: x y\r\n\r\n",
            "GET /echo HTTP/1.1\r\nHost: http://x\r\n\r\n",
            "GET /echo HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            "GET /echo HTTP/1.1\r\nHost: x\nX-Bare: 1\r\n\r\n",
            "GET /echo HTTP/1.1\nHost: x\r\n\r\n",
            "GET /echo HTTP/1.1\r\nHost: x\n\n",
            "GET /echo HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET /echo HTTP/1.1\r\nHost: x\r\nX-Space : 1\r\n\r\n",
            "GET /echo HTTP/1.1\r\nHost: x\r\nX-Fold: 1\r\n 2\r\n\r\n",
            "GET /echo HTTP/1.1\r\nHost: x\r\nX-Nul: a\0b\r\n\r\n",
            "GET /echo HTTP/1.1\r\nHost: x\r\nX-Cr: a\rb\r\n\r\n",
            "GET /echo HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
            "GET /echo HTTP/1.1\r\nHost: x\r\n: nameless\r\n\r\n",
            "GET  /echo HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /echo HTTP/3.7\r\nHost: x\r\n\r\n",
            "GET http://y/echo HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET http://x@x/echo HTTP/1.1\r\nHost: x\r\n\r\n",
            "what is this, a request?\r\n\r\n",
        ];
        for bytes in wrong {
            refused(&gateway, &nodes, &format!("{bytes}{smuggled}"), 400).await;
        }
        gateway.at_rest().await;
        eventually(LIMIT, "all connections are gone", || gateway.live.connections.value() == 0).await;
    });
}

/// Whichever path the request would take to its node.
#[test]
fn two_framings_are_400_in_front_of_each_path() {
    run(async {
        let nodes = nodes(1);
        for more in ["", "http_version: 2", "retry: { body_limit: 0 }"] {
            let gateway = Gateway::start(&nodes, more).await;
            for upgrade in ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"] {
                for framings in [
                    "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                    "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                    "Content-Length: 3\r\nContent-Length: 3\r\n",
                ] {
                    let head = format!("POST /echo HTTP/1.1\r\nHost: x\r\n{upgrade}{framings}\r\n");
                    refused(&gateway, &nodes, &format!("{head}3\r\nabc\r\n0\r\n\r\n"), 400).await;
                }
            }
        }
    });
}

/// Heads of a chunked body that one reader takes for a part of it, and another for its end.
const DOUBTS: [&str; 12] = [
    "5;a\n\r\nhello\r\n0\r\n\r\n",
    "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "\r\n",
    "\r\n5\r\nhello\r\n0\r\n\r\n",
    ";a\r\n\r\n",
    " \r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "0\r\n\n",
    "0\r\nGET / HTTP/1.1\r\n\r\n",
];

#[test]
fn a_chunked_body_whose_end_is_in_doubt_is_400_and_the_connection_is_closed() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        let head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let smuggled = "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n";
        for doubt in DOUBTS {
            refused(&gateway, &nodes, &format!("{head}{doubt}{smuggled}"), 400).await;
            refused(&gateway, &nodes, &format!("{head}2\r\nab\r\n{doubt}{smuggled}"), 400).await;
        }
        // what follows the data, too
        refused(&gateway, &nodes, &format!("{head}2\r\nab\n\r\n0\r\n\r\n{smuggled}"), 400).await;
        gateway.at_rest().await;
    });
}

/// The rest of a body that is too large to keep is taken out of its coding as it comes.
#[test]
fn a_chunked_body_whose_end_is_in_doubt_is_400_when_its_rest_is_passed_on_too() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("retry: { body_limit: 1 }")).await;
        let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        for doubt in DOUBTS {
            let mut client = Raw::send(&gateway, format!("{head}2\r\nab\r\n")).await;
            let (node, _) = script.request().await;
            client.write(format!("{doubt}GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            let (text, _) = client.rest_as_text().await;
            assert!(text.starts_with("HTTP/1.1 400 "), "{doubt:?}: {text}");
            assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{doubt:?}: {text}");
            let (sent, _) = node.rest_as_text().await;
            assert!(!sent.contains("\r\n0\r\n") && !sent.contains("smuggled"), "{doubt:?}: {sent}");
        }
        gateway.at_rest().await;
    });
}

#[test]
fn a_body_is_read_however_it_is_split_and_the_next_request_begins_behind_it() {
    run(async {
        let nodes = nodes(1);
        for more in ["", "retry: { body_limit: 4 }"] {
            let gateway = Gateway::start(&nodes, more).await;
            let chunked = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                           5;a=b\r\nhello\r\n6 ; c\r\n world\r\n0\r\nT: x\r\n\r\n";
            let sized = "\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world";
            let both = [chunked, sized].concat();
            let mut raw = Raw::connect(&gateway).await;
            for size in [1, 3, 7, 64, 1000] {
                let sent = async {
                    for piece in both.as_bytes().chunks(size) {
                        raw.write(piece).await;
                        tokio::task::yield_now().await;
                    }
                };
                sent.await;
                for _ in 0..2 {
                    let (head, body) = raw.response().await;
                    assert_eq!((head.status, &*body), (200, "hello world"), "{more:?} in pieces of {size}");
                }
            }
        }
    });
}

#[test]
fn a_path_over_h2_is_one_too() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        let mut client = Client::h2(&gateway).await;
        for target in ["*", "?a=b"] {
            let mut uri = http::Uri::from_static("http://x/").into_parts();
            uri.path_and_query = Some(target.parse().unwrap());
            let request = Request::post(http::Uri::from_parts(uri).unwrap()).body(Outgoing::default());
            client.ask(request.unwrap()).await;
        }
        assert!(nodes[0].requests().iter().all(|request| request.path.starts_with('/')));
    });
}

#[test]
fn connect_is_not_served() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        let request = "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n";
        refused(&gateway, &nodes, request, 405).await;
        let (answer, _) = Raw::send(&gateway, request).await.rest_as_text().await;
        assert!(answer.contains("\r\nAllow: GET, HEAD, POST,"), "{answer}");
    });
}

#[test]
fn a_header_that_is_too_large_or_has_too_many_fields_is_431() {
    run(async {
        let nodes = nodes(1);
        let pools = pool("p", &nodes, "");
        let gateway = Gateway::with("client: { max_header: 8KiB, max_headers: 20 }", &pools).await;
        let long = |size| format!("GET /echo HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(size));
        let many = |count| format!("GET /echo HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: 1\r\n".repeat(count));
        for size in [8192, 60_000, 500_000] {
            refused(&gateway, &nodes, &long(size), 431).await;
        }
        for count in [20, 250, 2000] {
            refused(&gateway, &nodes, &many(count), 431).await;
        }
        for fits in [long(8000), many(19)] {
            assert_eq!(Raw::send(&gateway, fits).await.head().await.status, 200);
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, "").await;
        let post = |body: &str| {
            format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        let chunked =
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthird\r\n0\r\n\r\n";
        let mut raw =
            Raw::send(&gateway, format!("{}{}{chunked}{}", post("first"), post("second"), post("4th"))).await;
        for want in ["first", "second", "third", "4th"] {
            let (head, body) = raw.response().await;
            assert_eq!((head.status, &*body), (200, want));
        }
        raw.write(post("last")).await;
        assert_eq!(raw.response().await.1, "last");
    });
}

#[test]
fn a_pipelined_request_waits_until_the_one_before_is_answered() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let mut client = Raw::send(&gateway, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (mut node, head) = script.request().await;
        assert!(head.starts_with("GET /1 "), "{head}");
        client.write("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        node.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\none").await;
        assert_eq!(client.response().await.1, "one");
        let (mut node, head) = script.request().await;
        assert!(head.starts_with("GET /2 "), "{head}");
        node.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo").await;
        assert_eq!(client.response().await.1, "two");
    });
}

#[test]
fn a_head_response_has_no_body_and_the_connection_stays_usable() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let mut client = Raw::send(&gateway, "HEAD /v1/models HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (mut node, _) = script.request().await;
        node.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1234\r\n\r\n").await;
        let head = client.head().await;
        assert_eq!((head.status, head.field("content-length")), (200, Some("1234")));
        client.write("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (mut node, _) = script.request().await;
        node.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(client.response().await.1, "ok");
    });
}

#[test]
fn a_head_request_with_a_body_gets_no_body_either() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let request = "HEAD /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
        let mut client = Raw::send(&gateway, request).await;
        let (mut node, _) = script.request().await;
        assert_eq!(node.read(2).await, b"{}");
        node.write("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n").await;
        assert_eq!(client.head().await.status, 200);
        gateway.at_rest().await;
    });
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let mut client = Raw::connect(&gateway).await;
        client.write("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (mut node, _) = script.request().await;
        for (status, more) in
            [(204, ""), (304, "ETag: \"x\"\r\n"), (304, "Content-Length: 99\r\n"), (204, "")]
        {
            node.write(format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{more}\r\n")).await;
            let head = client.head().await;
            assert_eq!((head.status, head.field("transfer-encoding")), (status, None));
            client.write("GET /n HTTP/1.1\r\nHost: x\r\n\r\n").await;
            node = script.request().await.0;
        }
        node.write("HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(client.response().await.0.status, 200);
    });
}

#[test]
fn an_http_1_0_client_gets_a_body_that_ends_with_the_connection() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        for host in ["", "Host: x\r\n"] {
            let client = Raw::send(&gateway, format!("GET /1 HTTP/1.0\r\n{host}\r\n")).await;
            let (mut node, head) = script.request().await;
            assert!(head.starts_with("GET /1 HTTP/1.1\r\n"), "{head}");
            assert!(head.to_ascii_lowercase().contains("\r\nhost:"), "HTTP/1.1 demands a Host: {head}");
            node.write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
            )
            .await;
            let (text, ended) = client.rest_as_text().await;
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!((body, ended), ("onetwo", Ended::Fin));
            assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
        }
    });
}

#[test]
fn a_node_with_two_framings_does_not_poison_its_connection() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("retry: { attempts: 1 }")).await;
        let mut client = Raw::send(&gateway, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (mut node, _) = script.request().await;
        // bytes after the end of a response must not be taken for the next one
        node.write(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        )
        .await;
        assert_eq!(client.response().await.1, "ok");
        gateway.at_rest().await;
        client.write("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (mut fresh, _) = script.request().await;
        fresh.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood").await;
        assert_eq!(client.response().await.1, "good");
    });
}

#[test]
fn an_invalid_length_is_not_passed_on() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("retry: { attempts: 1 }")).await;
        let mut client = Raw::send(&gateway, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (mut node, _) = script.request().await;
        node.write("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok").await;
        assert_eq!(client.head().await.status, 502);
    });
}

#[test]
fn no_content_has_no_length() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let mut client = Raw::send(&gateway, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (mut node, _) = script.request().await;
        node.write("HTTP/1.1 204 No Content\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello").await;
        let head = client.head().await;
        assert_eq!((head.status, head.field("content-length")), (204, None));
    });
}

#[test]
fn a_client_of_http_1_0_is_not_invited() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        let request = "POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx";
        assert_eq!(Raw::send(&gateway, request).await.head().await.status, 200);
    });
}

#[test]
fn an_answer_that_breaks_off_resets_the_connection_of_an_http_1_0_client() {
    run(async {
        let script = Script::listen().await;
        let cases = [
            ("application/json", "[0.1,", ""),
            ("text/event-stream", "data: {}\n\n", ""),
            // too large to be kept: it goes another way
            ("application/json", "{\"data\":[0.1,", ", retry: { body_limit: 1 }"),
        ];
        for (kind, piece, more) in cases {
            let gateway = Gateway::with("", &script.pool(&format!("health: {{ max_fails: 0 }}{more}"))).await;
            let request = "POST /v1/chat/completions HTTP/1.0\r\nHost: x\r\nContent-Length: 13\r\n\r\n{\"model\":\"m\"}";
            let client = Raw::send(&gateway, request).await;
            let (mut node, _) = script.request().await;
            let head = "Transfer-Encoding: chunked\r\n\r\n";
            node.write(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{head}")).await;
            node.write(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
            drop(node);
            let (text, ended) = client.rest_as_text().await;
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200") && body.starts_with(piece), "{text}");
            assert_eq!(ended, Ended::Rst, "{kind}");
        }
    });
}

/// A response whose end is in doubt is none: another node is asked, where the request is kept.
#[test]
fn a_response_whose_framing_is_in_doubt_is_a_failure_of_its_node() {
    const ODD: [&str; 6] = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: foo\r\n\r\nhello",
        "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ];
    run(async {
        for odd in ODD {
            for (more, status) in [("", 200), ("retry: { body_limit: 0 }", 502)] {
                let (a, b) = (Script::listen().await, crate::harness::nodes(1));
                let list = format!(
                    "{{ name: a, address: \"{}\" }}, {{ name: b, address: \"{}\" }}",
                    a.address,
                    b[0].addr()
                );
                let gateway = Gateway::with("", &crate::harness::pool_of("p", &list, more)).await;
                let asking = crate::harness::ask(&gateway, crate::harness::chat(&gateway, 1, false));
                let answering = async {
                    let (mut node, _) = a.request().await;
                    node.write(format!("HTTP/1.1 200 OK\r\n{odd}")).await;
                    node
                };
                let (answer, _node) = tokio::join!(asking, answering);
                assert_eq!(answer.status, status, "{odd} {more}");
                gateway.at_rest().await;
                assert_eq!(gateway.attempts("a", Outcome::Reset), 1, "{odd} {more}");
            }
        }
    });
}
