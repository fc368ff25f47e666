//! Reloads: nodes that stay, join, leave or drain; reused places; host names; removed pools.

use super::*;
use crate::fleet::{Change, Fleet};

fn rename(bench: &mut Bench, names: &[&str]) -> Vec<Event> {
    bench.conf.nodes =
        names.iter().map(|name| node(name, "10.0.0.1", u16::from(name.as_bytes()[0] - b'a') + 1)).collect();
    bench.pool.configure(&bench.conf, bench.now)
}

#[test]
fn counts_and_health_stay_with_the_identity() {
    let mut bench = Bench::new(3);
    let held: Vec<_> = (0..6).map(|_| bench.lease().expect("a node")).collect();
    bench.fail("a", 5);
    bench.fail("b", 3);
    let events = rename(&mut bench, &["c", "b", "a"]);
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(bench.state("a"), NodeState::Ejected);
    assert_eq!(bench.snapshot("b").recent_failures, 3);
    assert!(["a", "b", "c"].into_iter().all(|name| bench.snapshot(name).in_flight == 2));
    drop(held);
    assert!(bench.pool.is_idle());
}

#[test]
fn another_address_is_another_node() {
    let mut bench = Bench::new(2);
    bench.fail("a", 5);
    bench.conf.nodes[0].address = "10.0.0.1:99".parse().expect("an address");
    let events = bench.pool.configure(&bench.conf, bench.now);
    let changes: Vec<_> = events.iter().map(|event| event.change.clone()).collect();
    assert_eq!(changes, [Change::Draining, Change::Joined]);
    assert!(bench.is_up("a"));
}

#[test]
fn a_node_that_joins_starts_slowly() {
    let mut bench = Bench::new(2);
    let mut held: Vec<_> = (0..100).map(|_| bench.lease().expect("a node")).collect();
    rename(&mut bench, &["a", "b", "c"]);
    held.extend((0..50).map(|_| bench.lease().expect("a node")));
    assert!(bench.snapshot("c").in_flight <= 4, "a twentieth");
    bench.pass(10.0);
    held.extend((0..50).map(|_| bench.lease().expect("a node")));
    assert!(bench.snapshot("c").in_flight > 40);
}

#[test]
fn a_removed_node_finishes_what_it_has() {
    let mut bench = Bench::new(2);
    let last = bench.on("a");
    rename(&mut bench, &["b"]);
    assert_eq!(bench.state("a"), NodeState::Draining);
    let held: Vec<_> = (0..10).map(|_| bench.lease().expect("b")).collect();
    assert!(held.iter().all(|lease| *lease.node().name == *"b"));
    last.settle(Outcome::Ok, bench.now);
    assert_eq!(bench.keys().len(), 1, "gone with its last request");
}

#[test]
fn a_drained_node_finishes_and_stays() {
    let mut bench = Bench::new(2);
    let last = bench.on("a");
    bench.conf.nodes[0].drain = true;
    let events = bench.pool.configure(&bench.conf, bench.now);
    assert_eq!(events.iter().map(|event| event.change.clone()).collect::<Vec<_>>(), [Change::Draining]);
    assert!(bench.pool.configure(&bench.conf, bench.now).is_empty(), "reported once");
    assert!(bench.try_on("a").is_err());
    drop(last);
    assert_eq!(bench.state("a"), NodeState::Draining);
    bench.conf.nodes[0].drain = false;
    bench.pool.configure(&bench.conf, bench.now);
    drop(bench.on("a"));
}

#[test]
fn leases_and_answers_of_a_removed_node_do_nothing() {
    let mut bench = Bench::new(2);
    let charge = bench.once("a", Outcome::Http5xx).expect("charged");
    let key = bench.keys()[0].0;
    bench.fail("a", 4);
    bench.at(30.0);
    let question = bench.questions(QuestionKind::Back).remove(0);
    rename(&mut bench, &["b"]);
    rename(&mut bench, &["b", "c"]);
    let (reused, name) = bench.keys().into_iter().find(|(k, _)| k.place == key.place).expect("reused");
    assert_eq!(name, "c");
    assert_ne!(reused, key);
    bench.fail("c", 4);
    assert!(bench.pool.reinstate(charge, bench.now).is_none());
    assert!(bench.pool.withdraw(charge, bench.now).is_none());
    assert!(bench.pool.answer(&question, true, bench.now).is_none());
    assert!(bench.pool.resolved(key, "10.9.9.9:1".parse().ok(), bench.now).is_none());
    assert!(bench.is_up("c"));
    assert_eq!(bench.snapshot("c").recent_failures, 4);
    let lease = bench.pool.lease(&[key, bench.keys()[1].0], bench.now).expect("a stale key excludes no node");
    assert_eq!(lease.key(), reused);
    assert_eq!(lease.address().ip().to_string(), "10.0.0.1");
}

#[test]
fn leases_outlive_any_number_of_reloads() {
    let mut bench = Bench::new(1);
    let mut held = Vec::new();
    for round in 0..20_u8 {
        let name = char::from(b'a' + round).to_string();
        rename(&mut bench, &[&name]);
        held.push(bench.lease().expect("the only one"));
        assert_eq!(*held.last().unwrap().node().name, *name);
    }
    held.drain(..).for_each(|lease| drop(lease.settle(Outcome::Reset, bench.now)));
    assert_eq!(bench.keys().len(), 1);
    assert!(bench.pool.is_idle());
}

fn named() -> Bench {
    let mut nodes = nodes(1);
    nodes.push(node("n", "somewhere", 80));
    Bench::of(conf(nodes))
}

#[test]
fn a_node_whose_name_does_not_resolve_starts_ejected() {
    let mut bench = named();
    assert_eq!(bench.state("n"), NodeState::Ejected);
    assert_eq!(bench.snapshot("n").ejections, 0, "a node never resolved does not count as ejected");
    bench.fail("a", 5);
    for at in [0.0, 1.0, 30.0, 60.0] {
        bench.at(at);
        assert!(!bench.ask(false).contains(&"n".to_owned()), "there is no address to ask");
        assert!(bench.try_on("n").is_err());
    }
}

#[test]
fn a_node_whose_name_resolves_is_used() {
    let bench = named();
    let (key, id) = bench.pool.names().remove(0);
    assert_eq!(*id.name, *"n");
    assert!(bench.pool.resolved(key, None, bench.now).is_none());
    assert!(bench.pool.resolved(key, "10.1.1.1:80".parse().ok(), bench.now).is_some());
    assert_eq!(bench.on("n").address().to_string(), "10.1.1.1:80");
    bench.pool.resolved(key, "10.1.1.2:80".parse().ok(), bench.now);
    assert_eq!(bench.on("n").address().to_string(), "10.1.1.2:80");
    bench.pool.resolved(key, None, bench.now);
    assert_eq!(bench.on("n").address().to_string(), "10.1.1.2:80", "the last address stays in use");
}

#[test]
fn a_new_address_does_not_end_an_ejection() {
    let mut bench = named();
    let (key, _) = bench.pool.names().remove(0);
    bench.pool.resolved(key, "10.1.1.1:80".parse().ok(), bench.now);
    bench.pass(10.0);
    bench.fail("n", 5);
    bench.pool.resolved(key, "10.1.1.1:80".parse().ok(), bench.now);
    assert_eq!(bench.state("n"), NodeState::Ejected);
}

fn fleet_of(names: &[&str]) -> config::Config {
    let text = "server: { listen: 127.0.0.1:9999 }\npools: { x: { nodes: [127.0.0.1:1] } }";
    let mut config = config::Config::parse(text, "test").expect("valid");
    config.pools = names.iter().map(|name| config::Pool { name: (*name).into(), ..conf(nodes(2)) }).collect();
    config
}

/// Replaces the fleet as a reload does.
fn reload(from: &Fleet, names: &[&str], now: Instant) -> Fleet {
    let next = from.next(fleet_of(names), now);
    next.removed.iter().for_each(|pool| drop(pool.retire(now)));
    next.fleet
}

#[test]
fn a_pool_that_leaves_and_comes_back_keeps_its_counts() {
    let now = Instant::now();
    let first = Fleet::first(fleet_of(&["x", "y"]), now);
    let held = first.pools[1].pool.lease(&[], now).expect("a node");
    let second = reload(&first, &["x"], now);
    assert_eq!(second.leaving().count(), 1);
    assert!(first.pools[1].pool.lease(&[], now).is_err(), "a pool that leaves takes nothing new");
    let third = reload(&second, &["x", "y"], now);
    let counts = |fleet: &Fleet| {
        let snapshot = fleet.pools[1].pool.snapshot(now);
        snapshot.nodes.iter().map(|node| node.in_flight).sum::<u32>()
    };
    assert_eq!(counts(&third), 1);
    assert_eq!(third.leaving().count(), 0);
    drop(held);
    assert_eq!(counts(&third), 0);
    let fourth = reload(&third, &["x"], now);
    assert_eq!((fourth.leaving().count(), fourth.live().count()), (0, 1), "idle");
    assert!(
        reload(&fourth, &["x", "y"], now).pools[1].pool.lease(&[], now).is_ok(),
        "a new pool of that name"
    );
}

/// A request that arrives between the two steps is counted, and its pool is listed.
#[test]
fn a_removed_pool_takes_requests_until_it_is_retired() {
    let now = Instant::now();
    let first = Fleet::first(fleet_of(&["x", "y"]), now);
    let next = first.next(fleet_of(&["x"]), now);
    let pool = &first.pools[1].pool;
    let last = pool.lease(&[], now).expect("the generation without the pool is not in use yet");
    next.removed.iter().for_each(|pool| drop(pool.retire(now)));
    assert_eq!(pool.lease(&[], now).expect_err("the new generation is in use"), Refusal::Retired);
    assert_eq!(next.fleet.leaving().count(), 1);
    drop(last);
    assert_eq!(next.fleet.leaving().count(), 1, "its last counts are shown until the next reload");
    assert_eq!(reload(&next.fleet, &["x"], now).leaving().count(), 0);
}
