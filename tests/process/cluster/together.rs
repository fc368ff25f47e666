//! Gateways that work as one: the caps hold, the load is even, members come and go.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Fleet, SPREAD, conf, done, finish, is_settled};
use crate::support::client::{Client, chat, get};
use crate::support::gateway::Gateway;
use crate::support::load::one;
use crate::support::nodes::node;
use crate::support::redis::is_there;
use crate::support::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_keep_the_caps_and_share_the_nodes_evenly() {
    if !is_there() {
        return;
    }
    let fleet = Fleet::start(3, 4, 16).await;
    let loads = fleet.load(SPREAD);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let counts = finish(loads).await;
    fleet.check_caps();
    let served = fleet.served();
    println!("by gateway {counts:?}, by node {served:?}");
    let mean = served.iter().sum::<u64>() as f64 / 4.0;
    for one in &served {
        assert!((*one as f64 / mean - 1.0).abs() < 0.05, "{served:?}");
    }
}

/// The second gateway joins under load, and the first ends: nobody but its own clients sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_come_and_go_under_load() {
    if !is_there() {
        return;
    }
    let mut fleet = Fleet::start(1, 2, 8).await;
    let first = fleet.load([40, 0, 0]);
    let before = done(&first);
    until("it serves", || done(&first) > before + 100).await;
    fleet.join().await;
    fleet.until_settled().await;
    let second = crate::support::load::Load::start(
        fleet.gateways[1].address(),
        crate::support::load::Plan { clients: 40, ..super::PLAN },
    );
    until("the second serves", || second.done() > 100).await;
    finish(first).await;
    let (code, _) = fleet.gateways[0].stop(Signal::TERM);
    assert_eq!(code, Some(0));
    // it has taken its leave: nobody has to find out
    fleet.gateways[1].until_status("the first has left", |status| is_settled(status, 1)).await;
    assert!(!fleet.gateways[1].process.stderr().contains("is dead"));
    let running = || fleet.nodes.iter().map(|node| node.stats().running).sum::<u64>();
    until("the second has all", || running() >= 15).await;
    finish(vec![second]).await;
    fleet.check_caps();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_in_a_cluster_fails_nothing() {
    if !is_there() {
        return;
    }
    let mut fleet = Fleet::start(2, 2, 8).await;
    let loads = fleet.load([40, 10, 0]);
    let before = done(&loads);
    until("all serve", || done(&loads) > before + 100).await;
    let gateway = &fleet.gateways[0];
    let new = gateway.successor();
    until("the new process waits for the sockets", || gateway.file("upgrade.sock").exists()).await;
    gateway.process.signal(Signal::QUIT);
    let pid = new.pid();
    gateway.until_status("the new process answers", |status| status["pid"] == pid).await;
    assert_eq!(fleet.gateways[0].process.wait().code(), Some(0));
    fleet.until_settled().await;
    let before = done(&loads);
    until("they go on", || done(&loads) > before + 200).await;
    finish(loads).await;
    fleet.check_caps();
}

/// Nobody else is there who could say that the first is dead. The second finds that it is of the same host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_gateway_that_was_killed_is_followed_by_another() {
    if !is_there() {
        return;
    }
    let fleet = Fleet::apart(1, 2).await;
    let conf = conf(&fleet.nodes, 2, &fleet.redis.url());
    let mut first = Gateway::start(conf.clone()).await;
    let mut client = Client::new(first.address());
    assert_eq!(one(&mut client, 1, true).await, Ok(()));
    let address = first.address();
    let long = tokio::spawn(async move { one(&mut Client::new(address), 1000, true).await });
    until("a request is under way", || fleet.nodes[0].stats().running == 1).await;
    first.process.kill();
    let killed = Instant::now();
    assert!(long.await.expect("a task").is_err());
    let second = Gateway::start(conf).await;
    let all = [0; 2].map(|_| {
        let address = second.address();
        tokio::spawn(async move { one(&mut Client::new(address), 20, true).await })
    });
    for one in all {
        assert_eq!(one.await.expect("a task"), Ok(()));
    }
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    assert_eq!(fleet.nodes[0].stats().most, 2);
}

/// Until it has reached Redis, a gateway has no credits: nodes with a cap are not for it yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_away_at_the_start() {
    if !is_there() {
        return;
    }
    let mut fleet = Fleet::apart(1, 8).await;
    fleet.redis.stop();
    let gateway = Gateway::start(conf(&fleet.nodes, 8, &fleet.redis.url())).await;
    gateway.until_status("it says so", |status| status["cluster"]["state"] == "never_reached").await;
    let ready = gateway.admin_client().ask(&get("/readyz")).await.expect("an answer");
    assert_eq!(ready.head.status, 503, "{}", ready.body);
    assert!(ready.body.contains("Redis"), "{}", ready.body);
    let address = gateway.address();
    let waiting = tokio::spawn(async move { one(&mut Client::new(address), 1, true).await });
    gateway.until_status("it waits", |status| status["requests"] == 1).await;
    assert_eq!(fleet.nodes[0].stats().received, 0);
    fleet.redis.again().await;
    assert_eq!(waiting.await.expect("a task"), Ok(()));
    let ready = gateway.admin_client().ask(&get("/readyz")).await.expect("an answer");
    assert_eq!(ready.head.status, 200, "{}", ready.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_cap_needs_no_redis() {
    if !is_there() {
        return;
    }
    let mut fleet = Fleet::apart(1, 8).await;
    fleet.redis.stop();
    let free = node("free", Duration::ZERO);
    let mut conf = conf(&fleet.nodes, 8, &fleet.redis.url());
    conf.nodes.push(format!("{{ address: {} }}", free.addr()));
    let gateway = Gateway::start(conf).await;
    gateway.until_status("it says so", |status| status["cluster"]["state"] == "never_reached").await;
    let mut client = Client::new(gateway.address());
    for _ in 0..5 {
        let answer = client.ask(&chat(1, false)).await.expect("an answer");
        assert_eq!(answer.head.field("x-sim-node"), Some("free"));
    }
}
