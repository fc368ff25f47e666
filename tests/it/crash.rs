//! Tests of nodes that fail repeatedly or crash with all their requests: no client sees it.

use std::time::{Duration, Instant};

use evenkeel::fleet::NodeState;
use evenkeel::outcome::Outcome;
use evenkeel::sim::{Limits, Node, Options};
use http::Version;
use tokio::task::JoinSet;

use crate::harness::{
    Client, Gateway, LIMIT, chat, eventually, fault, free_port, nodes, nodes_like, pool_of, run, steps,
    within,
};

/// Sends this many requests at once, each on a connection of its own, and returns their status codes.
fn send(gateway: &Gateway, count: usize, tokens: u32) -> JoinSet<u16> {
    let mut set = JoinSet::new();
    for _ in 0..count {
        let (request, address) = (chat(gateway, tokens, false), gateway.address);
        set.spawn(async move {
            let mut client = Client::to(address, Version::HTTP_11).await;
            client.begin_patiently(request).await.map_or(0, |response| response.status().as_u16())
        });
    }
    set
}

/// The status codes other than 200; 0 means no answer.
fn failed(codes: &[u16]) -> Vec<u16> {
    codes.iter().copied().filter(|code| *code != 200).collect()
}

#[test]
fn a_node_that_answers_only_500_costs_no_post_and_is_ejected() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("status:500"));
        let gateway = Gateway::start(&nodes, "").await;
        let mut clients = JoinSet::new();
        for _ in 0..10 {
            let mut client = Client::h1(&gateway).await;
            let requests: Vec<_> = (0..100).map(|_| chat(&gateway, 2, false)).collect();
            clients.spawn(async move {
                let mut failed = 0;
                for request in requests {
                    failed += usize::from(client.ask(request).await.status != 200);
                }
                failed
            });
        }
        assert_eq!(clients.join_all().await.iter().sum::<usize>(), 0, "of 1000");
        let node = gateway.node("a");
        assert_eq!((node.state, node.ejections), (NodeState::Ejected, 1));
        // up to ten requests could be in flight on it when the fifth failed
        assert!((5..=15).contains(&nodes[0].stats().received), "{}", nodes[0].stats().received);
        assert_eq!(gateway.state("b"), NodeState::Up);
    });
}

/// Two nodes with 192 requests each at 100 ms per token; on a busy machine it takes a while until all have arrived.
async fn with_384_in_flight(more: &str, tokens: u32) -> (Vec<Node>, Gateway, JoinSet<u16>) {
    let slow = Options {
        step: steps(100),
        speed: 0.1,
        limits: Limits { max_seqs: 1000, ..Limits::default() },
        ..Options::default()
    };
    let nodes = nodes_like(2, &slow);
    let gateway = Gateway::start(&nodes, more).await;
    let clients = send(&gateway, 384, tokens);
    let spread = || nodes.iter().all(|node| node.stats().running == 192);
    eventually(LIMIT, "192 run on each node", spread).await;
    nodes.iter().for_each(|node| node.set_speed(1.0));
    (nodes, gateway, clients)
}

#[test]
fn half_the_fleet_dies_with_384_in_flight_and_nobody_notices() {
    run(async {
        let (nodes, gateway, clients) = with_384_in_flight("", 30).await;
        nodes[0].crash().await;
        let codes = within(LIMIT, "all have an answer", clients.join_all()).await;
        assert_eq!(failed(&codes), [0; 0]);
        gateway.at_rest().await;
        assert_eq!(gateway.node("a").ejections, 1);
        assert_eq!(nodes[1].stats().succeeded, 384);
    });
}

#[test]
fn the_whole_fleet_dies_with_384_in_flight_and_nobody_notices() {
    run(async {
        let (nodes, gateway, clients) = with_384_in_flight("retry: { wait: 30s }", 20).await;
        nodes.iter().for_each(|node| node.restart(Duration::from_secs(3)));
        let codes = within(2 * LIMIT, "all have an answer", clients.join_all()).await;
        assert_eq!(failed(&codes), [0; 0]);
        gateway.at_rest().await;
        let shares = nodes.iter().map(|node| node.stats().succeeded).collect::<Vec<_>>();
        assert_eq!(shares.iter().sum::<u64>(), 384);
    });
}

#[test]
fn dead_nodes_use_up_no_attempts() {
    run(async {
        let nodes = nodes(5);
        let mut list: Vec<_> = (0..3).map(|_| format!("\"127.0.0.1:{}\"", free_port())).collect();
        list.extend(nodes.iter().map(|node| format!("\"{}\"", node.addr())));
        let gateway = Gateway::with("", &pool_of("p", &list.join(", "), "retry: { attempts: 2 }")).await;
        // a live node fails, which uses up one attempt of two
        nodes[0].set_fault(fault("status:500"));
        let mut client = Client::h1(&gateway).await;
        for number in 0..100 {
            assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200, "request {number}");
        }
    });
}

#[test]
fn a_stale_connection_costs_no_request_and_is_not_a_failure() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        let mut client = Client::h1(&gateway).await;
        assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200);
        nodes[0].set_fault(fault("stale,every=2"));
        for _ in 0..50 {
            assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200);
        }
        gateway.at_rest().await;
        // Pingora's pool sometimes loses a race with its own watcher, and the new connection cannot be stale
        let struck = nodes[0].stats().struck;
        assert!((20..=25).contains(&struck), "{struck}");
        let node = gateway.node("a");
        assert_eq!((node.attempts_with(Outcome::Stale), node.attempts_with(Outcome::Ok)), (struck, 51));
        assert_eq!((node.state, node.recent_failures), (NodeState::Up, 0));
    });
}

#[test]
fn a_stale_connection_does_not_cost_a_post_that_may_not_be_repeated() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        let mut client = Client::h1(&gateway).await;
        nodes[0].set_fault(fault("stale"));
        for _ in 0..20 {
            let echo = client.ask(crate::harness::post(&gateway, "/echo", "x")).await;
            assert_eq!((echo.status, &*echo.body), (200, &b"x"[..]));
        }
    });
}

#[test]
fn a_node_that_closes_idle_connections_sooner_than_expected_costs_no_request() {
    run(async {
        let keepalive = Some(Duration::from_millis(20));
        let nodes = nodes_like(1, &Options { keepalive, ..Options::default() });
        let gateway = Gateway::start(&nodes, "timeouts: { idle: 60s }").await;
        let mut client = Client::h1(&gateway).await;
        for number in 0..40 {
            assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200, "request {number}");
            // this pause is the subject of the test: it ends about when the node closes
            tokio::time::sleep(Duration::from_millis(15 + number % 10)).await;
        }
        assert_eq!(gateway.node("a").recent_failures, 0);
    });
}

#[test]
fn connections_to_a_node_are_used_again() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        let mut client = Client::h1(&gateway).await;
        for number in 0..40 {
            assert_eq!(client.ask(chat(&gateway, 4, number % 2 == 0)).await.status, 200);
        }
        // Pingora's pool sometimes loses a connection in a race with its own watcher
        assert!(nodes[0].stats().accepted <= 4, "{}", nodes[0].stats().accepted);
    });
}

#[test]
fn requests_wait_while_no_node_is_up_and_proceed_when_one_is_back() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "retry: { wait: 20s }").await;
        nodes[0].crash().await;
        let clients = send(&gateway, 20, 1);
        let waiting = || gateway.status().requests == 20 && gateway.attempts("a", Outcome::Connect) > 0;
        eventually(LIMIT, "they wait", waiting).await;
        let back = Instant::now();
        nodes[0].restart(Duration::ZERO);
        let codes = within(LIMIT, "all have an answer", clients.join_all()).await;
        assert_eq!(failed(&codes), [0; 0]);
        assert!(back.elapsed() < Duration::from_secs(4), "{:?}", back.elapsed());
    });
}

#[test]
fn an_ejected_node_comes_back_by_one_probe() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("status:500,times=5"));
        let health = "health: { fail_timeout: 500ms, slow_start: off }";
        let gateway = Gateway::start(&nodes, health).await;
        let mut client = Client::h1(&gateway).await;
        while gateway.state("a") != NodeState::Ejected {
            assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200);
        }
        eventually(LIMIT, "its time is over", || gateway.state("a") == NodeState::Probing).await;
        for _ in 0..10 {
            assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200);
        }
        assert_eq!(gateway.state("a"), NodeState::Up);
        assert!(nodes[0].stats().succeeded >= 4);
    });
}

#[test]
fn a_probe_that_fails_ejects_again_for_longer() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("reset"));
        let gateway = Gateway::start(&nodes, "health: { fail_timeout: 300ms }").await;
        let mut client = Client::h1(&gateway).await;
        let asks = |node: &Node| node.stats().received;
        eventually_asking(&mut client, &gateway, || gateway.state("a") == NodeState::Ejected).await;
        let before = asks(&nodes[0]);
        eventually(LIMIT, "it may be tried", || gateway.state("a") == NodeState::Probing).await;
        eventually_asking(&mut client, &gateway, || gateway.state("a") == NodeState::Ejected).await;
        assert_eq!(asks(&nodes[0]), before + 1, "one probe");
        let left = gateway.node("a").ejected_for.unwrap();
        assert!(left > Duration::from_millis(400) && left <= Duration::from_millis(600), "{left:?}");
    });
}

async fn eventually_asking(client: &mut Client, gateway: &Gateway, condition: impl Fn() -> bool) {
    within(LIMIT, "the condition", async {
        while !condition() {
            assert_eq!(client.ask(chat(gateway, 1, false)).await.status, 200);
        }
    })
    .await;
}
