//! Tests of clients' keys: who gets in, for which models, in which class, and what a change of the file does.

mod limits;
mod secrets;
mod turns;

use std::path::PathBuf;

use evenkeel::keys::hash;
use evenkeel::sim::Node;
use http::{Request, Version};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Answer, Client, Gateway, LIMIT, Outgoing, Raw, Script, ask, chat, eventually, eventually_async, fault,
    get, nodes, pool, post, run,
};

/// A file of keys, in a folder of its own. The key of `alice` is `token-alice`.
struct KeyFile(TempDir);

impl KeyFile {
    /// `keys`: names, each with further members of its entry.
    fn of(keys: &[(&str, &str)]) -> Self {
        let file = Self(TempDir::new().unwrap());
        file.write(keys);
        file
    }

    fn write(&self, keys: &[(&str, &str)]) {
        let entry = |(name, more): &(&str, &str)| {
            let hash = hash(token(name).as_bytes()).unwrap();
            format!("  - {{ name: {name}, hash: \"{hash}\", {more} }}\n")
        };
        let entries: String = keys.iter().map(entry).collect();
        self.write_text(&if keys.is_empty() { "keys: []".to_owned() } else { format!("keys:\n{entries}") });
    }

    fn write_text(&self, text: &str) {
        let next = self.0.path().join("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, self.path()).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("keys.yaml")
    }

    fn server(&self) -> String {
        format!("api_keys: {{ file: \"{}\" }}", self.path().display())
    }
}

fn token(name: &str) -> String {
    format!("token-{name}")
}

/// The request with the key of this name.
fn of(name: &str, mut request: Request<Outgoing>) -> Request<Outgoing> {
    let value = format!("Bearer {}", token(name)).parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

async fn start(file: &KeyFile, nodes: &[Node], more: &str) -> Gateway {
    Gateway::with(&file.server(), &pool("p", nodes, more)).await
}

fn asking(gateway: &Gateway, path: &str, model: Option<&str>) -> Request<Outgoing> {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": "x" }], "max_tokens": 2 });
    post(gateway, path, body.to_string())
}

/// The paths of the dialects, and the form of an error on each.
fn shapes(message: &str, openai: [Value; 3], anthropic: &str, tgi: &str) -> Vec<(&'static str, Value)> {
    let [kind, param, code] = openai;
    let openai = json!({ "error": { "message": message, "type": kind, "param": param, "code": code } });
    let anthropic = json!({ "type": "error", "error": { "type": anthropic, "message": message } });
    vec![
        ("/v1/chat/completions", openai.clone()),
        ("/v1/responses", openai),
        ("/v1/messages", anthropic),
        ("/api/chat", json!({ "error": message })),
        ("/generate_stream", json!({ "error": message, "error_type": tgi })),
    ]
}

#[test]
fn a_request_without_a_good_key_gets_401() {
    run(async {
        let nodes = nodes(1);
        let file = KeyFile::of(&[("alice", ""), ("late", "expires: 2026-01-01")]);
        let gateway = start(&file, &nodes, "").await;
        let none =
            "the request has no API key; send it as `Authorization: Bearer KEY`, `x-api-key` or `api-key`";
        for (key, message) in [
            (None, none),
            (Some("bob"), "the API key is not known here"),
            (Some("late"), "the API key has expired"),
        ] {
            let openai = ["invalid_request_error".into(), Value::Null, "invalid_api_key".into()];
            for (path, want) in shapes(message, openai, "authentication_error", "validation") {
                for version in [Version::HTTP_11, Version::HTTP_2] {
                    let request = asking(&gateway, path, Some("m"));
                    let request =
                        key.map_or_else(|| asking(&gateway, path, Some("m")), |key| of(key, request));
                    let answer = Client::over(&gateway, version).await.ask(request).await;
                    let told = (
                        answer.status,
                        answer.field("www-authenticate"),
                        answer.field("x-ratelimit-limit-requests"),
                    );
                    assert_eq!(told, (401, Some("Bearer"), None), "{path}");
                    assert_eq!(answer.json(), want, "{path}");
                }
            }
        }
        assert_eq!(nodes[0].stats().received, 0);
        gateway.at_rest().await;
        let late = &gateway.status().keys[1];
        assert_eq!((&*late.name, late.used.requests, late.in_flight), ("late", [0, 0, 0, 10, 0], 0));
        assert_eq!(ask(&gateway, of("alice", chat(&gateway, 1, false))).await.status, 200);
    });
}

#[test]
fn the_answer_comes_before_the_body() {
    run(async {
        let nodes = nodes(1);
        let gateway = start(&KeyFile::of(&[]), &nodes, "").await;
        let head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n";
        let mut client = Raw::send(&gateway, head).await;
        assert_eq!(client.head().await.status, 401, "and nobody is asked to send more");
        let preflight = "OPTIONS /v1/completions HTTP/1.1\r\nHost: x\r\nOrigin: http://page\r\n\
                         Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n\r\n";
        let mut client = Raw::send(&gateway, preflight).await;
        assert_ne!(client.head().await.status, 401);
        assert_eq!(nodes[0].stats().received, 1);
        let options = "OPTIONS /v1/completions HTTP/1.1\r\nHost: x\r\nOrigin: http://page\r\n\r\n";
        let mut client = Raw::send(&gateway, options).await;
        let (head, _) = client.response().await;
        let told = (head.status, head.field("access-control-allow-origin"));
        assert_eq!(told, (401, Some("*")), "that is no preflight; a page may read why");
    });
}

/// A client whose limit is reached asks again, and need not connect each time.
#[test]
fn the_connection_stays_open_after_a_short_body() {
    run(async {
        let nodes = nodes(1);
        let file = KeyFile::of(&[("alice", "requests_per_minute: 1, models: [m]")]);
        let gateway = start(&file, &nodes, "").await;
        let mut client = Raw::connect(&gateway).await;
        let ask = |key: &str, body: &str| {
            let key = token(key);
            format!(
                "POST /v1/completions HTTP/1.1\r\nHost: x\r\nx-api-key: {key}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        for (key, status) in [("bob", 401), ("alice", 403), ("alice", 429), ("bob", 401)] {
            client.write(ask(key, r#"{"model":"n"}"#)).await;
            let (head, body) = client.response().await;
            assert_eq!((head.status, head.field("connection")), (status, Some("keep-alive")), "{body}");
            client
                .write(format!("HEAD /v1/models HTTP/1.1\r\nHost: x\r\nx-api-key: {}\r\n\r\n", token("bob")))
                .await;
            assert_eq!(client.head().await.status, 401);
        }
        // two at once, and the rest of the second comes later
        let both = ask("bob", "{}") + &ask("bob", "{\"late\":1}");
        client.write(&both[..both.len() - 5]).await;
        assert_eq!(client.response().await.0.status, 401);
        client.write(&both[both.len() - 5..]).await;
        assert_eq!(client.response().await.0.status, 401);
        client.write(ask("bob", &"x".repeat(100_000))).await;
        let (head, _) = client.response().await;
        assert_eq!(
            (head.status, head.field("connection")),
            (401, Some("close")),
            "its body would take too long"
        );
        let (rest, _) = client.rest().await;
        assert!(rest.is_empty());
        gateway.at_rest().await;
    });
}

#[test]
fn a_key_is_for_its_models() {
    run(async {
        let nodes = nodes(1);
        let file = KeyFile::of(&[("alice", "models: [m, 'Qwen/*']"), ("bob", "")]);
        let gateway = start(&file, &nodes, "").await;
        let message = "this key is not for the model `other`; GET /v1/models lists those that it is for";
        let openai = ["invalid_request_error".into(), "model".into(), "model_not_found".into()];
        for (path, want) in shapes(message, openai, "permission_error", "validation") {
            let answer = ask(&gateway, of("alice", asking(&gateway, path, Some("other")))).await;
            assert_eq!((answer.status, answer.json()), (403, want), "{path}");
        }
        let status = async |name: &str, request| ask(&gateway, of(name, request)).await.status;
        for (body, of_alice) in [
            (r#"{"model":"m","prompt":"x"}"#, 200),
            (r#"{"model":"Qwen/x","prompt":"x"}"#, 200),
            (r#"{"model":"other","prompt":"x","model":"m"}"#, 400),
            (r#"{"model":"m","model":"other"}"#, 403),
            (r#"{"prompt":"x"}"#, 403),
            (r#"{"model":["m"]}"#, 403),
            ("", 403),
        ] {
            let request = || post(&gateway, "/v1/completions", body);
            assert_eq!(status("alice", request()).await, of_alice, "{body}");
            assert_ne!(status("bob", request()).await, 403, "{body}");
        }
        // a node would not look at the target
        assert_eq!(status("alice", post(&gateway, "/v1/completions?model=m", "{}")).await, 403);
        assert_eq!(status("alice", get(&gateway, "/v1/files")).await, 403);
        gateway.at_rest().await;
        assert_eq!(gateway.status().keys[0].used.requests[1], 2);
    });
}

#[test]
fn a_body_that_is_not_read_names_no_model() {
    run(async {
        let nodes = nodes(1);
        let file = KeyFile::of(&[("alice", "models: [m]"), ("bob", "")]);
        let gateway = start(&file, &nodes, "retry: { body_limit: 1KiB }").await;
        for (name, status) in [("alice", 413), ("bob", 200)] {
            let body = json!({ "model": "m", "prompt": "x".repeat(2000), "max_tokens": 1 }).to_string();
            let answer = ask(&gateway, of(name, post(&gateway, "/v1/completions", body))).await;
            assert_eq!(answer.status, status, "{name}: {}", answer.text());
        }
        for (target, key, status) in [
            ("/ws?model=m", "alice", 101),
            ("/ws?model=n", "alice", 403),
            ("/ws", "alice", 403),
            ("/ws", "bob", 101),
        ] {
            let upgrade = format!(
                "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\napi-key: {}\r\n\r\n",
                token(key)
            );
            assert_eq!(Raw::send(&gateway, upgrade).await.head().await.status, status, "{target} {key}");
        }
    });
}

#[test]
fn the_list_shows_the_models_of_the_key() {
    run(async {
        let nodes = nodes(1);
        let file = KeyFile::of(&[("alice", "models: [q, 'z*']"), ("bob", "")]);
        let gateway = start(&file, &nodes, "models: [sim, q, zeta]").await;
        let ids = async |name: &str| {
            let answer = ask(&gateway, of(name, get(&gateway, "/v1/models"))).await.json();
            answer["data"].as_array().unwrap().iter().map(|entry| entry["id"].clone()).collect::<Vec<_>>()
        };
        let both = async || {
            let both = (ids("alice").await, ids("bob").await);
            if both.1 == ["sim"] { Ok(both) } else { Err(both) }
        };
        // as long as no node has a list, the names of the config stand there
        assert!(ids("alice").await.iter().all(|id| id != "sim"));
        let (alice, bob) = eventually_async(LIMIT, "the node has told its models", both).await;
        assert_eq!((alice, bob), (vec![], vec![Value::from("sim")]));
        for (name, status) in [("alice", 404), ("bob", 200)] {
            let answer = ask(&gateway, of(name, get(&gateway, "/v1/models/sim"))).await;
            assert_eq!(answer.status, status, "{name}");
        }
        assert_eq!(ask(&gateway, get(&gateway, "/v1/models")).await.status, 401);
    });
}

#[test]
fn a_key_has_a_class_that_its_requests_may_only_lower() {
    run(async {
        let nodes = nodes(1);
        let file = KeyFile::of(&[("high", "class: interactive"), ("low", "class: batch"), ("any", "")]);
        let server = format!("{}, access_log: {{ path: access.json, format: json }}", file.server());
        let gateway = Gateway::with(&server, &pool("p", &nodes, "")).await;
        let cases = [
            ("high", None, "interactive"),
            ("high", Some("batch"), "batch"),
            ("high", Some("what"), "interactive"),
            ("low", None, "batch"),
            ("low", Some("high"), "batch"),
            ("any", None, "normal"),
            ("any", Some("high"), "interactive"),
        ];
        for (key, said, _) in cases {
            let mut request = of(key, chat(&gateway, 1, false));
            said.iter().for_each(|said| {
                request.headers_mut().insert("x-priority", said.parse().unwrap());
            });
            assert_eq!(ask(&gateway, request).await.status, 200);
        }
        let all = || gateway.log_lines("access.json").len() == cases.len();
        eventually(LIMIT, "all lines are written", all).await;
        for (line, (key, said, class)) in gateway.log_lines("access.json").iter().zip(cases) {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["key"], &line["class"]), (&key.into(), &class.into()), "{said:?}");
        }
    });
}

#[test]
fn a_revoked_key_stops_at_once_and_its_stream_ends_well() {
    run(async {
        let nodes = nodes(1);
        let file = KeyFile::of(&[("alice", ""), ("bob", "")]);
        let gateway = start(&file, &nodes, "").await;
        nodes[0].set_fault(fault("slow_head:1500,times=1"));
        let (mut client, request) = (Client::h1(&gateway).await, of("alice", chat(&gateway, 20, true)));
        let stream = tokio::spawn(async move { client.ask(request).await });
        eventually(LIMIT, "it runs", || nodes[0].stats().in_flight == 1).await;
        file.write(&[("bob", ""), ("carol", "")]);
        gateway.reload_keys();
        assert_eq!(ask(&gateway, of("alice", chat(&gateway, 1, false))).await.status, 401);
        assert_eq!(ask(&gateway, of("carol", chat(&gateway, 1, false))).await.status, 200);
        let answer: Answer = stream.await.unwrap();
        assert!(answer.status == 200 && answer.text().contains("[DONE]"), "{}", answer.text());
        // nobody has to say that the file has changed
        file.write(&[("alice", "")]);
        let is_back = || gateway.status().keys.iter().any(|key| &*key.name == "alice");
        eventually(LIMIT, "it is read again", is_back).await;
        assert_eq!(ask(&gateway, of("alice", chat(&gateway, 1, false))).await.status, 200);
        assert_eq!(ask(&gateway, of("bob", chat(&gateway, 1, false))).await.status, 401);
    });
}

#[test]
fn a_file_with_problems_changes_nothing() {
    run(async {
        let nodes = nodes(1);
        let file = KeyFile::of(&[("alice", "")]);
        let gateway = start(&file, &nodes, "").await;
        let pools = pool("p", &nodes, "");
        file.write_text("keys: [{ name: alice }]");
        for (failures, reload) in [(1, false), (2, true)] {
            if reload {
                gateway.reload(&pools);
            } else {
                gateway.reload_keys();
            }
            let state = gateway.status().keys_file.unwrap();
            // the watcher may have seen it too
            assert!(state.failures >= failures);
            assert!(state.error.is_some_and(|error| error.contains("keys.yaml:1: keys[0].hash: is missing")));
            assert_eq!(ask(&gateway, of("alice", chat(&gateway, 1, false))).await.status, 200);
        }
        let json: Value =
            serde_json::from_str(&gateway.live.explained(std::time::Instant::now()).to_json()).unwrap();
        assert_eq!((&json["keys_file"]["ok"], &json["last_reload"]["ok"]), (&false.into(), &true.into()));
        let cause = json["causes"][0]["text"].as_str().unwrap();
        assert!(
            cause.starts_with("the file of keys was refused, those read before stay in use: "),
            "{cause}"
        );
        assert!(gateway.metrics().contains("evenkeel_keys_reload_success 0\n"), "{}", gateway.metrics());
        // a config that names another file must be able to read it
        let other = (file.path().display().to_string(), "/nowhere.yaml".to_owned());
        let refused = gateway.try_reload_with((&other.0, &other.1), &pools).unwrap_err();
        assert!(refused.contains("/nowhere.yaml: cannot be read"), "{refused}");
        assert_eq!(ask(&gateway, of("alice", chat(&gateway, 1, false))).await.status, 200);
        file.write(&[("alice", ""), ("bob", "")]);
        gateway.reload_keys();
        assert!(gateway.status().keys_file.is_some_and(|file| file.error.is_none()));
        assert_eq!(ask(&gateway, of("bob", chat(&gateway, 1, false))).await.status, 200);
    });
}

#[test]
fn a_reload_asks_for_keys_and_stops_asking() {
    run(async {
        let script = Script::listen().await;
        let file = KeyFile::of(&[("alice", "")]);
        let gateway = Gateway::with("drain_timeout: 1s", &script.pool("")).await;
        let next = format!("drain_timeout: 1s, {}", file.server());
        gateway.reload_with(("drain_timeout: 1s", &next), &script.pool(""));
        assert_eq!(ask(&gateway, get(&gateway, "/x")).await.status, 401);
        gateway.reload(&script.pool(""));
        let mut client =
            Raw::send(&gateway, "GET /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n\r\n").await;
        let (mut node, head) = script.request().await;
        assert!(head.contains("Bearer k\r\n"), "as before: {head}");
        node.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(client.head().await.status, 200);
        assert!(gateway.status().keys_file.is_none() && !gateway.metrics().contains("key"));
    });
}
