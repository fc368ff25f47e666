//! Tests of the commands `drain`, `undrain`, `eject` and `restore` against a running gateway.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::client::{Client, chat};
use crate::support::gateway::{Conf, Gateway};
use crate::support::load::{Connection, Load, Plan};
use crate::support::nodes::node;
use crate::support::process::Process;
use crate::support::until;

/// Tokens of a stream that lasts until its client leaves.
const ENDLESS: u32 = 1_000_000;

/// The command, about a node of the pool, with this gateway's config.
fn command(gateway: &Gateway, verb: &str, node: SocketAddr, more: &[&str]) -> Process {
    let (node, file) = (node.to_string(), gateway.file("gateway.yaml"));
    let args = [verb, "sim", &node, "-c", file.to_str().expect("a path")];
    Process::start(&[&args, more].concat())
}

fn code(process: &mut Process) -> Option<i32> {
    process.wait().code()
}

/// A stream that has begun on this node, by its client; other streams are left on the way.
async fn stream_on(gateway: &Gateway, node: SocketAddr) -> Client {
    let name = node.to_string();
    let mut others = Vec::new();
    loop {
        let mut client = Client::new(gateway.address());
        let head = client.begin(&chat(ENDLESS, true)).await.expect("a stream");
        if head.field("x-evenkeel-node") == Some(name.as_str()) {
            return client;
        }
        others.push(client);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_until_the_last_stream_has_ended() {
    let nodes = ["a", "b"].map(|name| node(name, Duration::from_millis(20)));
    let [a, b] = nodes.each_ref().map(|node| node.addr());
    let gateway = Gateway::start(Conf::new(&[a, b])).await;
    let (mut first, mut second) = (stream_on(&gateway, b).await, stream_on(&gateway, b).await);
    let both = |status: &serde_json::Value| status["pools"][0]["nodes"][1]["in_flight"] == 2;
    gateway.until_status("only the two streams are there", both).await;
    let mut drain = command(&gateway, "drain", b, &["--wait"]);
    until("it shows progress", || drain.stdout().contains(": 2 requests in flight, 0 s\n")).await;
    gateway.reload(&gateway.conf).await;
    first.leave();
    let one = |status: &serde_json::Value| status["pools"][0]["nodes"][1]["in_flight"] == 1;
    let status = gateway.until_status("one has left", one).await;
    assert_eq!(status["pools"][0]["nodes"][1]["state"], "draining", "a reload does not end it");
    assert!(drain.ended().is_none(), "{}", drain.stdout());
    second.leave();
    assert_eq!(code(&mut drain), Some(0), "{}{}", drain.stdout(), drain.stderr());
    assert!(drain.stdout().contains(&format!("{b} is empty")), "{}", drain.stdout());
    for _ in 0..4 {
        let answer = Client::new(gateway.address()).ask(&chat(1, false)).await.expect("an answer");
        assert_eq!(answer.head.field("x-evenkeel-node"), Some(a.to_string().as_str()));
    }
    let mut undrain = command(&gateway, "undrain", b, &[]);
    assert_eq!(code(&mut undrain), Some(0), "{}", undrain.stderr());
    assert!(undrain.stdout().contains(": up, 0 in flight"), "{}", undrain.stdout());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_drained_one_after_the_other_and_no_stream_is_cut() {
    let nodes = ["a", "b"].map(|name| node(name, Duration::from_millis(20)));
    let addresses = nodes.each_ref().map(|node| node.addr());
    let gateway = Gateway::start(Conf::new(&addresses)).await;
    let plan =
        Plan { clients: 20, tokens: 20, pause: Duration::ZERO, stream: None, connection: Connection::Kept };
    let load = Load::start(gateway.address(), plan);
    gateway.until_status("all in flight", |status| status["requests"] == 20).await;
    for address in addresses {
        let mut drain = command(&gateway, "drain", address, &["--wait"]);
        assert_eq!(code(&mut drain), Some(0), "{}", drain.stderr());
        assert_eq!(code(&mut command(&gateway, "undrain", address, &[])), Some(0));
    }
    let (done, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} of {done}: {failures:?}", failures.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_takes_too_long_ends_with_1_and_the_node_stays_drained() {
    let a = node("a", Duration::from_millis(20));
    let gateway = Gateway::start(Conf::new(&[a.addr()])).await;
    let _held = stream_on(&gateway, a.addr()).await;
    let mut drain = command(&gateway, "drain", a.addr(), &["--wait", "--timeout", "1ms"]);
    assert_eq!(code(&mut drain), Some(1));
    let stderr = drain.stderr();
    assert!(stderr.contains("still has 1 in flight after 1ms; it stays drained"), "{stderr}");
    assert!(stderr.contains("warning: pool sim has no node that is up any more"), "{stderr}");
    let drained = |status: &serde_json::Value| status["pools"][0]["nodes"][0]["state"] == "draining";
    gateway.until_status("it stays drained", drained).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_ejected_and_restored() {
    let nodes = ["a", "b"].map(|name| node(name, Duration::ZERO));
    let gateway = Gateway::start(Conf::new(&nodes.each_ref().map(|node| node.addr()))).await;
    let (a, admin) = (nodes[0].addr(), format!("http://{}", gateway.conf.admin));
    let mut eject = command(&gateway, "eject", a, &["--for", "1h", "--admin", &admin]);
    assert_eq!(code(&mut eject), Some(0), "{}", eject.stderr());
    assert!(eject.stdout().contains(": ejected for 3"), "{}", eject.stdout());
    gateway.until_logged("ejected for 3600s: ordered by an operator").await;
    let mut restore = command(&gateway, "restore", a, &[]);
    assert_eq!(code(&mut restore), Some(0), "{}", restore.stderr());
    assert!(restore.stdout().contains(": up, 0 in flight"), "{}", restore.stdout());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undrain_that_the_config_overrules_ends_with_1() {
    let nodes = ["a", "b"].map(|name| node(name, Duration::ZERO));
    let mut conf = Conf::new(&nodes.each_ref().map(|node| node.addr()));
    conf.nodes[0] = conf.nodes[0].replace(" }", ", drain: true }");
    let gateway = Gateway::start(conf).await;
    let mut undrain = command(&gateway, "undrain", nodes[0].addr(), &[]);
    assert_eq!(code(&mut undrain), Some(1));
    assert!(undrain.stderr().contains("is still drained by: config"), "{}", undrain.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_said() {
    let a = node("a", Duration::ZERO);
    let gateway = Gateway::start(Conf::new(&[a.addr()])).await;
    let file = gateway.file("gateway.yaml").display().to_string();
    let off = gateway.file("off.yaml").display().to_string();
    let text = gateway.conf.text().replace(&format!("admin: {}", gateway.conf.admin), "admin: off");
    std::fs::write(&off, text).expect("a file");
    // nobody listens at the port of a listener that is closed again
    let nobody = format!("http://{}", crate::support::ports::free());
    for (args, want, why) in [
        (vec!["drain", "sim", "x", "-c", &file], 1, "there is no node \"x\" in a pool \"sim\""),
        (vec!["restore", "sim", "x", "--admin", &nobody], 1, "cannot ask the gateway at"),
        (vec!["drain", "sim", "x", "-c", &off], 64, "`admin` is off"),
        (vec!["drain", "sim", "x", "-c", "/nowhere/evenkeel.yaml"], 64, "cannot be read"),
        (vec!["drain", "sim", "x", "--admin", "ftp://127.0.0.1:9990"], 64, "a host and a port"),
        (vec!["drain", "sim"], 2, "<NODE>"),
        (vec!["drain", "sim", "x", "--timeout", "1m"], 2, "--wait"),
        (vec!["eject", "sim", "x", "--for", "soon"], 2, "not a duration"),
    ] {
        let (code, _, stderr) = Process::output(&args);
        assert_eq!(code, want, "{args:?}: {stderr}");
        assert!(stderr.contains(why), "{args:?}: {stderr}");
    }
}
