//! Gateways that work as one: the caps hold, the load is even, nobody waits for an exchange.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Fleet, PLAN, SPREAD, conf, done, finish, is_settled};
use crate::support::client::{Client, chat};
use crate::support::gateway::Gateway;
use crate::support::load::{Load, Plan};
use crate::support::nodes::node;
use crate::support::redis::is_there;
use crate::support::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_keep_the_caps_and_share_the_nodes_evenly() {
    if !is_there() {
        return;
    }
    let fleet = Fleet::start(3, 4, 16).await;
    let loads = fleet.load(SPREAD);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let counts = finish(loads).await;
    fleet.check_caps();
    let served = fleet.served();
    println!("by gateway {counts:?}, by node {served:?}");
    let mean = served.iter().sum::<u64>() as f64 / 4.0;
    for one in &served {
        assert!((*one as f64 / mean - 1.0).abs() < 0.05, "{served:?}");
    }
}
