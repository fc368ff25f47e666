//! The queue in front of nodes that are at their `max_in_flight`: its order, its ends, and what it shows.

use evenkeel::outcome::Outcome;
use evenkeel::sim::{Node, Options};
use tokio::task::JoinHandle;

use crate::harness::{
    Answer, Client, Gateway, LIMIT, Outgoing, chat, eventually, fault, nodes_like, pool_of, run,
};

const LOG: &str = "access_log: { path: access.json, format: json }";

/// A node that takes one request at a time, and keeps the first that comes.
async fn taken(more: &str) -> (Vec<Node>, Gateway, JoinHandle<()>) {
    let nodes = nodes_like(1, &Options { record: true, ..Options::default() });
    nodes[0].set_fault(fault("hang,times=1"));
    let list = format!("{{ name: a, address: \"{}\", max_in_flight: 1 }}", nodes[0].addr());
    let gateway = Gateway::with(LOG, &pool_of("p", &list, more)).await;
    let mut client = Client::h1(&gateway).await;
    let request = chat(&gateway, 1, false);
    let first = tokio::spawn(async move { drop(client.begin(request).await) });
    eventually(LIMIT, "the node has it", || nodes[0].stats().in_flight == 1).await;
    (nodes, gateway, first)
}

fn queue(gateway: &Gateway) -> usize {
    gateway.status().pools[0].queue
}

fn named(gateway: &Gateway, name: &str) -> http::Request<Outgoing> {
    let mut request = chat(gateway, 1, false);
    request.headers_mut().insert("x-name", name.parse().unwrap());
    request
}

/// Asks, and returns once the request waits.
async fn waits(gateway: &Gateway, name: &str) -> JoinHandle<hyper::Result<Answer>> {
    let before = queue(gateway);
    let mut client = Client::h1(gateway).await;
    let request = named(gateway, name);
    let waiting = tokio::spawn(async move { client.try_ask(request).await });
    eventually(LIMIT, "it waits", || queue(gateway) == before + 1).await;
    waiting
}

#[test]
fn first_come_first_served_and_who_leaves_is_gone() {
    run(async {
        let (nodes, gateway, first) = taken("").await;
        let mut waiting = Vec::new();
        for name in ["b", "c", "d", "e"] {
            waiting.push(waits(&gateway, name).await);
        }
        assert!(gateway.metrics().contains("evenkeel_queue_length{pool=\"p\"} 4"));
        waiting.remove(1).abort();
        eventually(LIMIT, "c has left", || queue(&gateway) == 3).await;
        first.abort();
        for one in waiting {
            assert_eq!(one.await.unwrap().unwrap().status, 200);
        }
        gateway.at_rest().await;
        let names: Vec<_> =
            nodes[0].requests().iter().filter_map(|r| r.header("x-name").map(str::to_owned)).collect();
        assert_eq!(names, ["b", "d", "e"]);
        let lines = gateway.log_lines("access.json");
        assert_eq!(
            lines.iter().filter(|line| line.contains("\"queue\":0.0,")).count(),
            1,
            "only the first did not wait: {lines:?}"
        );
    });
}

#[test]
fn a_full_queue_says_429_and_a_late_one_504() {
    run(async {
        let (nodes, gateway, _first) = taken("queue: { size: 1, timeout: 1s }").await;
        let waiting = waits(&gateway, "b").await;
        let full = Client::h1(&gateway).await.ask(named(&gateway, "c")).await;
        assert_eq!(full.status, 429, "{}", full.text());
        assert!(full.text().contains("queue.size"), "{}", full.text());
        assert!(full.field("retry-after").is_some());
        let late = waiting.await.unwrap().unwrap();
        assert_eq!(late.status, 504, "{}", late.text());
        assert!(late.text().contains("queue.timeout"), "{}", late.text());
        assert_eq!((nodes[0].requests().len(), queue(&gateway)), (1, 0), "no node has seen them");
    });
}

#[test]
fn a_reload_keeps_the_queue_and_a_higher_cap_lets_it_in() {
    run(async {
        let (nodes, gateway, _first) = taken("").await;
        let waiting = waits(&gateway, "b").await;
        let list = |cap| format!("{{ name: a, address: \"{}\", max_in_flight: {cap} }}", nodes[0].addr());
        gateway.reload(&pool_of("p", &list(1), "retry: { attempts: 2 }"));
        assert_eq!(queue(&gateway), 1);
        gateway.reload(&pool_of("p", &list(2), ""));
        assert_eq!(waiting.await.unwrap().unwrap().status, 200);
    });
}

/// It has waited before.
#[test]
fn a_request_that_failed_elsewhere_goes_first() {
    run(async {
        let (nodes, gateway, first) = taken("").await;
        let second = waits(&gateway, "b").await;
        nodes[0].set_fault(fault("reset,times=1"));
        let others = [waits(&gateway, "c").await, waits(&gateway, "d").await];
        first.abort();
        assert_eq!(second.await.unwrap().unwrap().status, 200, "it is repeated");
        for other in others {
            assert_eq!(other.await.unwrap().unwrap().status, 200);
        }
        gateway.at_rest().await;
        assert_eq!(gateway.attempts("a", Outcome::Reset), 1);
        let names: Vec<_> =
            nodes[0].requests().iter().filter_map(|r| r.header("x-name").map(str::to_owned)).collect();
        // its slot was handed to the next while it was on its way back
        assert_eq!(names, ["b", "c", "b", "d"]);
    });
}
