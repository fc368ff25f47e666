//! Whatever happens to Redis: no cap is exceeded, no request fails, and everybody can see it.

use std::time::{Duration, Instant};

use super::{Fleet, SPREAD, done, finish, is_settled};
use crate::support::load::Load;
use crate::support::redis::{Way, is_there};
use crate::support::until;

const CAP: u64 = 16;

/// A fleet under load, and what happens to it.
struct Trial {
    fleet: Fleet,
    loads: Vec<Load>,
}

impl Trial {
    async fn begin() -> Self {
        let fleet = Fleet::start(3, 4, CAP).await;
        let loads = fleet.load(SPREAD);
        let trial = Self { fleet, loads };
        trial.goes_on().await;
        trial
    }

    /// Every gateway serves requests.
    async fn goes_on(&self) {
        let before: Vec<_> = self.loads.iter().map(Load::done).collect();
        let served = |(load, before): (&Load, &u64)| load.done() > before + 20;
        until("all gateways serve requests", || self.loads.iter().zip(&before).all(served)).await;
    }

    /// The gateway goes on alone, and says why.
    async fn alone(&self, gateway: usize, why: &str) {
        let says = |status: &serde_json::Value| {
            let cluster = &status["cluster"];
            cluster["state"] == "alone" && cluster["reason"].as_str().is_some_and(|text| text.contains(why))
        };
        self.fleet.gateways[gateway].until_status(&format!("alone: {why}"), says).await;
    }

    async fn all_alone(&self, why: &str) {
        for gateway in 0..3 {
            self.alone(gateway, why).await;
        }
    }

    async fn joined(&self) {
        for gateway in &self.fleet.gateways {
            gateway.until_status("it has joined", |status| is_settled(status, 3)).await;
        }
    }

    /// All is as before: the caps are used, and were never exceeded.
    async fn end(self) {
        self.joined().await;
        self.goes_on().await;
        let full = |node: &evenkeel::sim::Node| node.stats().running + 1 >= CAP;
        until("all nodes are full again", || self.fleet.nodes.iter().all(full)).await;
        finish(self.loads).await;
        self.fleet.check_caps();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_comes_back_empty() {
    if !is_there() {
        return;
    }
    let mut trial = Trial::begin().await;
    trial.fleet.redis.stop();
    trial.all_alone("Redis").await;
    trial.goes_on().await;
    trial.fleet.redis.again().await;
    trial.end().await;
}

/// Since the snapshot credits have moved: whoever believed it would hand some out twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_comes_back_with_an_old_snapshot() {
    if !is_there() {
        return;
    }
    let fleet = Fleet::start(3, 4, CAP).await;
    fleet.redis.tell(&["SAVE"]).await;
    let loads = fleet.load(SPREAD);
    let mut trial = Trial { fleet, loads };
    trial.goes_on().await;
    for _ in 0..2 {
        trial.fleet.redis.stop();
        trial.fleet.redis.again().await;
        trial.joined().await;
        trial.goes_on().await;
    }
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_flushed_again_and_again() {
    if !is_there() {
        return;
    }
    let trial = Trial::begin().await;
    for _ in 0..20 {
        trial.fleet.redis.tell(&["FLUSHALL"]).await;
        trial.goes_on().await;
    }
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_takes_a_second_for_each_answer() {
    if !is_there() {
        return;
    }
    let trial = Trial::begin().await;
    trial.fleet.proxies.iter().for_each(|proxy| proxy.set(Way::Slow(Duration::from_secs(1))));
    tokio::time::sleep(Duration::from_secs(8)).await;
    trial.goes_on().await;
    // slow is not away
    trial.joined().await;
    trial.fleet.proxies.iter().for_each(|proxy| proxy.set(Way::Open));
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_hangs() {
    if !is_there() {
        return;
    }
    let trial = Trial::begin().await;
    trial.fleet.redis.pause(true);
    trial.all_alone("Redis does not answer").await;
    trial.goes_on().await;
    trial.fleet.redis.pause(false);
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_full() {
    if !is_there() {
        return;
    }
    let trial = Trial::begin().await;
    trial.fleet.redis.tell(&["CONFIG", "SET", "maxmemory", "1"]).await;
    trial.all_alone("its memory is full").await;
    trial.goes_on().await;
    trial.fleet.redis.tell(&["CONFIG", "SET", "maxmemory", "0"]).await;
    trial.end().await;
}

/// It drops what it likes: any of the ledger's keys, at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_evicts_keys() {
    if !is_there() {
        return;
    }
    let trial = Trial::begin().await;
    trial.fleet.redis.tell(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]).await;
    for _ in 0..10 {
        trial.fleet.redis.tell(&["CONFIG", "SET", "maxmemory", "1"]).await;
        trial.goes_on().await;
        trial.fleet.redis.tell(&["CONFIG", "SET", "maxmemory", "0"]).await;
        trial.goes_on().await;
    }
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_answers_garbage() {
    if !is_there() {
        return;
    }
    let trial = Trial::begin().await;
    let garbage: [&[u8]; 9] = [
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":1\r\n",
        b"*-1\r\n",
        b"*9\r\n$4\r\ndone\r\n+1\r\n+1\r\n+1\r\n+1\r\n+1\r\n+99\r\n+\r\n+\r\n",
        b"$9999999999\r\nx",
        b"*999999999\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"\0\xff\xfe\r\n\r\n",
    ];
    for text in garbage {
        trial.fleet.proxies.iter().for_each(|proxy| proxy.set(Way::Says(text)));
        trial.all_alone("Redis").await;
        trial.goes_on().await;
        trial.fleet.proxies.iter().for_each(|proxy| proxy.set(Way::Open));
        trial.joined().await;
    }
    trial.end().await;
}

/// Somebody else writes into the ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_is_full_of_nonsense() {
    if !is_there() {
        return;
    }
    let trial = Trial::begin().await;
    let [members, totals] = ["members", "totals"].map(|part| format!("{{evenkeel:evenkeel}}:{part}"));
    for words in [
        vec!["SET", &members, "x"],
        vec!["SET", &totals, "x"],
        vec!["HSET", &members, "born", "yesterday"],
        vec!["HSET", &members, "@0000000000000001", "nobody"],
        vec!["HSET", &members, "epoch", "nonsense"],
        vec!["HSET", &totals, "epoch", "nonsense"],
    ] {
        trial.fleet.redis.tell(&words).await;
        trial.goes_on().await;
        if words[0] == "SET" {
            trial.all_alone("WRONGTYPE").await;
            trial.fleet.redis.tell(&["DEL", words[1]]).await;
        }
        trial.joined().await;
    }
    trial.end().await;
}

/// The others know that it lives: it answers them, and keeps its credits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_is_cut_off_from_redis() {
    if !is_there() {
        return;
    }
    let trial = Trial::begin().await;
    for way in [Way::Silent, Way::Closed] {
        trial.fleet.proxies[0].set(way);
        trial.alone(0, "Redis").await;
        let alive = |status: &serde_json::Value| {
            let members = status["cluster"]["members"].as_array().cloned().unwrap_or_default();
            members.len() == 3 && members.iter().any(|one| one["state"] == "alive")
        };
        trial.fleet.gateways[1].until_status("it lives", alive).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        trial.goes_on().await;
        trial.fleet.proxies[0].set(Way::Open);
        trial.joined().await;
    }
    trial.end().await;
}

/// Redis is lost while one gateway is cut off from it: its credits are in no ledger, and still its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_is_lost_while_one_gateway_is_cut_off() {
    if !is_there() {
        return;
    }
    let mut trial = Trial::begin().await;
    trial.fleet.proxies[0].set(Way::Silent);
    trial.alone(0, "Redis").await;
    trial.fleet.redis.stop();
    trial.fleet.redis.again().await;
    let waits = |status: &serde_json::Value| {
        status["cluster"]["state"] == "joined" && status["cluster"]["settled"] == false
    };
    trial.fleet.gateways[1].until_status("it waits for the third", waits).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    trial.goes_on().await;
    trial.fleet.gateways[1].until_status("it still does", waits).await;
    trial.fleet.proxies[0].set(Way::Open);
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_credits_of_a_killed_gateway_are_back_within_5_s() {
    if !is_there() {
        return;
    }
    let mut fleet = Fleet::start(3, 4, CAP).await;
    let mut loads = fleet.load([80, 100, 100]);
    let before = done(&loads);
    until("all serve", || done(&loads) > before + 500).await;
    fleet.gateways[0].process.kill();
    let killed = Instant::now();
    drop(loads.remove(0));
    let running = || fleet.nodes.iter().map(|node| node.stats().running).sum::<u64>();
    until("the dead gateway's requests are gone", || running() < 4 * CAP - CAP).await;
    let full = || fleet.nodes.iter().map(|node| node.stats().running).sum::<u64>() >= 4 * CAP - 2;
    until("the nodes are full again", full).await;
    println!("credits back {:?} after kill -9", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(5));
    finish(loads).await;
    fleet.check_caps();
}
