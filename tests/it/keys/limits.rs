//! Limits of keys: exact, however many ask at once.

use std::sync::Arc;

use evenkeel::keys::REST;
use evenkeel::sim::{Node, Options};
use http::Version;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::{KeyFile, asking, of, shapes, start};
use crate::harness::{
    Answer, Client, Gateway, LIMIT, ask, chat, eventually, fault, nodes, nodes_like, run, steps,
};

const CLIENTS: usize = 64;

/// Each of so many clients asks so often, all at once; all answers.
async fn rush(gateway: &Arc<Gateway>, times: usize, version: Version, stream: bool) -> Vec<Answer> {
    let barrier = Arc::new(Barrier::new(CLIENTS));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (gateway, barrier) = (Arc::clone(gateway), Arc::clone(&barrier));
        clients.push(tokio::spawn(async move {
            let mut client = Client::over(&gateway, version).await;
            let mut answers = Vec::new();
            barrier.wait().await;
            for _ in 0..times {
                let request = of("alice", chat(&gateway, 3, stream));
                let answer = match client.try_ask(request).await {
                    Ok(answer) => answer,
                    // the gateway has closed the connection
                    Err(_) => {
                        client = Client::over(&gateway, version).await;
                        client.ask(of("alice", chat(&gateway, 3, stream))).await
                    }
                };
                answers.push(answer);
            }
            answers
        }));
    }
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.await.unwrap());
    }
    all
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[test]
fn exactly_as_many_requests_pass_as_the_limit_says() {
    run(async {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let nodes = nodes(1);
            // one more flows in within 30 s
            let file = KeyFile::of(&[("alice", "requests_per_minute: 2")]);
            let gateway = Arc::new(start(&file, &nodes, "").await);
            let answers = rush(&gateway, 1, version, false).await;
            assert_eq!((count(&answers, 200), count(&answers, 429)), (2, CLIENTS - 2));
            let mut left: Vec<_> =
                answers.iter().map(|a| a.field("x-ratelimit-remaining-requests").unwrap()).collect();
            left.sort_unstable();
            assert_eq!((left[0], left[CLIENTS - 2], left[CLIENTS - 1]), ("0", "0", "1"), "never below zero");
            for answer in &answers {
                assert_eq!(answer.field("x-ratelimit-limit-requests"), Some("2"));
                let retry_after = answer.field("retry-after").map(|seconds| seconds.parse::<u64>().unwrap());
                assert_eq!(retry_after.is_some(), answer.status == 429);
                assert!(retry_after.is_none_or(|seconds| (1..=30).contains(&seconds)), "{retry_after:?}");
            }
            assert_eq!(nodes[0].stats().received, 2);
            gateway.at_rest().await;
            let metrics = gateway.metrics();
            let limited =
                format!("evenkeel_key_limited_total{{key=\"alice\",limit=\"requests\"}} {}\n", CLIENTS - 2);
            assert!(metrics.contains(&limited), "{metrics}");
            assert!(
                metrics.contains("evenkeel_key_requests_total{code=\"2xx\",key=\"alice\"} 2\n"),
                "{metrics}"
            );
        }
    });
}

#[test]
fn no_more_are_in_flight_than_the_limit_says() {
    run(async {
        let nodes = nodes_like(1, &Options { step: steps(3), ..Options::default() });
        let file = KeyFile::of(&[("alice", "max_in_flight: 5")]);
        let gateway = Arc::new(start(&file, &nodes, "").await);
        let rush = tokio::spawn({
            let gateway = Arc::clone(&gateway);
            async move { rush(&gateway, 8, Version::HTTP_11, true).await }
        });
        let mut most = 0;
        while !rush.is_finished() {
            let seen = gateway.status().keys[0].in_flight.max(nodes[0].stats().in_flight);
            most = most.max(seen);
            tokio::task::yield_now().await;
        }
        let answers = rush.await.unwrap();
        let (good, refused) = (count(&answers, 200), count(&answers, 429));
        assert_eq!(good + refused, 8 * CLIENTS);
        assert!(good >= 5 && refused > 0 && (1..=5).contains(&most), "{good} {refused} {most}");
        gateway.at_rest().await;
        let key = gateway.status().keys[0].clone();
        assert_eq!(
            (key.in_flight, key.used.requests[1], key.used.limited[2]),
            (0, good as u64, refused as u64)
        );
        // three tokens each, as the nodes' events have them
        assert_eq!(key.used.tokens[1], 3 * good as u64);
    });
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    run(async {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let nodes = nodes(1);
            nodes[0].set_fault(fault("hang,times=1"));
            let gateway = start(&KeyFile::of(&[("alice", "max_in_flight: 1")]), &nodes, "").await;
            let (mut client, request) =
                (Client::over(&gateway, version).await, of("alice", chat(&gateway, 1, false)));
            let hangs = tokio::spawn(async move { client.begin_patiently(request).await.map(drop) });
            eventually(LIMIT, "it is at its node", || nodes[0].stats().in_flight == 1).await;
            let answer = ask(&gateway, of("alice", chat(&gateway, 1, false))).await;
            assert_eq!((answer.status, answer.field("retry-after")), (429, Some("1")));
            hangs.abort();
            eventually(LIMIT, "its place is free", || gateway.status().keys[0].in_flight == 0).await;
            assert_eq!(ask(&gateway, of("alice", chat(&gateway, 1, false))).await.status, 200);
        }
    });
}

fn tokens(nodes: &[Node]) -> u64 {
    nodes.iter().map(|node| node.stats().tokens + node.stats().prompt_tokens).sum()
}

#[test]
fn tokens_are_those_of_the_answers_and_make_a_debt() {
    run(async {
        let nodes = nodes(1);
        let gateway =
            start(&KeyFile::of(&[("alice", "tokens_per_minute: 60"), ("bob", "")]), &nodes, "").await;
        let answer = ask(&gateway, of("alice", chat(&gateway, 600, false))).await;
        assert_eq!(
            (answer.status, answer.field("x-ratelimit-remaining-tokens")),
            (200, Some("60")),
            "as it came"
        );
        let used = answer.json()["usage"]["total_tokens"].as_u64().unwrap();
        assert!(used > 600, "{used}");
        gateway.at_rest().await;
        let answer = ask(&gateway, of("alice", chat(&gateway, 1, false))).await;
        let retry_after: u64 = answer.field("retry-after").unwrap().parse().unwrap();
        assert_eq!(answer.status, 429);
        assert!((used - 60 - 9..=used - 60 + 1).contains(&retry_after), "{retry_after} s for {used} of 60");
        assert_eq!(answer.field("x-ratelimit-remaining-tokens"), Some("0"));
        assert!(answer.field("x-ratelimit-reset-tokens").unwrap().contains('m'));
        let stream = ask(&gateway, of("bob", chat(&gateway, 50, true))).await;
        assert_eq!((stream.status, stream.field("x-ratelimit-limit-tokens")), (200, None), "it has no limit");
        gateway.at_rest().await;
        let keys = gateway.status().keys;
        assert_eq!(keys[0].used.tokens.iter().sum::<u64>(), used);
        assert_eq!((keys[1].used.tokens[1], keys[0].used.limited), (50, [0, 1, 0]));
        assert!(tokens(&nodes) >= used + 50);
        let metrics = gateway.metrics();
        let counted = |kind: &str| {
            let line = format!("evenkeel_key_tokens_total{{key=\"alice\",kind=\"{kind}\"}} ");
            metrics.lines().find_map(|text| text.strip_prefix(&line)?.parse::<u64>().ok()).unwrap()
        };
        assert_eq!((counted("answer"), counted("prompt")), (600, used - 600));
        let all = keys.iter().map(|key| key.used.tokens[1]).sum::<u64>();
        let total = format!("evenkeel_tokens_total{{class=\"normal\",kind=\"answer\",pool=\"p\"}} {all}\n");
        assert!(metrics.contains(&total), "the same tokens as of the pool: {metrics}");
    });
}

#[test]
fn each_dialect_is_told_in_its_own_form() {
    run(async {
        let nodes = nodes(1);
        let file = KeyFile::of(&[("alice", "requests_per_minute: 1, tokens_per_minute: 1000000")]);
        let gateway = start(&file, &nodes, "").await;
        let first = ask(&gateway, of("alice", asking(&gateway, "/v1/messages", Some("m")))).await;
        assert_eq!(
            (first.status, first.field("x-ratelimit-limit-requests")),
            (200, None),
            "{}",
            first.text()
        );
        for (name, want) in [
            ("anthropic-ratelimit-requests-limit", "1"),
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-tokens-limit", "1000000"),
            ("anthropic-ratelimit-tokens-remaining", "1000000"),
        ] {
            assert_eq!(first.field(name), Some(want), "{name}");
        }
        let reset = first.field("anthropic-ratelimit-requests-reset").unwrap();
        assert!(reset.ends_with('Z') && reset.len() == "2027-01-01T00:00:00Z".len(), "{reset}");
        let openai = ["requests".into(), Value::Null, "rate_limit_exceeded".into()];
        for (path, mut want) in shapes("MESSAGE", openai, "rate_limit_error", "overloaded") {
            let answer = ask(&gateway, of("alice", asking(&gateway, path, Some("m")))).await;
            let seconds = answer.field("retry-after").unwrap();
            let message =
                format!("the limit of the API key is reached: 1 requests a minute; try again in {seconds} s");
            want = serde_json::from_str(&want.to_string().replace("MESSAGE", &message)).unwrap();
            assert_eq!((answer.status, answer.json()), (429, want), "{path}");
            let fields = ["anthropic-ratelimit-requests-remaining", "x-ratelimit-remaining-requests"];
            let told = fields.map(|name| answer.field(name));
            let want = if path == "/v1/messages" { [Some("0"), None] } else { [None, Some("0")] };
            assert_eq!(told, want, "{path}");
        }
    });
}

#[test]
fn a_nodes_own_limits_are_replaced() {
    run(async {
        let script = crate::harness::Script::listen().await;
        let file = KeyFile::of(&[("alice", "requests_per_minute: 9")]);
        for more in ["", "retry: { body_limit: 1B }"] {
            let gateway = Gateway::with(&file.server(), &script.pool(more)).await;
            let request = of("alice", crate::harness::post(&gateway, "/v1/completions", "{\"model\":\"m\"}"));
            let answer = tokio::spawn(async move { ask(&gateway, request).await });
            let (mut node, _) = script.request().await;
            let limits = "X-RateLimit-Limit-Requests: 1\r\nx-ratelimit-remaining-tokens: 7\r\n";
            node.write(format!("HTTP/1.1 200 OK\r\n{limits}Content-Length: 2\r\n\r\n{{}}")).await;
            let answer = answer.await.unwrap();
            let all: Vec<_> = answer.headers.get_all("x-ratelimit-limit-requests").iter().collect();
            assert_eq!(all, ["9"]);
            assert_eq!(answer.field("x-ratelimit-remaining-requests"), Some("8"));
            assert_eq!(answer.field("x-ratelimit-remaining-tokens"), Some("7"), "that is the node's alone");
        }
    });
}

#[test]
fn a_refused_request_counts_once_its_key_is_known() {
    run(async {
        let nodes = nodes(1);
        let file = KeyFile::of(&[("alice", "requests_per_minute: 3, models: [m]")]);
        let gateway = start(&file, &nodes, "models: [n]").await;
        for (model, status) in [("x", 403), ("m", 404), ("m", 404), ("m", 429), ("x", 429)] {
            let answer = ask(&gateway, of("alice", asking(&gateway, "/v1/completions", Some(model)))).await;
            assert_eq!(answer.status, status, "{model}");
        }
    });
}

#[test]
fn of_a_thousand_keys_each_is_shown_and_of_more_the_sum() {
    run(async {
        let names: Vec<_> = (0..1002).map(|number| format!("k{number}")).collect();
        let keys: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        let nodes = nodes(1);
        let gateway = start(&KeyFile::of(&keys), &nodes, "").await;
        for name in ["k0", "k1000", "k1001"] {
            assert_eq!(ask(&gateway, of(name, chat(&gateway, 1, false))).await.status, 200);
        }
        gateway.at_rest().await;
        let shown = gateway.status().keys;
        let rest = &shown[1000];
        assert_eq!((shown.len(), &*rest.name, rest.used.requests[1]), (1001, REST, 2));
        let json: Value = serde_json::from_str(&gateway.status().to_json()).unwrap();
        assert_eq!(json["keys"][0]["requests_by_code"], json!({ "2xx": 1 }));
        assert!(gateway.metrics().contains("evenkeel_key_requests_total{code=\"2xx\",key=\"(other)\"} 2\n"));
    });
}
