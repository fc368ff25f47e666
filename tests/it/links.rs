//! Tests of nodes that are reached by TLS or by a unix socket, and of nodes with keys of their own.

use evenkeel::outcome::Outcome;
use evenkeel::sim::{Node, Options};

use crate::harness::{
    Client, Front, Gateway, LIMIT, Outgoing, Pki, Raw, Script, ask, chat, eventually, eventually_async,
    fault, get, logged, node, pool_of, post, run,
};

/// Each thread of a gateway keeps its own connections.
const THREADS: usize = 2;

fn sim(name: &str) -> Node {
    node(Options { name: name.into(), ..Options::default() })
}

fn entry(name: &str, address: &str, more: &str) -> String {
    format!("{{ name: {name}, address: \"{address}\"{}{more} }}", if more.is_empty() { "" } else { ", " })
}

/// A chat, with the node that served it and how many attempts that took.
async fn served(gateway: &Gateway) -> (u16, String, String) {
    let answer = ask(gateway, chat(gateway, 3, false)).await;
    let field = |name| answer.field(name).unwrap_or_default().to_owned();
    (answer.status, field("x-evenkeel-node"), field("x-evenkeel-attempts"))
}

fn by(node: &str) -> (u16, String, String) {
    (200, node.to_owned(), "1".to_owned())
}

#[test]
fn one_handshake_serves_many_requests() {
    run(async {
        let (node, pki) = (sim("t"), Pki::new());
        let front = Front::tls(node.addr(), pki.pair(&["127.0.0.1"]).server()).await;
        let pools = pool_of("p", &entry("t", &front.address, &pki.trusted("")), "");
        let gateway = Gateway::with("", &pools).await;
        let mut client = Client::h1(&gateway).await;
        for _ in 0..20 {
            assert_eq!(client.ask(chat(&gateway, 3, true)).await.status, 200);
        }
        assert!(front.opened() <= THREADS, "{}", front.opened());
        assert_eq!(node.stats().completed, 20);
        let large = post(&gateway, "/echo", vec![b'x'; 3_000_000]);
        assert_eq!(client.ask(large).await.body.len(), 3_000_000);
        assert_eq!(gateway.status().pools[0].nodes[0].id.address.to_string(), front.address);
    });
}

/// Each is a failure to connect: the other node serves the request, and the log says in words what is wrong, once.
#[test]
fn a_certificate_that_is_not_right_is_no_connection() {
    run(async {
        let (pki, other) = (Pki::new(), Pki::new());
        let name = |pki: &Pki| pki.pair(&["localhost"]).server();
        let table = [
            ("wrong-ca", name(&other), "", "signed by no authority that is known here"),
            (
                "wrong-name",
                pki.pair(&["a.example", "b.example"]).server(),
                ", sni: c.example",
                "not for c.example, but for",
            ),
            ("no-address", name(&pki), "", "not for 127.0.0.1, but for"),
            (
                "expired",
                pki.pair_until(&["127.0.0.1"], 2024).server(),
                "",
                "expired on Mon, 01 Jan 2024 00:00:00 GMT",
            ),
            ("asks", pki.asking(&pki.pair(&["127.0.0.1"])), "", "demands a certificate of the gateway"),
        ];
        let well = sim("well");
        for (name, server, more, words) in table {
            let node = sim(name);
            let front = Front::tls(node.addr(), server).await;
            let nodes = [
                entry(name, &front.address, &pki.trusted(more)),
                entry("well", &well.addr().to_string(), "weight: 0.000001"),
            ];
            let gateway =
                Gateway::with("", &pool_of("p", &nodes.join(", "), "health: { max_fails: 0 }")).await;
            for _ in 0..4 {
                let (status, by, _) = served(&gateway).await;
                assert_eq!((status, &*by), (200, "well"), "{name}");
            }
            assert_eq!(node.stats().received, 0, "{name}");
            assert!(gateway.attempts(name, Outcome::Connect) >= 1, "{name}");
            // its check finds the same again and again
            gateway.reload(&pool_of(
                "p",
                &nodes.join(", "),
                "health: { check: { path: /health, interval: 20ms } }",
            ));
            let checked = || logged(&format!("node {name}: check failed")).len() > 3;
            eventually(LIMIT, "it is checked", checked).await;
            let lines = logged(&format!("node {name}: no TLS with it"));
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(lines[0].contains(words), "{lines:?}");
        }
    });
}

#[test]
fn what_a_node_asks_for_it_gets() {
    run(async {
        let pki = Pki::new();
        let by_name = sim("by-name");
        let named = Front::tls(by_name.addr(), pki.pair(&["vllm.internal"]).server()).await;
        let asking = sim("asking");
        let asks = Front::tls(asking.addr(), pki.asking(&pki.pair(&["127.0.0.1"]))).await;
        let nodes = [
            entry("named", &named.address, &pki.trusted(", sni: vllm.internal")),
            entry("asks", &asks.address, &pki.trusted(&pki.identity())),
            entry(
                "localhost",
                &named.address.replace("127.0.0.1", "localhost"),
                &pki.trusted(", sni: vllm.internal"),
            ),
        ];
        let gateway = Gateway::with("", &pool_of("p", &nodes.join(", "), "balance: round_robin")).await;
        eventually(LIMIT, "its name is resolved", || {
            gateway.in_flight().len() == 3 && gateway.state("localhost") == evenkeel::fleet::NodeState::Up
        })
        .await;
        for _ in 0..6 {
            let (status, _, attempts) = served(&gateway).await;
            assert_eq!((status, &*attempts), (200, "1"));
        }
        assert_eq!((by_name.stats().completed, asking.stats().completed), (4, 2));
    });
}

/// A connection of the settings before is not used by those that follow.
#[test]
fn a_reload_that_changes_tls_opens_a_connection() {
    run(async {
        let (node, pki, other) = (sim("r"), Pki::new(), Pki::new());
        let front = Front::tls(node.addr(), pki.pair(&["127.0.0.1"]).server()).await;
        let pools = |pki: &Pki, more: &str| {
            pool_of(
                "p",
                &entry("r", &front.address, &pki.trusted(more)),
                "timeouts: { idle: 60s }, retry: { wait: 0s }",
            )
        };
        let gateway = Gateway::with("", &pools(&pki, "")).await;
        for _ in 0..10 {
            assert_eq!(served(&gateway).await, by("r"));
            gateway.reload(&pools(&pki, ""));
        }
        assert!(front.opened() <= THREADS, "nothing has changed: {}", front.opened());
        gateway.reload(&pools(&other, ""));
        assert_eq!(served(&gateway).await.0, 503, "its certificate is signed by nobody that is trusted now");
        gateway.reload(&pools(&pki, &pki.identity()));
        let again = async || match served(&gateway).await {
            (200, ..) => Ok(()),
            other => Err(other),
        };
        eventually_async(LIMIT, "it is asked again", again).await;
        assert!(!logged("node r: TLS with it works again").is_empty());
    });
}

#[test]
fn a_unix_socket_and_one_that_is_gone() {
    run(async {
        let (node, pki) = (sim("u"), Pki::new());
        let front = Front::unix(node.addr(), &pki.path("u.sock")).await;
        let well = sim("well");
        let nodes = [entry("u", &front.address, ""), entry("well", &well.addr().to_string(), "backup: true")];
        let more = "health: { max_fails: 1, check: { path: /health, interval: 50ms } }";
        let gateway = Gateway::with("", &pool_of("p", &nodes.join(", "), more)).await;
        let mut client = Client::h1(&gateway).await;
        for _ in 0..5 {
            assert_eq!(client.ask(chat(&gateway, 3, true)).await.field("x-evenkeel-node"), Some("u"));
        }
        eventually(LIMIT, "it is checked by its socket", || node.stats().health_checks > 0).await;
        assert_eq!(gateway.node("u").id.address.to_string(), front.address);
        // a client of HTTP/1.0 that names no host
        let mut raw = Raw::send(&gateway, "GET /v1/models HTTP/1.0\r\n\r\n").await;
        assert_eq!(raw.head().await.status, 200);
        drop(front);
        std::fs::remove_file(pki.path("u.sock")).unwrap();
        node.crash().await;
        assert_eq!(served(&gateway).await.1, "well");
    });
}

#[test]
fn a_large_body_that_is_refused_early_gets_its_answer_over_tls() {
    run(async {
        let (script, pki) = (Script::listen().await, Pki::new());
        let front = Front::tls(script.address, pki.pair(&["127.0.0.1"]).server()).await;
        let gateway =
            Gateway::with("", &pool_of("p", &entry("e", &front.address, &pki.trusted("")), "")).await;
        let refusing = async {
            let (mut node, _) = script.request().await;
            node.write("HTTP/1.1 413 Too large\r\nContent-Length: 2\r\n\r\nno").await;
            node
        };
        let asking = ask(&gateway, post(&gateway, "/v1/files", vec![b'x'; 20_000_000]));
        let (answer, _node) = tokio::join!(asking, refusing);
        assert_eq!((answer.status, &*answer.body), (413, &b"no"[..]));
    });
}

/// Crashes and cuts reach a client no more than over plain connections.
#[test]
fn failures_over_tls_are_retried() {
    run(async {
        let pki = Pki::new();
        let (first, second) = (sim("first"), sim("second"));
        let mut fronts = Vec::new();
        for node in [&first, &second] {
            fronts.push(Front::tls(node.addr(), pki.pair(&["127.0.0.1"]).server()).await);
        }
        let nodes =
            [entry("first", &fronts[0].address, ""), entry("second", &fronts[1].address, "weight: 0.000001")];
        let more = format!("health: {{ max_fails: 0 }}, {}", pki.trusted(""));
        let gateway = Gateway::with("", &pool_of("p", &nodes.join(", "), &more)).await;
        for what in ["reset", "close", "status:500", "die:1"] {
            first.set_fault(fault(what));
            let (status, by, _) = served(&gateway).await;
            assert_eq!((status, &*by), (200, "second"), "{what}");
        }
    });
}

#[test]
fn a_switch_of_protocols_goes_through_tls() {
    run(async {
        let (script, pki) = (Script::listen().await, Pki::new());
        let front = Front::tls(script.address, pki.pair(&["127.0.0.1"]).server()).await;
        pki.write("node.key", "sk-planted-tunnel");
        let key = format!("authorization: {{ file: \"{}\" }}, ", pki.path("node.key").display());
        let node = entry("w", &front.address, &(key + &pki.trusted("")));
        let gateway = Gateway::with("", &pool_of("p", &node, "")).await;
        let mut client = Raw::send(
            &gateway,
            "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer mine\r\n\r\n",
        )
        .await;
        let (mut node, head) = script.request().await;
        assert!(head.contains("Bearer sk-planted-tunnel") && !head.contains("mine"), "{head}");
        node.write("HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
        assert_eq!(client.head().await.status, 101);
        client.write("ping").await;
        assert_eq!(node.read(4).await, b"ping");
        node.write("pong").await;
        assert_eq!(client.read(4).await, b"pong");
    });
}

/// The node's own key, and the client's for the others of its pool; and nobody who looks sees it.
#[test]
fn a_node_with_a_key_of_its_own() {
    run(async {
        let (own, plain, pki) = (sim("own"), sim("plain"), Pki::new());
        pki.write("node.key", "sk-planted-node\n");
        let key = format!("authorization: {{ file: \"{}\" }}", pki.path("node.key").display());
        let nodes =
            [entry("own", &own.addr().to_string(), &key), entry("plain", &plain.addr().to_string(), "")];
        let more = "balance: round_robin, health: { check: { path: /health, interval: 50ms } }";
        let pools = pool_of("p", &nodes.join(", "), more)
            + &pool_of("q", &entry("other", "127.0.0.1:1", ""), "models: [q]");
        let gateway = Gateway::with("admin: free, access_log: { path: access, format: json }", &pools).await;
        let mut client = Client::h1(&gateway).await;
        for _ in 0..4 {
            let mut request = chat(&gateway, 3, true);
            for name in ["authorization", "x-api-key", "api-key"] {
                request.headers_mut().insert(name, "Bearer mine".parse().unwrap());
            }
            assert_eq!(client.ask(request).await.status, 200);
        }
        let chats = |node: &Node| -> Vec<_> {
            node.requests().into_iter().filter(|one| one.path.contains("chat")).collect()
        };
        for one in chats(&own) {
            let seen = ["authorization", "x-api-key", "api-key"].map(|name| one.header(name));
            assert_eq!(seen, [Some("Bearer sk-planted-node"), None, None]);
        }
        for one in chats(&plain) {
            assert_eq!(one.header("authorization"), Some("Bearer mine"));
        }
        assert_eq!((chats(&own).len(), chats(&plain).len()), (2, 2));
        own.set_fault(fault("status:500"));
        let _ = ask(&gateway, chat(&gateway, 3, false)).await;
        let status = Client::to(gateway.admin(), http::Version::HTTP_11)
            .await
            .ask(admin(&gateway, "/api/status"))
            .await;
        let all = [
            status.text(),
            gateway.metrics(),
            gateway.log_lines("access").join("\n"),
            logged("").join("\n"),
            format!("{:?}", gateway.live.fleet()),
        ];
        for (place, text) in ["status", "metrics", "log", "own log", "debug"].iter().zip(all) {
            assert!(!text.is_empty() && !text.contains("planted-node"), "the key is in the {place}");
        }
    });
}

#[test]
fn the_gateways_own_questions_have_the_nodes_key() {
    run(async {
        let (script, pki) = (Script::listen().await, Pki::new());
        pki.write("node.key", "sk-planted-question");
        let key = format!("authorization: {{ file: \"{}\" }}", pki.path("node.key").display());
        let more = "health: { check: { path: /health, interval: 50ms } }";
        let pools = pool_of("p", &entry("s", &script.address.to_string(), &key), more)
            + &pool_of("q", &entry("other", "127.0.0.1:1", ""), "models: [q]");
        let _gateway = Gateway::with("", &pools).await;
        let mut paths = std::collections::BTreeSet::new();
        while paths.len() < 2 {
            let (mut node, head) = script.first().await;
            assert!(head.contains("\r\nauthorization: Bearer sk-planted-question\r\n"), "{head}");
            paths.extend(head.split(' ').nth(1).map(str::to_owned));
            node.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
        assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["/health", "/v1/models"]);
    });
}

fn admin(gateway: &Gateway, path: &str) -> http::Request<Outgoing> {
    let mut request = get(gateway, path);
    *request.uri_mut() = format!("http://{}{path}", gateway.admin()).parse().unwrap();
    request
}
