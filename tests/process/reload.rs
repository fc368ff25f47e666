//! Tests of SIGHUP: reloads under load, removed nodes, invalid files, rotated access logs.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::client::{Client, chat};
use crate::support::gateway::{Conf, Gateway, in_flight};
use crate::support::load::{Connection, Load, Plan};
use crate::support::nodes::node;
use crate::support::until;

const CLIENTS: usize = 384;

/// The nth of a series of configs with varying weights, `max_fails` and nodes.
fn variant(conf: &Conf, n: usize) -> Conf {
    let mut next = conf.clone();
    next.nodes[0] = next.nodes[0].replace(" }", &format!(", weight: {} }}", 1 + n % 5));
    match n % 3 {
        0 => next.nodes.truncate(2),
        1 => next.nodes.truncate(3),
        _ => drop(next.nodes.remove(1)),
    }
    next.pool(&format!("health: {{ max_fails: {}, slow_start: off }}", n % 7))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_reloads_under_load_fail_nothing_and_counts_stay_true() {
    let nodes = ["a", "b", "c", "d"].map(|name| node(name, Duration::from_millis(200)));
    let conf = Conf::new(&nodes.each_ref().map(|node| node.addr()));
    let gateway = Gateway::start(conf.clone()).await;
    // long requests, so that the number in flight is known exactly
    let plan = Plan {
        clients: CLIENTS,
        tokens: 25,
        pause: Duration::ZERO,
        stream: None,
        connection: Connection::Kept,
    };
    let load = Load::once(gateway.address(), plan);
    gateway.until_status("all in flight", |status| in_flight(status) == CLIENTS as u64).await;
    let mut exact = 0;
    for n in 0..25 {
        let status = gateway.reload(&variant(&conf, n)).await;
        if load.done() == 0 {
            assert_eq!(in_flight(&status), CLIENTS as u64, "{status:#}");
            assert_eq!(status["requests"], CLIENTS as u64);
            exact += 1;
        }
    }
    assert!(exact >= 3, "only {exact} of 25 reloads came while all requests were in flight");
    let (_, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), &failures[..1]);
    // short requests, so that nodes come and go during selection
    let plan = Plan {
        clients: CLIENTS,
        tokens: 2,
        pause: Duration::from_millis(100),
        stream: None,
        connection: Connection::Kept,
    };
    let load = Load::start(gateway.address(), plan);
    for n in 25..50 {
        let before = load.done();
        gateway.reload(&variant(&conf, n)).await;
        until("some requests end", || load.done() > before + 40).await;
    }
    let (done, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} of {done} failed: {:?}", failures.len(), &failures[..1]);
    let rest = gateway.until_status("nothing in flight", |status| status["requests"] == 0).await;
    assert_eq!(in_flight(&rest), 0);
    assert_eq!(rest["config_generation"], 51);
    assert_eq!(rest["last_reload"]["failures"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_finishes_its_streams_and_then_disappears() {
    let nodes = ["a", "b"].map(|name| node(name, Duration::from_millis(50)));
    let conf = Conf::new(&nodes.each_ref().map(|node| node.addr()));
    let gateway = Gateway::start(conf.clone()).await;
    let plan = Plan {
        clients: 10,
        tokens: 60,
        pause: Duration::ZERO,
        stream: Some(true),
        connection: Connection::Kept,
    };
    let load = Load::once(gateway.address(), plan);
    gateway.until_status("all in flight", |status| in_flight(status) == 10).await;
    until("half of them at the first node", || nodes[0].stats().in_flight == 5).await;
    let mut without = conf.clone();
    without.nodes.remove(0);
    let status = gateway.reload(&without).await;
    assert_eq!(in_flight(&status), 10, "{status:#}");
    assert_eq!(status["pools"][0]["nodes"][0]["in_flight"], 5);
    for _ in 0..4 {
        let answer = Client::new(gateway.address()).ask(&chat(1, false)).await.expect("an answer");
        assert_eq!(answer.head.field("x-sim-node"), Some("b"));
    }
    let (_, failures) = load.finish().await;
    assert!(failures.is_empty(), "{failures:?}");
    let one_left =
        |status: &serde_json::Value| status["pools"][0]["nodes"].as_array().map(Vec::len) == Some(1);
    gateway.until_status("the node is gone", one_left).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_changes_nothing_and_a_good_one_recovers() {
    let a = node("a", Duration::ZERO);
    let gateway = Gateway::start(Conf::new(&[a.addr()])).await;
    let good = gateway.conf.text();
    let broken = good.replace("threads: 2", "threads: none") + "    balance: fairly\n";
    gateway.write(&broken);
    gateway.process.signal(Signal::HUP);
    let status = gateway.until_status("refused", |status| status["last_reload"]["ok"] == false).await;
    assert_eq!(status["config_generation"], 1);
    let error = status["last_reload"]["error"].as_str().expect("a reason").to_owned();
    let file = gateway.file("gateway.yaml");
    for (line, key) in [(4, "server.threads"), (9, "pools.sim.balance")] {
        let place = format!("{}:{line}: {key}: ", file.display());
        assert!(error.contains(&place), "{place} is not in\n{error}");
        gateway.until_logged(&place).await;
    }
    let metrics = gateway.admin("/metrics").await.expect("metrics");
    assert!(metrics.contains("\nevenkeel_config_reload_success 0\n"), "{metrics}");
    let answer = Client::new(gateway.address()).ask(&chat(1, false)).await.expect("an answer");
    assert_eq!(answer.head.status, 200);

    gateway.write(&good);
    gateway.process.signal(Signal::HUP);
    let status = gateway.until_status("recovered", |status| status["config_generation"] == 2).await;
    assert_eq!(status["last_reload"]["ok"], true, "{status:#}");
    assert_eq!(status["last_reload"]["error"], serde_json::Value::Null);
    let metrics = gateway.admin("/metrics").await.expect("metrics");
    assert!(metrics.contains("\nevenkeel_config_reload_success 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_access_log_is_reopened() {
    let a = node("a", Duration::ZERO);
    let directory = tempfile::tempdir().expect("a directory");
    let [log, old] = ["access.log", "access.log.1"].map(|name| directory.path().join(name));
    let conf = Conf::new(&[a.addr()]).server(&format!("access_log: {{ path: {} }}", log.display()));
    let gateway = Gateway::start(conf).await;
    let mut client = Client::new(gateway.address());
    let lines = |path| fs::read_to_string(path).unwrap_or_default().lines().count();
    client.ask(&chat(1, false)).await.expect("an answer");
    until("one line", || lines(&log) == 1).await;
    fs::rename(&log, &old).expect("the same directory");
    client.ask(&chat(1, false)).await.expect("an answer");
    until("two lines in the old file", || lines(&old) == 2).await;
    gateway.reload(&gateway.conf).await;
    until("a new file", || log.exists()).await;
    client.ask(&chat(1, false)).await.expect("an answer");
    until("one line in the new file", || lines(&log) == 1).await;
    assert_eq!(lines(&old), 2);
}
