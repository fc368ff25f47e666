//! Nodes that a source finds and no longer finds, while the config stays.

use super::*;
use crate::config::{DnsSource, FileSource, FoundNode, Origin, Source};
use crate::fleet::{Change, Fleet};

/// The source of all these tests.
fn source() -> Source {
    Source::File(FileSource { path: "/nodes.yaml".into() })
}

fn found(names: &[&str]) -> Vec<FoundNode> {
    let port = |name: &str| 1 + name.as_bytes()[0] - b'a';
    let node = |name: &&str| FoundNode {
        name: Some((*name).to_owned()),
        ..FoundNode::at(format!("10.0.0.1:{}", port(name)).parse().expect("an address"))
    };
    names.iter().map(node).collect()
}

impl Bench {
    /// With these nodes of the config, and a source.
    fn with_source(fixed: usize) -> Self {
        let mut conf = conf(nodes(fixed));
        conf.sources.push(source());
        Self::of(conf)
    }

    /// The source has found these. Returns what has changed.
    fn find(&self, names: &[&str]) -> Vec<(String, Change)> {
        let applied = self.pool.found(&source().origin(), found(names), self.now).expect("its source");
        applied.events.into_iter().map(|event| (event.node.to_string(), event.change)).collect()
    }

    fn names(&self) -> String {
        let mut names: Vec<_> = self.keys().into_iter().map(|(_, name)| name).collect();
        names.sort();
        names.concat()
    }
}

#[test]
fn nodes_that_stay_keep_their_state_and_those_that_leave_finish() {
    let mut bench = Bench::with_source(1);
    assert_eq!(bench.find(&["b", "c"]), ["b", "c"].map(|name| (name.to_owned(), Change::Joined)));
    bench.fail("b", 5);
    let held = [bench.on("a"), bench.on("c")];
    bench.pass(1.0);
    let changes = bench.find(&["b", "d"]);
    assert_eq!(changes, [("c".to_owned(), Change::Draining), ("d".to_owned(), Change::Joined)]);
    assert_eq!((bench.state("b"), bench.state("c")), (NodeState::Ejected, NodeState::Draining));
    assert!(bench.try_on("c").is_err(), "no new requests");
    for lease in held {
        lease.settle(Outcome::Ok, bench.now);
    }
    assert_eq!(bench.names(), "abd", "gone with its last request");
    assert_eq!(bench.find(&["b", "d"]), [], "nothing is new");
    assert_eq!(bench.find(&[]), ["b", "d"].map(|name| (name.to_owned(), Change::Draining)));
    assert_eq!(bench.names(), "a", "those of the config stay");
}

#[test]
fn a_reload_keeps_what_was_found_and_forgets_it_with_its_source() {
    let mut bench = Bench::with_source(1);
    bench.find(&["b"]);
    bench.fail("b", 5);
    bench.conf.health.max_fails = 7;
    assert!(bench.pool.configure(&bench.conf, bench.now).is_empty());
    assert_eq!((bench.names(), bench.state("b")), ("ab".to_owned(), NodeState::Ejected));
    let origins = |bench: &Bench| ["a", "b"].map(|name| bench.snapshot(name).origin.to_string());
    assert_eq!(origins(&bench), ["config", "file /nodes.yaml"]);
    bench.conf.nodes = nodes(2);
    assert!(bench.pool.configure(&bench.conf, bench.now).is_empty(), "it is in the config now, and the same");
    assert_eq!(
        (origins(&bench), bench.state("b")),
        (["config".to_owned(), "config".to_owned()], NodeState::Ejected)
    );
    bench.conf.nodes = nodes(1);
    bench.conf.sources.clear();
    bench.pool.configure(&bench.conf, bench.now);
    assert_eq!(bench.names(), "a");
    assert!(bench.pool.found(&source().origin(), found(&["b"]), bench.now).is_none());
}

#[test]
fn a_pool_begins_with_what_is_found_at_first_and_others_join_slowly() {
    let mut bench = Bench::with_source(0);
    assert_eq!(bench.lease().err(), Some(Refusal::Unreachable { until: None }));
    let mut waiting = bench.waits();
    bench.find(&["b"]);
    assert!(waiting.is_woken());
    let lease = waiting.look(&bench).expect("the node that was found");
    assert_eq!((bench.snapshot("b").share, lease.node().name.as_ref()), (1.0, "b"));
    bench.pass(31.0);
    bench.find(&["b", "c"]);
    assert!(bench.snapshot("c").share < 0.1, "it joins one that is at work");
    let late = Bench { now: bench.now + seconds(60.0), ..Bench::with_source(0) };
    late.find(&["b"]);
    assert!(late.snapshot("b").share < 0.1, "whatever was found until then, requests have waited for it");
}

/// The weight of `a` after a minute of work, with another node that comes and goes all the time, or without.
fn learned(with_change: bool) -> super::super::WeightFrom {
    let auto = |node| config::Node { weight: Weight::Auto, ..node };
    let mut conf = conf(nodes(2).into_iter().map(auto).collect());
    conf.sources.push(source());
    let mut bench = Bench::of(conf);
    for round in 0..600 {
        let (mut a, mut b) = (bench.on("a"), bench.on("b"));
        bench.pass(0.1);
        a.worked(10, bench.now);
        b.worked(5, bench.now);
        if with_change {
            bench.find(if round % 2 == 0 { &["c"] } else { &[] });
        }
        a.settle(Outcome::Ok, bench.now);
        b.settle(Outcome::Ok, bench.now);
        bench.pool.tick(bench.now);
    }
    bench.snapshot("a").weight_from
}

#[test]
fn what_is_learned_of_nodes_that_stay_is_not_interrupted() {
    assert_eq!(learned(true), learned(false));
}

#[test]
fn nothing_is_found_for_a_pool_that_has_been_removed() {
    let bench = Bench::with_source(1);
    bench.find(&["b"]);
    let held = bench.on("b");
    bench.pool.retire(bench.now);
    assert_eq!(bench.find(&["b", "c"]), []);
    assert_eq!(bench.names(), "b", "what was found for a pool that is gone does not join it");
    assert_eq!(bench.lease().err(), Some(Refusal::Retired));
    bench.pool.configure(&bench.conf, bench.now);
    assert_eq!(bench.names(), "abc", "it is back with all of them");
    drop(held);
}

#[test]
fn the_next_generation_has_what_was_found() {
    let text = "server: { listen: 127.0.0.1:1 }\npools: { p: { sources: [{ dns: n:1 }] } }";
    let config = || config::Config::parse(text, "a test").expect("a valid config");
    let now = Instant::now();
    let first = Fleet::first(config(), now);
    let Source::Dns(DnsSource { ask, .. }) = first.pools[0].conf.sources[0].clone() else { panic!("dns") };
    first.pools[0].pool.found(&Origin::Dns(ask), found(&["b"]), now);
    assert_eq!(first.generation, 1, "no reload");
    let next = first.next(config(), now);
    assert!(next.events.is_empty() && next.fleet.generation == 2);
    assert!(next.fleet.pools[0].pool.lease(&[], now).is_ok());
}
