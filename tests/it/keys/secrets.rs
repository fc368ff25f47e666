//! A client's key reaches neither a node nor anything that is written down.

use evenkeel::config::ApiKey;
use evenkeel::sim::{Node, Options};
use http::Version;
use serde_json::json;

use super::KeyFile;
use crate::harness::{Client, Gateway, Outgoing, Raw, ask, fault, get, logged, nodes_like, pool, post, run};

const SECRET: &str = "pl4nted";
const FIELDS: [&str; 3] = ["authorization", "x-api-key", "api-key"];

fn planted(kind: &str) -> String {
    format!("{SECRET}-{kind}")
}

fn value(field: &str, token: &str) -> String {
    if field == "authorization" { format!("Bearer {token}") } else { token.to_owned() }
}

/// Fields with a key in each; the first of them that counts has this one.
fn with_keys(mut request: http::Request<Outgoing>, token: &str) -> http::Request<Outgoing> {
    for field in FIELDS {
        request.headers_mut().append(field, value(field, token).parse().unwrap());
        request.headers_mut().append(field, value(field, &planted("second")).parse().unwrap());
    }
    request
}

fn chat(gateway: &Gateway, size: usize, stream: bool) -> http::Request<Outgoing> {
    let body = json!({ "model": "m", "stream": stream, "max_tokens": 2, "messages": [{ "role": "user", "content": "x".repeat(size) }] });
    post(gateway, "/v1/chat/completions", body.to_string())
}

fn entry(name: &str, token: &str, more: &str) -> String {
    let hash = evenkeel::keys::hash(token.as_bytes()).unwrap();
    format!("- {{ name: {name}, hash: \"{hash}\", {more} }}\n")
}

/// Requests in trouble of each kind, with keys that are known, unknown, and not for the model; all that their clients are told.
async fn trouble(gateway: &Gateway, nodes: &[Node]) -> String {
    let mut told = String::new();
    for trouble in ["slow_head:0", "status:401", "status:500", "reset", "close"] {
        nodes.iter().for_each(|node| node.set_fault(fault(trouble)));
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for (kind, size) in [("good", 10), ("good", 20_000), ("bad", 10), ("narrow", 10)] {
                let mut client = Client::over(gateway, version).await;
                let request = with_keys(chat(gateway, size, true), &planted(kind));
                if let Ok(answer) = client.try_ask(request).await {
                    told += &format!("{:?}\n{}\n", answer.headers, answer.text());
                }
            }
        }
    }
    nodes.iter().for_each(|node| node.clear_faults());
    told
}

/// The key in each field alone: in a switch of protocols, a request, an upload that is not read, and one that is broken.
async fn each_field(gateway: &Gateway) -> String {
    let mut told = String::new();
    for field in FIELDS {
        let held = value(field, &planted("good"));
        let key = format!("{}: {held}\r\n", field.to_uppercase());
        let upgrade = format!(
            "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, {field}\r\nUpgrade: websocket\r\n{key}\r\n"
        );
        let mut tunnel = Raw::send(gateway, upgrade).await;
        assert_eq!(tunnel.head().await.status, 101, "{field}");
        tunnel.write("ping").await;
        assert_eq!(tunnel.read(4).await, b"ping");
        for size in [10, 20_000] {
            let mut request = chat(gateway, size, false);
            request.headers_mut().insert(field, held.parse().unwrap());
            let answer = ask(gateway, request).await;
            assert_eq!(answer.status, 200, "{field}: {}", answer.text());
        }
        let broken = format!("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n{key}\r\n");
        told += &Raw::send(gateway, broken).await.rest_as_text().await.0;
    }
    told
}

#[test]
fn no_planted_key_is_found_anywhere() {
    run(async {
        log::set_max_level(log::LevelFilter::Trace);
        let nodes = nodes_like(2, &Options { record: true, ..Options::default() });
        let file = KeyFile::of(&[]);
        let good = entry("alice", &planted("good"), "requests_per_minute: 1000");
        file.write_text(&format!(
            "keys:\n{good}{}",
            entry("bob", &planted("narrow"), "models: [n], max_in_flight: 1")
        ));
        let mut told = String::new();
        for format in ["main", "json"] {
            let log = format!("access_log: {{ path: access.log, format: {format} }}");
            let more = "health: { max_fails: 0 }, retry: { body_limit: 5KB, wait: 100ms }";
            let server = format!("{}, admin: free, {log}", file.server());
            let gateway = Gateway::with(&server, &pool("p", &nodes, more)).await;
            told += &trouble(&gateway, &nodes).await;
            told += &each_field(&gateway).await;
            told += &all_of_admin(&gateway).await;
            gateway.at_rest().await;
            told += &(gateway.metrics() + &gateway.status().to_json());
            told += &gateway.log_lines("access.log").join("\n");
        }
        assert!(told.contains("alice") && told.contains("/v1/chat/completions"));
        let received: Vec<_> = nodes.iter().flat_map(Node::requests).collect();
        assert!(received.len() > 50, "{}", received.len());
        for request in &received {
            let has = FIELDS.iter().any(|field| request.header(field).is_some());
            assert!(!has, "{} {}", request.method, request.path);
        }
        let logs = logged("");
        assert!(logs.iter().any(|line| line.contains("the API key is not known here")));
        for (place, text) in [
            ("answers, log, status or metrics", &told),
            ("a node", &format!("{received:?}")),
            ("the gateway's own log", &logs.join("\n")),
        ] {
            let found = text.find(SECRET).map(|at| &text[at.saturating_sub(200)..at + SECRET.len()]);
            assert_eq!(found, None, "in {place}");
        }
    });
}

/// All that the admin address tells, while a request is open.
async fn all_of_admin(gateway: &Gateway) -> String {
    let mut all = String::new();
    for path in ["/api/status", "/api/requests", "/metrics", "/api/events"] {
        let mut client = Client::to(gateway.admin(), Version::HTTP_11).await;
        let mut request = get(gateway, path);
        request.headers_mut().insert("host", gateway.admin().to_string().parse().unwrap());
        all += &client.ask(request).await.text();
    }
    all
}

/// A config or a file of keys with a key in the wrong place: its problems do not repeat it.
#[test]
fn a_key_in_the_wrong_place_is_not_repeated() {
    let key = format!("ek-{}", SECRET.repeat(7));
    for text in
        [format!("keys: [{{ name: {key}, hash: {key} }}]"), format!("keys: [{{ name: a, hash: \"{key}\" }}]")]
    {
        let problems = ApiKey::parse(&text, "keys.yaml").expect_err("problems").to_string();
        assert!(!problems.contains(SECRET), "{problems}");
    }
}
