//! Classes and deadlines of requests, through the whole gateway.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use evenkeel::config::Engine;
use evenkeel::fleet::NodeState;
use evenkeel::outcome::Outcome;
use evenkeel::sim::{Node, Options};
use http::Request;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::harness::{
    Client, Gateway, LIMIT, Outgoing, Script, ask, chat, eventually, fault, free_port, nodes_like, pool,
    pool_of, post, run, steps,
};

const LOG: &str = "access_log: { path: access.json, format: json }";

fn recorded(count: usize, engine: Engine) -> Vec<Node> {
    nodes_like(count, &Options { record: true, engine, ..Options::default() })
}

fn with_field(mut request: Request<Outgoing>, name: &'static str, value: &str) -> Request<Outgoing> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// A gateway in front of one node that takes one request at a time.
async fn one_at_a_time(node: &Node, more: &str) -> Gateway {
    let list = format!("{{ name: a, address: \"{}\", max_in_flight: 1 }}", node.addr());
    Gateway::with(LOG, &pool_of("p", &list, more)).await
}

fn queue(gateway: &Gateway) -> usize {
    gateway.status().pools[0].queue
}

fn bodies(node: &Node) -> Vec<Value> {
    node.requests().iter().map(|r| serde_json::from_slice(r.body.as_ref().unwrap()).unwrap()).collect()
}

#[test]
fn the_highest_class_is_served_first() {
    run(async {
        let nodes = recorded(1, Engine::Vllm);
        nodes[0].set_fault(fault("hang,times=1"));
        let gateway = one_at_a_time(&nodes[0], "queue: { class: { values: { urgent: interactive } } }").await;
        let (mut client, request) = (Client::h1(&gateway).await, chat(&gateway, 1, false));
        let first = tokio::spawn(async move { drop(client.begin(request).await) });
        eventually(LIMIT, "the node has it", || nodes[0].stats().in_flight == 1).await;
        let mut waiting = Vec::new();
        for (place, class) in ["batch", "what", "Normal", "URGENT", "interactive"].into_iter().enumerate() {
            let mut client = Client::h1(&gateway).await;
            let request = with_field(chat(&gateway, 1, false), "x-priority", class);
            waiting.push(tokio::spawn(async move { client.try_ask(request).await }));
            eventually(LIMIT, "it waits", || queue(&gateway) == place + 1).await;
        }
        let metrics = gateway.metrics();
        for (class, count) in [("interactive", 2), ("normal", 2), ("batch", 1)] {
            let line = format!("evenkeel_class_queue_length{{class=\"{class}\",pool=\"p\"}} {count}");
            assert!(metrics.contains(&line), "{line} in {metrics}");
        }
        first.abort();
        for one in waiting {
            assert_eq!(one.await.unwrap().unwrap().status, 200);
        }
        gateway.at_rest().await;
        let requests = nodes[0].requests();
        let order: Vec<_> = requests.iter().filter_map(|request| request.header("x-priority")).collect();
        assert_eq!(order, ["URGENT", "interactive", "what", "Normal", "batch"]);
        let classes: Vec<Value> = gateway
            .log_lines("access.json")
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["class"].clone())
            .collect();
        assert_eq!(classes[1..], ["interactive", "interactive", "normal", "normal", "batch"]);
    });
}

#[test]
fn engines_that_order_by_themselves_are_told_the_class() {
    run(async {
        for (engine, name, want) in [
            (Engine::Vllm, "vllm", [json!(-10), Value::Null, json!(10)]),
            (Engine::Sglang, "sglang", [json!(10), json!(0), json!(-10)]),
        ] {
            let nodes = recorded(1, engine);
            let more = format!("engine: {name}, health: {{ check: off }}, queue: {{ pass_priority: on }}");
            let gateway = Gateway::start(&nodes, &more).await;
            let mut client = Client::h1(&gateway).await;
            for class in ["interactive", "normal", "batch"] {
                let request = with_field(chat(&gateway, 1, false), "x-priority", class);
                assert_eq!(client.ask(request).await.status, 200);
            }
            // the client's own number gives way, and all else stays byte for byte
            let own = r#"{ "model":"m", "priority": 77,"max_tokens":1 ,"messages":[{"role":"user","content":"é"}] }"#;
            let request = with_field(post(&gateway, "/v1/chat/completions", own), "x-priority", "batch");
            assert_eq!(client.ask(request).await.status, 200);
            let got: Vec<_> = bodies(&nodes[0]).iter().map(|body| body["priority"].clone()).collect();
            assert_eq!(got[..3], want, "{name}");
            let number = want[2].to_string();
            assert_eq!(
                nodes[0].requests()[3].body.as_deref().unwrap(),
                own.replace("77", &number).as_bytes()
            );
        }
    });
}

#[test]
fn a_stream_that_goes_on_elsewhere_keeps_its_class() {
    run(async {
        let nodes = recorded(2, Engine::Vllm);
        nodes[0].set_fault(fault("die:3"));
        let more =
            "engine: vllm, health: { check: off }, retry: { resume: on }, queue: { pass_priority: on }";
        let gateway = Gateway::start(&nodes, more).await;
        let request = with_field(chat(&gateway, 12, true), "x-priority", "interactive");
        let answer = Client::h1(&gateway).await.ask(request).await;
        assert!(answer.text().contains("[DONE]"), "{}", answer.text());
        gateway.at_rest().await;
        assert_eq!(gateway.status().pools[0].counters.resumes.iter().sum::<u64>(), 1);
        for node in &nodes {
            let body = &bodies(node)[0];
            assert_eq!((&body["priority"], &body["return_token_ids"]), (&json!(-10), &json!(true)), "{body}");
        }
    });
}

#[test]
fn no_node_works_for_a_request_that_is_too_late() {
    run(async {
        let nodes = recorded(1, Engine::Vllm);
        let gateway = one_at_a_time(&nodes[0], "deadline: { millis: x-slo-ms }").await;
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 5;
        for (name, value) in [
            ("x-request-timeout", "0"),
            ("x-request-timeout", "0ms"),
            ("x-slo-ms", "0"),
            ("x-request-deadline", "2020-01-01T00:00:00Z"),
            ("x-request-deadline", &before.to_string()),
        ] {
            let answer = ask(&gateway, with_field(chat(&gateway, 1, false), name, value)).await;
            assert_eq!(answer.status, 504, "{name}: {value}: {}", answer.text());
            assert!(answer.text().contains("deadline"), "{}", answer.text());
        }
        assert_eq!(nodes[0].stats().received, 0, "no node has seen them");
        for (name, value) in [
            ("x-request-timeout", "1h"),
            ("x-request-timeout", "soon"),
            ("x-request-deadline", "2999-01-01T00:00:00Z"),
            ("x-slo-ms", "600000.5"),
        ] {
            let answer = ask(&gateway, with_field(chat(&gateway, 1, false), name, value)).await;
            assert_eq!(answer.status, 200, "{name}: {value}");
        }
        // one that waits, while the node works for another
        nodes[0].set_fault(fault("hang,times=1"));
        let (mut other, request) = (Client::h1(&gateway).await, chat(&gateway, 1, false));
        let first = tokio::spawn(async move { drop(other.begin(request).await) });
        eventually(LIMIT, "the node has it", || nodes[0].stats().in_flight == 1).await;
        let answer = ask(&gateway, with_field(chat(&gateway, 1, false), "x-request-timeout", "300ms")).await;
        assert_eq!((answer.status, nodes[0].stats().received), (504, 5), "{}", answer.text());
        assert_eq!(queue(&gateway), 0);
        first.abort();
    });
}

#[test]
fn a_node_that_has_not_answered_by_the_deadline_is_stopped_and_not_to_blame() {
    run(async {
        let nodes = recorded(2, Engine::Vllm);
        nodes.iter().for_each(|node| node.set_fault(fault("hang")));
        let gateway = Gateway::with(LOG, &pool("p", &nodes, "")).await;
        let request = with_field(chat(&gateway, 1, false), "x-request-timeout", "300ms");
        let answer = Client::h1(&gateway).await.ask(request).await;
        assert_eq!(answer.status, 504, "{}", answer.text());
        gateway.at_rest().await;
        eventually(LIMIT, "it is stopped", || nodes.iter().all(|node| node.stats().in_flight == 0)).await;
        assert_eq!(nodes.iter().map(|node| node.stats().received).sum::<u64>(), 1, "no other is asked");
        let gone: u64 = ["a", "b"].iter().map(|name| gateway.attempts(name, Outcome::ClientGone)).sum();
        assert_eq!(gone, 1);
        let lines = gateway.log_lines("access.json");
        assert!(lines[0].contains("the deadline of the request has passed"), "{lines:?}");
    });
}

#[test]
fn the_wait_for_a_node_ends_with_the_deadline_too() {
    run(async {
        let list = format!("\"127.0.0.1:{}\"", free_port());
        let gateway = Gateway::with(LOG, &pool_of("p", &list, "retry: { wait: 15s }")).await;
        let began = Instant::now();
        let request = with_field(chat(&gateway, 1, false), "x-request-timeout", "300ms");
        let answer = ask(&gateway, request).await;
        assert_eq!(answer.status, 504, "{}", answer.text());
        assert!(began.elapsed() < Duration::from_secs(10), "it does not wait for retry.wait");
    });
}

/// A head alone is no answer: not that of a stream without an event, nor that of one which is read whole first.
#[test]
fn a_node_that_has_sent_its_head_alone_by_the_deadline_is_stopped() {
    run(async {
        let node = Script::listen().await;
        let pool = pool_of("p", &format!("\"{}\"", node.address), "timeouts: { first_event: 1h }");
        let gateway = Gateway::with("", &pool).await;
        for kind in ["text/event-stream", "application/json"] {
            let request = with_field(chat(&gateway, 1, false), "x-request-timeout", "300ms");
            let mut client = Client::h1(&gateway).await;
            let asked = tokio::spawn(async move { client.ask(request).await });
            let (mut stream, _) = node.first().await;
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
            stream.write(&head).await;
            let answer = asked.await.unwrap();
            assert_eq!(answer.status, 504, "{kind}: {}", answer.text());
            assert!(answer.text().contains("the deadline of the request has passed"), "{}", answer.text());
        }
    });
}

#[test]
fn a_connection_that_is_not_taken_ends_with_the_deadline_too() {
    run(async {
        let full = FullListener::new();
        let list = format!("\"{}\"", full.address);
        let more = "timeouts: { connect: 60s }, health: { max_fails: 2 }, retry: { wait: 60s }";
        let gateway = Gateway::with(LOG, &pool_of("p", &list, more)).await;
        let is_up = || gateway.status().pools[0].nodes[0].state == NodeState::Up;
        for time in ["100ms"].into_iter().chain(["400ms"; 10]) {
            let began = Instant::now();
            let request = with_field(chat(&gateway, 1, false), "x-request-timeout", time);
            let answer = ask(&gateway, request).await;
            assert_eq!(answer.status, 504, "{}", answer.text());
            assert!(began.elapsed() < Duration::from_secs(30), "it does not wait for timeouts.connect");
        }
        assert!(!is_up(), "such a node is found out all the same");
    });
}

/// Takes no connection: its queue of one is full.
struct FullListener {
    address: SocketAddr,
    _sockets: Vec<Socket>,
}

impl FullListener {
    fn new() -> Self {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut sockets = vec![listener];
        for _ in 0..3 {
            let client = socket();
            client.set_nonblocking(true).unwrap();
            // the last of them are never taken
            let _ = client.connect(&address.into());
            sockets.push(client);
        }
        Self { address, _sockets: sockets }
    }
}

#[test]
fn an_answer_that_has_begun_goes_on() {
    run(async {
        let nodes = nodes_like(1, &Options { step: steps(30), ..Options::default() });
        let gateway = Gateway::start(&nodes, "timeouts: { first_event: 0s }").await;
        let request = with_field(chat(&gateway, 20, true), "x-request-timeout", "300ms");
        let answer = Client::h1(&gateway).await.ask(request).await;
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("[DONE]"), "{}", answer.text());
    });
}
