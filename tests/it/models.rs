//! Tests of the gateway's own list of models.

use std::collections::BTreeSet;

use evenkeel::sim::{Node, Options};
use http::Version;

use crate::harness::{
    Answer, Client, Gateway, LIMIT, Raw, Script, ask, eventually, eventually_async, get, node, nodes, pool,
    pool_of, run,
};

fn serving(model: &str) -> Node {
    node(Options { name: model.replace('/', "-"), model: model.to_owned(), ..Options::default() })
}

fn ids(answer: &Answer) -> BTreeSet<String> {
    let list = answer.json();
    assert_eq!((answer.status, &list["object"]), (200, &"list".into()));
    list["data"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

/// Asks until the list is this.
async fn lists(gateway: &Gateway, want: &[&str]) -> Answer {
    let want: BTreeSet<_> = want.iter().map(|id| (*id).to_owned()).collect();
    eventually_async(LIMIT, "the list is this", async || {
        let answer = ask(gateway, get(gateway, "/v1/models")).await;
        if ids(&answer) == want { Ok(answer) } else { Err(answer.text()) }
    })
    .await
}

#[test]
fn the_list_is_what_all_nodes_serve() {
    run(async {
        let nodes = [serving("org/one"), serving("two"), serving("three")];
        let pools = [
            pool("a", &nodes[..2], "models: ['org/*', two, gone], aliases: { gpt: two }"),
            pool("b", &nodes[2..], ""),
        ];
        let gateway = Gateway::with("", &pools.concat()).await;
        let answer = lists(&gateway, &["org/one", "two", "gpt", "three"]).await;
        assert!(
            nodes.iter().all(|node| (node.stats().received, node.stats().lists) == (0, 1)),
            "in the background"
        );
        assert!(
            answer.text().contains(r#""owned_by":"evenkeel-sim""#),
            "as the node gave it: {}",
            answer.text()
        );
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut client = Client::over(&gateway, version).await;
            for (path, status) in [
                ("/v1/models", 200),
                ("/v1/models/org/one", 200),
                ("/v1/models/org%2Fone", 200),
                ("/v1/models/gpt", 200),
                ("/v1/models/gone", 404),
            ] {
                let answer = client.ask(get(&gateway, path)).await;
                assert_eq!(answer.status, status, "{version:?} {path}");
                assert!(answer.field("x-request-id").is_some() && answer.field("x-evenkeel-node").is_none());
                if status == 404 {
                    assert_eq!(answer.json()["error"]["code"], "model_not_found");
                    break;
                }
                let name = path.rsplit_once("/v1/models/").map(|(_, name)| name.replace("%2F", "/"));
                assert!(name.is_none_or(|name| answer.json()["id"] == name), "{path}: {}", answer.text());
            }
        }
        gateway.at_rest().await;
    });
}

#[test]
fn a_connection_goes_on_after_the_list() {
    run(async {
        let nodes = nodes(2);
        let pools = [pool("a", &nodes[..1], "models: [a]"), pool("b", &nodes[1..], "")];
        let gateway = Gateway::with("", &pools.concat()).await;
        lists(&gateway, &["sim"]).await;
        let head = "/v1/models HTTP/1.1\r\nHost: x\r\n";
        let all = format!("GET {head}\r\nHEAD {head}\r\nGET {head}Connection: close\r\n\r\n");
        let (text, _) = Raw::send(&gateway, &all).await.rest_as_text().await;
        assert_eq!(text.matches("HTTP/1.1 200").count(), 3, "{text}");
        assert_eq!(text.matches(r#"{"object":"list""#).count(), 2, "{text}");
        gateway.at_rest().await;
    });
}

#[test]
fn one_pool_without_aliases_answers_by_itself() {
    run(async {
        let nodes = [serving("one")];
        let gateway = Gateway::start(&nodes, "health: { check: { path: /health, interval: 10ms } }").await;
        let answer = ask(&gateway, get(&gateway, "/v1/models")).await;
        assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("one")));
        // it would have been asked for its list together with these
        eventually(LIMIT, "it is checked", || nodes[0].stats().health_checks > 2).await;
        assert_eq!((nodes[0].stats().received, nodes[0].stats().lists), (1, 0), "nobody else has asked");
    });
}

/// A node that answers in chunks, and another that wants a key: its models are missing.
#[test]
fn a_list_that_cannot_be_had_is_missing() {
    run(async {
        let (open, closed) = (Script::listen().await, Script::listen().await);
        let pools = [
            pool_of("a", &format!("\"{}\"", open.address), "models: ['*']"),
            pool_of("b", &format!("\"{}\"", closed.address), "models: [named]"),
        ];
        let gateway = Gateway::with("", &pools.concat()).await;
        let (mut node, asked) = closed.first().await;
        assert!(
            asked.starts_with("GET /v1/models HTTP/1.1\r\n")
                && !asked.to_lowercase().contains("authorization")
        );
        node.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}").await;
        let (mut node, _) = open.first().await;
        node.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"data\":\r\n").await;
        node.write("12\r\n[{\"id\":\"x\"}, \"no\"]\r\n1\r\n}\r\n0\r\n\r\n").await;
        lists(&gateway, &["x", "named"]).await;
    });
}
