//! Tests of the probe, the one request that tries an ejected node, and of the signs that readmit the node.

use evenkeel::fleet::{NodeState, Reason};
use evenkeel::sim::{Node, Options};
use http_body_util::BodyExt;

use crate::harness::{Client, Gateway, LIMIT, chat, eventually, fault, nodes_like, run, steps, within};

/// Two nodes; `a` was ejected and may now be tried by one request.
async fn probing(more: &str) -> (Vec<Node>, Gateway) {
    let nodes = nodes_like(2, &Options { step: steps(1), ..Options::default() });
    nodes[0].set_fault(fault("reset"));
    let health = format!("health: {{ max_fails: 1, fail_timeout: 200ms, {more} }}");
    let gateway = Gateway::start(&nodes, &format!("{health}, timeouts: {{ first_event: 50ms }}")).await;
    let mut client = Client::h1(&gateway).await;
    while gateway.state("a") == NodeState::Up {
        assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200);
    }
    nodes[0].clear_faults();
    eventually(LIMIT, "it may be tried", || gateway.state("a") == NodeState::Probing).await;
    (nodes, gateway)
}

#[test]
fn during_a_probe_all_other_requests_go_elsewhere() {
    run(async {
        let (nodes, gateway) = probing("probe_pass: 30s").await;
        nodes[0].set_fault(fault("hang"));
        let before = nodes[0].stats().received;
        let mut first = Client::h1(&gateway).await;
        let probe = tokio::spawn({
            let request = chat(&gateway, 1, false);
            async move { first.begin_patiently(request).await.map(drop) }
        });
        eventually(LIMIT, "the probe is there", || nodes[0].stats().received > before).await;
        let mut client = Client::h1(&gateway).await;
        for _ in 0..20 {
            let answer = client.ask(chat(&gateway, 1, false)).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
        }
        assert_eq!((nodes[0].stats().received, gateway.state("a")), (before + 1, NodeState::Probing));
        // the client leaves, which proves nothing about the node, so the next request is the probe
        nodes[0].clear_faults();
        probe.abort();
        eventually(LIMIT, "its slot is back", || gateway.in_flight()[0] == 0).await;
        assert_eq!(gateway.state("a"), NodeState::Probing);
        let answer = client.ask(chat(&gateway, 1, false)).await;
        assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("a")));
        assert_eq!(gateway.state("a"), NodeState::Up);
    });
}

#[test]
fn a_node_is_readmitted_at_the_first_event_and_not_at_the_end() {
    run(async {
        let (nodes, gateway) = probing("probe_pass: 30s").await;
        // one event, then silence
        nodes[0].set_fault(fault("stall:1"));
        let mut client = Client::h1(&gateway).await;
        let response = client.begin(chat(&gateway, 5, true)).await.unwrap();
        assert_eq!(response.headers()["x-evenkeel-node"], "a");
        assert_eq!((gateway.state("a"), gateway.in_flight()), (NodeState::Up, vec![1, 0]));
    });
}

#[test]
fn the_head_of_a_stream_alone_does_not_readmit() {
    run(async {
        let (nodes, gateway) = probing("probe_pass: 1s").await;
        nodes[0].set_fault(fault("stall:0"));
        let mut client = Client::h1(&gateway).await;
        let response = client.begin(chat(&gateway, 5, true)).await.unwrap();
        assert_eq!(response.headers()["x-evenkeel-node"], "a");
        assert_eq!(gateway.state("a"), NodeState::Probing, "the server answers, the engine may hang");
        eventually(LIMIT, "it has been at work", || gateway.state("a") == NodeState::Up).await;
        let back = gateway.status().pools[0].events.last().unwrap().change.clone();
        assert_eq!(back, evenkeel::fleet::Change::Back { reason: Reason::AtWork });
    });
}

#[test]
fn the_first_event_after_the_head_readmits() {
    run(async {
        let (nodes, gateway) = probing("probe_pass: 30s").await;
        // 3 s per token: well after the head, which is held for 50 ms
        nodes[0].set_speed(0.0003);
        let mut client = Client::h1(&gateway).await;
        let mut response = client.begin(chat(&gateway, 2, true)).await.unwrap();
        assert_eq!(response.headers()["x-evenkeel-node"], "a");
        assert_eq!(gateway.state("a"), NodeState::Probing);
        within(LIMIT, "an event", response.frame()).await.unwrap().unwrap();
        assert_eq!(gateway.state("a"), NodeState::Up);
    });
}
