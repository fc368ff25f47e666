//! Tests of pools that are chosen by something else than the model: a path, a field, room, a share.

use evenkeel::sim::{Node, Options, body_hash};
use http::{Request, Version};

use crate::harness::{
    Client, Gateway, LIMIT, Outgoing, Raw, ask, eventually, fault, free_port, get, node, pool, pool_of, post,
    run, steps,
};

fn named(names: &[&str]) -> Vec<Node> {
    names.iter().map(|name| node(Options { name: (*name).into(), ..Options::default() })).collect()
}

const CHAT: &str = r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":2,"model":"m"}"#;

#[test]
fn a_prefix_of_the_path_chooses_and_is_stripped() {
    run(async {
        let nodes = named(&["a", "b"]);
        let pools = [pool("any", &nodes[..1], ""), pool("team", &nodes[1..], "path_prefix: /team-a")];
        let gateway = Gateway::with("", &pools.concat()).await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut client = Client::over(&gateway, version).await;
            for (path, want, at_node) in [
                ("/team-a/v1/chat/completions", "b", "/v1/chat/completions"),
                ("/team-a/v1/chat/completions?x=1", "b", "/v1/chat/completions?x=1"),
                ("/v1/chat/completions", "a", "/v1/chat/completions"),
            ] {
                let answer = client.ask(post(&gateway, path, CHAT)).await;
                assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some(want)), "{path}");
                let got = nodes[usize::from(want == "b")].requests().pop().unwrap();
                assert_eq!(got.path, at_node, "{version:?}");
                assert_eq!(got.body_hash, body_hash(CHAT.as_bytes()));
            }
            let answer = client.ask(post(&gateway, "/team-ab/v1/chat/completions", CHAT)).await;
            assert_eq!(answer.field("x-evenkeel-node"), Some("a"), "another word");
        }
        let switch =
            "GET /team-a/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let head = Raw::send(&gateway, switch).await.head().await;
        assert_eq!((head.status, head.field("x-evenkeel-node")), (101, Some("b")));
        eventually(LIMIT, "both are listed", || {
            gateway.live.fleet().pools.iter().all(|member| !member.pool.lists().is_empty())
        })
        .await;
        let answer = ask(&gateway, get(&gateway, "/team-a/v1/models")).await;
        assert_eq!((answer.status, answer.json()["data"].as_array().map(Vec::len)), (200, Some(1)));
    });
}

/// `/files` and `/responses` mean much in a path, but nothing as a prefix.
#[test]
fn a_prefix_changes_nothing_of_what_a_path_means() {
    run(async {
        for prefix in ["/files", "/mcp", "/responses"] {
            let nodes = named(&["a", "b"]);
            let gateway = Gateway::with("", &pool("p", &nodes, &format!("path_prefix: {prefix}"))).await;
            nodes[0].set_fault(fault("status:500"));
            for _ in 0..4 {
                let path = format!("{prefix}/v1/chat/completions");
                let answer = ask(&gateway, post(&gateway, &path, CHAT)).await;
                assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")), "{prefix}");
            }
            assert!(nodes[0].stats().struck > 0, "{prefix}: some were repeated");
        }
    });
}

#[test]
fn a_large_body_goes_where_its_path_says() {
    run(async {
        let nodes = named(&["a", "b"]);
        let limit = "retry: { body_limit: 100B }";
        let pools = [
            pool("any", &nodes[..1], &format!("models: [m], {limit}")),
            pool("team", &nodes[1..], &format!("path_prefix: /team-a, {limit}")),
        ];
        let gateway = Gateway::with("", &pools.concat()).await;
        let body = bytes::Bytes::from("x".repeat(300_000));
        let request = Request::post(gateway.url("/team-a/echo")).body(Outgoing::sized(body.clone())).unwrap();
        let answer = ask(&gateway, request).await;
        assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
        assert_eq!(answer.body, body);
    });
}

#[test]
fn a_field_of_the_header_chooses_whatever_the_model() {
    run(async {
        let nodes = named(&["a", "b"]);
        let pools = [
            pool("named", &nodes[..1], "models: [m]"),
            pool("field", &nodes[1..], "header: { name: X-Pool, value: b }"),
        ];
        let gateway = Gateway::with("", &pools.concat()).await;
        for (value, status, want) in [("b", 200, Some("b")), ("a", 200, Some("a")), ("", 200, Some("a"))] {
            let mut request = post(&gateway, "/v1/chat/completions", CHAT);
            request.headers_mut().insert("x-pool", value.parse().unwrap());
            let answer = ask(&gateway, request).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (status, want), "{value}");
        }
    });
}

#[test]
fn a_request_chosen_by_its_path_is_so_after_a_reload() {
    run(async {
        let nodes = named(&["b"]);
        let dead = format!("\"127.0.0.1:{}\"", free_port());
        for (key, status) in [("path_prefix: /team-a", 200), ("path_prefix: /other", 404)] {
            let gateway = Gateway::with("", &pool_of("old", &dead, "path_prefix: /team-a")).await;
            let mut client = Client::h1(&gateway).await;
            let request = post(&gateway, "/team-a/v1/chat/completions", CHAT);
            let asked = tokio::spawn(async move { client.ask(request).await });
            let refused = || gateway.status().pools[0].nodes[0].attempts.iter().sum::<u64>() > 0;
            eventually(LIMIT, "it waits", refused).await;
            gateway.reload(&pool("new", &nodes, key));
            assert_eq!(asked.await.unwrap().status, status, "{key}");
        }
    });
}

/// Each pool has its own name for the model, and the client reads one.
#[test]
fn what_would_wait_goes_to_the_other_pool() {
    run(async {
        let slow = Options { step: steps(3_600_000), record: true, ..Options::default() };
        let nodes = [
            node(Options { name: "a".into(), ..slow }),
            node(Options { name: "b".into(), ..Options::default() }),
        ];
        let capped = format!("{{ name: a, address: \"{}\", max_in_flight: 1 }}", nodes[0].addr());
        let pools = [
            pool_of("own", &capped, "spill: other, aliases: { gpt: small }"),
            pool("other", &nodes[1..], "models: off, aliases: { gpt: 'large-model' }"),
        ];
        let log = "access_log: { path: access, format: json }";
        let gateway = Gateway::with(log, &pools.concat()).await;
        let body = CHAT.replace("\"m\"", "\"gpt\"");
        let mut client = Client::h1(&gateway).await;
        let request = post(&gateway, "/v1/chat/completions", body.clone());
        let held = tokio::spawn(async move {
            let _ = client.begin_patiently(request).await;
        });
        eventually(LIMIT, "it is under way", || gateway.in_flight() == [1, 0]).await;
        let answer = ask(&gateway, post(&gateway, "/v1/chat/completions", body)).await;
        assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
        assert_eq!(answer.field("x-evenkeel-by"), Some("spill"));
        assert_eq!(answer.json()["model"], "gpt");
        let there = CHAT.replace("\"m\"", "\"large-model\"");
        assert_eq!(nodes[1].requests().pop().unwrap().body_hash, body_hash(there.as_bytes()));
        assert!(gateway.metrics().contains("evenkeel_spills_total{pool=\"own\"} 1"));
        held.abort();
        gateway.at_rest().await;
        let lines = gateway.log_lines("access");
        let spilled = lines
            .iter()
            .filter(|line| line.contains(r#""pool":"other""#) && line.contains(r#""by":"spill""#))
            .count();
        assert_eq!((spilled, lines.len()), (1, 2), "{lines:?}");
    });
}

#[test]
fn a_pool_that_is_gone_spills_over_at_once() {
    run(async {
        let nodes = named(&["b"]);
        let dead = format!("\"127.0.0.1:{}\"", free_port());
        let pools = [pool_of("own", &dead, "spill: other"), pool("other", &nodes, "models: off")];
        let gateway = Gateway::with("", &pools.concat()).await;
        for _ in 0..3 {
            let answer = ask(&gateway, post(&gateway, "/v1/chat/completions", CHAT)).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
        }
        // Pingora's own path does the same
        let switch = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let head = Raw::send(&gateway, switch).await.head().await;
        assert_eq!((head.status, head.field("x-evenkeel-node")), (101, Some("b")));
    });
}

#[test]
fn sessions_of_a_split_model_stay_on_their_side() {
    run(async {
        let nodes = named(&["a", "b"]);
        let pools = [pool("a", &nodes[..1], ""), pool("b", &nodes[1..], "models: off")];
        let splits = "splits: { m: { a: 50, b: 50 } }\n";
        let gateway = Gateway::with("", &(pools.concat() + splits)).await;
        let mut sides = std::collections::BTreeMap::new();
        for turn in 0..80 {
            let session = turn % 40;
            let mut request = post(&gateway, "/v1/chat/completions", CHAT);
            request.headers_mut().insert("x-session-id", session.to_string().parse().unwrap());
            let answer = ask(&gateway, request).await;
            assert_eq!(answer.status, 200);
            let side = answer.field("x-evenkeel-node").unwrap().to_owned();
            assert_eq!(*sides.entry(session).or_insert_with(|| side.clone()), side, "session {session}");
        }
        let on_a = sides.values().filter(|side| *side == "a").count();
        assert!((8..33).contains(&on_a), "{on_a} of 40");
        let other = CHAT.replace("\"m\"", "\"n\"");
        let answer = ask(&gateway, post(&gateway, "/v1/chat/completions", other)).await;
        assert_eq!(answer.field("x-evenkeel-node"), Some("a"), "other models are not split");
        let gone = pool_of("a", &format!("\"127.0.0.1:{}\"", free_port()), "");
        let again = Gateway::with("", &(gone + &pools[1] + splits)).await;
        for session in 0..10 {
            let mut request = post(&again, "/v1/chat/completions", CHAT);
            request.headers_mut().insert("x-session-id", session.to_string().parse().unwrap());
            assert_eq!(
                ask(&again, request).await.field("x-evenkeel-node"),
                Some("b"),
                "nobody knew: {session}"
            );
        }
        let dead = pool_of("a", &format!("{{ address: \"127.0.0.1:{}\", drain: true }}", free_port()), "");
        gateway.reload(&(dead + &pools[1] + splits));
        for session in 0..10 {
            let mut request = post(&gateway, "/v1/chat/completions", CHAT);
            request.headers_mut().insert("x-session-id", session.to_string().parse().unwrap());
            assert_eq!(ask(&gateway, request).await.field("x-evenkeel-node"), Some("b"), "{session}");
        }
    });
}
