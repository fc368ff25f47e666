//! Tests of `weight: auto` from end to end: weights follow the tokens of answers, streamed or not, and nothing else.

use std::time::Duration;

use evenkeel::fleet::WeightFrom;
use evenkeel::outcome::Outcome;
use evenkeel::sim::load::{Ask, Load, LoadHandle, Sizes, Target};
use evenkeel::sim::{Node, Options};

use crate::harness::{Client, Gateway, LIMIT, eventually, fault, get, node, run, steps};

/// `a` is four times as fast as `b`.
fn fast_and_slow() -> Vec<Node> {
    let named = |name: &str, ms| node(Options { name: name.into(), step: steps(ms), ..Options::default() });
    vec![named("a", 2), named("b", 8)]
}

fn load(gateway: &Gateway, stream: f64) -> LoadHandle {
    let ask = Ask::Chat { tokens: Sizes::Uniform { min: 5, max: 15 }, stream };
    let pause_after_failure = Duration::ZERO;
    Load { pause_after_failure, ..Load::new(vec![Target::chat(gateway.address)], 16, ask) }.start()
}

#[test]
fn the_faster_node_gets_more_whatever_the_kind_of_answer() {
    for stream in [1.0, 0.0] {
        run(async {
            let nodes = fast_and_slow();
            let gateway = Gateway::plain(&nodes, "weight: auto").await;
            assert_eq!((gateway.node("a").weight, gateway.node("b").weight), (1.0, 1.0));
            let load = load(&gateway, stream);
            let apart = || gateway.node("a").weight > 2.0 && gateway.node("b").weight < 0.5;
            eventually(LIMIT, "the weights say who is faster", apart).await;
            let is_seen = |name| matches!(gateway.node(name).weight_from, WeightFrom::Seen { .. });
            assert!(is_seen("a") && is_seen("b"));
            assert!(gateway.status().to_json().contains("\"weight_from\": \"learned from the last "));
            assert!(gateway.metrics().contains("evenkeel_node_weight{node=\"b\",pool=\"p\"} 0."));
            load.stop();
            load.finish().await;
        });
    }
}

#[test]
fn fast_errors_and_requests_without_tokens_earn_no_weight() {
    run(async {
        let nodes = fast_and_slow();
        nodes[0].set_fault(fault("status:400"));
        let gateway = Gateway::plain(&nodes, "weight: auto").await;
        let load = load(&gateway, 0.0);
        let known = || matches!(gateway.node("b").weight_from, WeightFrom::Seen { .. });
        eventually(LIMIT, "b is known", known).await;
        load.stop();
        load.finish().await;
        nodes[0].clear_faults();
        let mut client = Client::h1(&gateway).await;
        for _ in 0..200 {
            assert_eq!(client.ask(get(&gateway, "/v1/models")).await.status, 200);
        }
        eventually(LIMIT, "a was asked, too", || gateway.attempts("a", Outcome::Ok) >= 100).await;
        assert_eq!(gateway.node("a").weight_from, WeightFrom::TooLittle { seen: 0.0 });
        assert_eq!(gateway.node("a").weight, 1.0);
    });
}
