//! Requests with a key, in a pool that chooses by it.

use super::*;
use crate::fleet::{Admission, Ask, Profile, Want};

fn by(key: u64) -> Profile {
    Profile { affinity: Some(key), ..Profile::default() }
}

impl Bench {
    fn by_hash(count: usize, change: impl FnOnce(&mut config::Pool)) -> Self {
        let mut conf = conf(nodes(count));
        conf.balance = Balance::Affinity;
        change(&mut conf);
        Self::of(conf)
    }

    fn by_key(&self, key: u64, tried: &[Key]) -> Lease {
        self.pool.lease_by(by(key), tried, self.now).expect("a node")
    }

    fn homes(&self) -> Vec<String> {
        (0..200).map(|key| self.by_key(key, &[]).node().name.to_string()).collect()
    }
}

#[test]
fn requests_with_one_key_go_to_one_node_in_every_gateway() {
    let (one, other) = (Bench::by_hash(4, |_| {}), Bench::by_hash(4, |conf| conf.nodes.reverse()));
    assert_eq!(one.homes(), other.homes());
    assert_eq!(one.homes(), one.homes());
    for name in ["a", "b", "c", "d"] {
        let count = one.homes().iter().filter(|home| **home == name).count();
        assert!((30..=70).contains(&count), "{name}: {count} of 200");
    }
    let plain = Bench::new(4);
    let spread: Vec<_> = (0..4).map(|_| plain.by_key(7, &[]).node().name.to_string()).collect();
    assert_eq!(spread, ["a", "b", "c", "d"], "other policies do not look at it");
    let keyless: Vec<_> = (0..4).map(|_| one.lease().expect("a node").node().name.to_string()).collect();
    assert_eq!(keyless.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "without a key, by load");
}

#[test]
fn a_node_that_leaves_and_comes_back_moves_its_own_sessions_alone() {
    let mut bench = Bench::by_hash(4, |conf| conf.health.slow_start = Duration::ZERO);
    let before = bench.homes();
    let all = bench.conf.nodes.clone();
    bench.conf.nodes.remove(1);
    bench.pool.configure(&bench.conf, bench.now);
    let without = bench.homes();
    for (before, after) in before.iter().zip(&without) {
        assert_eq!(before == after, before != "b");
    }
    bench.conf.nodes = all;
    bench.pool.configure(&bench.conf, bench.now);
    assert_eq!(bench.homes(), before);
}

#[test]
fn a_retry_and_a_full_node_lead_to_the_next_by_hash() {
    let bench = Bench::by_hash(4, |conf| {
        conf.nodes.iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Fixed(1))
    });
    for key in 0..50 {
        let home = bench.by_key(key, &[]);
        let next = bench.by_key(key, &[]).node().name.clone();
        let tried = home.key();
        drop(home);
        assert_eq!(bench.by_key(key, &[tried]).node().name, next);
    }
}

/// No slot is left unused because it is on the wrong node.
#[test]
fn a_slot_that_comes_back_goes_to_the_first_in_line_wherever_its_home_is() {
    let bench = Bench::by_hash(2, |conf| {
        conf.nodes.iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Fixed(1))
    });
    let of_b = (0..).find(|key| &*bench.by_key(*key, &[]).node().name == "b");
    let (on_a, _on_b) = (bench.on("a"), bench.on("b"));
    let ask = || Ask {
        want: Want::other_than(Vec::new()),
        admission: Admission::Below(9),
        profile: of_b.map(by).unwrap_or_default(),
        news: bench.pool.news(),
    };
    let mut waiter = None;
    let mut find = || bench.pool.wait(&mut waiter, ask(), bench.now).expect("any node");
    assert_eq!(find().err(), Some(Refusal::Full));
    drop(on_a);
    assert_eq!(&*find().expect("a slot").node().name, "a");
}

/// A pass looks at one request of each kind: a thousand sessions that wait are one kind.
#[test]
fn waiting_requests_are_of_one_kind_whatever_their_keys() {
    let bench = Bench::by_hash(2, |conf| {
        conf.nodes.iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Fixed(1))
    });
    let held = [bench.on("a"), bench.on("b")];
    let mut waiters: Vec<_> = (0..20).map(|_| None).collect();
    for (key, waiter) in (0..).zip(&mut waiters) {
        let want = Want::other_than(Vec::new());
        let ask = Ask { want, admission: Admission::Below(99), profile: by(key), news: bench.pool.news() };
        assert!(matches!(bench.pool.wait(waiter, ask, bench.now), Some(Err(Refusal::Full))));
    }
    assert_eq!((bench.queue(), bench.pool.table().queue.heads().concat().len()), (20, 1));
    drop(held);
    assert_eq!(bench.queue(), 18);
}
