//! Nodes that refuse what another serves: a model that is not loaded, a key that is not known.

use evenkeel::fleet::{Change, NodeState};
use evenkeel::outcome::Outcome;

use crate::harness::{Client, Gateway, Outgoing, ask, chat, fault, nodes, run};

/// With 401, 403 and 404 the same: the wrong node is asked once, and no client hears of it.
#[test]
fn a_node_that_refuses_what_another_serves_is_skipped() {
    run(async {
        for code in [401, 403, 404] {
            let nodes = nodes(2);
            let gateway = Gateway::start(&nodes, "").await;
            nodes[0].set_fault(fault(&format!("status:{code}")));
            for _ in 0..20 {
                let answer = ask(&gateway, chat(&gateway, 1, false)).await;
                assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")), "{code}");
            }
            gateway.at_rest().await;
            assert_eq!(nodes[0].stats().received, 1, "{code}");
            let node = gateway.node("a");
            assert_eq!((node.state, node.recent_failures), (NodeState::Up, 0));
            let skip = &node.skips[0];
            assert_eq!(
                (skip.status, skip.confirmed, skip.credentials),
                (code, true, (code != 404).then_some(1))
            );
            assert!(gateway.node("b").skips.is_empty());
            let status: serde_json::Value = serde_json::from_str(&gateway.status().to_json()).unwrap();
            let skip = &status["pools"][0]["nodes"][0]["skips"][0];
            assert_eq!((&skip["model"], &skip["status"]), (&"m".into(), &code.into()), "{skip}");
            let whose = if code == 404 { "every client" } else { "one client's credential" };
            assert_eq!(skip["applies_to"], whose);
            assert!(skip["seconds_left"].as_f64().is_some_and(|left| left > 0.0), "{skip}");
            assert_eq!(gateway.attempts("a", Outcome::Ok), 1, "it is not charged");
            let events = gateway.status().pools[0].events.clone();
            let is_skip = |change: &Change| matches!(change, Change::Skipped { .. });
            assert_eq!(events.iter().filter(|event| is_skip(&event.change)).count(), 1, "told once");
            let denied = r#"evenkeel_retries_total{pool="p",reason="denied"} 1"#;
            assert!(gateway.metrics().contains(denied), "{}", gateway.metrics());
        }
    });
}

#[test]
fn an_answer_that_all_nodes_give_comes_unchanged_and_skips_none() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, "").await;
        nodes.iter().for_each(|node| node.set_fault(fault("status:404")));
        let direct = {
            let body = r#"{"model":"x","messages":[]}"#;
            let mut client = Client::to(nodes[0].addr(), http::Version::HTTP_11).await;
            let uri = format!("http://{}/v1/chat/completions", nodes[0].addr());
            let request = http::Request::post(uri).body(Outgoing::sized(body.into())).unwrap();
            client.ask(request).await
        };
        for _ in 0..5 {
            let answer = ask(&gateway, chat(&gateway, 1, true)).await;
            assert_eq!((answer.status, answer.text()), (404, direct.text()));
        }
        gateway.at_rest().await;
        for name in ["a", "b"] {
            let node = gateway.node(name);
            assert!(node.skips.is_empty() && node.recent_failures == 0);
            assert!(gateway.attempts(name, Outcome::Ok) >= 1, "each was asked");
        }
    });
}

/// The node that has the model is away: the other's 404 is no answer, and the client is to come again.
#[test]
fn a_refusal_reaches_no_client_while_the_node_that_serves_the_model_is_away() {
    run(async {
        for code in [401, 404] {
            let nodes = nodes(2);
            let gateway = Gateway::start(&nodes, "retry: { wait: 500ms }").await;
            nodes[0].set_fault(fault(&format!("status:{code}")));
            assert_eq!(ask(&gateway, chat(&gateway, 1, false)).await.status, 200);
            nodes[1].crash().await;
            for asks in 0..3 {
                let answer = ask(&gateway, chat(&gateway, 1, false)).await;
                assert_eq!(answer.status, 503, "{code}, {asks}: {}", answer.text());
                assert!(answer.field("retry-after").is_some(), "{code}");
                assert!(answer.text().contains("save those that refuse the request"), "{}", answer.text());
            }
            gateway.at_rest().await;
            assert_eq!(gateway.node("a").recent_failures, 0);
        }
    });
}

/// One client's key is unknown to one node: that keeps no other client away from it, and the key is shown nowhere.
#[test]
fn a_refused_key_keeps_no_other_client_away() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, "").await;
        let with_key = |name: &str, key: &str| {
            let mut request = chat(&gateway, 1, false);
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, key.parse().unwrap());
            request
        };
        for (name, key) in
            [("authorization", "Bearer sk-mine"), ("x-api-key", "sk-mine"), ("api-key", "sk-mine")]
        {
            nodes[0].set_fault(fault("status:401,times=1"));
            for _ in 0..4 {
                let answer = ask(&gateway, with_key(name, key)).await;
                assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")), "{name}");
            }
            let mut served = Vec::new();
            for _ in 0..2 {
                let answer = ask(&gateway, with_key(name, "Bearer sk-yours")).await;
                assert_eq!(answer.status, 200);
                served.push(answer.field("x-evenkeel-node").unwrap().to_owned());
            }
            served.sort();
            assert_eq!(served, ["a", "b"], "{name}");
        }
        let shown = gateway.node("a").skips;
        assert_eq!(shown.iter().map(|skip| skip.credentials).collect::<Vec<_>>(), [Some(3)]);
        let texts = [gateway.status().to_json(), gateway.metrics(), format!("{:?}", gateway.status())];
        assert!(texts.iter().all(|text| !text.contains("sk-")));
    });
}
