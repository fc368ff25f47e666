//! Tests of SIGTERM and SIGINT: requests in flight finish, and the process ends.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::support::client::{Client, chat, get};
use crate::support::gateway::{Conf, Gateway};
use crate::support::load::{Connection, Load, Plan};
use crate::support::nodes::node;
use crate::support::until;

/// Time limit for an idle gateway to end, generous for a busy machine.
const IDLE_STOP: Duration = Duration::from_secs(2);

async fn refuses(gateway: &Gateway) {
    let end = Instant::now() + crate::support::LIMIT;
    while TcpStream::connect(gateway.address()).await.is_ok() {
        assert!(Instant::now() < end, "still accepts");
        tokio::time::sleep(crate::support::LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_gateway_stops_at_once() {
    let a = node("a", Duration::ZERO);
    for signal in [Signal::TERM, Signal::INT] {
        let mut gateway = Gateway::start(Conf::new(&[a.addr()])).await;
        let mut client = Client::new(gateway.address());
        client.ask(&chat(1, false)).await.expect("an answer");
        // the client's idle connection does not delay the end
        let (code, took) = gateway.stop(signal);
        assert_eq!(code, Some(0), "{}", gateway.process.stderr());
        assert!(took < IDLE_STOP, "{signal:?}: {took:?}");
        println!("idle, {signal:?}: ended after {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_finish_and_the_process_ends_right_after_the_last() {
    let a = node("a", Duration::from_millis(100));
    let mut gateway = Gateway::start(Conf::new(&[a.addr()])).await;
    let mut kept = Client::new(gateway.address());
    kept.ask(&chat(1, false)).await.expect("an answer");
    let plan =
        Plan { clients: 20, tokens: 20, pause: Duration::ZERO, stream: None, connection: Connection::Kept };
    let load = Load::once(gateway.address(), plan);
    gateway.until_status("all in flight", |status| status["requests"] == 20).await;
    gateway.process.signal(Signal::TERM);
    refuses(&gateway).await;
    assert!(gateway.process.ended().is_none(), "{}", gateway.process.stderr());
    let (done, failures) = load.finish().await;
    let last = Instant::now();
    assert!(failures.is_empty(), "{} of {done}: {failures:?}", failures.len());
    let code = gateway.process.wait().code();
    assert_eq!(code, Some(0), "{}", gateway.process.stderr());
    assert!(last.elapsed() < IDLE_STOP, "{:?}", last.elapsed());
    println!("ended {:?} after the last response", last.elapsed());
    let lines = gateway.process.stdout().lines().count();
    assert_eq!(lines, 21, "every request has its line in the access log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_page_sees_a_stop_and_does_not_delay_it() {
    let a = node("a", Duration::from_millis(100));
    let mut gateway = Gateway::start(Conf::new(&[a.addr()])).await;
    let mut page = gateway.admin_client();
    assert_eq!(page.begin(&get("/api/live")).await.expect("a head").status, 200);
    let plan =
        Plan { clients: 1, tokens: 40, pause: Duration::ZERO, stream: None, connection: Connection::Kept };
    let load = Load::once(gateway.address(), plan);
    gateway.until_status("in flight", |status| status["requests"] == 1).await;
    gateway.process.signal(Signal::TERM);
    let mut events = String::new();
    while !events.contains("\"stopping\":true") {
        let piece = page.next().await.expect("no cut while a request is in flight");
        events += &piece.expect("no end either");
    }
    assert!(
        events.starts_with("event: whole\n") && events.contains("event: stopping\ndata: {}\n\n"),
        "{events}"
    );
    assert!(load.finish().await.1.is_empty());
    let last = Instant::now();
    assert_eq!(gateway.process.wait().code(), Some(0), "{}", gateway.process.stderr());
    assert!(last.elapsed() < IDLE_STOP, "{:?}", last.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_during_a_stop_close_their_connection() {
    let a = node("a", Duration::from_millis(50));
    let mut gateway = Gateway::start(Conf::new(&[a.addr()])).await;
    let mut early = Client::new(gateway.address());
    // not streaming: the head comes only with the whole answer
    let late = tokio::spawn({
        let address = gateway.address();
        async move { Client::new(address).ask(&chat(20, false)).await }
    });
    let head = early.begin(&chat(10, true)).await.expect("a head");
    assert!(!head.closes());
    until("both at the node", || a.stats().in_flight == 2).await;
    gateway.process.signal(Signal::TERM);
    let answer = late.await.expect("no panic").expect("an answer");
    assert!(answer.head.closes(), "{:?}", answer.head);
    assert!(early.rest().await.expect("the rest").ends_with("data: [DONE]\n\n"));
    assert_eq!(gateway.process.wait().code(), Some(0));
}

/// Its node comes free after the stop has begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_for_a_node_during_a_stop_is_served_and_closes_its_connection() {
    let a = node("a", Duration::from_millis(50));
    let mut conf = Conf::new(&[a.addr()]);
    conf.nodes = vec![format!("{{ address: {}, max_in_flight: 1 }}", a.addr())];
    let mut gateway = Gateway::start(conf).await;
    let mut first = Client::new(gateway.address());
    first.begin(&chat(10, true)).await.expect("a head");
    let waiting = ["HTTP/1.1", "HTTP/1.0\r\nConnection: keep-alive"].map(|version| {
        let (address, request) = (gateway.address(), chat(1, false).replace("HTTP/1.1", version));
        tokio::spawn(async move { Client::new(address).ask(&request).await })
    });
    gateway.until_status("they wait", |status| status["requests"] == 3).await;
    gateway.process.signal(Signal::TERM);
    refuses(&gateway).await;
    assert!(first.rest().await.expect("the rest").ends_with("data: [DONE]\n\n"));
    for answer in waiting {
        let answer = answer.await.expect("no panic").expect("an answer");
        assert_eq!((answer.head.status, answer.head.closes()), (200, true), "{:?}", answer.head);
    }
    assert_eq!(gateway.process.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drain_timeout_cuts_visibly() {
    let a = node("a", Duration::from_millis(100));
    let conf = Conf::new(&[a.addr()]).server("drain_timeout: 1s");
    let mut gateway = Gateway::start(conf).await;
    let mut client = Client::new(gateway.address());
    client.begin(&chat(600, true)).await.expect("a head");
    let (code, took) = gateway.stop(Signal::TERM);
    assert_eq!(code, Some(1), "{}", gateway.process.stderr());
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
    assert!(client.rest().await.is_err(), "the client must see that the stream is not whole");
    assert!(gateway.process.stderr().contains("drain_timeout has expired, 1 requests are cut off"));
    until("the node is free again", || a.stats().in_flight == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() {
    let a = node("a", Duration::from_millis(100));
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)]
    {
        let mut gateway = Gateway::start(Conf::new(&[a.addr()])).await;
        let mut client = Client::new(gateway.address());
        client.begin(&chat(600, true)).await.expect("a head");
        gateway.process.signal(first);
        refuses(&gateway).await;
        let (code, took) = gateway.stop(second);
        assert_eq!(code, Some(1), "{}", gateway.process.stderr());
        assert!(took < IDLE_STOP, "{took:?}");
    }
}
