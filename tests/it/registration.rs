//! Nodes that register themselves: leases, the first check, the ends; and those who may not.

use std::time::Duration;

use evenkeel::fleet::NodeState;
use evenkeel::outcome::Outcome;
use evenkeel::sim::{Health, Node, Options};
use serde_json::{Value, json};

use crate::harness::{
    Client, Gateway, Head, LIMIT, Raw, chat, eventually, fault, free_port, logged, node, nodes, run,
};

const SERVER: &str = "admin: free, state: off";
const CHECK: &str = "health: { check: { path: /health, interval: 100ms } }";

/// A pool of registered nodes alone.
fn pool(name: &str, more: &str) -> String {
    format!("  {name}: {{ sources: [{{ registration: on }}], {more} }}\n")
}

/// A request to the admin address. `fields` are whole lines.
async fn send(gateway: &Gateway, request: &str, fields: &str, body: &str) -> (Head, Value) {
    let mut raw = Raw::to(gateway.admin()).await;
    let length = body.len();
    raw.write(format!("{request} HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n{body}")).await;
    let (head, body) = raw.response().await;
    (head, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

const HOST: &str = "Host: localhost\r\n";

async fn register(gateway: &Gateway, body: &str) -> (u16, Value) {
    // as curl's -d sends it
    let fields = format!("{HOST}Content-Type: application/x-www-form-urlencoded\r\n");
    let (head, body) = send(gateway, "POST /api/nodes", &fields, body).await;
    (head.status, body)
}

async fn leave(gateway: &Gateway, path: &str, body: &str) -> (u16, Value) {
    let (head, body) = send(gateway, &format!("DELETE /api/nodes{path}"), HOST, body).await;
    (head.status, body)
}

fn words(name: &str, node: &Node, ttl: &str) -> String {
    json!({ "name": name, "address": format!("http://{}", node.addr()), "ttl": ttl }).to_string()
}

fn is(gateway: &Gateway, name: &str, state: NodeState) -> bool {
    let pools = gateway.status().pools;
    pools.iter().flat_map(|pool| &pool.nodes).any(|node| *node.id.name == *name && node.state == state)
}

fn is_gone(gateway: &Gateway, name: &str) -> bool {
    !gateway.status().pools.iter().flat_map(|pool| &pool.nodes).any(|node| *node.id.name == *name)
}

async fn served_by(gateway: &Gateway) -> String {
    let answer = Client::h1(gateway).await.ask(chat(gateway, 1, false)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.field("x-evenkeel-node").unwrap().to_owned()
}

#[test]
fn a_node_that_registers_serves_once_it_has_passed_a_check() {
    run(async {
        let nodes = nodes(1);
        nodes[0].set_health(Health::Status { code: 503 });
        let gateway = Gateway::with(SERVER, &pool("first", CHECK)).await;
        let (status, body) = register(&gateway, &words("a", &nodes[0], "1h")).await;
        assert_eq!((status, &body["pool"], &body["node"]), (201, &json!("first"), &json!("a")), "{body:#}");
        assert_eq!((&body["registered"], &body["state"]), (&json!("new"), &json!("ejected")));
        assert_eq!(body["reason"], "has not passed its first check yet");
        assert!(body["next"].as_str().unwrap().contains("send the same every 20m"), "{body:#}");
        eventually(LIMIT, "it is asked", || nodes[0].stats().health_checks >= 3).await;
        assert!(is(&gateway, "a", NodeState::Ejected));
        let (mut client, request) = (Client::h1(&gateway).await, chat(&gateway, 1, false));
        let waiting = tokio::spawn(async move { client.ask(request).await });
        eventually(LIMIT, "a request waits", || gateway.status().pools[0].queue == 1).await;
        assert_eq!(nodes[0].stats().received, 0, "it gets nothing before");
        nodes[0].set_health(Health::Ok);
        assert_eq!(waiting.await.unwrap().status, 200);
        assert_eq!(gateway.state("a"), NodeState::Up);
        let (status, body) = register(&gateway, &words("a", &nodes[0], "1h")).await;
        assert_eq!((status, &body["registered"], &body["state"]), (200, &json!("renewed"), &json!("up")));
        assert_eq!(gateway.node("a").ejections, 0, "it was not out, it was not there yet");
        assert_eq!(
            logged("pool first, node a: registered: joins once it has passed its first check").len(),
            1
        );
        assert_eq!(logged("pool first, node a: joined").len(), 1);
    });
}

#[test]
fn without_a_check_a_connection_will_do() {
    run(async {
        let gateway = Gateway::with(SERVER, &pool("p", "")).await;
        let port = free_port();
        let body = json!({ "port": port, "weight": 2, "max_in_flight": 7 }).to_string();
        let (status, answer) = register(&gateway, &body).await;
        let name = format!("127.0.0.1:{port}");
        assert_eq!(
            (status, &answer["node"], &answer["address"]),
            (201, &json!(name), &json!(name)),
            "the sender's"
        );
        assert_eq!(answer["ends_in_seconds"], 30.0, "the default");
        let shown = gateway.node(&name);
        assert_eq!((shown.state, shown.weight, shown.max_in_flight), (NodeState::Ejected, 2.0, Some(7)));
        let late = Node::start(Options {
            listen: format!("127.0.0.1:{port}").parse().unwrap(),
            ..Options::default()
        });
        let late = late.unwrap();
        assert_eq!(served_by(&gateway).await, name);
        assert_eq!(late.stats().received, 1);
        let body = json!({ "port": port, "weight": 1, "max_in_flight": "off" }).to_string();
        assert_eq!(register(&gateway, &body).await.1["registered"], "changed");
        let shown = gateway.node(&name);
        assert_eq!(
            (shown.state, shown.weight, shown.max_in_flight),
            (NodeState::Up, 1.0, None),
            "it stays up"
        );
    });
}

#[test]
fn a_host_name_is_resolved_before_its_first_check() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::with(SERVER, &pool("p", CHECK)).await;
        let address = format!("localhost:{}", nodes[0].addr().port());
        let (status, body) = register(&gateway, &json!({ "address": address }).to_string()).await;
        assert_eq!((status, &body["state"]), (201, &json!("ejected")), "{body:#}");
        assert_eq!(served_by(&gateway).await, address);
        assert!(nodes[0].stats().health_checks > 0);
    });
}

#[test]
fn a_lease_that_is_not_renewed_ends_by_a_drain_and_a_renewal_undoes_it() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("hang,times=1"));
        let gateway = Gateway::with(SERVER, &pool("ends", "")).await;
        register(&gateway, &words("a", &nodes[0], "1s")).await;
        eventually(LIMIT, "a is up", || is(&gateway, "a", NodeState::Up)).await;
        let mut client = Client::h1(&gateway).await;
        let request = chat(&gateway, 1, false);
        let held = tokio::spawn(async move { drop(client.begin_patiently(request).await) });
        eventually(LIMIT, "it is in flight", || gateway.in_flight() == [1]).await;
        register(&gateway, &words("b", &nodes[1], "1h")).await;
        eventually(LIMIT, "b is up", || is(&gateway, "b", NodeState::Up)).await;
        let since = std::time::Instant::now();
        register(&gateway, &words("a", &nodes[0], "1s")).await;
        eventually(LIMIT, "its lease ends", || is(&gateway, "a", NodeState::Draining)).await;
        assert!(since.elapsed() >= Duration::from_secs(1), "{:?}", since.elapsed());
        for _ in 0..3 {
            assert_eq!(served_by(&gateway).await, "b", "it gets nothing new");
        }
        assert_eq!(gateway.node("a").in_flight, 1, "and finishes what it has");
        assert_eq!(logged("pool ends, node a: its lease has ended: it was not renewed within 1s").len(), 1);
        let (status, body) = register(&gateway, &words("a", &nodes[0], "1s")).await;
        assert_eq!((status, &body["state"]), (201, &json!("up")), "it never failed, so it is back at once");
        eventually(LIMIT, "it ends again", || is(&gateway, "a", NodeState::Draining)).await;
        held.abort();
        eventually(LIMIT, "it is gone once it is idle", || is_gone(&gateway, "a")).await;
        let metrics = gateway.metrics();
        for line in [
            "evenkeel_leases{pool=\"ends\"} 1",
            "evenkeel_lease_events_total{event=\"expired\",pool=\"ends\"} 2",
            "evenkeel_lease_events_total{event=\"registered\",pool=\"ends\"} 3",
        ] {
            assert!(metrics.contains(line), "{line}: {metrics}");
        }
    });
}

#[test]
fn a_node_that_leaves_is_drained_and_may_wait_until_it_is_idle() {
    run(async {
        let nodes = nodes(1);
        nodes[0].set_fault(fault("hang,times=1"));
        let gateway = Gateway::with(SERVER, &pool("leaves", "")).await;
        let words = words("a", &nodes[0], "1h");
        register(&gateway, &words).await;
        eventually(LIMIT, "a is up", || is(&gateway, "a", NodeState::Up)).await;
        let (mut client, request) = (Client::h1(&gateway).await, chat(&gateway, 1, false));
        let held = tokio::spawn(async move { drop(client.begin_patiently(request).await) });
        eventually(LIMIT, "it is in flight", || gateway.in_flight() == [1]).await;
        let waits = leave(&gateway, "?wait=1h", &words);
        let meanwhile = async {
            eventually(LIMIT, "it drains", || is(&gateway, "a", NodeState::Draining)).await;
            let (status, body) = leave(&gateway, "/leaves/a?wait=1ms", "").await;
            assert_eq!((status, &body["left"], &body["in_flight"]), (202, &json!(true), &json!(1)));
            held.abort();
        };
        let ((status, body), ()) = tokio::join!(waits, meanwhile);
        assert_eq!((status, &body["in_flight"]), (200, &json!(0)));
        assert!(is_gone(&gateway, "a"));
        assert_eq!(leave(&gateway, "", &words).await.0, 404);
        assert_eq!(logged("pool leaves, node a: leaves: it has ended its lease").len(), 1);
    });
}

#[test]
fn a_reload_keeps_leases_unless_the_pool_takes_none_any_more() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::with(SERVER, &pool("p", "")).await;
        register(&gateway, &words("a", &nodes[0], "1h")).await;
        assert_eq!(served_by(&gateway).await, "a");
        gateway.reload(&pool("p", "balance: random"));
        assert_eq!(gateway.state("a"), NodeState::Up);
        // the config has it now, under another name
        let fixed = format!("nodes: [{{ name: f, address: \"{}\" }}]", nodes[0].addr());
        gateway.reload(&pool("p", &fixed));
        eventually(LIMIT, "it is the config's", || is_gone(&gateway, "a")).await;
        assert_eq!(served_by(&gateway).await, "f");
        eventually(LIMIT, "its lease is over", || {
            logged("node a: its lease ends with the config").len() == 1
        })
        .await;
        let (status, body) = register(&gateway, &words("a", &nodes[0], "1h")).await;
        assert_eq!(status, 409, "{body:#}");
        assert!(body["error"].as_str().unwrap().contains("remove it from the pool's `nodes`"), "{body:#}");
        register(&gateway, &words("b", &nodes[1], "1h")).await;
        eventually(LIMIT, "b is up", || is(&gateway, "b", NodeState::Up)).await;
        gateway.reload(&format!("  p: {{ {fixed} }}\n"));
        eventually(LIMIT, "the pool takes none", || is_gone(&gateway, "b")).await;
        assert_eq!(register(&gateway, &words("b", &nodes[1], "1h")).await.0, 404);
    });
}

#[test]
fn what_cannot_be_registered_is_told_why() {
    run(async {
        let nodes = nodes(2);
        let pools = format!(
            "  p: {{ nodes: [{{ name: fixed, address: \"{}\" }}], models: [m], \
             sources: [{{ registration: {{ allow: [127.0.0.0/8], max: 1 }} }}] }}\n  \
             q: {{ nodes: [10.0.0.1:80], models: [n] }}\n",
            nodes[0].addr()
        );
        let gateway = Gateway::with(SERVER, &pools).await;
        let own = gateway.address.port();
        assert_eq!(
            register(&gateway, r#"{"address": "127.0.0.1:1", "name": "a", "ttl": "1h"}"#).await.0,
            201
        );
        for (body, want, why) in [
            ("", 400, "not JSON"),
            ("[]", 400, "not a JSON object"),
            ("{}", 400, "address: is missing; write host:port, or `port` alone"),
            (r#"{"address": "10.0.0.1"}"#, 400, "has no port"),
            (r#"{"address": "unix:/run/x"}"#, 400, "unix socket is for `nodes`"),
            (r#"{"address": "10.0.0.1:80", "port": 80}"#, 400, "leave one of them out"),
            (r#"{"port": 0}"#, 400, "port: 0 is not a whole number from 1 to 65535"),
            (r#"{"port": 80, "ttl": "25h"}"#, 400, "ttl: `25h` is out of range; use 1s to 1d"),
            (r#"{"port": 80, "ttl": "soon", "weigth": 2}"#, 400, "did you mean `weight`"),
            (r#"{"port": 80, "name": "a b"}"#, 400, "is not a name"),
            (r#"{"port": 80, "weight": 0}"#, 400, "0 is not a weight"),
            (r#"{"port": 80, "pool": "x"}"#, 404, "there is no pool \"x\"; those that take nodes: p"),
            (r#"{"port": 80, "pool": "q"}"#, 403, "pool q: the pool takes no nodes that register themselves"),
            (r#"{"address": "10.0.0.7:80"}"#, 403, "in none of the networks"),
            (r#"{"address": "some.host:80"}"#, 403, "in none of the networks"),
            (r#"{"port": 80}"#, 409, "1 nodes have leases, the most"),
            (
                r#"{"port": 80, "name": "a"}"#,
                409,
                "the name belongs to the node at 127.0.0.1:1 for another 1h",
            ),
            (r#"{"port": 80, "name": "fixed"}"#, 409, "the config has this node already"),
            (&format!(r#"{{"port": {own}}}"#), 400, "leads back to the gateway"),
        ] {
            let (status, answer) = register(&gateway, body).await;
            assert_eq!(status, want, "{body}: {answer:#}");
            assert!(answer["error"].as_str().unwrap().contains(why), "{body}: {answer:#}");
        }
        let long = format!("{{\"name\": \"{}\"}}", "a".repeat(16 << 10));
        assert_eq!(register(&gateway, &long).await.0, 413);
        for (path, body, want, why) in [
            ("", "{}", 400, "address"),
            ("/p/x", "", 404, "no node \"x\" has a lease"),
            ("/x/x", "", 404, "no node \"x\" has a lease"),
            ("/p/fixed", "", 409, "has no lease to end"),
            ("/p/a/b", "", 404, "send DELETE to"),
            ("/p/a?wait=2h", "", 400, "the longest"),
            ("/p/a?for=2h", "", 400, "send DELETE to"),
        ] {
            let (status, answer) = leave(&gateway, path, body).await;
            assert_eq!(status, want, "{path}: {answer:#}");
            assert!(answer["error"].as_str().unwrap().contains(why), "{path}: {answer:#}");
        }
        assert_eq!(gateway.attempts("fixed", Outcome::Ok), 0);
    });
}

/// A page that a browser shows can have it send a form to this address.
#[test]
fn a_page_of_another_site_registers_nothing() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::with(SERVER, &pool("p", "")).await;
        let body = words("a", &nodes[0], "1h");
        for fields in [
            "Host: localhost\r\nOrigin: https://evil.example\r\n",
            "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
            "Host: evil.example\r\n",
            "",
        ] {
            for request in ["POST /api/nodes", "DELETE /api/nodes"] {
                let (head, _) = send(&gateway, request, fields, &body).await;
                // one without a Host is no request of HTTP/1.1
                assert!(matches!(head.status, 400 | 403), "{request} {fields}: {}", head.status);
            }
        }
        assert!(is_gone(&gateway, "a"));
        assert_eq!(register(&gateway, &body).await.0, 201);
    });
}

#[test]
fn the_status_says_where_a_node_comes_from_and_when_its_lease_ends() {
    run(async {
        let registered = node(Options::default());
        let gateway = Gateway::with(SERVER, &pool("p", "")).await;
        register(&gateway, &words("a", &registered, "1h")).await;
        assert_eq!(served_by(&gateway).await, "a");
        let (_, status) = send(&gateway, "GET /api/status", HOST, "").await;
        let shown = &status["pools"][0]["nodes"][0];
        assert!(shown["lease_ends"].as_str().is_some_and(|end| end.ends_with('Z')), "{shown:#}");
    });
}
