//! Orders of an operator at the admin address: drain, undrain, eject, restore; and those who may not give any.

use evenkeel::fleet::NodeState;
use evenkeel::outcome::Outcome;
use http::Version;
use serde_json::{Value, json};

use crate::harness::{Client, Gateway, Head, LIMIT, Raw, chat, eventually, fault, logged, nodes, pool, run};

const ADMIN: &str = "admin: free";

/// A request to the admin address. `fields` are whole lines.
async fn ask(gateway: &Gateway, request: &str, fields: &str) -> (Head, Value) {
    let mut raw = Raw::to(gateway.admin()).await;
    raw.write(format!("{request} HTTP/1.1\r\n{fields}Content-Length: 0\r\n\r\n")).await;
    let (head, body) = raw.response().await;
    (head, serde_json::from_str(&body).unwrap_or_default())
}

/// An order that is obeyed.
async fn order(gateway: &Gateway, path: &str) -> Value {
    let (head, body) = ask(gateway, &format!("POST /api/nodes/{path}"), "Host: localhost\r\n").await;
    assert_eq!((head.status, head.field("content-type")), (200, Some("application/json")), "{path}: {body}");
    body
}

/// The node that answers a request.
async fn served_by(gateway: &Gateway) -> String {
    let answer = Client::h1(gateway).await.ask(chat(gateway, 1, false)).await;
    assert_eq!(answer.status, 200);
    answer.field("x-evenkeel-node").unwrap().to_owned()
}

#[test]
fn a_drained_node_finishes_its_requests_and_stays_drained_over_a_reload() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("hang,times=1"));
        let pools = pool("drained", &nodes, "");
        let gateway = Gateway::with(ADMIN, &pools).await;
        let mut client = Client::to(gateway.address, Version::HTTP_11).await;
        let request = chat(&gateway, 1, false);
        let held = tokio::spawn(async move { drop(client.begin_patiently(request).await) });
        eventually(LIMIT, "it is in flight", || gateway.in_flight() == [1, 0]).await;
        for _ in 0..2 {
            let answer = order(&gateway, "drained/a/drain").await;
            assert_eq!(answer["state"], "draining");
            assert_eq!((&answer["in_flight"], &answer["drained_by"]), (&json!(1), &json!(["operator"])));
            assert_eq!(answer.get("warning"), None);
        }
        assert_eq!(logged("pool drained, node a: drained by an operator").len(), 1, "once, in plain words");
        gateway.reload(&pools);
        for _ in 0..4 {
            assert_eq!(served_by(&gateway).await, "b");
        }
        let (head, status) = ask(&gateway, "GET /api/status", "Host: localhost\r\n").await;
        let shown = &status["pools"][0]["nodes"][0];
        assert_eq!((head.status, &shown["drained_by"]), (200, &json!(["operator"])), "{status:#}");
        held.abort();
        eventually(LIMIT, "it is empty", || gateway.in_flight() == [0, 0]).await;
        let answer = order(&gateway, "drained/a/undrain").await;
        assert_eq!((&answer["state"], &answer["drained_by"]), (&json!("up"), &json!([])));
        assert!(answer["slow_start_share"].as_f64().unwrap() < 0.5, "{answer:#}");
        assert_eq!(logged("pool drained, node a: undrained by an operator").len(), 1);
    });
}

#[test]
fn the_config_and_an_operator_drain_a_node_apart_from_each_other() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::with(ADMIN, &pool("p", &nodes, "")).await;
        order(&gateway, "p/a/drain").await;
        let list = |drain| {
            let entry = format!("{{ name: a, address: \"{}\", drain: {drain} }}", nodes[0].addr());
            format!("  p: {{ nodes: [{entry}, {{ name: b, address: \"{}\" }}] }}\n", nodes[1].addr())
        };
        gateway.reload(&list(true));
        let (_, shown) = ask(&gateway, "GET /api/nodes/p/a", "Host: localhost\r\n").await;
        assert_eq!(shown["drained_by"], json!(["config", "operator"]));
        let answer = order(&gateway, "p/a/undrain").await;
        assert_eq!((&answer["state"], &answer["drained_by"]), (&json!("draining"), &json!(["config"])));
        assert!(answer["warning"].as_str().unwrap().contains("drain: true"), "{answer:#}");
        gateway.reload(&list(false));
        assert_eq!(gateway.state("a"), NodeState::Up);
    });
}

#[test]
fn requests_wait_for_the_last_node_that_is_drained() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::with(ADMIN, &pool("p", &nodes, "")).await;
        let answer = order(&gateway, "p/a/drain").await;
        assert!(answer["warning"].as_str().unwrap().contains("no node that is up"), "{answer:#}");
        let (mut client, request) = (Client::h1(&gateway).await, chat(&gateway, 1, false));
        let waiting = tokio::spawn(async move { client.ask(request).await });
        eventually(LIMIT, "it waits", || gateway.status().pools[0].queue == 1).await;
        let answer = order(&gateway, "p/a/undrain").await;
        assert_eq!(answer.get("warning"), None);
        assert_eq!(waiting.await.unwrap().status, 200);
    });
}

#[test]
fn an_ejected_node_gets_nothing_and_what_waits_there_goes_elsewhere() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("hang"));
        let gateway = Gateway::with(ADMIN, &pool("p", &nodes, "timeouts: { stall: 1h }")).await;
        let (mut client, request) = (Client::h1(&gateway).await, chat(&gateway, 1, false));
        let waiting = tokio::spawn(async move { client.ask(request).await });
        eventually(LIMIT, "it hangs", || nodes[0].stats().received == 1).await;
        let answer = order(&gateway, "p/a/eject?for=10m").await;
        assert_eq!(
            (&answer["state"], &answer["reason"]),
            (&json!("ejected"), &json!("ordered by an operator"))
        );
        let left = answer["ejected_for_seconds"].as_f64().unwrap();
        assert!((500.0..=600.0).contains(&left), "{left}");
        let answer = waiting.await.unwrap();
        assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
        let answer = order(&gateway, "p/b/eject").await;
        assert!(answer["warning"].is_string(), "{answer:#}");
        let (mut client, request) = (Client::h1(&gateway).await, chat(&gateway, 1, false));
        let waiting = tokio::spawn(async move { client.ask(request).await });
        eventually(LIMIT, "it waits", || gateway.status().pools[0].queue == 1).await;
        let answer = order(&gateway, "p/b/restore").await;
        assert_eq!((&answer["state"], &answer["recent_failures"]), (&json!("up"), &json!(0)));
        assert_eq!(waiting.await.unwrap().status, 200);
        gateway.at_rest().await;
        assert_eq!(nodes[0].stats().received, 1, "nothing since it was ejected");
        assert_eq!(gateway.attempts("b", Outcome::Ok), 2);
    });
}

#[test]
fn a_page_of_another_site_cannot_give_orders() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::with(ADMIN, &pool("p", &nodes, "")).await;
        let here = gateway.admin();
        for fields in [
            format!("Host: {here}\r\nOrigin: https://evil.example\r\n"),
            format!("Host: {here}\r\nOrigin: null\r\nContent-Type: text/plain\r\n"),
            format!("Host: {here}\r\nSec-Fetch-Site: cross-site\r\n"),
            format!("Host: {here}\r\nSec-Fetch-Site: same-site\r\n"),
            format!("Host: localhost:9990\r\nOrigin: http://{here}\r\n"),
            "Host: evil.example\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: same-origin\r\n".to_owned(),
        ] {
            for verb in ["drain", "undrain", "eject", "restore"] {
                let (head, body) = ask(&gateway, &format!("POST /api/nodes/p/a/{verb}"), &fields).await;
                assert_eq!(head.status, 403, "{verb}, {fields}: {body}");
                assert!(body["error"].is_string(), "{verb}, {fields}: {body}");
                assert!(head.field("access-control-allow-origin").is_none());
            }
            // a browser asks first before it sends what a form cannot
            let (head, _) = ask(&gateway, "OPTIONS /api/nodes/p/a/drain", &fields).await;
            assert_eq!(head.status, 405, "{fields}");
            assert!(head.field("access-control-allow-origin").is_none());
        }
        assert_eq!(gateway.state("a"), NodeState::Up);
        let own = format!("Host: {here}\r\nOrigin: http://{here}\r\nSec-Fetch-Site: same-origin\r\n");
        assert_eq!(ask(&gateway, "POST /api/nodes/p/a/drain", &own).await.0.status, 200);
        assert_eq!(gateway.state("a"), NodeState::Draining);
    });
}

#[test]
fn orders_that_make_no_sense_are_refused_in_json() {
    run(async {
        let nodes = nodes(1);
        let address = nodes[0].addr();
        let pools = format!("  p: {{ nodes: [\"{address}\"] }}\n");
        let gateway = Gateway::with(ADMIN, &pools).await;
        let coded = address.to_string().replace(':', "%3A");
        for (request, status, allow) in [
            (format!("POST /api/nodes/p/{coded}/drain"), 200, None),
            (format!("POST /api/nodes/p/{address}/undrain"), 200, None),
            (format!("GET /api/nodes/p/{address}"), 200, None),
            (format!("GET /api/nodes/p/{address}/drain"), 405, Some("POST")),
            (format!("PUT /api/nodes/p/{address}/drain"), 405, Some("POST")),
            (format!("POST /api/nodes/p/{address}"), 405, Some("GET, HEAD")),
            (format!("POST /api/nodes/q/{address}/drain"), 404, None),
            ("POST /api/nodes/p/a/drain".to_owned(), 404, None),
            ("GET /api/nodes/p/a".to_owned(), 404, None),
            (format!("POST /api/nodes/p/{address}/stop"), 404, None),
            ("POST /api/nodes/".to_owned(), 404, None),
            (format!("POST /api/nodes/p/{address}/eject?for=soon"), 400, None),
            (format!("POST /api/nodes/p/{address}/eject?for=400d"), 400, None),
            (format!("POST /api/nodes/p/{address}/drain?for=1m"), 400, None),
        ] {
            let (head, body) = ask(&gateway, &request, "Host: 127.0.0.1\r\n").await;
            assert_eq!((head.status, head.field("allow")), (status, allow), "{request}: {body}");
            assert_eq!(body["error"].is_string(), status != 200, "{request}: {body}");
        }
        assert_eq!(gateway.status().pools[0].nodes[0].state, NodeState::Up);
    });
}
