//! Tests of kill -9: nodes are killed under load, and no request fails.

use std::time::{Duration, Instant};

use crate::support::gateway::{Conf, Gateway, in_flight};
use crate::support::load::{Connection, Load, Plan};
use crate::support::nodes::NodeProcess;
use crate::support::until;

const CLIENTS: usize = 384;
/// One request at a time and client, not streaming, of about two seconds.
const PLAN: Plan = Plan {
    clients: CLIENTS,
    tokens: 20,
    pause: Duration::ZERO,
    stream: Some(false),
    connection: Connection::Kept,
};

async fn gateway(nodes: &[NodeProcess]) -> Gateway {
    let addresses: Vec<_> = nodes.iter().map(|node| node.address).collect();
    let conf = Conf::new(&addresses)
        .pool("health: { max_fails: 5, fail_timeout: 2s, slow_start: 1s }")
        .pool("retry: { wait: 60s }");
    Gateway::start(conf).await
}

async fn all_at_work(gateway: &Gateway) {
    gateway.until_status("all in flight", |status| in_flight(status) == CLIENTS as u64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_nodes_is_killed_under_load_and_no_request_fails() {
    let mut nodes = [NodeProcess::start("100ms").await, NodeProcess::start("100ms").await];
    let gateway = gateway(&nodes).await;
    let load = Load::start(gateway.address(), PLAN);
    all_at_work(&gateway).await;
    nodes[0].process.kill();
    let killed = load.done();
    until("the other node does the work", || load.done() > killed + 2 * CLIENTS as u64).await;
    let status = gateway.status().await.expect("a status");
    assert_eq!(status["pools"][0]["nodes"][0]["state"], "ejected", "{status:#}");
    nodes[0].again().await;
    let back = Instant::now();
    gateway.until_status("it is back", |status| status["pools"][0]["nodes"][0]["state"] == "up").await;
    println!("back in use {:?} after it listened again", back.elapsed());
    let (done, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} of {done}: {:?}", failures.len(), &failures[..1]);
    let rest = gateway.until_status("nothing in flight", |status| status["requests"] == 0).await;
    assert_eq!(in_flight(&rest), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_nodes_are_killed_at_once_and_no_request_fails() {
    let mut nodes = [NodeProcess::start("100ms").await, NodeProcess::start("100ms").await];
    let gateway = gateway(&nodes).await;
    let load = Load::start(gateway.address(), PLAN);
    all_at_work(&gateway).await;
    for node in &mut nodes {
        node.process.kill();
    }
    let away =
        std::env::var("EVENKEEL_TEST_AWAY_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let until_back = Instant::now() + Duration::from_secs(away);
    gateway
        .until_status("all wait", |status| status["requests"] == CLIENTS as u64 && in_flight(status) == 0)
        .await;
    // answers that were in transit when the nodes died have arrived
    let killed = load.done();
    tokio::time::sleep_until(until_back.into()).await;
    assert_eq!(load.done(), killed, "nobody was answered meanwhile");
    for node in &mut nodes {
        node.again().await;
    }
    let back = Instant::now();
    until("all are served", || load.done() >= killed + CLIENTS as u64).await;
    println!("all {CLIENTS} served {:?} after the nodes were back", back.elapsed());
    let (done, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} of {done}: {:?}", failures.len(), &failures[..1]);
    let rest = gateway.until_status("nothing in flight", |status| status["requests"] == 0).await;
    assert_eq!(in_flight(&rest), 0);
}
