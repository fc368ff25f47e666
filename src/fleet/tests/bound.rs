//! Requests that one node alone can serve.

use super::*;
use crate::fleet::StoredId;

impl Bench {
    fn key(&self, name: &str) -> Key {
        self.keys().into_iter().find(|(_, other)| other == name).expect("a node").0
    }

    /// Leases this node, as a request does that has not been told anything by it.
    fn bound(&self, key: Key) -> Option<Result<Lease, Refusal>> {
        self.lease_on(key, false, false)
    }

    fn refused(&self, key: Key, is_last_chance: bool) -> Refusal {
        let taken = self.lease_on(key, false, is_last_chance);
        taken.expect("it is in the pool").expect_err("it cannot be had")
    }
}

#[test]
fn a_stored_response_is_known_as_long_as_its_node_is_in_the_config() {
    let bench = Bench::new(3);
    let ids = ["r1", "r2", "r3"].map(StoredId::of);
    let keys = ["a", "b", "c"].map(|name| bench.key(name));
    ids.iter().zip(keys).for_each(|(id, key)| bench.pool.store(*id, key));
    let known = || ids.map(|id| bench.pool.stored(id));
    assert_eq!(known(), keys.map(Some));
    assert_eq!(bench.pool.stored(StoredId::of("r4")), None);
    let lease = bench.on("b");
    let mut conf = bench.conf.clone();
    conf.nodes = vec![node("c", "10.0.0.1", 3), node("a", "10.0.0.9", 1)];
    bench.pool.configure(&conf, bench.now);
    assert_eq!(
        known(),
        [None, None, Some(keys[2])],
        "one has moved, one is gone with a request left, one stays"
    );
    conf.nodes.push(node("b", "10.0.0.1", 2));
    bench.pool.configure(&conf, bench.now);
    assert_eq!(known(), [None, Some(keys[1]), Some(keys[2])], "it came back before that had ended");
    drop(lease);
}

#[test]
fn a_bound_request_goes_to_its_node_whatever_the_load_and_though_it_drains() {
    let bench = Bench::new(2);
    let key = bench.key("a");
    let leases: Vec<_> = (0..5).map(|_| bench.bound(key).expect("a node").expect("a slot")).collect();
    assert!(leases.iter().all(|lease| lease.key() == key));
    assert_eq!(bench.snapshot("a").in_flight, 5);
    let mut conf = bench.conf.clone();
    conf.nodes[0].drain = true;
    bench.pool.configure(&conf, bench.now);
    assert!(bench.try_on("a").is_err(), "it drains");
    drop(bench.bound(key).expect("a node").expect("what is bound to it goes on"));
    conf.nodes.remove(0);
    bench.pool.configure(&conf, bench.now);
    assert!(bench.bound(key).is_none(), "removed, though it has requests");
    drop(leases);
    assert!(bench.bound(key).is_none());
    let other = bench.key("b");
    bench.pool.retire(bench.now);
    assert_eq!(bench.refused(other, true), Refusal::Retired);
}

#[test]
fn a_bound_request_waits_for_a_slot_and_for_a_return() {
    let mut conf = conf(nodes(2));
    conf.nodes[0].max_in_flight = MaxInFlight::Fixed(1);
    let mut bench = Bench::of(conf);
    let key = bench.key("a");
    let lease = bench.bound(key).expect("a node").expect("a slot");
    assert_eq!(bench.refused(key, true), Refusal::Full, "also at the last chance");
    lease.settle(Outcome::Connect, bench.now);
    let until = Some(bench.now + seconds(1.0));
    assert_eq!(bench.refused(key, true), Refusal::Unreachable { until });
    bench.pass(1.0);
    bench.fail("a", 4);
    assert_eq!(bench.state("a"), NodeState::Ejected);
    assert_eq!(bench.refused(key, false), Refusal::Unreachable { until: None });
    let last = bench.lease_on(key, false, true).expect("a node");
    drop(last.expect("it is ejected, but there is no other"));
    bench.fail("b", 5);
    drop(bench.bound(key).expect("a node").expect("no node is up: the last resort, as for any request"));
}

#[test]
fn a_bound_request_takes_its_turn_in_the_line() {
    let mut bench = Bench::new(2);
    let key = bench.key("a");
    let full = bench.on("a");
    full.busy(None, bench.now);
    full.settle(Outcome::Busy, bench.now);
    let ask = |bench: &Bench| bench.lease_on(key, true, false).expect("a node");
    assert_eq!(ask(&bench).expect_err("its time is not over"), Refusal::Full);
    bench.pass(1.0);
    let first = ask(&bench).expect("one asks");
    assert_eq!(ask(&bench).expect_err("one only"), Refusal::Full);
    drop(first);
}
