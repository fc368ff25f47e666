//! Tests of selection: the choice of the node for the next request.

use evenkeel::sim::{Limits, Node, Options};
use http::Version;

use crate::harness::{Client, Gateway, LIMIT, chat, eventually, nodes_like, pool_of, run, steps};

/// Nodes that never finish an answer, so that every request stays in flight.
fn endless(count: usize) -> Vec<Node> {
    nodes_like(
        count,
        &Options {
            step: steps(3_600_000),
            limits: Limits { max_seqs: 10_000, ..Limits::default() },
            ..Options::default()
        },
    )
}

/// Sends this many requests, which stay open, each on a connection of its own.
fn hold(gateway: &Gateway, count: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let one = |_| {
        let request = chat(gateway, 9, false);
        let address = gateway.address;
        tokio::spawn(async move {
            let mut client = Client::to(address, Version::HTTP_11).await;
            let _ = client.begin_patiently(request).await;
        })
    };
    (0..count).map(one).collect()
}

#[test]
fn held_requests_are_spread_evenly_over_equal_nodes() {
    run(async {
        let nodes = endless(2);
        let gateway = Gateway::start(&nodes, "").await;
        let held = hold(&gateway, 384);
        let all = || nodes.iter().map(|node| node.stats().in_flight).sum::<u64>() == 384;
        eventually(LIMIT, "all requests are at a node", all).await;
        assert_eq!(gateway.in_flight(), [192, 192]);
        assert_eq!(nodes.iter().map(|node| node.stats().in_flight).collect::<Vec<_>>(), [192, 192]);
        held.iter().for_each(tokio::task::JoinHandle::abort);
        gateway.at_rest().await;
    });
}

#[test]
fn an_odd_request_makes_a_difference_of_one() {
    run(async {
        let nodes = endless(3);
        let gateway = Gateway::start(&nodes, "").await;
        let _held = hold(&gateway, 100);
        eventually(LIMIT, "100 in flight", || gateway.in_flight().iter().sum::<u32>() == 100).await;
        let counts = gateway.in_flight();
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    });
}

#[test]
fn weights_share_the_load_in_proportion() {
    run(async {
        let nodes = endless(2);
        let entry = |node: &Node, weight| {
            format!("{{ name: {}, address: \"{}\", weight: {weight} }}", node.name(), node.addr())
        };
        let list = format!("{}, {}", entry(&nodes[0], 1), entry(&nodes[1], 3));
        let gateway = Gateway::with("", &pool_of("p", &list, "")).await;
        let _held = hold(&gateway, 100);
        eventually(LIMIT, "100 in flight", || gateway.in_flight().iter().sum::<u32>() == 100).await;
        assert_eq!(gateway.in_flight(), [25, 75]);
    });
}

#[test]
fn a_full_node_gets_no_further_requests() {
    run(async {
        let nodes = endless(2);
        let list = format!(
            "{{ name: a, address: \"{}\", max_in_flight: 5 }}, \"{}\"",
            nodes[0].addr(),
            nodes[1].addr()
        );
        let gateway = Gateway::with("", &pool_of("p", &list, "")).await;
        let _held = hold(&gateway, 40);
        eventually(LIMIT, "40 in flight", || gateway.in_flight().iter().sum::<u32>() == 40).await;
        assert_eq!(gateway.in_flight(), [5, 35]);
    });
}
