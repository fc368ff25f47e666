//! Tests of the access log and the event log: their contents, and the absence of secrets.

use std::collections::BTreeSet;
use std::sync::Arc;

use evenkeel::sim::{Node, Options};
use http::Version;

use crate::harness::{
    Client, Gateway, LIMIT, Outgoing, Raw, Script, ask, chat, eventually, fault, logged, nodes, nodes_like,
    pool, run, steps,
};

const JSON: &str = "access_log: { path: access.log, format: json }";
const MAIN: &str = "access_log: { path: access.log, format: main }";

async fn lines(gateway: &Gateway, count: usize) -> Vec<String> {
    let enough = || gateway.log_lines("access.log").len() >= count;
    eventually(LIMIT, "the lines are written", enough).await;
    gateway.log_lines("access.log")
}

fn failing(nodes: &[Node]) {
    nodes[0].set_fault(fault("status:500"));
    nodes[1].set_fault(fault("reset"));
}

#[test]
fn a_line_shows_every_attempt() {
    run(async {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let nodes = nodes(3);
            failing(&nodes);
            let gateway = Gateway::with(MAIN, &pool("p", &nodes, "")).await;
            let mut request = chat(&gateway, 3, true);
            request.headers_mut().insert("user-agent", "it/1".parse().unwrap());
            request.headers_mut().insert("x-request-id", "rid-7".parse().unwrap());
            let answer = Client::over(&gateway, version).await.ask(request).await;
            assert_eq!(answer.status, 200);
            let line = lines(&gateway, 1).await.remove(0);
            let protocol = if version == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" };
            assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
            let wanted = [
                &format!("\"POST /v1/chat/completions {protocol}\" 200 {} \"-\" \"it/1\"", answer.body.len()),
                " upstream=\"a, b, c\" status=\"500, -, 200\" outcome=\"http_5xx, reset, ok\" ttft=0.",
                " queue=0.000 rid=rid-7",
            ];
            for part in wanted {
                assert!(line.contains(part), "{part:?} is not in {line}");
            }
        }
    });
}

#[test]
fn json_lines_have_the_same_contents() {
    run(async {
        let nodes = nodes(3);
        failing(&nodes);
        let gateway = Gateway::with(JSON, &pool("p", &nodes, "")).await;
        let answer = ask(&gateway, chat(&gateway, 3, false)).await;
        let line: serde_json::Value = serde_json::from_str(&lines(&gateway, 1).await[0]).unwrap();
        assert_eq!(
            (&line["status"], &line["pool"], &line["path"]),
            (&200.into(), &"p".into(), &"/v1/chat/completions".into())
        );
        assert_eq!(line["bytes_sent"], answer.body.len());
        assert_eq!(line["request_id"], answer.field("x-request-id").unwrap());
        let attempts: Vec<_> = line["attempts"].as_array().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            attempts,
            [
                r#"{"by":"least_in_flight","node":"a","outcome":"http_5xx","status":500}"#,
                r#"{"by":"least_in_flight","node":"b","outcome":"reset","status":null}"#,
                r#"{"by":"least_in_flight","node":"c","outcome":"ok","status":200}"#,
            ]
        );
        assert!(line["ttft"].as_f64().is_some_and(|ttft| ttft > 0.0));
    });
}

/// The names in the first column of the table of JSON fields in deploy/README.md, and those of an attempt.
fn documented() -> (BTreeSet<String>, BTreeSet<String>) {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/README.md")).expect("a file");
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let table = text.lines().skip_while(|line| !line.starts_with("| field |")).skip(2);
    let rows: Vec<_> = table.take_while(|line| line.starts_with('|')).collect();
    let fields = rows.iter().flat_map(|row| quoted(row.split('|').nth(1).unwrap_or_default())).collect();
    let attempts = rows.iter().find(|row| row.starts_with("| `attempts`")).expect("a row");
    let parts =
        quoted(attempts.split('|').nth(2).unwrap_or_default()).into_iter().filter(|name| name != "null");
    (fields, parts.collect())
}

#[test]
fn a_json_line_has_the_fields_that_are_documented_and_no_others() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::with(JSON, &pool("p", &nodes, "retry: { attempts: 1 }")).await;
        ask(&gateway, chat(&gateway, 1, false)).await;
        // broken after its head: only the note says why it ended
        nodes[0].set_fault(fault("die:1"));
        let _ = Client::h1(&gateway).await.try_ask(chat(&gateway, 30, true)).await;
        let (mut fields, parts) = documented();
        assert!(fields.remove("key"), "which is there only where keys are asked for, see keys");
        let names = |value: &serde_json::Value| -> BTreeSet<String> {
            value.as_object().expect("an object").keys().cloned().collect()
        };
        let lines = lines(&gateway, 2).await;
        let lines = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let [whole, broken] = lines.collect::<Vec<_>>().try_into().expect("two lines");
        assert_eq!(names(&broken), fields, "{broken}");
        let always = fields.iter().filter(|name| *name != "note").cloned().collect();
        assert_eq!(names(&whole), always, "{whole}");
        assert_eq!(names(&whole["attempts"][0]), parts, "{whole}");
    });
}

#[test]
fn every_kind_of_end_has_a_line() {
    run(async {
        let nodes = nodes(1);
        let gateway =
            Gateway::with(JSON, &pool("p", &nodes, "retry: { body_limit: 10KB, attempts: 1, wait: 0s }"))
                .await;
        let chat = |more: &str| {
            let body = r#"{"prompt":"x"}"#;
            let length = body.len();
            format!(
                "POST /v1/completions HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
        };
        let large = format!(
            "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 20000\r\n\r\n{}",
            "x".repeat(20_000)
        );
        let upgrade = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let cases = [
            ("", chat(""), 200, "ok"),
            ("", chat("Content-Length: 14\r\n"), 400, ""),
            ("", large, 200, "ok"),
            ("status:429", chat(""), 429, "busy"),
            ("reset", chat(""), 502, "reset"),
        ];
        for (number, (trouble, request, status, outcome)) in cases.into_iter().enumerate() {
            nodes[0].clear_faults();
            if !trouble.is_empty() {
                nodes[0].set_fault(fault(trouble));
            }
            Raw::send(&gateway, request).await.rest().await;
            let line: serde_json::Value =
                serde_json::from_str(&lines(&gateway, number + 1).await[number]).unwrap();
            assert_eq!(line["status"], status, "{line}");
            let attempts = line["attempts"].as_array().unwrap();
            // a reset on a kept-alive connection first counts as stale
            let last = attempts.last().map_or(&line["no"], |attempt| &attempt["outcome"]);
            assert_eq!(last.as_str().unwrap_or_default(), outcome, "{line}");
            assert_eq!(lines(&gateway, 1).await.len(), number + 1, "one line a request");
        }
        nodes[0].clear_faults();
        let mut client = Raw::send(&gateway, upgrade).await;
        client.head().await;
        drop(client);
        let line: serde_json::Value = serde_json::from_str(&lines(&gateway, 6).await[5]).unwrap();
        assert_eq!((&line["status"], &line["attempts"][0]["status"]), (&101.into(), &101.into()), "{line}");
    });
}

#[test]
fn no_log_contains_a_body_a_credential_or_a_query() {
    run(async {
        let nodes = Arc::new(nodes_like(2, &Options { step: steps(1), ..Options::default() }));
        for server in [MAIN, JSON] {
            let gateway =
                Gateway::with(server, &pool("p", &nodes, "retry: { wait: 100ms, body_limit: 5KB }")).await;
            let secret = |kind: &str| format!("s3cr3t-{kind}");
            for trouble in ["slow_head:0", "status:500", "reset", "die:1", "truncate:1", "close"] {
                nodes.iter().for_each(|node| node.set_fault(fault(trouble)));
                for (version, size) in
                    [(Version::HTTP_11, 10), (Version::HTTP_2, 10), (Version::HTTP_11, 20_000)]
                {
                    let body = format!(
                        r#"{{"messages":[{{"role":"user","content":"{}{}"}}],"stream":true}}"#,
                        secret("body"),
                        "x".repeat(size)
                    );
                    let request = http::Request::post(
                        gateway.url(&format!("/v1/chat/completions?k={}", secret("query"))),
                    )
                    .header("authorization", format!("Bearer {}", secret("key")))
                    .header("cookie", secret("cookie"))
                    .header("referer", format!("http://ui/chat?k={}", secret("query")))
                    .header("x-api-key", secret("key"));
                    let request = request.body(Outgoing::sized(body.into())).unwrap();
                    let mut client = Client::over(&gateway, version).await;
                    let _ = client.try_ask(request).await;
                }
            }
            let text = lines(&gateway, 18).await.join("\n");
            assert!(!text.contains("s3cr3t"), "{text}");
            assert!(text.contains("/v1/chat/completions"));
        }
        let told: Vec<_> = logged("s3cr3t").into_iter().filter(|line| line.contains("evenkeel")).collect();
        assert_eq!(told, Vec::<String>::new());
    });
}

#[test]
fn an_ejection_and_the_return_are_logged() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("status:500"));
        let pools = pool("told", &nodes, "health: { fail_timeout: 200ms }");
        let gateway = Gateway::with("", &pools).await;
        let mut client = Client::h1(&gateway).await;
        let ejected = || !logged("pool told, node a: ejected").is_empty();
        while !ejected() {
            assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200);
        }
        let line = logged("pool told, node a: ejected").remove(0);
        assert!(
            line.starts_with("WARN") && line.contains("max_fails") && line.contains("http_5xx"),
            "{line}"
        );
        nodes[0].clear_faults();
        eventually(LIMIT, "it is tried again", || !logged("pool told, node a: probing").is_empty()).await;
        while logged("pool told, node a: back").is_empty() {
            assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200);
        }
    });
}

#[test]
fn a_response_that_is_not_http_is_not_quoted() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("retry: { attempts: 1 }")).await;
        for more in ["", "Connection: upgrade\r\nUpgrade: x\r\n"] {
            let request = format!("GET /1 HTTP/1.1\r\nHost: x\r\nX-Request-Id: not-http\r\n{more}\r\n");
            let mut client = Raw::send(&gateway, request).await;
            let (mut node, _) = script.request().await;
            node.write("HTTP/1.1 200 OK\r\nSet-Cookie: c00kie\r\nno colon\r\n\r\n").await;
            assert_eq!(client.head().await.status, 502);
        }
        assert_eq!(logged("c00kie").len(), 0);
        let told = logged("request not-http: node s").len();
        assert_eq!(told, 2, "{:?}", logged("not-http"));
    });
}
