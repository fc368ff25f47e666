//! Turns in the queue: keys that wait are served alike, however many requests each has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evenkeel::sim::Options;
use tokio::task::JoinSet;

use super::{KeyFile, of};
use crate::harness::{Client, Gateway, LIMIT, chat, eventually, nodes_like, pool_of, run, steps};

/// Answers so far, by key.
fn served(gateway: &Gateway, name: &str) -> u64 {
    let usage = gateway.status().keys;
    usage.iter().find(|key| &*key.name == name).map_or(0, |key| key.used.tokens[1])
}

/// Ten clients wait for each of the other key's; without turns the many would get ten times as much.
#[test]
fn two_keys_of_ten_to_one_in_demand_get_as_much() {
    run(async {
        let nodes = nodes_like(1, &Options { step: steps(2), ..Options::default() });
        let file = KeyFile::of(&[("many", ""), ("few", "")]);
        let node = format!("{{ name: a, address: \"{}\", max_in_flight: 2 }}", nodes[0].addr());
        let gateway = Arc::new(Gateway::with(&file.server(), &pool_of("p", &node, "")).await);
        let (stop, mut clients) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for name in [("many", 40), ("few", 4)].into_iter().flat_map(|(name, count)| vec![name; count]) {
            let (gateway, stop) = (Arc::clone(&gateway), Arc::clone(&stop));
            clients.spawn(async move {
                let mut client = Client::h1(&gateway).await;
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.ask(of(name, chat(&gateway, 10, false))).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            });
        }
        eventually(LIMIT, "both wait", || gateway.status().pools[0].queue >= 40).await;
        let before = ["many", "few"].map(|name| served(&gateway, name));
        let since = || [served(&gateway, "many") - before[0], served(&gateway, "few") - before[1]];
        eventually(LIMIT, "a hundred answers", || since().iter().sum::<u64>() >= 1000).await;
        let [many, few] = since();
        stop.store(true, Ordering::Relaxed);
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
        // a slot more or less is two answers
        assert!(many.abs_diff(few) <= 60, "{many} tokens and {few}");
    });
}
