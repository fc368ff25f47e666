//! Tests of active health checks, and of nodes addressed by name.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use evenkeel::fleet::{NodeState, Reason};
use evenkeel::outcome::Outcome;
use evenkeel::sim::{Health, Loading, Node, Options, State};
use http_body_util::BodyExt;

use crate::harness::{
    Client, Gateway, LIMIT, ask, chat, eventually, free_port, node, nodes, nodes_like, pool_of, run, steps,
};

fn check(rise: u32, fall: u32) -> String {
    format!(
        "health: {{ fail_timeout: 30s, check: {{ path: /health, interval: 100ms, timeout: 300ms, rise: {rise}, \
         fall: {fall} }} }}"
    )
}

#[test]
fn a_node_whose_check_fails_is_ejected_and_comes_back_when_it_passes() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, &check(2, 3)).await;
        eventually(LIMIT, "both are checked", || nodes.iter().all(|node| node.stats().health_checks > 2))
            .await;
        assert_eq!((gateway.state("a"), gateway.state("b")), (NodeState::Up, NodeState::Up));
        let before = nodes[0].stats().health_checks;
        nodes[0].set_health(Health::Status { code: 503 });
        eventually(LIMIT, "it is ejected", || gateway.state("a") == NodeState::Ejected).await;
        assert!(nodes[0].stats().health_checks >= before + 3, "after `fall` failures");
        assert_eq!(gateway.node("a").reason, Some(Reason::CheckFailed));
        let mut client = Client::h1(&gateway).await;
        for _ in 0..10 {
            let answer = client.ask(chat(&gateway, 1, false)).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
        }
        let before = nodes[0].stats().health_checks;
        nodes[0].set_health(Health::Ok);
        // long before `fail_timeout`
        eventually(Duration::from_secs(10), "it is back", || gateway.state("a") == NodeState::Up).await;
        assert!(nodes[0].stats().health_checks >= before + 2, "after `rise` good ones");
        assert_eq!(nodes[0].stats().received, 0, "checks are no requests");
    });
}

#[test]
fn fewer_failed_checks_in_a_row_than_fall_eject_nobody() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, &check(1, 1000)).await;
        nodes[0].set_health(Health::Status { code: 500 });
        eventually(LIMIT, "it is checked", || nodes[0].stats().health_checks > 10).await;
        assert_eq!(gateway.state("a"), NodeState::Up);
    });
}

#[test]
fn a_check_never_ejects_the_last_node() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, &check(1, 2)).await;
        nodes.iter().for_each(|node| node.set_health(Health::Status { code: 503 }));
        eventually(LIMIT, "one is ejected", || {
            gateway.state("a") == NodeState::Ejected || gateway.state("b") == NodeState::Ejected
        })
        .await;
        let counted = nodes.iter().map(|node| node.stats().health_checks).max().unwrap();
        let later = || nodes.iter().all(|node| node.stats().health_checks > counted + 5);
        eventually(LIMIT, "more checks have failed", later).await;
        let up = ["a", "b"].iter().filter(|name| gateway.state(name) == NodeState::Up).count();
        assert_eq!(up, 1);
        assert_eq!(ask(&gateway, chat(&gateway, 1, false)).await.status, 200);
    });
}

#[test]
fn a_node_that_hangs_delays_no_other() {
    run(async {
        let nodes = nodes(4);
        let more = "health: { check: { path: /health, interval: 100ms, timeout: 5s, fall: 1, rise: 1 } }";
        let gateway = Gateway::start(&nodes, more).await;
        nodes[1].set_health(Health::Hang);
        eventually(LIMIT, "it hangs", || nodes[1].stats().health_checks > 0).await;
        let others =
            || [0, 2, 3].map(|place: usize| nodes[place].stats().health_checks).into_iter().min().unwrap();
        let before = others();
        let began = Instant::now();
        eventually(LIMIT, "the others are checked", || others() >= before + 10).await;
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        assert!(nodes[1].stats().health_checks <= 2, "one check at a time");
        eventually(LIMIT, "it is ejected", || gateway.state("b") == NodeState::Ejected).await;
        assert_eq!(gateway.state("a"), NodeState::Up);
    });
}

#[test]
fn a_crashed_node_is_found_by_its_check_before_a_request_is() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, &check(1, 2)).await;
        nodes[0].crash().await;
        eventually(LIMIT, "it is ejected", || gateway.state("a") == NodeState::Ejected).await;
        assert_eq!(gateway.attempts("a", Outcome::Connect), 0);
        nodes[0].restart(Duration::ZERO);
        eventually(LIMIT, "it is back", || gateway.state("a") == NodeState::Up).await;
    });
}

/// A node that starts after the gateway is ejected at first; the first check that it passes readmits it.
async fn is_started_later(engine: &str, loading: Loading) {
    let options = Options { loading, ..Options::default() };
    let nodes = ["a", "b"].map(|name| node(Options { name: name.into(), ..options.clone() }));
    nodes[0].crash().await;
    let more =
        format!("engine: {engine}, health: {{ fail_timeout: 60s, check: {{ interval: 2s, fall: 1 }} }}");
    let gateway = Gateway::start(&nodes, &more).await;
    eventually(LIMIT, "it is found missing", || gateway.state("a") == NodeState::Ejected).await;
    if loading == Loading::Answer503 {
        nodes[0].restart(Duration::from_secs(3));
        let checked = |node: &Node| node.state() == State::Loading && node.stats().health_checks > 0;
        eventually(LIMIT, "it is checked while it loads", || checked(&nodes[0])).await;
        assert_eq!(gateway.state("a"), NodeState::Ejected, "{engine}");
        assert_eq!(ask(&gateway, chat(&gateway, 1, false)).await.field("x-evenkeel-node"), Some("b"));
    } else {
        nodes[0].restart(Duration::ZERO);
    }
    nodes[0].ready().await;
    let before = nodes[0].stats().health_checks;
    eventually(LIMIT, "it is in", || gateway.state("a") == NodeState::Up).await;
    let checks = nodes[0].stats().health_checks - before;
    assert!(checks <= 1, "{engine}: in after {checks} checks");
    assert_eq!(gateway.attempts("a", Outcome::Connect), 0, "{engine}: no request was sent there to find out");
}

#[test]
fn a_node_that_is_started_later_comes_in_within_an_interval() {
    run(async {
        tokio::join!(
            is_started_later("vllm", Loading::Refuse),
            is_started_later("sglang", Loading::Refuse),
            is_started_later("llamacpp", Loading::Answer503),
        );
    });
}

/// The node is too busy for its check (a long prefill, a full queue), but its streams go on.
async fn streams_all_the_while(engine: &str, health: Health) {
    let nodes = nodes_like(2, &Options { step: steps(20), ..Options::default() });
    let more = format!(
        "engine: {engine}, health: {{ fail_timeout: 60s, check: {{ interval: 100ms, timeout: 2s, fall: 1 }} }}"
    );
    let gateway = Gateway::start(&nodes, &more).await;
    let mut client = Client::h1(&gateway).await;
    let mut stream = client.begin(chat(&gateway, 1_000_000, true)).await.unwrap();
    assert_eq!(stream.headers()["x-evenkeel-node"], "a");
    let reading = tokio::spawn(async move {
        while let Some(Ok(_)) = stream.frame().await {}
        stream
    });
    nodes[0].set_health(health);
    let before = nodes[0].stats().health_checks;
    eventually(LIMIT, "it was checked again and again", || nodes[0].stats().health_checks > before + 3).await;
    assert_eq!((gateway.state("a"), gateway.node("a").ejections), (NodeState::Up, 0), "{engine} {health:?}");
    // without streams the check alone decides
    reading.abort();
    drop(client);
    eventually(LIMIT, "it is ejected", || gateway.state("a") == NodeState::Ejected).await;
    assert_eq!(gateway.node("a").reason, Some(Reason::CheckFailed), "{engine} {health:?}");
}

#[test]
fn a_node_that_streams_is_not_ejected_by_a_check_that_is_only_slow() {
    run(async {
        let busy = Health::Status { code: 503 };
        tokio::join!(
            streams_all_the_while("vllm", busy),
            streams_all_the_while("sglang", busy),
            streams_all_the_while("llamacpp", busy),
            streams_all_the_while("vllm", Health::Hang),
        );
    });
}

#[test]
fn a_node_whose_check_says_500_is_ejected_whatever_it_streams() {
    run(async {
        let nodes = nodes_like(2, &Options { step: steps(20), ..Options::default() });
        let gateway = Gateway::start(&nodes, &check(1, 2)).await;
        let mut client = Client::h1(&gateway).await;
        let stream = client.begin(chat(&gateway, 1_000_000, true)).await.unwrap();
        nodes[0].set_health(Health::Status { code: 500 });
        eventually(LIMIT, "it is ejected", || gateway.state("a") == NodeState::Ejected).await;
        drop(stream);
    });
}

/// No request ends and no node changes: only time passes.
#[test]
fn waiting_requests_get_the_growing_room_of_a_slow_start() {
    run(async {
        let nodes = nodes_like(1, &Options { step: steps(3_600_000), ..Options::default() });
        let list = format!("{{ name: a, address: \"{}\", max_in_flight: 8 }}", nodes[0].addr());
        let gateway = Gateway::with("", &pool_of("p", &list, "health: { slow_start: 3s }")).await;
        nodes[0].crash().await;
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (request, mut client) = (chat(&gateway, 1, false), Client::h1(&gateway).await);
            clients.spawn(async move { client.begin_patiently(request).await.map(drop) });
        }
        let refused = || gateway.status().requests == 8 && gateway.attempts("a", Outcome::Connect) >= 5;
        eventually(LIMIT, "they wait", refused).await;
        nodes[0].restart(Duration::ZERO);
        eventually(LIMIT, "all are there", || nodes[0].stats().received == 8).await;
        assert_eq!(gateway.in_flight(), [8]);
    });
}

#[test]
fn without_a_check_an_ejected_node_is_tested_by_a_bare_connection() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, "health: { max_fails: 1, fail_timeout: 300ms }").await;
        nodes[0].crash().await;
        let mut client = Client::h1(&gateway).await;
        while gateway.state("a") == NodeState::Up {
            assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200);
        }
        nodes[0].restart(Duration::ZERO);
        eventually(Duration::from_secs(15), "it may be tried", || gateway.state("a") == NodeState::Probing)
            .await;
        assert_eq!(nodes[0].stats().received, 0);
    });
}

#[test]
fn a_node_by_name_is_resolved_and_used() {
    run(async {
        let nodes = nodes(1);
        let list = format!("{{ name: n, address: \"localhost:{}\" }}", nodes[0].addr().port());
        let gateway = Gateway::with("", &pool_of("p", &list, "")).await;
        let answer = ask(&gateway, chat(&gateway, 1, false)).await;
        assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("n")));
    });
}

#[test]
fn a_node_whose_name_does_not_resolve_starts_ejected_and_costs_no_request() {
    run(async {
        let nodes = nodes(1);
        let list = format!(
            "{{ name: n, address: \"nowhere.invalid:80\" }}, {{ name: a, address: \"{}\" }}",
            nodes[0].addr()
        );
        let gateway = Gateway::with("", &pool_of("p", &list, "")).await;
        let mut client = Client::h1(&gateway).await;
        for _ in 0..10 {
            let answer = client.ask(chat(&gateway, 1, false)).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("a")));
            assert_eq!(answer.field("x-evenkeel-attempts"), Some("1"));
        }
        let node = gateway.node("n");
        assert_eq!(
            (node.state, node.reason, node.ejections),
            (NodeState::Ejected, Some(Reason::Unresolved), 0)
        );
    });
}

#[test]
fn another_address_of_a_name_is_tried_when_the_one_in_use_refuses() {
    run(async {
        for more in ["", "retry: { body_limit: 0 }"] {
            let nodes = nodes(1);
            let good = nodes[0].addr();
            let list = format!("{{ name: n, address: \"localhost:{}\" }}", good.port());
            let gateway = Gateway::with("", &pool_of("p", &list, more)).await;
            eventually(LIMIT, "the name is resolved", || gateway.state("n") == NodeState::Up).await;
            let pool = gateway.live.fleet().pools[0].pool.clone();
            let (key, id) = pool.names().remove(0);
            let refuses = |port| SocketAddr::from(([127, 0, 0, 9], port));
            id.addresses.set([refuses(free_port()), refuses(free_port()), good]);
            let first = id.addresses.after(good)[0];
            pool.resolved(key, Some(first), Instant::now());
            for _ in 0..2 {
                assert_eq!(ask(&gateway, chat(&gateway, 1, false)).await.status, 200, "{more}");
            }
            assert_eq!(gateway.attempts("n", Outcome::Connect), 0, "{more}: it is one attempt");
            assert_eq!(pool.address(key), Some(good), "{more}");
        }
    });
}
