//! Tests of leases: however a request ends, its slot is released.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evenkeel::sim::{Node, Options};
use http::{Request, Version};
use http_body_util::BodyExt;
use tokio::task::JoinSet;

use crate::harness::{
    Client, Gateway, LIMIT, Outgoing, Raw, chat, eventually, fault, nodes_like, pool, post, run, steps,
    within,
};

const CLIENTS: usize = 100;
const EACH: usize = 100;

fn troubled(nodes: &[Node]) {
    let faults =
        ["status:500", "status:503", "reset", "close", "die:2", "truncate:1", "stale", "slow_head:3"];
    for node in nodes {
        for text in faults {
            node.add_fault(fault(&format!("{text},probability=0.03")));
        }
    }
}

/// Performs one kind of client behaviour; some clients leave before the end.
fn request(gateway: &Gateway, random: &mut fastrand::Rng) -> (Request<Outgoing>, Duration) {
    let patience = match random.u32(..10) {
        0 => Duration::ZERO,
        1 => Duration::from_micros(random.u64(..3000)),
        2 => Duration::from_millis(random.u64(..30)),
        _ => LIMIT,
    };
    let tokens = random.u32(1..6);
    let request = match random.u32(..10) {
        0 => post(gateway, "/echo", "x".repeat(random.usize(..2000))),
        1 => Request::post(gateway.url("/v1/completions"))
            .body(Outgoing::chunked("x".repeat(random.usize(..200_000)).into()))
            .unwrap(),
        2 => post(gateway, "/nowhere", ""),
        kind => chat(gateway, tokens, kind % 2 == 0),
    };
    (request, patience)
}

async fn use_it(gateway: Arc<Gateway>, seed: usize, done: Arc<AtomicUsize>) {
    let mut random = fastrand::Rng::with_seed(seed as u64);
    let version = if seed.is_multiple_of(3) { Version::HTTP_2 } else { Version::HTTP_11 };
    let mut client = Client::over(&gateway, version).await;
    for _ in 0..EACH {
        let (request, patience) = request(&gateway, &mut random);
        let asking = async {
            let body = client.begin_patiently(request).await?.into_body();
            body.collect().await.map(drop)
        };
        // a connection that was cut or left is not reused
        if !matches!(tokio::time::timeout(patience, asking).await, Ok(Ok(()))) {
            client = Client::over(&gateway, version).await;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    let upgrade = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let _left_open = Raw::send(&gateway, upgrade).await;
}

#[test]
fn ten_thousand_mixed_requests_and_reloads_leave_no_lease() {
    run(async {
        let nodes = nodes_like(4, &Options { step: steps(1), ..Options::default() });
        troubled(&nodes);
        let more =
            "health: { fail_timeout: 200ms }, retry: { body_limit: 100KB }, timeouts: { first_byte: 5s }";
        let gateway = Arc::new(Gateway::with("", &pool("p", &nodes, more)).await);
        let done = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for seed in 0..CLIENTS {
            clients.spawn(use_it(Arc::clone(&gateway), seed, Arc::clone(&done)));
        }
        let reloading = async {
            for round in 1..10 {
                let due = || done.load(Ordering::Relaxed) >= round * CLIENTS * EACH / 10;
                eventually(2 * LIMIT, "a tenth is done", due).await;
                // nodes leave and come back while they have requests
                gateway.reload(&pool("p", &nodes[round % 3..], more));
            }
        };
        let all = async { tokio::join!(reloading, clients.join_all()) };
        within(2 * LIMIT, "all requests have ended", all).await;
        gateway.at_rest().await;
        eventually(LIMIT, "all connections are closed", || gateway.status().connections == 0).await;
        for node in &nodes {
            let at_rest = node.until(LIMIT, |stats| stats.in_flight == 0 && stats.running == 0);
            at_rest.await.unwrap_or_else(|stats| panic!("{stats:?}"));
        }
        assert!(gateway.metrics().contains("evenkeel_requests_in_flight 0"));
        assert_eq!(gateway.status().generation, 10);
        assert!(gateway.answered(200) > 5000, "{}", gateway.answered(200));
    });
}

#[test]
fn a_request_keeps_its_slot_over_a_reload_that_removes_its_node() {
    run(async {
        let nodes = nodes_like(2, &Options { step: steps(3_600_000), ..Options::default() });
        let gateway = Gateway::start(&nodes[..1], "").await;
        let mut client = Client::h1(&gateway).await;
        let request = chat(&gateway, 1, true);
        let held = client.begin(request).await.unwrap();
        gateway.reload(&pool("p", &nodes[1..], ""));
        assert_eq!(gateway.status().pools[0].nodes.len(), 2, "the old node drains");
        assert_eq!(gateway.in_flight().iter().sum::<u32>(), 1);
        let mut other = Client::h1(&gateway).await;
        let elsewhere = other.begin(chat(&gateway, 1, true)).await.unwrap();
        assert_eq!(elsewhere.headers()["x-evenkeel-node"], "b");
        drop((held, client, other, elsewhere));
        gateway.at_rest().await;
        assert_eq!(gateway.status().pools[0].nodes.len(), 1, "and is gone");
    });
}
