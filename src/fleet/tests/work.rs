//! `least_work`: requests in flight count by their tokens.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::balance::tokens::Size;
use crate::fleet::Profile;

fn of(prompt: u32, limit: Option<u32>) -> Profile {
    Profile { size: Size { prompt, limit }, ..Profile::default() }
}

fn by_work(count: usize) -> config::Pool {
    config::Pool { balance: Balance::LeastWork, ..conf(nodes(count)) }
}

impl Bench {
    fn sized(&self, prompt: u32, limit: Option<u32>) -> Lease {
        self.pool.lease_by(of(prompt, limit), &[], self.now).expect("a node")
    }

    fn work(&self, name: &str) -> Option<u64> {
        self.snapshot(name).work
    }
}

#[test]
fn a_long_prompt_counts_until_its_answer_begins() {
    let bench = Bench::of(by_work(2));
    let mut book = bench.sized(48_000, Some(100));
    let name = book.node().name.to_string();
    let chats: Vec<_> = (0..50).map(|_| bench.sized(250, Some(100))).collect();
    assert!(chats.iter().all(|chat| *chat.node().name != *name), "48,400 tokens are more than 50 of 650");
    assert_eq!(bench.work(&name), Some(48_400));
    book.worked(1, bench.now);
    book.worked(1, bench.now);
    assert_eq!(bench.work(&name), Some(400));
    assert_eq!(*bench.sized(250, Some(100)).node().name, *name);
}

#[test]
fn answers_to_come_count_as_those_that_came() {
    let bench = Bench::of(by_work(1));
    for _ in 0..8 {
        let mut lease = bench.sized(10, Some(1000));
        lease.worked(30, bench.now);
        lease.worked(20, bench.now);
        lease.settle(Outcome::Ok, bench.now);
        // neither says how long an answer is
        bench.sized(10, Some(1000)).settle(Outcome::Http5xx, bench.now);
        let mut untold = bench.sized(10, Some(1000));
        untold.answered(bench.now);
        untold.settle(Outcome::Ok, bench.now);
    }
    let lease = bench.sized(10, Some(1000));
    assert_eq!(bench.work("a"), Some(10 + 4 * 50));
    drop(lease);
    assert_eq!(bench.work("a"), Some(0));
}

#[test]
fn a_reload_may_turn_it_on_and_off_under_load() {
    let mut bench = Bench::new(2);
    let mut before = vec![bench.sized(100, None), bench.sized(100, None)];
    assert_eq!(bench.work("a"), None);
    bench.pool.configure(&by_work(2), bench.now);
    let during = vec![bench.sized(100, Some(0)), bench.sized(100, Some(0))];
    assert_eq!([bench.work("a"), bench.work("b")], [Some(100), Some(100)]);
    before.iter_mut().for_each(|lease| lease.worked(5, bench.now));
    drop(before);
    assert_eq!([bench.work("a"), bench.work("b")], [Some(100), Some(100)], "those before have no part");
    bench.pool.configure(&bench.conf, bench.now);
    bench.pass(1.0);
    bench.pool.tick(bench.now);
    bench.pool.configure(&by_work(2), bench.now);
    drop(during);
    assert_eq!([bench.work("a"), bench.work("b")], [Some(0), Some(0)]);
}

proptest! {
    #[test]
    fn equal_requests_go_where_the_least_in_flight_would(
        steps in vec(prop_oneof![3 => Just(None), 2 => any::<usize>().prop_map(Some)], 1..200),
        weights in vec(proptest::sample::select(vec![1.0, 2.0, 0.5]), 1..6),
    ) {
        let bench = |mut conf: config::Pool| {
            for (node, weight) in conf.nodes.iter_mut().zip(&weights) {
                node.weight = Weight::Fixed(*weight);
            }
            Bench::of(conf)
        };
        let (by_count, by_work) = (bench(conf(nodes(weights.len()))), bench(by_work(weights.len())));
        // the usual work is known from here on
        let first = [by_count.sized(0, None), by_work.sized(64, Some(0))];
        prop_assert_eq!(&first[0].node().name, &first[1].node().name);
        by_work.pool.tick(by_work.now);
        let mut held = vec![first];
        for step in steps {
            match step {
                Some(which) if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                _ => {
                    let leases = [by_count.sized(0, None), by_work.sized(64, Some(0))];
                    prop_assert_eq!(&leases[0].node().name, &leases[1].node().name);
                    held.push(leases);
                }
            }
        }
    }

    /// However requests end, and on whatever they wait.
    #[test]
    fn no_work_is_left_behind(
        steps in vec((0_u32..5000, any::<Option<u16>>(), 0_u8..6, any::<usize>()), 1..120),
    ) {
        let mut conf = by_work(3);
        conf.nodes.iter_mut().for_each(|node| node.max_in_flight = MaxInFlight::Fixed(4));
        let bench = Bench::of(conf);
        let mut held: Vec<Lease> = Vec::new();
        let mut waiting: Vec<Option<Box<crate::fleet::Waiter>>> = Vec::new();
        for (prompt, limit, what, which) in steps {
            let profile = of(prompt, limit.map(u32::from));
            match what {
                0 if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                1 if !held.is_empty() => {
                    drop(held.swap_remove(which % held.len()).settle(Outcome::ALL[which % Outcome::ALL.len()], bench.now));
                }
                2 if !held.is_empty() => {
                    let place = which % held.len();
                    held[place].worked(u64::from(prompt), bench.now);
                }
                3 if !waiting.is_empty() => drop(waiting.swap_remove(which % waiting.len())),
                _ => {
                    let want = Want::other_than(Vec::new());
                    let ask = Ask { want, admission: Admission::Repeated, profile, news: bench.pool.news() };
                    let mut waiter = None;
                    held.extend(bench.pool.wait(&mut waiter, ask, bench.now).and_then(Result::ok));
                    waiting.push(waiter);
                }
            }
        }
        drop((held, waiting));
        prop_assert!(bench.pool.is_idle());
        prop_assert!(bench.pool.snapshot(bench.now).nodes.iter().all(|node| node.work == Some(0)));
    }
}
