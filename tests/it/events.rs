//! Tests of errors inside a stream after its 200: retried while the client has nothing, always counted against the
//! node, and visible to the client.

use std::time::Duration;

use evenkeel::fleet::NodeState;
use evenkeel::outcome::Outcome;
use evenkeel::sim::{Node, Options};

use crate::harness::{Ended, Gateway, Raw, Script, ask, chat, fault, node, nodes, pool_of, run, steps};

/// A stream as its client sees it, and how it ended.
async fn stream(gateway: &Gateway) -> (String, Ended) {
    let body = r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":8,"stream":true}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Raw::send(gateway, request).await.rest_as_text().await
}

#[test]
fn a_first_event_that_is_an_error_goes_to_another_node() {
    run(async {
        for (text, outcome) in [("full", Outcome::Busy), ("error_event:0", Outcome::EngineError)] {
            let both = nodes(2);
            let gateway = Gateway::start(&both, "").await;
            both[0].set_fault(fault(text));
            for _ in 0..4 {
                let answer = ask(&gateway, chat(&gateway, 3, true)).await;
                assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")), "{text}");
                assert!(answer.text().ends_with("data: [DONE]\n\n") && !answer.text().contains("\"error\""));
            }
            assert!(gateway.attempts("a", outcome) > 0, "{text}");
            gateway.at_rest().await;
        }
    });
}

#[test]
fn a_node_that_reports_full_in_its_stream_is_skipped_briefly() {
    run(async {
        let both = nodes(2);
        let gateway = Gateway::start(&both, "").await;
        both[0].set_fault(fault("full").times(1));
        for _ in 0..4 {
            assert_eq!(ask(&gateway, chat(&gateway, 1, true)).await.field("x-evenkeel-node"), Some("b"));
        }
        assert_eq!(both[0].stats().received, 1, "only the first request went there");
    });
}

#[test]
fn a_stream_that_ends_before_its_first_event_goes_to_another_node() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("retry: { attempts: 2 }")).await;
        let asking = ask(&gateway, chat(&gateway, 1, true));
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n";
        let answering = async {
            let (mut first, _) = script.request().await;
            first.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")).await;
            let (mut second, _) = script.request().await;
            second.write(format!("{head}Content-Length: 23\r\n\r\ndata: 1\n\ndata: [DONE]\n\n")).await;
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!((answer.status, answer.text().as_str()), (200, "data: 1\n\ndata: [DONE]\n\n"));
        assert_eq!(answer.field("x-evenkeel-attempts"), Some("2"));
    });
}

/// A last line without its end counts, be it the only one.
#[test]
fn the_end_of_the_message_ends_the_first_event_too() {
    const WORD: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#;
    const ERROR: &str = r#"data: {"error":{"message":"max_tokens must be positive","code":400}}"#;
    run(async {
        for event in [WORD, ERROR] {
            let script = Script::listen().await;
            let gateway = Gateway::with("", &script.pool("")).await;
            let asking = ask(&gateway, chat(&gateway, 1, true));
            let answering = async {
                let (mut node, _) = script.request().await;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n";
                let chunk = format!("{:x}\r\n{event}\r\n0\r\n\r\n", event.len());
                node.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}")).await;
            };
            let (answer, ()) = tokio::join!(asking, answering);
            assert_eq!((answer.status, answer.text().as_str()), (200, event));
            gateway.at_rest().await;
            assert_eq!(gateway.attempts("s", Outcome::Ok), 1, "{event}");
        }
    });
}

#[test]
fn when_all_nodes_are_full_the_client_gets_503() {
    run(async {
        let both = nodes(2);
        both.iter().for_each(|node| node.set_fault(fault("full")));
        let gateway = Gateway::start(&both, "retry: { wait: 0s }").await;
        let answer = ask(&gateway, chat(&gateway, 3, true)).await;
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
        let error = &answer.json()["error"];
        assert!(error["message"].as_str().is_some_and(|message| message.contains("full")), "{error}");
        for name in ["a", "b"] {
            assert_eq!(gateway.state(name), NodeState::Up, "load is not failure");
            assert_eq!(gateway.attempts(name, Outcome::Busy), 1);
        }
    });
}

async fn ends_visibly(text: &str, outcome: Outcome, more: &str) {
    let only = nodes(1);
    let gateway = Gateway::start(&only, more).await;
    only[0].set_fault(fault(text));
    let (seen, ended) = stream(&gateway).await;
    assert!(seen.contains("HTTP/1.1 200"), "{text}: {seen}");
    assert!(seen.contains("data: {\"error\""), "{text}: an error event: {seen}");
    assert!(
        !seen.contains("[DONE]") && !seen.contains("\r\n0\r\n"),
        "{text}: not a good end: {seen}, {ended:?}"
    );
    assert_eq!(gateway.attempts("a", outcome), 1, "{text}");
    assert_eq!(gateway.node("a").recent_failures, 1, "{text}: it counts, though the status was 200");
    gateway.at_rest().await;
}

#[test]
fn a_later_error_is_counted_and_seen() {
    run(async {
        for (text, outcome) in [
            ("error_event:3", Outcome::EngineError),
            ("no_done:3", Outcome::Truncated),
            ("abort:3", Outcome::Aborted),
            ("die:3", Outcome::Truncated),
            ("truncate:3", Outcome::Truncated),
        ] {
            for more in ["", "retry: { body_limit: 0 }", "http_version: 2"] {
                ends_visibly(text, outcome, more).await;
            }
        }
    });
}

/// Some engines never say `[DONE]`; their clients read a finish reason.
#[test]
fn a_finish_reason_is_an_end_too() {
    run(async {
        let only = nodes(1);
        let gateway = Gateway::start(&only, "").await;
        only[0].set_fault(fault("no_done"));
        let (seen, _) = stream(&gateway).await;
        assert!(seen.ends_with("\r\n0\r\n\r\n") && !seen.contains("\"error\""), "{seen}");
        assert_eq!((gateway.attempts("a", Outcome::Ok), gateway.node("a").recent_failures), (1, 0));
    });
}

#[test]
fn an_aborted_answer_that_is_not_streamed_is_retried() {
    run(async {
        let both = nodes(2);
        let gateway = Gateway::start(&both, "").await;
        both[0].set_fault(fault("abort:3").times(1));
        let answer = ask(&gateway, chat(&gateway, 8, false)).await;
        assert_eq!(answer.json()["choices"][0]["finish_reason"], "length");
        assert_eq!(
            (answer.field("x-evenkeel-node"), gateway.attempts("a", Outcome::Aborted)),
            (Some("b"), 1)
        );
        both.iter().for_each(|node| node.set_fault(fault("abort:3")));
        let answer = ask(&gateway, chat(&gateway, 8, false)).await;
        assert_eq!(
            answer.json()["choices"][0]["finish_reason"],
            "abort",
            "when all do, the client gets what there is"
        );
    });
}

#[test]
fn nodes_whose_streams_end_badly_are_ejected() {
    run(async {
        let both = nodes(2);
        let gateway = Gateway::start(&both, "health: { max_fails: 3 }").await;
        both[0].set_fault(fault("error_event:2"));
        for _ in 0..8 {
            stream(&gateway).await;
        }
        assert_eq!((gateway.state("a"), gateway.state("b")), (NodeState::Ejected, NodeState::Up));
        assert_eq!(gateway.attempts("a", Outcome::EngineError), 3);
    });
}

#[test]
fn an_error_event_from_every_node_is_charged_to_none() {
    run(async {
        let both = nodes(2);
        let gateway = Gateway::start(&both, "health: { max_fails: 2 }").await;
        both.iter().for_each(|node| node.set_fault(fault("error_event:0")));
        for _ in 0..6 {
            assert!(ask(&gateway, chat(&gateway, 3, true)).await.text().contains("\"error\""));
        }
        for name in ["a", "b"] {
            assert_eq!((gateway.state(name), gateway.node(name).recent_failures), (NodeState::Up, 0));
            assert!(gateway.attempts(name, Outcome::EngineError) > 0);
        }
    });
}

#[test]
fn done_without_a_finish_reason_is_not_a_normal_end() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let answering = async {
            let (mut node, _) = script.request().await;
            node.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
                .await;
            node.write("data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n")
                .await;
            node.write("data: [DONE]\n\n").await;
        };
        let ((seen, _), ()) = tokio::join!(stream(&gateway), answering);
        assert!(seen.contains("data: {\"error\"") && !seen.contains("[DONE]"), "{seen}");
        assert_eq!(gateway.attempts("s", Outcome::Truncated), 1);
    });
}

/// Otherwise the client would take the stream for complete.
#[test]
fn an_error_event_never_completes_the_length_of_a_stream() {
    const EVENT: &str = "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n";
    const SAYS: &str = "data: {\"error\":{\"message\":\"the node broke off before the answer was complete\",";
    const LEAST: usize = EVENT.len() + SAYS.len();
    async fn broken(gateway: &Gateway, script: &Script, version: &str, length: usize) -> String {
        let answering = async {
            let (mut node, _) = script.request().await;
            let head = format!("Content-Type: text/event-stream\r\nContent-Length: {length}");
            node.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{EVENT}")).await;
        };
        let request =
            format!("POST /v1/completions HTTP/{version}\r\nHost: g\r\nContent-Length: 2\r\n\r\n{{}}");
        let asking = async { Raw::send(gateway, request).await.rest_as_text().await };
        let ((seen, _), ()) = tokio::join!(asking, answering);
        seen.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("health: { max_fails: 0 }")).await;
        for version in ["1.0", "1.1"] {
            let whole = broken(&gateway, &script, version, 1000).await;
            assert!(whole.starts_with(&format!("{EVENT}{SAYS}")) && whole.ends_with("}\n\n"), "{whole}");
            let lengths =
                [(EVENT.len() + 1, false), (LEAST, false), (whole.len(), false), (whole.len() + 1, true)];
            for (length, fits) in lengths {
                let body = broken(&gateway, &script, version, length).await;
                assert_eq!(body, if fits { &*whole } else { EVENT }, "HTTP/{version}, {length} bytes");
            }
        }
        assert_eq!(gateway.attempts("s", Outcome::Truncated), 10);
    });
}

/// The node has sent all the bytes that it had announced, but an end is missing.
#[test]
fn a_stream_that_lacks_its_end_never_completes_its_length() {
    const EVENT: &str = "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n";
    run(async {
        for more in ["health: { max_fails: 0 }", "health: { max_fails: 0 }, retry: { body_limit: 0 }"] {
            let script = Script::listen().await;
            let gateway = Gateway::with("", &script.pool(more)).await;
            for events in [1, 3] {
                let all = EVENT.repeat(events);
                let answering = async {
                    let (mut node, _) = script.request().await;
                    let head = format!("Content-Type: text/event-stream\r\nContent-Length: {}", all.len());
                    node.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{all}")).await;
                    node
                };
                let request = "POST /v1/completions HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}";
                let asking = async { Raw::send(&gateway, request).await.rest_as_text().await };
                let ((seen, _), _node) = tokio::join!(asking, answering);
                let (head, body) = seen.split_once("\r\n\r\n").unwrap();
                assert!(head.contains(&format!("{}", all.len())), "{more}: {head}");
                assert_eq!(body, &all[..all.len() - 1], "{more}: the connection was cut");
            }
            gateway.at_rest().await;
            assert_eq!(gateway.attempts("s", Outcome::Truncated), 2, "{more}");
        }
    });
}

/// An answer that is no stream may be a full node's error under a 200, whatever framing it has.
#[test]
fn an_error_in_a_200_is_retried_in_either_framing() {
    const FULL: &str = r#"{"error":{"message":"The server is busy, please try again","code":503}}"#;
    const BROKEN: &str = r#"{"error":{"message":"CUDA error","code":500}}"#;
    let length = |body: &str| format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let chunked = |body: &str| {
        let (a, b) = body.split_at(5);
        let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
        format!("Transfer-Encoding: chunked\r\n\r\n{}{}0\r\n\r\n", chunk(a), chunk(b))
    };
    run(async {
        for (error, outcome) in [(FULL, Outcome::Busy), (BROKEN, Outcome::EngineError)] {
            for framed in [length(error), chunked(error)] {
                let (first, other) = (Script::listen().await, nodes(1));
                let [a, b] = [first.address, other[0].addr()];
                let entries = format!(
                    "{{ name: s, address: \"{a}\" }}, {{ name: b, address: \"{b}\", weight: 0.000001 }}"
                );
                let gateway = Gateway::with("", &pool_of("p", &entries, "health: { max_fails: 0 }")).await;
                let answering = async {
                    let (mut node, _) = first.request().await;
                    node.write(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{framed}"))
                        .await;
                    node
                };
                let (answer, _node) = tokio::join!(ask(&gateway, chat(&gateway, 1, false)), answering);
                assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")), "{framed}");
                gateway.at_rest().await;
                assert_eq!(gateway.attempts("s", outcome), 1, "{framed}");
            }
        }
    });
}

/// No more of it is held back than that.
#[test]
fn a_long_answer_of_unknown_length_goes_on_piece_by_piece() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let long = format!("{{\"text\":\"{}", "x".repeat(64 * 1024));
        for start in ["[1", " ", "{\"a\":1}\n", &long] {
            let request = "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}";
            let mut client = Raw::send(&gateway, request).await;
            let (mut node, _) = script.request().await;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked";
            node.write(format!("{head}\r\n\r\n{:x}\r\n{start}\r\n", start.len())).await;
            assert!(client.read_to("\r\n\r\n").await.contains("200"));
            // a long one may come in several chunks
            client.read_to(&start[..start.len().min(100)]).await;
        }
    });
}

/// `identity` is no coding, and each name of lines of JSON means them.
#[test]
fn a_stream_is_watched_whatever_its_coding_and_type_are_called() {
    const WORD: &str = "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n";
    const LINE: &str = "{\"message\":{\"content\":\"a\"},\"done\":false}\n";
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("health: { max_fails: 0 }")).await;
        let kinds = [
            ("/v1/completions", "text/event-stream\r\nContent-Encoding: identity", WORD),
            ("/api/chat", "application/x-ndjson", LINE),
            ("/api/chat", "application/ndjson; charset=utf-8", LINE),
            ("/api/chat", "application/jsonl", LINE),
        ];
        for (number, (path, kind, piece)) in kinds.into_iter().enumerate() {
            let request = format!("POST {path} HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{{}}");
            let answering = async {
                let (mut node, _) = script.request().await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked");
                node.write(format!("{head}\r\n\r\n{:x}\r\n{piece}\r\n0\r\n\r\n", piece.len())).await;
                node
            };
            let asking = async { Raw::send(&gateway, request).await.rest_as_text().await };
            let ((seen, _), _node) = tokio::join!(asking, answering);
            assert!(seen.contains("the node broke off before the answer was complete"), "{kind}: {seen}");
            assert_eq!(gateway.attempts("s", Outcome::Truncated), number as u64 + 1, "{kind}");
        }
    });
}

/// The node's first token comes long after its head.
#[test]
fn a_head_is_held_back_no_longer_than_first_event() {
    run(async {
        let slow: Node = node(Options { step: steps(1_500), ..Options::default() });
        let gateway = Gateway::start(&[slow], "timeouts: { first_event: 50ms }").await;
        let body = r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":1,"stream":true}"#;
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let began = std::time::Instant::now();
        let mut client = Raw::send(&gateway, request).await;
        let head = client.read_to("\r\n\r\n").await;
        assert!(head.contains("200"), "{head}");
        let waited = began.elapsed();
        assert!(waited < Duration::from_millis(1_400), "before the first event: {waited:?}");
        client.read_to("[DONE]").await;
    });
}

#[test]
fn a_first_event_that_is_an_error_is_counted_for_large_bodies_too() {
    run(async {
        let only = nodes(1);
        let gateway = Gateway::start(&only, "retry: { body_limit: 0 }").await;
        only[0].set_fault(fault("full"));
        let (seen, _) = stream(&gateway).await;
        assert!(seen.contains("\"error\"") && !seen.contains("[DONE]"), "{seen}");
        // its head may have gone out before
        assert!(seen.starts_with("HTTP/1.1 503") || !seen.contains("\r\n0\r\n"), "{seen}");
        assert_eq!((gateway.attempts("a", Outcome::Busy), gateway.attempts("a", Outcome::Ok)), (1, 0));
    });
}
