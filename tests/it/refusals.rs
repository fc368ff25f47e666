//! The table of refusals: each answer that a client gets from the gateway alone has a line in the log, a count, and an id.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Request, Version};

use crate::harness::{Client, Gateway, LIMIT, Outgoing, Raw, Script, eventually, nodes, pool, post, run};

const SERVER: &str = "access_log: { path: access.log, format: json }, client: { max_header: 4KiB, max_headers: 20, \
                      max_body: 1KiB, header_timeout: 1s, body_timeout: 500ms }";

/// The last line of the log, once there are so many.
async fn line(gateway: &Gateway, count: usize) -> serde_json::Value {
    let enough = || gateway.log_lines("access.log").len() >= count;
    eventually(LIMIT, "the line is written", enough).await;
    let lines = gateway.log_lines("access.log");
    assert_eq!(lines.len(), count, "one line for one answer: {lines:?}");
    serde_json::from_str(&lines[count - 1]).unwrap()
}

/// The counts of refused requests, by status.
fn counts(gateway: &Gateway) -> BTreeMap<u16, u64> {
    let text = gateway.metrics();
    let counts = text.lines().filter_map(|line| {
        let (code, rest) = line.strip_prefix("evenkeel_requests_total{code=\"")?.split_once('"')?;
        Some((code.parse().ok()?, rest.rsplit_once(' ')?.1.parse().ok()?))
    });
    counts.fold(BTreeMap::new(), |mut all, (code, count): (u16, u64)| {
        *all.entry(code).or_default() += count;
        all
    })
}

fn with_fields(count: usize) -> String {
    format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: 1\r\n".repeat(count))
}

/// The bytes sent, the status, and the method and path of the line.
fn table() -> Vec<(String, u16, &'static str, &'static str)> {
    let get = |fields: &str| format!("GET /v1/models?key=secret HTTP/1.1\r\n{fields}\r\n");
    let post = |rest: &str| format!("POST /v1/completions HTTP/1.1\r\nHost: x\r\n{rest}");
    let chunked = |body: &str| post(&format!("Transfer-Encoding: chunked\r\n\r\n{body}"));
    let models = "/v1/models";
    let completions = "/v1/completions";
    vec![
        // its head is refused, before there is a session
        (get("Host: x\r\nContent-Length: x\r\n"), 400, "GET", models),
        (get("Host : x\r\n"), 400, "GET", models),
        (get(""), 400, "GET", models),
        (get("Host: x\nA: b\r\n"), 400, "GET", models),
        (get("Host: x\r\nTransfer-Encoding: gzip, chunked\r\n"), 501, "GET", models),
        ("GET /v1/models HTTP/1.1\n".to_owned(), 400, "GET", models),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".to_owned(), 405, "CONNECT", "/"),
        ("CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405, "CONNECT", "/a"),
        ("GET http://a/b HTTP/1.1\r\nHost: c\r\n\r\n".to_owned(), 400, "GET", "/b"),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400, "-", "-"),
        ("a password, say\r\n\r\n".to_owned(), 400, "-", "-"),
        ("\x16\x03\x01\x02\0".to_owned(), 400, "-", "-"),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(5000)), 431, "GET", "/"),
        (with_fields(20), 431, "GET", "/"),
        (with_fields(300), 431, "GET", "/"),
        (post("Content-Length: 1025\r\n\r\n"), 413, "POST", completions),
        // its body is
        (chunked("\r\n"), 400, "POST", completions),
        (chunked("5;\n\r\nhello"), 400, "POST", completions),
        (chunked(&format!("401\r\n{}\r\n0\r\n\r\n", "x".repeat(1025))), 413, "POST", completions),
        (post("Content-Length: 2\r\n\r\n{"), 408, "POST", completions),
        (chunked("1\r\n{"), 408, "POST", completions),
        // nobody serves it
        (post("Content-Length: 13\r\n\r\n{\"model\":\"n\"}"), 404, "POST", completions),
        (get("Host: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n"), 404, "GET", models),
    ]
}

#[test]
fn over_http_1() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::with(SERVER, &pool("p", &nodes, "models: [m]")).await;
        let mut counted = BTreeMap::new();
        for (number, (bytes, status, method, path)) in table().into_iter().enumerate() {
            let what = &bytes[..bytes.len().min(80)];
            let mut raw = Raw::send(&gateway, &bytes).await;
            let head = raw.head().await;
            assert_eq!(head.status, status, "{what:?}");
            let line = line(&gateway, number + 1).await;
            assert_eq!(line["status"], status, "{what:?}: {line}");
            assert_eq!(head.field("x-request-id"), line["request_id"].as_str(), "{what:?}: {line}");
            assert_eq!(line["method"], method, "{what:?}: {line}");
            let logged = line["path"].as_str().unwrap();
            assert!(
                if status == 431 { logged.starts_with(path) } else { logged == path },
                "{what:?}: {line}"
            );
            assert!(!line.to_string().contains("secret") && !line.to_string().contains("password"));
            assert_eq!((head.field("server"), head.field("connection")), (None, Some("close")), "{what:?}");
            let body = raw.read(head.field("content-length").unwrap().parse().unwrap()).await;
            assert_eq!(line["bytes_sent"], body.len(), "{what:?}");
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert!(body["error"]["message"].is_string(), "{what:?}: {body}");
            *counted.entry(status).or_default() += 1;
            assert_eq!(counts(&gateway), counted, "{what:?}");
        }
        assert_eq!(nodes[0].stats().received, 0);
        gateway.at_rest().await;
    });
}

#[test]
fn over_http_2() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::with(SERVER, &pool("p", &nodes, "models: [m]")).await;
        let mut counted = BTreeMap::new();
        let large = Bytes::from(vec![b'x'; 1025]);
        let unended = Outgoing::stopping_after(Bytes::from_static(b"{"));
        let mut fields = post(&gateway, "/a", "");
        for _ in 0..20 {
            fields.headers_mut().append("x-a", "1".parse().unwrap());
        }
        let url = gateway.url("/a");
        let table = [
            (Request::connect("x:443").body(Outgoing::default()).unwrap(), 405),
            (fields, 431),
            (post(&gateway, "/a", large.clone()), 413),
            (Request::post(&url).body(Outgoing::chunked(large)).unwrap(), 413),
            (Request::post(&url).body(unended).unwrap(), 408),
            (post(&gateway, "/a", "{\"model\":\"n\"}"), 404),
        ];
        let mut client = Client::over(&gateway, Version::HTTP_2).await;
        for (number, (request, status)) in table.into_iter().enumerate() {
            let what = format!("{request:?}");
            let answer = client.ask(request).await;
            assert_eq!(answer.status, status, "{what}");
            let line = line(&gateway, number + 1).await;
            assert_eq!((&line["status"], &line["protocol"]), (&status.into(), &"HTTP/2.0".into()), "{what}");
            assert_eq!(answer.field("x-request-id"), line["request_id"].as_str(), "{what}");
            *counted.entry(status).or_default() += 1;
            assert_eq!(counts(&gateway), counted, "{what}");
        }
        gateway.at_rest().await;
    });
}

#[test]
fn on_pingoras_own_path() {
    run(async {
        let script = Script::listen().await;
        let server =
            "access_log: { path: access.log, format: json }, client: { body_timeout: 500ms, max_body: 8 }";
        let gateway = Gateway::with(server, &script.pool("retry: { body_limit: 1 }")).await;
        let head = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";
        for (number, (rest, status)) in
            [("\r\n", 400), ("7\r\n1234567\r\n", 413), ("", 408)].into_iter().enumerate()
        {
            let mut raw = Raw::send(&gateway, head).await;
            let (_node, _) = script.request().await;
            raw.write(rest).await;
            let head = raw.head().await;
            let line = line(&gateway, number + 1).await;
            assert_eq!((head.status, &line["status"]), (status, &status.into()), "{rest:?}: {line}");
            assert_eq!(head.field("x-request-id"), line["request_id"].as_str(), "{rest:?}: {line}");
            assert_eq!(counts(&gateway)[&status], 1, "{rest:?}");
        }
    });
}

#[test]
fn a_header_that_does_not_come_in_time_leaves_a_line_too() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::with(SERVER, &pool("p", &nodes, "")).await;
        let (bytes, _) = Raw::connect(&gateway).await.rest().await;
        assert!(bytes.is_empty());
        let (bytes, _) =
            Raw::send(&gateway, "GET /a HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n").await.rest().await;
        assert!(bytes.is_empty());
        let line = line(&gateway, 1).await;
        let seen = (&line["status"], &line["path"], &line["request_id"], &line["bytes_sent"]);
        assert_eq!(seen, (&408.into(), &"/a".into(), &"mine".into(), &0.into()));
        assert_eq!(counts(&gateway), [(408, 1)].into());
    });
}

/// Heads that the gateway's reader takes and Pingora's does not are refused all the same.
#[test]
fn a_head_that_pingora_does_not_read_leaves_a_line_too() {
    run(async {
        let script = Script::listen().await;
        let server = "access_log: { path: access.log, format: json }, client: { max_header: 200KiB }";
        let gateway = Gateway::with(server, &script.pool("")).await;
        let long_name = format!("GET /a HTTP/1.1\r\nHost: x\r\n{}: 1\r\n\r\n", "a".repeat(70_000));
        let odd_target = "GET /a<b> HTTP/1.1\r\nHost: x\r\n\r\n".to_owned();
        for (number, bytes) in [long_name, odd_target].into_iter().enumerate() {
            let (text, _) = Raw::send(&gateway, bytes).await.rest_as_text().await;
            assert!(text.starts_with("HTTP/1.1 400 ") && !text.contains("Pingora"), "{text}");
            assert_eq!(line(&gateway, number + 1).await["status"], 400);
            assert_eq!(counts(&gateway), [(400, number as u64 + 1)].into());
        }
        // all that a URI may hold comes to the node as it is
        let odd: String = (0x21..0x7f).map(char::from).filter(|byte| !"#<>\"`".contains(*byte)).collect();
        let _client = Raw::send(&gateway, format!("GET /{odd} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let (_node, head) = script.request().await;
        assert!(head.starts_with(&format!("GET /{odd} HTTP/1.1\r\n")), "{head}");
    });
}
