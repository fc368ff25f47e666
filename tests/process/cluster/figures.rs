//! Three gateways against one, in the same run: throughput, the time to the first token, the limits of keys, affinity.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use evenkeel::config::SecretHash;
use tokio::task::JoinSet;

use super::{Fleet, conf, finish};
use crate::support::client::{Client, chat};
use crate::support::gateway::{Conf, Gateway};
use crate::support::nodes::node;
use crate::support::redis::{Redis, is_there};
use crate::support::until;

const CAP: u64 = 16;

fn with(request: &str, field: &str) -> String {
    request.replacen("\r\n", &format!("\r\n{field}\r\n"), 1)
}

/// Times to the first token of interactive requests, one after the other; the middle one and the one above nine tenths.
async fn first_tokens(gateway: &Gateway, count: usize) -> [Duration; 2] {
    let mut client = Client::new(gateway.address());
    let mut times = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        let request = with(&chat(2, true), "X-Priority: interactive");
        assert_eq!(client.begin(&request).await.expect("a head").status, 200);
        client.next().await.expect("a token");
        times.push(began.elapsed());
        client.rest().await.expect("the end");
    }
    times.sort_unstable();
    [times[count / 2], times[count * 9 / 10]]
}

/// Requests a second while all nodes are full, and times to the first token of interactive requests meanwhile, and before.
struct Figures {
    rate: f64,
    idle: [Duration; 2],
    busy: [Duration; 2],
}

async fn figures(gateways: usize, clients: [usize; 3]) -> Figures {
    // as slow as not to make the processors of a small machine the limit
    let fleet = Fleet::with_step(gateways, 4, CAP, Duration::from_millis(60)).await;
    let last = fleet.gateways.last().expect("one");
    let idle = first_tokens(last, 20).await;
    let loads = fleet.load(clients);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, began) = (super::done(&loads), Instant::now());
    tokio::time::sleep(Duration::from_secs(8)).await;
    let rate = (super::done(&loads) - before) as f64 / began.elapsed().as_secs_f64();
    let busy = first_tokens(last, 30).await;
    finish(loads).await;
    fleet.check_caps();
    Figures { rate, idle, busy }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_do_as_much_as_one() {
    if !is_there() {
        return;
    }
    let one = figures(1, [200, 0, 0]).await;
    let three = figures(3, [160, 30, 10]).await;
    for (name, of) in [("one", &one), ("three", &three)] {
        println!(
            "{name}: {:.1} requests a second; first token p50, p90 of an idle fleet {:?}, of a full one {:?}",
            of.rate, of.idle, of.busy
        );
    }
    println!("throughput {:.3} of one gateway's", three.rate / one.rate);
    assert!(three.rate > 0.97 * one.rate);
    assert!(three.busy[0] < one.busy[0] + Duration::from_millis(50), "{:?}", three.busy);
    assert!(three.idle[0] < one.idle[0] + Duration::from_millis(10), "{:?}", three.idle);
}

/// A key with so many requests a minute, asked for with more through three gateways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keys_rate_is_that_of_all_gateways_together() {
    if !is_there() {
        return;
    }
    const A_MINUTE: u64 = 3000;
    let (redis, node) = (Redis::start().await, node("n", Duration::ZERO));
    let hash = SecretHash::of(b"secret");
    let keys = format!("keys: [{{ name: k, hash: \"{hash}\", requests_per_minute: {A_MINUTE} }}]\n");
    let mut gateways = Vec::new();
    for _ in 0..3 {
        let mut conf: Conf = conf(&[], 1, &redis.url()).server("api_keys: { file: keys.yaml }");
        conf.nodes = vec![format!("{{ address: {} }}", node.addr())];
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("keys.yaml"), &keys).expect("a file");
        gateways.push(Gateway::spawn(conf, directory, &[]));
    }
    for gateway in &gateways {
        gateway.until_status("it has joined", |status| super::is_settled(status, 3)).await;
    }
    // the whole bucket is used up first
    let mut asking = JoinSet::new();
    let (begin, length) = (Instant::now() + Duration::from_secs(6), Duration::from_secs(20));
    for (gateway, clients) in gateways.iter().zip([8, 2, 1]) {
        for _ in 0..clients {
            let address = gateway.address();
            asking.spawn(async move {
                let mut client = Client::new(address);
                let request = with(&chat(1, false), "Authorization: Bearer secret");
                let (mut good, mut told) = (0_u64, 0_u64);
                while Instant::now() < begin + length {
                    let status = client.ask(&request).await.expect("an answer").head.status;
                    assert!(matches!(status, 200 | 429), "{status}");
                    let is_counted = Instant::now() >= begin;
                    good += u64::from(status == 200 && is_counted);
                    told += u64::from(status == 200 && !is_counted);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                (good, told)
            });
        }
    }
    let (mut good, mut before) = (0, 0);
    while let Some(one) = asking.join_next().await {
        let (counted, early) = one.expect("a client");
        (good, before) = (good + counted, before + early);
    }
    let expected = A_MINUTE as f64 / 60.0 * length.as_secs_f64();
    println!("{good} requests in {length:?}, where {expected} are allowed; {before} in the 6 s before");
    assert!((good as f64 / expected - 1.0).abs() < 0.01, "{good} of {expected}");
}

/// Requests of 40 sessions, three of each, that were at another node than the session's first. Some load is there besides.
async fn strays(gateways: usize) -> usize {
    let mut fleet = Fleet::apart(4, CAP).await;
    for _ in 0..gateways {
        let conf = conf(&fleet.nodes, CAP, &fleet.redis.url()).pool("balance: affinity");
        fleet.gateways.push(Gateway::start(conf).await);
    }
    fleet.until_settled().await;
    let mut others = JoinSet::new();
    for session in 0..8 {
        let address = fleet.gateways[0].address();
        others.spawn(async move {
            let mut client = Client::new(address);
            let request = with(&chat(5, true), &format!("X-Session-Id: other-{session}"));
            while client.ask(&request).await.is_ok_and(|answer| answer.head.status == 200) {}
        });
    }
    until("there is some load", || fleet.nodes.iter().map(|node| node.stats().running).sum::<u64>() >= 8)
        .await;
    let address = |number: usize| fleet.gateways[number % gateways].address();
    let mut clients: Vec<_> = (0..3).map(|number| Client::new(address(number))).collect();
    let mut strays = 0;
    for session in 0..40 {
        let request = with(&chat(1, false), &format!("X-Session-Id: {session}"));
        let mut homes = BTreeSet::new();
        for client in &mut clients {
            let answer = client.ask(&request).await.expect("an answer");
            homes.insert(answer.head.field("x-sim-node").map(str::to_owned));
        }
        strays += homes.len() - 1;
    }
    others.abort_all();
    strays
}

/// Each session has one node, whatever gateway it comes by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn affinity_is_as_with_one() {
    if !is_there() {
        return;
    }
    let (one, three) = (strays(1).await, strays(3).await);
    println!(
        "of 120 requests of 40 sessions at another node than the session's first: {one} with one gateway, {three} with three"
    );
    assert!(three <= one + 6, "{three}, and {one} with one");
}
