//! The merge of lists: who wins, who is left out, what a reload keeps.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::config::{Ask, Config, MaxInFlight, Weight};

const LISTEN: &str = "server: { listen: 127.0.0.1:1 }\n";

/// A pool with these further keys, and sources `dns a:8000`, `srv _x._tcp.b` and `file /f`.
fn pool(keys: &str) -> config::Pool {
    let sources = "sources: [{ dns: a:8000 }, { srv: _x._tcp.b }, { file: /f }]";
    let text = format!("{LISTEN}pools: {{ p: {{ {sources}, {keys} }} }}");
    Config::parse(&text, "a test").expect("a valid config").pools.remove(0)
}

fn dns() -> Origin {
    Origin::Dns(Ask::Addresses { name: "a".into(), port: 8000 })
}

fn srv() -> Origin {
    Origin::Dns(Ask::Services { name: "_x._tcp.b".into() })
}

fn at(address: &str) -> FoundNode {
    FoundNode::at(address.parse().expect("an address"))
}

fn named(name: &str, address: &str) -> FoundNode {
    FoundNode { name: Some(name.to_owned()), ..at(address) }
}

fn names(nodes: &[Node]) -> Vec<&str> {
    nodes.iter().map(|node| &*node.name).collect()
}

fn whys(merged: &Merged) -> Vec<String> {
    merged.left_out.iter().map(|one| format!("{} {}: {}", one.origin, one.address, one.why)).collect()
}

#[test]
fn the_config_goes_first_then_each_source_in_its_order() {
    let now = Instant::now();
    let mut sources = Sources::of(&pool("nodes: [{ name: x, address: h:1 }, h:2]"), now);
    sources.set(&srv(), vec![at("h:3"), at("h:1"), named("h:2", "h:9"), named("x", "h:4")], now);
    sources.set(&dns(), vec![at("h:5"), at("h:3")], now);
    let merged = sources.merge();
    assert_eq!(names(&merged.nodes), ["x", "h:2", "h:5", "h:3"]);
    let origins: Vec<_> = merged.nodes.iter().map(|node| node.origin.to_string()).collect();
    assert_eq!(origins, ["config", "config", "dns a:8000", "dns a:8000"]);
    assert_eq!(
        whys(&merged),
        [
            "srv _x._tcp.b h:3: the pool has a node with this address already",
            "srv _x._tcp.b h:1: the pool has a node with this address already",
            "srv _x._tcp.b h:9: the pool has a node with the name `h:2` already",
            "srv _x._tcp.b h:4: the pool has a node with the name `x` already",
        ]
    );
    assert!(sources.merge().left_out.is_empty(), "told once");
    sources.set(&dns(), vec![at("h:3")], now);
    assert!(whys(&sources.merge()).is_empty(), "none of them is new");
    sources.set(&dns(), vec![], now);
    assert_eq!(names(&sources.merge().nodes), ["x", "h:2", "h:3"], "the next source has it too");
}

#[test]
fn a_found_node_is_checked_and_has_the_usual_settings() {
    let conf = pool("weight: 3, max_in_flight: 5, nodes: []");
    let mut sources = Sources::of(&conf, Instant::now());
    let own = FoundNode { weight: Some(Weight::Fixed(2.0)), backup: true, ..at("h:2") };
    let list = vec![at("h:1"), own, at("127.0.0.1:1"), at("localhost:1"), named("a b", "h:3")];
    sources.set(&dns(), list, Instant::now());
    let merged = sources.merge();
    let settings: Vec<_> =
        merged.nodes.iter().map(|node| (node.weight, node.max_in_flight, node.backup)).collect();
    let cap = MaxInFlight::Fixed(5);
    assert_eq!(settings, [(Weight::Fixed(3.0), cap, false), (Weight::Fixed(2.0), cap, true)]);
    assert_eq!(
        whys(&merged),
        [
            "dns a:8000 127.0.0.1:1: 127.0.0.1:1 leads back to the gateway, which listens on 127.0.0.1:1",
            "dns a:8000 localhost:1: localhost:1 leads back to the gateway, which listens on 127.0.0.1:1",
            "dns a:8000 h:3: `a b` is not a name; use 1 to 128 of A-Z a-z 0-9 . _ : [ ] -",
        ]
    );
}

#[test]
fn a_pool_has_no_more_nodes_than_it_may() {
    let mut sources = Sources::of(&pool("nodes: [h:1]"), Instant::now());
    let many = |from: u16, count: u16| (from..from + count).map(|port| at(&format!("g:{port}"))).collect();
    sources.set(&dns(), many(1, 4000), Instant::now());
    sources.set(&srv(), many(4001, 100), Instant::now());
    let merged = sources.merge();
    assert_eq!((merged.nodes.len(), merged.left_out.len()), (4096, 5));
    assert_eq!(
        whys(&merged)[0],
        "srv _x._tcp.b g:4096: the pool has 4096 nodes already, the most that it can"
    );
}

#[test]
fn a_reload_keeps_what_sources_that_stay_have_found() {
    let now = Instant::now();
    let mut sources = Sources::of(&pool("nodes: [h:1]"), now);
    sources.set(&dns(), vec![at("h:2")], now);
    sources.set(&srv(), vec![at("h:3")], now);
    let mut next = pool("weight: 7, nodes: [h:3, h:4]");
    next.sources.rotate_left(1);
    next.sources.retain(|source| source.origin() != dns());
    sources.configure(&next);
    let merged = sources.merge();
    assert_eq!(names(&merged.nodes), ["h:3", "h:4"]);
    assert!(
        merged.nodes.iter().all(|node| node.origin == Origin::Config && node.weight == Weight::Fixed(7.0))
    );
    assert_eq!(merged.left_out.len(), 1, "now the config has it");
    assert_eq!(sources.set(&dns(), vec![at("h:2")], now), None, "the pool has no such source");
    sources.configure(&pool("nodes: [h:1]"));
    assert_eq!(names(&sources.merge().nodes), ["h:1", "h:3"], "what was removed has been forgotten");
}

#[test]
fn a_failure_keeps_the_last_nodes_and_is_told_once() {
    let now = Instant::now();
    let later = now + Duration::from_secs(60);
    let trouble = |text: &str| Trouble(text.into());
    let mut sources = Sources::of(&pool("nodes: []"), now);
    assert_eq!(sources.fail(&dns(), trouble("gone"), now), Some(true));
    assert!(sources.merge().nodes.is_empty() && !sources.has_heard(&dns()));
    let heard = sources.set(&dns(), vec![at("h:1")], now);
    assert_eq!(heard, Some(Heard { begins: true, is_new: true, is_back: true }));
    let told: Vec<_> = ["gone", "gone", "slow", "slow"]
        .into_iter()
        .map(|text| sources.fail(&dns(), trouble(text), now))
        .collect();
    assert_eq!(told, [Some(true), Some(false), Some(true), Some(false)]);
    assert_eq!(names(&sources.merge().nodes), ["h:1"]);
    let [dns_state, ..] = &sources.snapshot(later)[..] else { panic!("three sources") };
    assert_eq!((dns_state.nodes, dns_state.failures), (1, 5));
    assert_eq!(dns_state.trouble, Some((trouble("slow"), Duration::from_secs(60))));
    let heard = sources.set(&dns(), vec![at("h:1")], later);
    assert_eq!(heard, Some(Heard { begins: false, is_new: false, is_back: true }));
    let late = sources.set(&srv(), vec![at("h:2")], later);
    assert!(late.is_some_and(|heard| !heard.begins), "the pool is at work already");
}

fn found() -> impl Strategy<Value = FoundNode> {
    (1..12_u16, prop::option::of(0..6_u8)).prop_map(|(port, name)| {
        let node = at(&format!("h:{port}"));
        FoundNode { name: name.map(|name| format!("n{name}")), ..node }
    })
}

#[derive(Clone, Debug)]
enum Step {
    Set(bool, Vec<FoundNode>),
    Fail(bool),
    Reload(Vec<u16>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<bool>(), prop::collection::vec(found(), 0..12))
            .prop_map(|(which, list)| Step::Set(which, list)),
        any::<bool>().prop_map(Step::Fail),
        prop::collection::btree_set(1..12_u16, 0..6).prop_map(|set| Step::Reload(set.into_iter().collect())),
    ]
}

proptest! {
    /// Whatever the lists: names and addresses are distinct, the config's nodes are all there, and each node found is in use or
    /// left out.
    #[test]
    fn the_list_is_always_valid(steps in prop::collection::vec(step(), 1..12)) {
        let now = Instant::now();
        let mut conf = pool("nodes: []");
        let mut sources = Sources::of(&conf, now);
        let mut lists = [Vec::new(), Vec::new()];
        let mut left_out = HashSet::new();
        for step in steps {
            match step {
                Step::Set(which, list) => {
                    sources.set(&if which { dns() } else { srv() }, list.clone(), now);
                    lists[usize::from(!which)] = list;
                }
                Step::Fail(which) => {
                    sources.fail(&if which { dns() } else { srv() }, Trouble("gone".into()), now);
                }
                Step::Reload(ports) => {
                    let fixed: Vec<_> = ports.iter().map(|port| format!("h:{port}")).collect();
                    conf = pool(&format!("nodes: [{}]", fixed.join(", ")));
                    sources.configure(&conf);
                }
            }
            let merged = sources.merge();
            let distinct: HashSet<_> = merged.nodes.iter().map(|node| &node.name).collect();
            let addresses: HashSet<_> = merged.nodes.iter().map(|node| node.address.clone()).collect();
            prop_assert_eq!((distinct.len(), addresses.len()), (merged.nodes.len(), merged.nodes.len()));
            prop_assert_eq!(&merged.nodes[..conf.nodes.len()], &conf.nodes[..]);
            let state = sources.snapshot(now);
            let all = lists.iter().map(Vec::len).sum::<usize>();
            let out = state.iter().map(|source| source.left_out.len()).sum::<usize>();
            prop_assert_eq!(merged.nodes.len() - conf.nodes.len() + out, all);
            prop_assert!(merged.left_out.iter().all(|one| !left_out.contains(one)), "told once");
            left_out = state.into_iter().flat_map(|source| source.left_out).collect();
            // what is left out has an address or a name that another node has
            for one in &left_out {
                prop_assert!(addresses.contains(&one.address) || one.why.contains("name"));
            }
        }
    }
}
