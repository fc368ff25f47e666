//! Credits: the part of a cap that this gateway may use, and the load that others put on a node.

use std::collections::HashMap;
use std::future::Future;

use super::*;
use crate::fleet::{Allow, Bell, Shared};

/// A pool of a cluster, and its bell.
struct Member {
    bench: Bench,
    bell: Arc<Bell>,
}

fn capped(count: usize, cap: usize) -> config::Pool {
    let capped = |node| config::Node { max_in_flight: MaxInFlight::Fixed(cap), ..node };
    conf(nodes(count).into_iter().map(capped).collect())
}

impl Member {
    fn of(conf: config::Pool) -> Self {
        let (bench, bell) = (Bench::of(conf), Arc::default());
        bench.pool.join(Some(&bell), bench.now);
        Self { bench, bell }
    }

    fn shares(&self) -> Vec<Shared> {
        self.bench.pool.shares(self.bench.now)
    }

    fn share(&self, place: usize) -> Shared {
        self.shares()[place]
    }

    fn credit(&self, place: usize, held: Option<u32>, elsewhere: u32) -> u32 {
        let key = self.share(place).key;
        self.bench.pool.credit(&[(key, Allow { held, elsewhere })], self.bench.now)[0]
    }

    fn has_rung(&self) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(self.bell.rung()).poll(&mut context).is_ready()
    }
}

/// A model for any sequence of operations: what each node may have in flight at most. It falls as requests end, and rises by credits
/// alone.
#[derive(Default)]
pub(super) struct Credits {
    in_cluster: bool,
    most: HashMap<Key, u32>,
}

impl Credits {
    pub(super) fn joined(&mut self, bench: &Bench, in_cluster: bool) {
        if self.in_cluster != in_cluster {
            self.most.clear();
        }
        self.in_cluster = in_cluster;
        self.check(bench);
    }

    pub(super) fn give(&mut self, bench: &Bench, node: usize, allow: Allow) {
        let shares = bench.pool.shares(bench.now);
        let Some(share) = shares.get(node % shares.len().max(1)) else { return };
        let really = bench.pool.credit(&[(share.key, allow)], bench.now)[0];
        let needs = self.in_cluster && share.cap.is_some();
        assert!(really >= if needs { share.in_flight } else { 0 });
        if needs {
            let table = bench.pool.table();
            let node = table.members().find(|(key, _)| *key == share.key).expect("it is there").1;
            assert_eq!(node.held.is_some(), self.in_cluster);
            assert!(node.removed || allow.held.is_none() || node.held <= allow.held, "{node:?}");
            self.most.insert(share.key, node.held.unwrap_or(0).max(node.in_flight));
        }
    }

    pub(super) fn check(&mut self, bench: &Bench) {
        let table = bench.pool.table();
        let mut most = HashMap::new();
        for (key, node) in table.members() {
            let needs = self.in_cluster && (node.fixed_cap().is_some());
            assert_eq!(node.held.is_some(), needs, "{node:?}");
            let Some(held) = node.held else { continue };
            let before = self.most.get(&key).copied().unwrap_or(node.in_flight);
            assert!(node.in_flight <= before, "{} of {before}", node.in_flight);
            assert!(held <= before, "no credits from nowhere");
            most.insert(key, held.max(node.in_flight).min(before));
        }
        self.most = most;
    }
}

#[test]
fn a_node_has_no_room_until_it_has_credits() {
    let member = Member::of(capped(1, 3));
    assert_eq!(member.bench.lease().unwrap_err(), Refusal::Full);
    assert!(!member.has_rung());
    let mut waiting: Vec<_> = (0..3).map(|_| member.bench.waits()).collect();
    assert!(member.has_rung() && !member.has_rung(), "once for all");
    let share = member.share(0);
    assert_eq!((share.cap, share.held, share.in_flight, share.usable), (Some(3), 0, 0, 3));
    assert_eq!(share.waiting, [0, 3, 0]);
    assert_eq!(member.credit(0, Some(2), 0), 2);
    let woken: Vec<_> = waiting.iter_mut().map(super::queue::Waiting::is_woken).collect();
    assert_eq!(woken, [true, true, false], "slots are handed out as credits come");
    assert_eq!(member.share(0).in_flight, 2);
    assert_eq!(member.share(0).waiting, [0, 1, 0]);
    assert_eq!(member.credit(0, None, 1), 2, "as many as before");
}

#[test]
fn what_is_lowered_goes_back_as_it_comes_free_and_to_no_waiter() {
    let member = Member::of(capped(1, 4));
    member.credit(0, Some(4), 0);
    let mut leases: Vec<_> = (0..4).map(|_| member.bench.on("a")).collect();
    let mut waiting = member.bench.waits();
    assert!(member.has_rung());
    assert_eq!(member.credit(0, Some(2), 0), 4, "no fewer than are in flight");
    drop(leases.pop());
    assert!(member.has_rung() && !waiting.is_woken());
    assert_eq!((member.share(0).held, member.share(0).in_flight), (3, 3));
    leases.pop().expect("one").settle(Outcome::Ok, member.bench.now);
    assert!(member.has_rung() && !waiting.is_woken());
    assert_eq!(member.share(0).held, 2);
    drop(leases.pop());
    assert!(waiting.is_woken() && !member.has_rung(), "this one is its own");
}

#[test]
fn nothing_is_held_where_each_gateway_learns_or_there_is_no_cap() {
    let mut conf = capped(3, 4);
    conf.nodes[1].max_in_flight = MaxInFlight::Off;
    conf.nodes[2].max_in_flight = MaxInFlight::Auto;
    let mut member = Member::of(conf.clone());
    for place in [1, 2] {
        let share = member.share(place);
        assert_eq!((share.cap, share.held), (None, 0));
        assert_eq!(member.credit(place, Some(1), 7), 0);
    }
    let _leases = [member.bench.on("b"), member.bench.on("b"), member.bench.on("c")];
    let shown: Vec<_> = ["a", "b", "c"].map(|name| member.bench.snapshot(name)).into();
    let shown: Vec<_> = shown.iter().map(|node| (node.held, node.elsewhere)).collect();
    assert_eq!(shown, [(Some(0), Some(0)), (None, Some(7)), (None, Some(7))]);
    conf.nodes[1].max_in_flight = MaxInFlight::Fixed(9);
    conf.nodes[0].max_in_flight = MaxInFlight::Off;
    member.credit(0, Some(4), 0);
    member.bench.pass(1.0);
    member.bench.pool.configure(&conf, member.bench.now);
    assert_eq!((member.share(0).cap, member.share(0).held), (None, 0));
    assert_eq!((member.share(1).cap, member.share(1).held), (Some(9), 2), "a cap needs credits");
    assert_eq!(member.bench.try_on("b").unwrap_err(), Refusal::Full);
}

#[test]
fn without_a_cluster_nothing_is_shared() {
    let bench = Bench::of(capped(1, 2));
    let _leases = [bench.on("a"), bench.on("a")];
    assert_eq!(bench.lease().unwrap_err(), Refusal::Full);
    let node = bench.snapshot("a");
    assert_eq!((node.held, node.elsewhere), (None, None));
}

#[test]
fn a_reload_may_join_a_cluster_and_leave_it() {
    let bench = Bench::of(capped(1, 2));
    let _lease = bench.on("a");
    let bell = Arc::default();
    bench.pool.join(Some(&bell), bench.now);
    assert_eq!(bench.snapshot("a").held, Some(1), "what is in flight");
    let mut waiting = bench.waits();
    let key = bench.pool.shares(bench.now)[0].key;
    bench.pool.credit(&[(key, Allow { held: Some(1), elsewhere: 9 })], bench.now);
    bench.pool.join(Some(&bell), bench.now);
    assert_eq!(bench.snapshot("a").elsewhere, Some(9), "it stays");
    assert!(!waiting.is_woken());
    bench.pool.join(None, bench.now);
    assert!(waiting.is_woken());
    assert_eq!((bench.snapshot("a").held, bench.snapshot("a").elsewhere), (None, None));
}

#[test]
fn a_node_that_joins_has_none_and_one_that_leaves_keeps_what_is_in_flight() {
    let conf = capped(2, 4);
    let member = Member::of(conf.clone());
    (0..2).for_each(|place| _ = member.credit(place, Some(4), 0));
    let identities: Vec<_> = member.shares().iter().map(|share| share.node).collect();
    let _leases = [member.bench.on("a"), member.bench.on("a"), member.bench.on("b")];
    let (now, pool) = (member.bench.now, &member.bench.pool);
    let mut renamed = conf.clone();
    renamed.nodes[0].name = "z".into();
    pool.configure(&renamed, now);
    let shares = member.shares();
    assert_eq!(shares.len(), 2, "the old name and the new one are the same node");
    let again = *shares.iter().find(|share| share.node == identities[0]).expect("it is there");
    assert_eq!((again.held, again.in_flight), (2, 2));
    let allow = |held| [(again.key, Allow { held: Some(held), elsewhere: 0 })];
    assert_eq!(pool.credit(&allow(3), now), [3]);
    let _one = member.bench.on("z");
    assert_eq!(member.bench.try_on("z").unwrap_err(), Refusal::Full, "two are in flight under its old name");
    let fewer = config::Pool { nodes: Vec::new(), ..conf };
    pool.configure(&fewer, now);
    let left: Vec<_> =
        member.shares().iter().map(|share| (share.held, share.in_flight, share.usable)).collect();
    assert_eq!(left, [(3, 3, 0), (1, 1, 0)]);
}

#[test]
fn a_waiter_counts_in_parts_on_the_nodes_that_it_can_use() {
    let member = Member::of(capped(4, 4));
    let keys: Vec<_> = member.shares().iter().map(|share| share.key).collect();
    let home = Want::Home { key: keys[0], in_line: false, is_last_chance: false };
    let _waiting = [
        member.bench.waits_for(Want::other_than(vec![keys[0]]), false),
        member.bench.waits_for(Want::other_than(vec![keys[0]]), false),
        member.bench.waits_for(Want::other_than(vec![keys[0]]), false),
        member.bench.waits_for(home.clone(), false),
        member.bench.waits_for(home, false),
    ];
    let waiting: Vec<_> = member.shares().iter().map(|share| share.waiting).collect();
    assert_eq!(waiting, [[0, 2, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]]);
}

#[test]
fn the_choice_is_by_the_load_of_all_gateways() {
    let member = Member::of(conf(nodes(3)));
    member.credit(0, None, 3);
    member.credit(1, None, 1);
    let chosen: Vec<_> = (0..6).map(|_| member.bench.lease().expect("a node")).collect();
    let on = |name: &str| chosen.iter().filter(|lease| *lease.node().name == *name).count();
    assert_eq!(["a", "b", "c"].map(on), [1, 2, 3], "{chosen:?}");
}

#[test]
fn work_elsewhere_counts_as_the_usual_request() {
    let mut conf = conf(nodes(2));
    conf.balance = Balance::LeastWork;
    let member = Member::of(conf);
    let _leases = [member.bench.on("a"), member.bench.on("b"), member.bench.on("b")];
    member.bench.pool.tick(member.bench.now);
    let next = || member.bench.lease().expect("a node").node().name.to_string();
    assert_eq!(next(), "a");
    member.credit(0, None, 2);
    assert_eq!(next(), "b");
}

#[test]
fn a_reserve_is_a_part_of_what_is_held() {
    let mut conf = capped(1, 100);
    conf.queue.reserve = 0.1;
    let member = Member::of(conf);
    for (held, open) in [(1, 1), (2, 1), (10, 9), (11, 9), (100, 90)] {
        member.credit(0, Some(held), 0);
        let mut leases = Vec::new();
        while let Ok(lease) = member.bench.lease() {
            leases.push(lease);
        }
        assert_eq!(leases.len(), open, "{held} held");
    }
}

#[test]
fn slow_start_counts_all_gateways_but_always_lets_one_through() {
    let mut member = Member::of(capped(1, 100));
    member.credit(0, Some(50), 0);
    member.bench.bring_to_probing("a");
    member.bench.serve("a");
    assert!(member.bench.is_up("a"));
    for (elsewhere, usable) in [(0, 5), (3, 2), (5, 1), (60, 1)] {
        member.credit(0, Some(50), elsewhere);
        assert_eq!(member.share(0).usable, usable);
        let mut leases = Vec::new();
        while let Ok(lease) = member.bench.lease() {
            leases.push(lease);
        }
        assert_eq!(leases.len(), usable as usize, "{elsewhere} elsewhere");
    }
    member.credit(0, Some(0), 0);
    assert_eq!(member.bench.lease().unwrap_err(), Refusal::Full, "none of its own");
    member.bench.pass(10.0);
    member.credit(0, Some(50), 60);
    assert_eq!(member.share(0).usable, 100);
}

#[test]
fn a_hint_asks_the_node_at_once_and_ejects_nothing_by_itself() {
    let mut conf = capped(1, 4);
    assert!(!Member::of(conf.clone()).bench.pool.hint(0, Instant::now()));
    conf.health.check = Some(config::Check {
        path: "/health".into(),
        interval: seconds(60.0),
        timeout: seconds(2.0),
        rise: 2,
        fall: 2,
    });
    let mut member = Member::of(conf);
    member.credit(0, Some(4), 0);
    let node = member.share(0).node;
    let checks = |member: &Member| member.bench.questions(QuestionKind::Check);
    let first = checks(&member);
    first.iter().for_each(|question| _ = member.bench.pool.answer(question, true, member.bench.now));
    member.bench.pass(0.5);
    assert!(checks(&member).is_empty());
    assert!(
        member.bench.pool.hint(node, member.bench.now) && !member.bench.pool.hint(node + 1, member.bench.now)
    );
    let asked = checks(&member);
    assert_eq!(asked.len(), 1);
    member.bench.pool.answer(&asked[0], false, member.bench.now);
    assert!(member.bench.is_up("a") && !member.share(0).is_out);
    member.bench.pool.hint(node, member.bench.now);
    assert!(checks(&member).is_empty(), "not more than once a second");
    member.bench.pass(1.0);
    member.bench.pool.hint(node, member.bench.now);
    let asked = checks(&member);
    member.bench.pool.answer(&asked[0], false, member.bench.now);
    assert!(member.bench.is_up("a"), "the last one stays");
    member.bench.fail("a", 5);
    assert_eq!(member.share(0).usable, 4);
}
