//! Stored responses (OpenAI's Responses API): a request that names one goes to the node that has it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use evenkeel::fleet::NodeState;
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::{Answer, Client, Gateway, LIMIT, Outgoing, eventually, pool_of, post, run};

/// A node that stores its responses, as vLLM does, and says 404 to the ids of others.
struct Store {
    name: &'static str,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    ids: HashSet<String>,
    /// The lines of its requests.
    asked: Vec<String>,
    /// Connections are closed instead of an answer.
    breaks: bool,
}

impl Store {
    async fn start(name: &'static str) -> Store {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| serve(name, Arc::clone(&state), request));
                tokio::spawn(async move {
                    let mut builder = Builder::new(TokioExecutor::new());
                    builder.http1().keep_alive(false);
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Store { name, address, state, server }
    }

    fn entry(&self) -> String {
        format!("{{ name: {}, address: \"{}\" }}", self.name, self.address)
    }

    fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// From now on it refuses connections.
    async fn leave(&self) {
        self.server.abort();
        eventually(LIMIT, "its port is closed", || std::net::TcpStream::connect(self.address).is_err()).await;
    }
}

async fn serve(
    name: &'static str,
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> std::io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut state = state.lock().unwrap();
    state.asked.push(format!("{} {}", head.method, head.uri.path()));
    if state.breaks {
        return Err(std::io::ErrorKind::ConnectionReset.into());
    }
    let in_path = head.uri.path().split_once("/responses/").and_then(|(_, rest)| rest.split('/').next());
    let wanted = in_path.or(asked["previous_response_id"].as_str());
    if let Some(id) = wanted.filter(|id| !state.ids.contains(*id)) {
        let message = format!("Response with id '{id}' not found.");
        let error = json!({"error": {"message": message, "type": "invalid_request_error", "code": 404}});
        return Ok(answer(404, "application/json", error.to_string()));
    }
    if let Some(id) = in_path {
        return Ok(answer(200, "application/json", json!({"id": id, "object": "response"}).to_string()));
    }
    let id = format!("resp_{name}_{}", state.asked.len() + state.ids.len() * 1000);
    if asked["store"] != json!(false) {
        state.ids.insert(id.clone());
    }
    let text = "x".repeat(asked["size"].as_u64().unwrap_or(1).try_into().unwrap());
    let response = json!({"id": id, "object": "response", "output": [{"id": "msg_1", "text": text}]});
    if asked["stream"] != json!(true) {
        return Ok(answer(200, "application/json", response.to_string()));
    }
    let event = |kind: &str| {
        format!(
            "event: {kind}\ndata: {}\n\n",
            json!({"type": kind, "response": response, "sequence_number": 0})
        )
    };
    let events = ["response.created", "response.in_progress", "response.completed"].map(event);
    Ok(answer(200, "text/event-stream", events.concat()))
}

fn answer(status: u16, kind: &str, body: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).header("content-type", kind).body(Full::new(body.into())).unwrap()
}

/// Two nodes, `a` and `b`, in the pool `p`.
async fn two(more: &str) -> ([Store; 2], Gateway) {
    let stores = [Store::start("a").await, Store::start("b").await];
    let gateway = Gateway::with("", &pool(&stores, more)).await;
    (stores, gateway)
}

fn pool(stores: &[Store], more: &str) -> String {
    let entries: Vec<_> = stores.iter().map(Store::entry).collect();
    pool_of("p", &entries.join(", "), more)
}

fn turn(gateway: &Gateway, body: &Value) -> Request<Outgoing> {
    post(gateway, "/v1/responses", body.to_string())
}

fn on(gateway: &Gateway, method: Method, path: &str) -> Request<Outgoing> {
    let request = Request::builder().method(method).uri(gateway.url(path));
    request.body(Outgoing::sized(Bytes::new())).unwrap()
}

/// The id in an answer, whole or streamed.
fn id_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = answer.text();
    let from = text.find("\"id\":\"resp_").unwrap() + "\"id\":\"".len();
    text[from..].split('"').next().unwrap().to_owned()
}

#[test]
fn second_turns_reach_the_node_that_has_the_first() {
    run(async {
        let (stores, gateway) = two("").await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut client = Client::over(&gateway, version).await;
            for more in [json!({}), json!({"stream": true}), json!({"size": 300_000})] {
                for _ in 0..20 {
                    let mut body = more.clone();
                    body["model"] = "m".into();
                    let first = client.ask(turn(&gateway, &body)).await;
                    body["previous_response_id"] = id_of(&first).into();
                    let second = client.ask(turn(&gateway, &body)).await;
                    assert_eq!(second.status, 200, "{version:?} {more}");
                    assert_eq!(second.field("x-evenkeel-node"), first.field("x-evenkeel-node"));
                    body["previous_response_id"] = id_of(&second).into();
                    assert_eq!(client.ask(turn(&gateway, &body)).await.status, 200, "the third turn");
                }
            }
        }
        gateway.at_rest().await;
        let counts = stores.each_ref().map(|store| store.take_asked().len());
        assert_eq!(counts, [180, 180], "conversations are balanced, and nobody is asked in vain");
    });
}

/// A model that is shared, or a pool that is full, may have put the first turn anywhere.
#[test]
fn second_turns_reach_the_pool_that_has_the_first() {
    run(async {
        let stores = [Store::start("a").await, Store::start("b").await, Store::start("c").await];
        let pool_with = |name: &str, store: usize, more: &str| pool_of(name, &stores[store].entry(), more);
        let splits = "splits: { m: { p: 50, r: 50 } }\n";
        let pools = [
            pool_with("p", 0, "spill: q"),
            pool_with("q", 1, "models: off, path_prefix: /q"),
            pool_with("r", 2, "models: off"),
        ];
        let gateway = Gateway::with("", &(pools.concat() + splits)).await;
        let mut client = Client::h1(&gateway).await;
        for turns in 0..20 {
            let first = client.ask(turn(&gateway, &json!({"model": "m", "input": turns}))).await;
            let body = json!({"model": "m", "input": "more", "previous_response_id": id_of(&first)});
            let second = client.ask(turn(&gateway, &body)).await;
            assert_eq!(second.field("x-evenkeel-node"), first.field("x-evenkeel-node"), "{second:?}");
        }
        // as if it had spilled over
        let first = client.ask(post(&gateway, "/q/v1/responses", json!({"model": "n"}).to_string())).await;
        let id = id_of(&first);
        let body = json!({"model": "n", "previous_response_id": id});
        for _ in 0..2 {
            assert_eq!(client.ask(turn(&gateway, &body)).await.field("x-evenkeel-node"), Some("b"));
            let path = format!("/v1/responses/{id}");
            assert_eq!(client.ask(on(&gateway, Method::GET, &path)).await.status, 200);
            gateway.reload(&pools[..2].concat());
        }
    });
}

#[test]
fn requests_that_name_a_response_in_their_path_reach_its_node() {
    run(async {
        let (stores, gateway) = two("").await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut client = Client::over(&gateway, version).await;
            for number in 0..20 {
                let first =
                    client.ask(turn(&gateway, &json!({"model": "m", "stream": number % 2 == 0}))).await;
                let id = id_of(&first);
                let home = first.field("x-evenkeel-node").unwrap();
                for (method, path) in [
                    (Method::GET, format!("/v1/responses/{id}")),
                    (Method::GET, format!("/v1/responses/{id}/")),
                    (Method::GET, format!("/any/prefix/responses/{id}/input_items")),
                    (Method::POST, format!("/v1/responses/{id}/cancel")),
                    (Method::DELETE, format!("/v1/responses/{id}")),
                ] {
                    let answer = client.ask(on(&gateway, method.clone(), &path)).await;
                    assert_eq!(
                        (answer.status, answer.field("x-evenkeel-node")),
                        (200, Some(home)),
                        "{method} {path}"
                    );
                }
            }
        }
        let asked = stores.iter().flat_map(Store::take_asked).count();
        assert_eq!(asked, 2 * 20 * 6, "each once");
    });
}

#[test]
fn a_response_that_nobody_has_is_404_in_the_nodes_words_and_skips_none() {
    run(async {
        let (stores, gateway) = two("").await;
        let mut client = Client::h1(&gateway).await;
        for _ in 0..3 {
            let gone = json!({"model": "m", "previous_response_id": "resp_gone"});
            for request in [turn(&gateway, &gone), on(&gateway, Method::GET, "/v1/responses/resp_gone")] {
                let answer = client.ask(request).await;
                assert_eq!(answer.status, 404);
                let message = &answer.json()["error"]["message"];
                assert_eq!(message, "Response with id 'resp_gone' not found.");
                assert_eq!(stores.each_ref().map(|store| store.take_asked().len()), [1, 1]);
            }
        }
        for name in ["a", "b"] {
            let node = gateway.node(name);
            assert!(node.skips.is_empty() && node.recent_failures == 0 && node.state == NodeState::Up);
        }
    });
}

/// Another gateway made it, or this one before its restart.
#[test]
fn a_response_that_the_gateway_has_not_seen_is_found_and_then_known() {
    run(async {
        let (stores, gateway) = two("").await;
        let mut client = Client::h1(&gateway).await;
        for number in 0..6 {
            let id = format!("resp_{number}");
            stores[1].state.lock().unwrap().ids.insert(id.clone());
            let named = json!({"model": "m", "previous_response_id": id});
            let requests =
                || [turn(&gateway, &named), on(&gateway, Method::GET, &format!("/v1/responses/{id}"))];
            for request in requests() {
                let answer = client.ask(request).await;
                assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
            }
            stores.iter().for_each(|store| drop(store.take_asked()));
            for request in requests() {
                assert_eq!(client.ask(request).await.status, 200);
            }
            assert_eq!(stores.each_ref().map(|store| store.take_asked().len()), [0, 2], "it is known by now");
        }
        assert!(gateway.node("a").skips.is_empty());
    });
}

#[test]
fn a_reload_keeps_what_is_known_of_nodes_that_stay() {
    run(async {
        let (stores, gateway) = two("").await;
        let mut client = Client::h1(&gateway).await;
        let mut ids = ["a", "b"].map(|_| String::new());
        for _ in 0..2 {
            let answer = client.ask(turn(&gateway, &json!({"model": "m"}))).await;
            let place = usize::from(answer.field("x-evenkeel-node") == Some("b"));
            ids[place] = id_of(&answer);
        }
        gateway.reload(&pool(&stores, "retry: { attempts: 1 }"));
        for id in &ids {
            let path = format!("/v1/responses/{id}");
            assert_eq!(client.ask(on(&gateway, Method::GET, &path)).await.status, 200);
        }
        gateway.reload(&pool(&stores[..1], ""));
        let statuses = [&ids[0], &ids[1]].map(|id| format!("/v1/responses/{id}"));
        let mut answers = Vec::new();
        for path in statuses {
            answers.push(client.ask(on(&gateway, Method::GET, &path)).await.status);
        }
        assert_eq!(answers, [200, 404], "its node is gone, and the other says so");
    });
}

#[test]
fn while_its_node_is_away_no_other_is_asked() {
    run(async {
        let (stores, gateway) = two("retry: { wait: 0s }").await;
        let mut client = Client::h1(&gateway).await;
        let first = client.ask(turn(&gateway, &json!({"model": "m"}))).await;
        let id = id_of(&first);
        let home = stores.iter().find(|store| Some(store.name) == first.field("x-evenkeel-node")).unwrap();
        home.leave().await;
        stores.iter().for_each(|store| drop(store.take_asked()));
        let named = json!({"model": "m", "previous_response_id": id});
        for request in [turn(&gateway, &named), on(&gateway, Method::DELETE, &format!("/v1/responses/{id}"))]
        {
            let answer = Client::h1(&gateway).await.ask(request).await;
            assert_eq!((answer.status, answer.field("retry-after")), (503, Some("10")));
            let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
            let says = format!("node {}, which alone has the response", home.name);
            assert!(message.contains(&says) && message.contains("cannot be reached"), "{message}");
        }
        assert!(stores.iter().all(|store| store.take_asked().is_empty()));
        gateway.at_rest().await;
    });
}

#[test]
fn a_delete_or_a_cancel_that_breaks_off_is_not_repeated() {
    run(async {
        let (stores, gateway) = two("").await;
        let mut client = Client::h1(&gateway).await;
        let first = client.ask(turn(&gateway, &json!({"model": "m"}))).await;
        let id = id_of(&first);
        for store in &stores {
            store.take_asked();
            store.state.lock().unwrap().breaks = true;
        }
        for (method, more) in [(Method::DELETE, ""), (Method::POST, "/cancel")] {
            let request = on(&gateway, method, &format!("/v1/responses/{id}{more}"));
            assert_eq!(Client::h1(&gateway).await.ask(request).await.status, 502);
            assert_eq!(stores.iter().flat_map(Store::take_asked).count(), 1);
        }
    });
}

/// A path does not name the model, by which pools are chosen.
#[test]
fn a_path_finds_the_pool_of_its_response() {
    run(async {
        let stores = [Store::start("a").await, Store::start("b").await];
        let one =
            |place: usize, model: &str| pool_of(model, &stores[place].entry(), &format!("models: [{model}]"));
        let gateway = Gateway::with("", &[one(0, "small"), one(1, "large")].concat()).await;
        let mut client = Client::h1(&gateway).await;
        for (model, node) in [("small", "a"), ("large", "b")] {
            let first = client.ask(turn(&gateway, &json!({"model": model}))).await;
            let path = format!("/v1/responses/{}", id_of(&first));
            for method in [Method::GET, Method::DELETE] {
                let answer = client.ask(on(&gateway, method, &path)).await;
                assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some(node)));
            }
        }
        let unknown = Client::h1(&gateway).await.ask(on(&gateway, Method::GET, "/v1/responses/resp_x")).await;
        assert_eq!(unknown.status, 404);
    });
}

/// Over HTTP/2 to the nodes; and on Pingora's own path the response is in the path, or in the part of a large body that was read.
#[test]
fn nodes_that_speak_http2_and_bodies_that_are_not_kept() {
    run(async {
        let (_stores, gateway) = two("http_version: 2").await;
        for stream in [false, true] {
            for _ in 0..10 {
                let mut client = Client::h1(&gateway).await;
                let first = client.ask(turn(&gateway, &json!({"model": "m", "stream": stream}))).await;
                let path = format!("/v1/responses/{}", id_of(&first));
                assert_eq!(client.ask(on(&gateway, Method::GET, &path)).await.status, 200);
            }
        }
        let (_stores, gateway) = two("retry: { body_limit: 1000B }").await;
        for _ in 0..20 {
            let mut client = Client::h1(&gateway).await;
            let mut body = json!({"model": "m", "input": "x".repeat(100_000)});
            let first = client.ask(turn(&gateway, &body)).await;
            // of a body without a length the beginning is read, so the id has to stand there
            body = json!({"previous_response_id": id_of(&first)});
            let text =
                format!("{},\"input\":\"{}\"}}", body.to_string().trim_end_matches('}'), "x".repeat(100_000));
            let request = Request::post(gateway.url("/v1/responses"));
            let request = request.body(Outgoing::chunked(text.into())).unwrap();
            assert_eq!(client.ask(request).await.status, 200);
        }
    });
}
