//! Tests of streamed responses: each piece is passed on at once and unchanged, and a broken stream ends visibly.

use std::time::Duration;

use bytes::Bytes;
use evenkeel::outcome::Outcome;
use evenkeel::sim::Options;
use http::Version;
use http_body_util::BodyExt;

use crate::harness::{
    Client, Ended, Gateway, LIMIT, Raw, Script, ask, chat, eventually, fault, logged, nodes, nodes_like, run,
    steps, within,
};

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const ASK: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";

async fn next(body: &mut hyper::body::Incoming) -> Option<Bytes> {
    let frame = within(LIMIT, "a piece comes", body.frame()).await?;
    Some(frame.unwrap().into_data().unwrap())
}

#[test]
fn each_chunk_is_passed_on_before_the_next_is_sent() {
    run(async {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let script = Script::listen().await;
            let gateway = Gateway::with("", &script.pool("")).await;
            let mut client = Client::over(&gateway, version).await;
            let request = chat(&gateway, 1, true);
            let (response, (mut node, _)) =
                tokio::join!(async { client.begin(request).await.unwrap() }, async {
                    let (mut node, head) = script.request().await;
                    node.write(STREAM).await;
                    (node, head)
                });
            let mut body = response.into_body();
            for piece in ["data: 1\n\n", "da", "ta: 2\n", "\n", "\u{0}\r\n0\r\n\r\n", "data: [DONE]\n\n"] {
                node.write(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
                assert_eq!(next(&mut body).await.unwrap(), piece, "{version:?}");
            }
            node.write("0\r\n\r\n").await;
            assert!(next(&mut body).await.is_none_or(|last| last.is_empty()), "{version:?}");
            drop(client);
            gateway.at_rest().await;
        }
    });
}

/// Pingora allows `request_filter` to report a request as answered when nothing was written, and keeps the connection.
#[test]
fn a_request_continues_without_a_session_after_its_body_was_read() {
    run(async {
        for (version, is_alone) in [(Version::HTTP_11, true), (Version::HTTP_2, false)] {
            let script = Script::listen().await;
            let gateway = Gateway::with("", &script.pool("")).await;
            let mut client = Client::over(&gateway, version).await;
            for turn in ["first", "second"] {
                let id = format!("alone-{turn}-over-{version:?}");
                let mut request = chat(&gateway, 1, true);
                request.headers_mut().insert("x-request-id", id.parse().unwrap());
                let has_no_session =
                    || !logged(&format!("request {id}: it goes on without a session")).is_empty();
                let (response, mut node) =
                    tokio::join!(async { client.begin(request).await.unwrap() }, async {
                        let (mut node, _) = script.request().await;
                        assert_eq!(has_no_session(), is_alone, "before its node has answered");
                        node.write(format!("{STREAM}9\r\ndata: 1\n\n\r\n")).await;
                        node
                    });
                let mut body = response.into_body();
                assert_eq!(next(&mut body).await.unwrap(), "data: 1\n\n");
                node.write("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").await;
                assert_eq!(next(&mut body).await.unwrap(), "data: [DONE]\n\n");
                assert!(next(&mut body).await.is_none());
                assert_eq!(has_no_session(), is_alone, "{version:?}");
            }
            gateway.at_rest().await;
        }
    });
}

#[test]
fn a_head_is_passed_on_before_the_first_byte_of_its_body() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        for head in [STREAM, "HTTP/1.1 200 OK\r\n\r\n"] {
            let mut client = Raw::send(&gateway, ASK).await;
            let (mut node, _) = script.request().await;
            node.write(head).await;
            assert_eq!(client.head().await.status, 200, "{head:?}");
            // its client leaves before its node does, or the request would begin again
            drop(client);
            gateway.at_rest().await;
        }
    });
}

#[test]
fn a_stream_of_a_simulated_engine_arrives_whole() {
    run(async {
        let nodes = nodes_like(1, &Options { step: steps(2), ..Options::default() });
        let gateway = Gateway::start(&nodes, "").await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut client = Client::over(&gateway, version).await;
            let text = client.ask(chat(&gateway, 50, true)).await.text();
            let events: Vec<_> = text.split("\n\n").filter(|event| !event.is_empty()).collect();
            assert!(events.iter().all(|event| event.starts_with("data: ")), "{text}");
            assert_eq!(events.last(), Some(&"data: [DONE]"));
            assert!(events.len() >= 52, "{}", events.len());
        }
    });
}

#[test]
fn a_stream_that_breaks_off_is_cut_and_not_retried() {
    run(async {
        for text in ["die:3", "truncate:3", "crash:3"] {
            let nodes = nodes(2);
            nodes[0].set_fault(fault(text));
            let gateway = Gateway::start(&nodes, "").await;
            let body = r#"{"messages":[{"role":"user","content":"x"}],"stream":true,"max_tokens":9}"#;
            let request = format!(
                "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let (answer, _) = Raw::send(&gateway, request).await.rest_as_text().await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{text}: {answer}");
            assert!(answer.contains("data: ") && !answer.contains("[DONE]"), "{text}: {answer}");
            assert!(!answer.ends_with("0\r\n\r\n"), "{text}: the chunked body must not be terminated");
            gateway.at_rest().await;
            assert_eq!(nodes[1].stats().received, 0, "{text}");
            assert_eq!(gateway.attempts("a", Outcome::Truncated), 1, "{text}");
        }
    });
}

#[test]
fn a_stream_that_breaks_off_is_reset_over_h2c_and_its_neighbours_go_on() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("die:3"));
        let gateway = Gateway::start(&nodes, "health: { max_fails: 0 }").await;
        let mut client = Client::h2(&gateway).await;
        let mut broken = 0;
        for _ in 0..4 {
            let response = client.begin(chat(&gateway, 9, true)).await.unwrap();
            broken += usize::from(within(LIMIT, "it ends", response.into_body().collect()).await.is_err());
        }
        assert_eq!(broken, 2, "those that went to the dying node");
    });
}

/// h2 drops what is queued when a stream is reset: one run in two lost the event.
#[test]
fn over_h2c_the_closing_event_arrives_before_the_reset() {
    run(async {
        let only = nodes(1);
        only[0].set_fault(fault("die:3"));
        let gateway = Gateway::start(&only, "health: { max_fails: 0 }").await;
        for round in 0..12 {
            let mut client = Client::h2(&gateway).await;
            let mut body = client.begin(chat(&gateway, 9, true)).await.unwrap().into_body();
            let mut seen = Vec::new();
            let ended = loop {
                match within(LIMIT, "a piece comes", body.frame()).await {
                    Some(Ok(frame)) => seen.extend_from_slice(&frame.into_data().unwrap()),
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            };
            let seen = String::from_utf8(seen).unwrap();
            assert!(ended.is_some() && seen.contains("data: {\"error\""), "round {round}: {ended:?}: {seen}");
        }
        gateway.at_rest().await;
    });
}

#[test]
fn a_long_answer_of_known_length_that_breaks_off_is_cut() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let client = Raw::send(&gateway, ASK).await;
        let (mut node, _) = script.request().await;
        node.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc").await;
        drop(node);
        let (text, _) = client.rest_as_text().await;
        assert!(text.contains("1000000\r\n") && text.ends_with("\r\n\r\nabc"), "{text}");
    });
}

#[test]
fn an_answer_that_ends_with_its_connection_is_complete() {
    run(async {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let script = Script::listen().await;
            let gateway = Gateway::with("", &script.pool("")).await;
            let mut client = Raw::send(&gateway, ASK).await;
            let (mut node, _) = script.request().await;
            node.write(format!("{version} 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end")).await;
            drop(node);
            assert_eq!(client.head().await.field("transfer-encoding"), Some("chunked"));
            assert_eq!(client.read_to("0\r\n\r\n").await, "A\r\nto the end\r\n0\r\n\r\n");
            gateway.at_rest().await;
            assert_eq!(gateway.attempts("s", Outcome::Ok), 1);
        }
    });
}

#[test]
fn nonsense_instead_of_a_response_is_a_reset() {
    run(async {
        for nonsense in [
            "what?\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
        ] {
            let script = Script::listen().await;
            let gateway = Gateway::with("", &script.pool("retry: { attempts: 1 }")).await;
            let client = Raw::send(&gateway, ASK).await;
            let (mut node, _) = script.request().await;
            node.write(nonsense).await;
            let (text, ended) = client.rest_as_text().await;
            assert!(text.starts_with("HTTP/1.1 502 ") && ended == Ended::Fin, "{nonsense:?}: {text}");
        }
    });
}

#[test]
fn informational_responses_come_before_the_real_one() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let mut client = Raw::send(&gateway, ASK).await;
        let (mut node, _) = script.request().await;
        node.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").await;
        node.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let (head, body) = client.response().await;
        assert_eq!((head.status, &*body), (200, "ok"));
    });
}

#[test]
fn a_stream_over_h2_to_the_nodes() {
    run(async {
        let nodes = nodes_like(2, &Options { step: steps(2), ..Options::default() });
        let gateway = Gateway::start(&nodes, "http_version: 2").await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut client = Client::over(&gateway, version).await;
            for stream in [true, false] {
                for _ in 0..3 {
                    let answer = client.ask(chat(&gateway, 20, stream)).await;
                    assert_eq!((answer.status, answer.text().contains("[DONE]")), (200, stream));
                    assert!(stream || answer.json()["usage"]["completion_tokens"] == 20);
                    assert_eq!(answer.field("x-evenkeel-attempts"), Some("1"));
                }
            }
        }
        gateway.at_rest().await;
        for node in &nodes {
            assert!(node.stats().received > 0);
            assert!(
                node.requests().iter().all(|request| request.version == Version::HTTP_2 && request.complete)
            );
        }
        assert_eq!(gateway.attempts("a", Outcome::Ok) + gateway.attempts("b", Outcome::Ok), 12);
    });
}

#[test]
fn over_h2_a_dead_node_leads_to_another_and_a_reset_is_502() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, "http_version: 2").await;
        nodes[0].crash().await;
        let answer = ask(&gateway, chat(&gateway, 2, true)).await;
        assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
        nodes[1].set_fault(fault("reset"));
        let answer = ask(&gateway, chat(&gateway, 2, true)).await;
        assert_eq!(answer.status, 502);
        gateway.at_rest().await;
    });
}

#[test]
fn over_h2_a_client_that_leaves_stops_the_engine() {
    run(async {
        let nodes = nodes_like(1, &Options { step: steps(20), ..Options::default() });
        let gateway = Gateway::start(&nodes, "http_version: 2").await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let before = nodes[0].stats().aborted;
            let mut client = Client::over(&gateway, version).await;
            let mut body = client.begin(chat(&gateway, 1_000_000, true)).await.unwrap().into_body();
            next(&mut body).await.unwrap();
            drop((body, client));
            eventually(Duration::from_secs(5), "the engine stops", || nodes[0].stats().aborted > before)
                .await;
            gateway.at_rest().await;
        }
    });
}

/// The `[DONE]` of a failed stream may arrive in two halves.
#[test]
fn a_done_in_two_halves_is_held_back_too() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("health: { check: off }")).await;
        let body = "{}";
        let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nConnection: close\r\n";
        let mut client =
            Raw::send(&gateway, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
        let (mut node, _) = script.request().await;
        node.write(STREAM).await;
        let token = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":null}]}\n\ndata: [DO";
        node.write(format!("{:x}\r\n{token}\r\n", token.len())).await;
        client.read_to("data: [DO").await;
        // and then it dies, without the last chunk
        node.write("5\r\nNE]\n\n\r\n").await;
        drop(node);
        let (seen, _) = client.rest_as_text().await;
        assert!(!seen.contains("NE]") && seen.contains("\n\ndata: {\"error\""), "{seen}");
    });
}

/// Reads a complete chunked stream.
async fn whole(client: &mut Raw) -> String {
    assert_eq!(client.head().await.status, 200);
    client.read_to("0\r\n\r\n").await
}

#[test]
fn requests_sent_during_a_stream_are_answered_after_it() {
    run(async {
        const ONCE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\
                            Transfer-Encoding: chunked\r\n\r\n";
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let mut client = Raw::send(&gateway, ASK).await;
        let (mut node, _) = script.request().await;
        assert_eq!(node.read(2).await, b"{}");
        node.write(format!("{ONCE}9\r\ndata: 1\n\n\r\n")).await;
        client.read_to("data: 1\n\n\r\n").await;
        // in two parts; the first ends in the middle of a header
        let second = ASK.replacen("/v1/chat/completions", "/v1/completions", 1);
        client.write(&second[..30]).await;
        node.write("9\r\ndata: 2\n\n\r\n").await;
        client.read_to("data: 2\n\n\r\n").await;
        client.write(&second[30..]).await;
        client.write(ASK).await;
        node.write("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").await;
        client.read_to("[DONE]\n\n\r\n0\r\n\r\n").await;
        for path in ["/v1/completions", "/v1/chat/completions"] {
            let (mut node, head) = script.request().await;
            assert!(head.starts_with(&format!("POST {path} ")), "{head}");
            node.write(format!("{ONCE}17\r\ndata: 1\n\ndata: [DONE]\n\n\r\n0\r\n\r\n")).await;
            assert!(whole(&mut client).await.contains("[DONE]"));
        }
        drop(client);
        gateway.at_rest().await;
    });
}

#[test]
fn a_client_that_sends_endlessly_during_a_stream_is_held_up_and_the_stream_is_not() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let mut client = Raw::send(&gateway, ASK).await;
        let (mut node, _) = script.request().await;
        node.write(format!("{STREAM}9\r\ndata: 1\n\n\r\n")).await;
        client.read_to("data: 1\n\n\r\n").await;
        let post =
            format!("POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n{}", "x".repeat(200_000));
        client.write(&post).await;
        for piece in 0..100 {
            node.write(format!("8\r\ndata: {}\n\r\n", piece % 10)).await;
            client.read_to(&format!("data: {}\n\r\n", piece % 10)).await;
        }
        node.write("f\r\n\ndata: [DONE]\n\n\r\n0\r\n\r\n").await;
        client.read_to("[DONE]\n\n\r\n0\r\n\r\n").await;
        client.write("x".repeat(2_800_000)).await;
        // a request that may not be retried gets a fresh connection
        let (mut node, head) = script.request().await;
        assert!(head.starts_with("POST /2 ") && head.contains("Content-Length: 3000000"), "{head}");
        assert_eq!(node.read(3_000_000).await, [b'x'; 3_000_000]);
        node.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(client.response().await.1, "ok");
    });
}

#[test]
fn the_answer_to_head_has_no_events_to_miss() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let mut client = Raw::send(&gateway, "HEAD /v1/completions HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (mut node, _) = script.request().await;
        node.write(STREAM).await;
        assert_eq!(client.head().await.status, 200);
    });
}

/// A socket that is closed with unread bytes in it resets its connection.
#[test]
fn bytes_that_a_client_sends_too_early_do_not_reset_the_end_of_its_answer() {
    run(async {
        let asked = ASK.replacen("Host: x", "Host: x\r\nConnection: close", 1);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned();
        let broken = format!("{STREAM}9\r\ndata: 1\n\n\r\n");
        for (pool, end) in [("", answer), ("retry: { resume: on }", broken)] {
            let script = Script::listen().await;
            let gateway = Gateway::with("", &script.pool(pool)).await;
            let mut client = Raw::send(&gateway, &asked).await;
            let (mut node, _) = script.request().await;
            client.write(ASK).await;
            node.write(&end).await;
            drop(node);
            let (text, ended) = client.rest_as_text().await;
            assert!(text.starts_with("HTTP/1.1 200 ") && ended == Ended::Fin, "{ended:?}: {text}");
            gateway.at_rest().await;
        }
    });
}
