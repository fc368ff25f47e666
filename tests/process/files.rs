//! A gateway that is out of files.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::net::TcpStream;

use crate::support::client::{Client, chat, get};
use crate::support::gateway::{Conf, Gateway};
use crate::support::nodes::node;
use crate::support::until;

/// Leaves room for 96 connections of clients.
const FILES: usize = 384;
const CONNECTIONS: u64 = 96;
const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Sets the limit of a gateway that runs; as high as can be where there is none.
fn limit_files(gateway: &Gateway, files: Option<u64>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let pid = i32::try_from(gateway.process.pid()).ok().and_then(Pid::from_raw);
    prlimit(pid, Resource::Nofile, Rlimit { current: files.or(maximum), maximum }).expect("a limit");
}

/// Sends this request on a connection that the gateway has accepted, when it can open no other to the node.
async fn nobody_is_charged(request: &str) {
    let a = node("a", Duration::ZERO);
    let conf = Conf::new(&[a.addr()]).pool("retry: { body_limit: 1B }").pool("health: { max_fails: 1 }");
    let gateway = Gateway::start(conf).await;
    let mut client = Client::new(gateway.address());
    client.connect().await.expect("a connection");
    gateway.until_status("it is accepted", |status| status["connections"] == 1).await;
    limit_files(&gateway, Some(1));
    let answer = client.ask(request).await.expect("an answer");
    let retry_after = answer.head.field("retry-after");
    assert_eq!((answer.head.status, retry_after), (503, Some("1")), "{request}: {}", answer.body);
    limit_files(&gateway, None);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_clients_shut_out_neither_the_admin_address_nor_the_nodes() {
    let a = node("a", Duration::ZERO);
    let gateway = Gateway::start_with_files(Conf::new(&[a.addr()]), FILES).await;
    let stderr = gateway.process.stderr();
    let note = "at most 96 connections of clients, as the limit of open files allows; for 16384, raise that to 32960";
    assert!(stderr.contains(note) && !stderr.contains("WARN"), "nobody asked for more: {stderr}");
    let asks = Conf::new(&[a.addr()]).server("client: { max_connections: 20000 }");
    let stderr = Gateway::start_with_files(asks, FILES).await.process.stderr();
    let warning = "client.max_connections is 20000, but the limit of open files allows 96";
    assert!(stderr.contains(warning) && stderr.contains("raise the limit to 40192"), "{stderr}");
    let mut client = Client::new(gateway.address());
    client.connect().await.expect("a connection");
    gateway.until_status("it is accepted", |status| status["connections"] == 1).await;
    let mut idle = Vec::new();
    for _ in 0..FILES {
        idle.push(TcpStream::connect(gateway.address()).await.expect("a connection"));
    }
    gateway.until_status("they fill it", |status| status["connections"] == CONNECTIONS).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        gateway.admin(path).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    assert_eq!(client.ask(&get("/v1/models")).await.expect("an answer").head.status, 200);
    assert!(!gateway.process.stderr().contains("os error 24"), "{}", gateway.process.stderr());
}
