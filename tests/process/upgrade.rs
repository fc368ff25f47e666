//! Tests of upgrades: a new process (`run --upgrade`) takes over from the running one, which gets SIGQUIT.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::client::{Client, chat};
use crate::support::gateway::{Conf, Gateway};
use crate::support::http2::Http2Load;
use crate::support::load::{Connection, Load, Plan};
use crate::support::nodes::node;
use crate::support::until;

/// Performs only the hand-over; the tests then examine the load.
async fn take_over(gateway: &Gateway) -> crate::support::process::Process {
    let new = gateway.successor();
    until("the new process waits for the sockets", || gateway.file("upgrade.sock").exists()).await;
    gateway.process.signal(Signal::QUIT);
    new
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_under_load_fails_nothing() {
    let nodes = ["a", "b"].map(|name| node(name, Duration::from_millis(100)));
    let mut gateway = Gateway::start(Conf::new(&nodes.each_ref().map(|node| node.addr()))).await;
    let long = Plan {
        clients: 10,
        tokens: 120,
        pause: Duration::ZERO,
        stream: Some(true),
        connection: Connection::Kept,
    };
    let long = Load::once(gateway.address(), long);
    let kept =
        Plan { clients: 64, tokens: 1, pause: Duration::ZERO, stream: None, connection: Connection::Kept };
    let fresh = Plan { clients: 16, connection: Connection::Fresh, ..kept };
    let early = Plan { clients: 32, connection: Connection::Early(Duration::from_millis(70)), ..kept };
    let resting = Plan { clients: 64, pause: Duration::from_secs(8), ..kept };
    let loads = [kept, fresh, early, resting].map(|plan| Load::start(gateway.address(), plan));
    until("all have begun", || loads.iter().all(|load| load.done() > 64)).await;

    let mut new = take_over(&gateway).await;
    let pid = new.pid();
    gateway.until_status("the new process answers", |status| status["pid"] == pid).await;
    let (_, failures) = long.finish().await;
    assert!(failures.is_empty(), "long streams: {failures:?}");
    assert_eq!(gateway.process.wait().code(), Some(0), "{}", gateway.process.stderr());
    let before = loads.each_ref().map(Load::done);
    until("they go on", || loads.iter().zip(before).all(|(load, before)| load.done() > before + 64)).await;
    for load in loads {
        let (done, failures) = load.finish().await;
        assert!(failures.is_empty(), "{} of {done}: {:?}", failures.len(), &failures[..1]);
    }
    assert!(new.ended().is_none(), "{}", new.stderr());
    let status = gateway.until_status("nothing in flight", |status| status["requests"] == 0).await;
    assert_eq!(status["pid"], pid);
}

/// The clients connect and send nothing for a while, or rest on a connection, and nothing else keeps the old process
/// alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_are_served_before_the_old_process_ends() {
    let a = node("a", Duration::ZERO);
    let mut gateway = Gateway::start(Conf::new(&[a.addr()])).await;
    let early = Plan {
        clients: 32,
        tokens: 1,
        pause: Duration::ZERO,
        stream: None,
        connection: Connection::Early(Duration::from_millis(300)),
    };
    let kept = Plan { pause: Duration::from_millis(500), connection: Connection::Kept, ..early };
    let loads = [early, kept].map(|plan| Load::start(gateway.address(), plan));
    until("all have begun", || loads.iter().all(|load| load.done() > 64)).await;
    let http2 = Http2Load::start(gateway.address());
    for _ in 0..2 {
        let mut new = take_over(&gateway).await;
        let pid = new.pid();
        gateway.until_status("the new process answers", |status| status["pid"] == pid).await;
        assert_eq!(gateway.process.wait().code(), Some(0), "{}", gateway.process.stderr());
        assert!(new.ended().is_none(), "{}", new.stderr());
        gateway.process = new;
        let before = loads.each_ref().map(Load::done);
        until("they go on", || loads.iter().zip(before).all(|(load, before)| load.done() > before + 64))
            .await;
    }
    for load in loads {
        let (done, failures) = load.finish().await;
        assert!(failures.is_empty(), "{} of {done}: {:?}", failures.len(), &failures[..1]);
    }
    let (done, connections, failures) = http2.finish().await;
    println!("HTTP/2: {done} requests on {connections} connections");
    assert!(failures.is_empty(), "HTTP/2: {} of {done}: {:?}", failures.len(), &failures[..1]);
    assert!(done > 100 && connections >= 3, "{done} requests, {connections} connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_close_their_connection_once_the_new_process_has_taken_over() {
    let a = node("a", Duration::ZERO);
    let gateway = Gateway::start(Conf::new(&[a.addr()])).await;
    let mut client = Client::new(gateway.address());
    let answer = client.ask(&chat(1, false)).await.expect("an answer");
    assert!(!answer.head.closes());
    let _new = take_over(&gateway).await;
    gateway.until_logged("a new process takes over").await;
    // on the connection to the old process
    let answer = client.ask(&chat(1, false)).await.expect("an answer");
    assert!(answer.head.closes(), "{:?}", answer.head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigquit_without_a_new_process_changes_nothing() {
    let a = node("a", Duration::from_millis(100));
    let mut gateway = Gateway::start(Conf::new(&[a.addr()])).await;
    let plan =
        Plan { clients: 8, tokens: 1, pause: Duration::ZERO, stream: None, connection: Connection::Fresh };
    let load = Load::start(gateway.address(), plan);
    // a leftover file is not a new process
    drop(std::os::unix::net::UnixListener::bind(gateway.file("upgrade.sock")).expect("a socket"));
    gateway.process.signal(Signal::QUIT);
    gateway.until_logged("none is waiting at ").await;
    let done = load.done();
    until("it goes on", || load.done() > done + 100).await;
    let status = gateway.status().await.expect("a status");
    assert_eq!(status["stopping"], false, "{status:#}");
    let (_, failures) = load.finish().await;
    assert!(failures.is_empty(), "{failures:?}");
    // SIGTERM still stops a process that waits for the new one
    gateway.process.signal(Signal::QUIT);
    assert_eq!(gateway.stop(Signal::TERM).0, Some(0), "{}", gateway.process.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_after_an_upgrade_limits_the_remaining_requests() {
    let a = node("a", Duration::from_millis(100));
    let conf = Conf::new(&[a.addr()]).server("drain_timeout: 1s");
    let mut gateway = Gateway::start(conf).await;
    let mut client = Client::new(gateway.address());
    client.begin(&chat(600, true)).await.expect("a head");
    let _new = take_over(&gateway).await;
    gateway.until_logged("without a time limit").await;
    let (code, took) = gateway.stop(Signal::TERM);
    assert_eq!(code, Some(1), "{}", gateway.process.stderr());
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
}

/// A manager sends the rest of a service another one when the new process has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_after_an_upgrade_cuts_nothing() {
    let a = node("a", Duration::from_millis(100));
    let mut gateway = Gateway::start(Conf::new(&[a.addr()])).await;
    let mut client = Client::new(gateway.address());
    client.begin(&chat(120, true)).await.expect("a head");
    let _new = take_over(&gateway).await;
    gateway.until_logged("without a time limit").await;
    gateway.process.signal(Signal::TERM);
    gateway.until_logged("stopping: 1 requests").await;
    gateway.process.signal(Signal::TERM);
    gateway.until_logged("SIGTERM ignored").await;
    assert!(client.rest().await.expect("the rest").ends_with("data: [DONE]\n\n"));
    assert_eq!(gateway.process.wait().code(), Some(0), "{}", gateway.process.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_reports_that_it_gets_no_sockets() {
    let a = node("a", Duration::ZERO);
    let gateway = Gateway::start(Conf::new(&[a.addr()])).await;
    let mut new = gateway.successor();
    assert_eq!(new.wait().code(), Some(1));
    for text in ["send it SIGQUIT", "no process handed over its sockets at "] {
        assert!(new.stderr().contains(text), "{}", new.stderr());
    }
    let answer = Client::new(gateway.address()).ask(&chat(1, false)).await.expect("an answer");
    assert_eq!(answer.head.status, 200);
}
