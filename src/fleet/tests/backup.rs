//! Backups: used while no other node can be had.

use super::super::Order;
use super::*;

/// `a` and `b`, for which `c` and `d` stand in.
fn bench(change: impl FnOnce(&mut config::Pool)) -> Bench {
    let mut conf = conf(nodes(4));
    conf.nodes[2..].iter_mut().for_each(|node| node.backup = true);
    change(&mut conf);
    Bench::of(conf)
}

/// The nodes of so many requests at a time.
fn used(bench: &Bench, count: usize) -> String {
    let leases: Vec<_> = (0..count).map_while(|_| bench.lease().ok()).collect();
    let mut names: Vec<_> = leases.iter().map(|lease| lease.node().name.to_string()).collect();
    names.sort();
    names.dedup();
    names.concat()
}

fn key(bench: &Bench, name: &str) -> Key {
    bench.keys().into_iter().find(|(_, other)| other == name).expect("a node").0
}

#[test]
fn a_backup_is_used_while_no_other_is_up() {
    let mut bench = bench(|_| {});
    assert_eq!(used(&bench, 20), "ab");
    bench.fail("a", 5);
    assert_eq!(used(&bench, 20), "b");
    bench.fail("b", 5);
    assert_eq!(used(&bench, 20), "cd");
    bench.pass(30.0);
    bench.ask(true);
    assert_eq!(used(&bench, 20), "abcd", "each gets its probe, and the others go on");
    for name in ["a", "b"] {
        bench.serve(name);
    }
    bench.pass(60.0);
    assert_eq!(used(&bench, 20), "ab");
}

#[test]
fn every_policy_keeps_them_out() {
    for balance in [Balance::LeastInFlight, Balance::RoundRobin, Balance::Random, Balance::Affinity] {
        let bench = bench(|conf| conf.balance = balance);
        for affinity in [None, Some(7)] {
            let leases: Vec<_> = (0..20)
                .map(|_| {
                    bench
                        .pool
                        .lease_by(Profile { affinity, ..Profile::default() }, &[], bench.now)
                        .expect("a node")
                })
                .collect();
            assert!(leases.iter().all(|lease| ["a", "b"].contains(&&*lease.node().name)), "{balance:?}");
        }
    }
}

/// A full node is no failed one: what is to be done with too many requests is the queue's business.
#[test]
fn requests_wait_for_a_node_that_is_full() {
    let bench =
        bench(|conf| conf.nodes[..2].iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Fixed(1)));
    let _both = (bench.on("a"), bench.on("b"));
    assert_eq!(bench.lease().err(), Some(Refusal::Full));
}

#[test]
fn what_failed_a_request_keeps_no_backup_from_it() {
    let bench = bench(|_| {});
    let tried = [key(&bench, "a"), key(&bench, "b")];
    assert_eq!(*bench.pool.lease(&tried[..1], bench.now).expect("b").node().name, *"b");
    let stands_in = bench.pool.lease(&tried, bench.now).expect("a backup");
    assert!(["c", "d"].contains(&&*stands_in.node().name));
    let all = [&tried[..], &[key(&bench, "c"), key(&bench, "d")]].concat();
    assert_eq!(bench.pool.lease(&all, bench.now).err(), Some(Refusal::AllTried));
}

#[test]
fn those_that_wait_for_a_full_node_go_to_a_backup_when_it_fails() {
    let bench = bench(|conf| {
        conf.nodes[..2].iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Fixed(1));
        conf.nodes[1].drain = true;
    });
    let _busy = bench.on("a");
    let mut waiting = None;
    let mut ask = || {
        let want = Want::other_than(Vec::new());
        let ask = Ask {
            want,
            admission: Admission::Below(9),
            profile: Profile::default(),
            news: bench.pool.news(),
        };
        bench.pool.wait(&mut waiting, ask, bench.now).expect("any node")
    };
    assert_eq!(ask().err(), Some(Refusal::Full));
    bench.pool.obey("a", Order::Eject(Some(seconds(60.0))), bench.now).expect("a node");
    let found = ask().expect("a backup");
    assert!(["c", "d"].contains(&&*found.node().name));
}

/// A node that has just come back has a part of its slots: the others may wait, or go to a backup, which is there.
#[test]
fn a_node_in_slow_start_is_helped_out() {
    let mut bench = bench(|conf| {
        conf.nodes[..2].iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Fixed(40));
        conf.nodes[1].drain = true;
    });
    bench.fail("a", 5);
    bench.pass(30.0);
    bench.ask(true);
    bench.serve("a");
    assert!(bench.is_up("a"));
    let names: Vec<_> = (0..10).map(|_| bench.lease().expect("a node")).collect();
    let on_a = names.iter().filter(|lease| *lease.node().name == *"a").count();
    assert!((1..10).contains(&on_a), "{on_a}");
}

#[test]
fn a_reload_makes_a_node_a_backup_and_back() {
    let mut bench = bench(|_| {});
    for (backup, want) in [("abd", "c"), ("ab", "cd"), ("cd", "ab"), ("", "abcd")] {
        bench.conf.nodes.iter_mut().for_each(|node| node.backup = backup.contains(&node.name));
        bench.pool.configure(&bench.conf, bench.now);
        assert_eq!(used(&bench, 20), want, "{backup}");
        assert_eq!(bench.snapshot("a").is_backup, backup.contains('a'));
    }
}
