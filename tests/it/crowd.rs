//! Thousands of requests that wait: caps hold whatever happens, and so does the memory for bodies.

use std::sync::Arc;
use std::time::Duration;

use evenkeel::sim::{Node, Options};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::harness::{
    Client, Connection, Gateway, LIMIT, Transport, chat, eventually, eventually_async, fault, nodes_like,
    pool_of, run_within, steps,
};

const CLIENTS: usize = 2000;
const REQUESTS: usize = 2;

fn capped(nodes: &[Node], caps: &[u32]) -> String {
    let entry = |(node, cap): (&Node, &u32)| {
        format!("{{ name: {}, address: \"{}\", max_in_flight: {cap} }}", node.name(), node.addr())
    };
    let list: Vec<_> = nodes.iter().zip(caps).map(entry).collect();
    let more = "health: { max_fails: 0 }, queue: { reserve: 10% }, retry: { attempts: 8 }";
    pool_of("p", &list.join(", "), more)
}

async fn use_it(gateway: Arc<Gateway>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut client = Client::h1(&gateway).await;
    for _ in 0..REQUESTS {
        let class = ["interactive", "normal", "batch"][random.usize(0..3)];
        let stream = random.bool();
        let mut request = chat(&gateway, random.u32(1..4), stream);
        request.headers_mut().insert("x-priority", class.parse().unwrap());
        let leaves = random.u8(0..8) == 0;
        let patience = if leaves { Duration::from_millis(random.u64(0..500)) } else { 3 * LIMIT };
        let asking = async {
            let body = client.begin_patiently(request).await?.into_body();
            body.collect().await.map(drop)
        };
        match tokio::time::timeout(patience, asking).await {
            Ok(Ok(())) => {}
            _ => client = Client::h1(&gateway).await,
        }
    }
}

#[test]
fn no_node_gets_more_than_its_cap_whatever_two_thousand_clients_and_reloads_do() {
    run_within(5 * LIMIT, async {
        let nodes = nodes_like(4, &Options { step: steps(2), ..Options::default() });
        for node in &nodes {
            for text in ["status:500", "reset", "die:1"] {
                node.add_fault(fault(&format!("{text},probability=0.05")));
            }
        }
        let mut most = [8_u32; 4];
        let gateway = Arc::new(Gateway::with("", &capped(&nodes, &most)).await);
        let mut clients: JoinSet<_> =
            (0..CLIENTS as u64).map(|seed| use_it(Arc::clone(&gateway), seed)).collect();
        let mut random = fastrand::Rng::with_seed(7);
        let (mut waited, mut reloads, mut wanted) = (0, 0, most);
        while !clients.is_empty() {
            if random.u8(0..10) == 0 {
                wanted = [0; 4].map(|_: u32| random.u32(2..20));
                // what was taken below a higher cap may end in peace
                most.iter_mut().zip(wanted).for_each(|(most, cap)| *most = cap.max(*most));
                gateway.reload(&capped(&nodes, &wanted));
                reloads += 1;
            }
            let pool = gateway.status().pools.remove(0);
            waited = waited.max(pool.queue);
            for ((node, most), cap) in pool.nodes.iter().zip(&mut most).zip(wanted) {
                assert!(node.in_flight <= *most, "{} of {most}", node.in_flight);
                *most = node.in_flight.max(cap).min(*most);
            }
            let _ = tokio::time::timeout(Duration::from_millis(2), clients.join_next()).await;
            while clients.try_join_next().is_some() {}
        }
        gateway.at_rest().await;
        println!("{reloads} reloads, at most {waited} waited");
        assert!(reloads > 20 && waited > CLIENTS / 2, "{reloads} reloads, {waited} waited");
    });
}

const WAITERS: usize = 4096;
const PROMPT: usize = 1 << 20;
const BODY_TOTAL: u64 = 64 << 20;

/// A client that writes its whole prompt as soon as it can.
async fn writes(gateway: Arc<Gateway>, prompt: Arc<[u8]>) {
    let socket = TcpSocket::new_v4().unwrap();
    // what the system keeps for it is not in question
    socket.set_send_buffer_size(16 << 10).unwrap();
    let stream = socket.connect(gateway.address).await.unwrap();
    let mut stream = Connection::on(stream, false).await.unwrap();
    let head =
        format!("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", prompt.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&prompt).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
}

/// Resident memory of this process, gateway and clients together, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn the_prompts_of_a_long_queue_keep_to_their_memory() {
    run_within(5 * LIMIT, async {
        rlimit::increase_nofile_limit(16_384).unwrap();
        let nodes = nodes_like(1, &Options::default());
        nodes[0].set_fault(fault("hang,times=1"));
        let list = format!("{{ name: a, address: \"{}\", max_in_flight: 1 }}", nodes[0].addr());
        let more = format!("retry: {{ body_limit: 2MiB, body_total: {BODY_TOTAL} }}");
        let gateway = Arc::new(Gateway::with("", &pool_of("p", &list, &more)).await);
        let (mut first, request) = (Client::h1(&gateway).await, chat(&gateway, 1, false));
        let first = tokio::spawn(async move { drop(first.begin_patiently(request).await) });
        eventually(LIMIT, "the node has it", || nodes[0].stats().in_flight == 1).await;
        let before = resident();
        let prompt: Arc<[u8]> = format!("{{\"prompt\":\"{}\"}}", "x".repeat(PROMPT)).into_bytes().into();
        let mut waiters = JoinSet::new();
        let mut most = 0;
        // one that gets less than 32 KiB/s through gives way, and so many at once would
        while waiters.len() < WAITERS {
            (0..64).for_each(|_| drop(waiters.spawn(writes(Arc::clone(&gateway), Arc::clone(&prompt)))));
            eventually_async(3 * LIMIT, "all wait", async || {
                most = most.max(gateway.live.kept_bytes.value());
                let waiting = gateway.status().pools[0].queue;
                if waiting < waiters.len() { Err(waiting) } else { Ok(()) }
            })
            .await;
        }
        most = most.max(gateway.live.kept_bytes.value());
        let grown = resident().saturating_sub(before);
        println!("{most} bytes kept, {} MiB more resident", grown >> 20);
        assert!(most <= BODY_TOTAL && most > BODY_TOTAL / 2, "{most} bytes");
        // TLS takes some 24 KiB at the gateway; its clients are in this process, too
        let each = if Transport::of_run() == Transport::Plain { 192 << 10 } else { 320 << 10 };
        assert!(grown < BODY_TOTAL + (WAITERS as u64) * each, "{} MiB", grown >> 20);
        waiters.abort_all();
        while waiters.join_next().await.is_some() {}
        first.abort();
        eventually(5 * LIMIT, "all are gone", || gateway.status().requests == 0).await;
        assert_eq!((gateway.live.kept_bytes.value(), gateway.status().pools[0].queue), (0, 0));
    });
}
