//! A gateway that is out of files.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::support::client::{Client, chat, get};
use crate::support::gateway::{Conf, Gateway};
use crate::support::nodes::node;
use crate::support::until;

/// More than the gateway opens for itself.
const FILES: usize = 100;
const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Sends this request on a connection that the gateway has accepted, when it can open no other to the node.
async fn nobody_is_charged(request: &str) {
    let a = node("a", Duration::ZERO);
    let conf = Conf::new(&[a.addr()]).pool("retry: { body_limit: 1B }").pool("health: { max_fails: 1 }");
    let gateway = Gateway::start_with_files(conf, FILES).await;
    let mut client = Client::new(gateway.address());
    client.connect().await.expect("a connection");
    gateway.until_status("it is accepted", |status| status["connections"] == 1).await;
    // what the gateway cannot accept waits in the system's queue
    let mut idle = Vec::new();
    for _ in 0..FILES {
        idle.push(TcpStream::connect(gateway.address()).await.expect("a connection"));
    }
    // twice, for a connection to the admin address may have ended after the first time
    let failures = || gateway.process.stderr().matches("os error 24").count();
    until("it is out of files", || failures() > 1).await;
    let answer = client.ask(request).await.expect("an answer");
    let retry_after = answer.head.field("retry-after");
    assert_eq!((answer.head.status, retry_after), (503, Some("1")), "{request}: {}", answer.body);
    drop(idle);
    let status = gateway.until_status("there are files again", |_| true).await;
    let node = &status["pools"][0]["nodes"][0];
    assert_eq!((&node["state"], &node["recent_failures"]), (&"up".into(), &0.into()), "{request}: {node:#}");
    let outcomes = &node["attempts"];
    assert_eq!((&outcomes["gateway"], &outcomes["client_gone"]), (&1.into(), &0.into()), "{request}");
    until("it is logged", || gateway.process.stdout().lines().count() > 0).await;
    let line = gateway.process.stdout();
    assert!(line.contains(" 503 ") && line.contains(r#" outcome="gateway" "#), "{line}");
}

/// A body that is not kept goes another way than a request that can be sent again, and so does an upgrade.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_node_is_charged_with_the_gateways_lack_of_files() {
    let (kept, large) = (get("/v1/models"), chat(1, false));
    tokio::join!(nobody_is_charged(&kept), nobody_is_charged(&large), nobody_is_charged(UPGRADE));
}
