//! Several gateways as one, with a real Redis. The nodes count for themselves how many requests they have at a time.

mod faults;
mod figures;
mod ledger;
mod together;

use std::time::Duration;

use evenkeel::sim::Node;
use serde_json::Value;

use crate::support::gateway::{Conf, Gateway};
use crate::support::load::{Connection, Load, Plan};
use crate::support::nodes::node;
use crate::support::redis::{Proxy, Redis};

/// Clients of three gateways: 80, 15 and 5 of a hundred.
const SPREAD: [usize; 3] = [80, 15, 5];
/// A token's time.
const STEP: Duration = Duration::from_millis(20);
const PLAN: Plan =
    Plan { clients: 0, tokens: 10, pause: Duration::ZERO, stream: None, connection: Connection::Kept };

/// Nodes, Redis with a proxy for each gateway, and the gateways.
struct Fleet {
    redis: Redis,
    proxies: Vec<Proxy>,
    nodes: Vec<Node>,
    gateways: Vec<Gateway>,
    cap: u64,
}

fn conf(nodes: &[Node], cap: u64, redis: &str) -> Conf {
    let mut conf = Conf::new(&[]);
    let node = |node: &Node| format!("{{ address: {}, max_in_flight: {cap} }}", node.addr());
    conf.nodes = nodes.iter().map(node).collect();
    conf.more = format!("cluster:\n  redis: {redis}\n");
    conf
}

impl Fleet {
    /// So many nodes with this cap, whose tokens take 20 ms, and gateways that have joined.
    async fn start(gateways: usize, nodes: usize, cap: u64) -> Self {
        Self::with_step(gateways, nodes, cap, STEP).await
    }

    async fn with_step(gateways: usize, nodes: usize, cap: u64, step: Duration) -> Self {
        let mut fleet = Self::apart_with_step(nodes, cap, step).await;
        for _ in 0..gateways {
            fleet.join().await;
        }
        fleet.until_settled().await;
        fleet
    }

    async fn apart(nodes: usize, cap: u64) -> Self {
        Self::apart_with_step(nodes, cap, STEP).await
    }

    async fn apart_with_step(nodes: usize, cap: u64, step: Duration) -> Self {
        let redis = Redis::start().await;
        let name = |number| format!("n{number}");
        let nodes = (0..nodes).map(|number| node(&name(number), step)).collect();
        Self { redis, proxies: Vec::new(), nodes, gateways: Vec::new(), cap }
    }

    /// One more gateway, with a way of its own to Redis.
    async fn join(&mut self) {
        let proxy = Proxy::start(self.redis.address).await;
        let conf = conf(&self.nodes, self.cap, &proxy.url());
        self.proxies.push(proxy);
        self.gateways.push(Gateway::start(conf).await);
    }

    async fn until_settled(&self) {
        for gateway in &self.gateways {
            gateway.until_status("it has joined", |status| is_settled(status, self.gateways.len())).await;
        }
    }

    /// Clients at work, as they are spread.
    fn load(&self, clients: [usize; 3]) -> Vec<Load> {
        let loads = self.gateways.iter().zip(clients);
        loads.map(|(gateway, clients)| Load::start(gateway.address(), Plan { clients, ..PLAN })).collect()
    }

    /// No node ever had more requests than its cap, and all of them had as many.
    fn check_caps(&self) {
        let most: Vec<_> = self.nodes.iter().map(|node| node.stats().most).collect();
        assert_eq!(most, vec![self.cap; self.nodes.len()], "the most requests at a time");
    }

    /// The requests that each node has served.
    fn served(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.stats().succeeded).collect()
    }
}

fn is_settled(status: &Value, members: usize) -> bool {
    let cluster = &status["cluster"];
    cluster["state"] == "joined"
        && cluster["settled"] == true
        && cluster["members"].as_array().is_some_and(|list| list.len() == members)
}

/// Ends the load. Returns the number of requests of each; none may have failed.
async fn finish(loads: Vec<Load>) -> Vec<u64> {
    let mut all = Vec::new();
    for load in loads {
        let (done, failures) = load.finish().await;
        assert!(failures.is_empty(), "{} of {done} failed: {:?}", failures.len(), &failures[..1]);
        all.push(done);
    }
    all
}

fn done(loads: &[Load]) -> u64 {
    loads.iter().map(Load::done).sum()
}
