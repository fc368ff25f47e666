//! Property test: any sequence of operations on a pool, checked against a model of the invariants.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::credits::Credits;
use super::silence::{Silence, silenced};
use super::*;
use crate::balance::{Candidate, Candidates, Tier, Turn, choose};
use crate::config::Check;
use crate::fleet::node::Node;
use crate::fleet::{Allow, Bell, Settled};

const NOBODY: Candidate = Candidate {
    in_flight: 0,
    elsewhere: 0,
    work: None,
    limit: 0,
    inverse_rate: 1.0,
    tier: Tier::Never,
    turn: Candidate::NO_TURN,
    name: 0,
};

#[derive(Clone, Debug)]
enum Step {
    Lease(u8),
    GoodHead(usize),
    Progress(usize),
    Settle(usize, usize),
    Drop(usize),
    Busy(usize, Option<u8>),
    TakeBack(usize),
    ChargeAgain(usize),
    Tick,
    Ask,
    Answer(usize, bool),
    Configure(u16, u16, bool),
    Resolve(bool),
    Join(bool),
    Credit(usize, Option<u8>, u8),
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any::<u8>().prop_map(Step::Lease),
        2 => any::<usize>().prop_map(Step::GoodHead),
        2 => any::<usize>().prop_map(Step::Progress),
        8 => (any::<usize>(), 0..Outcome::ALL.len()).prop_map(|(lease, outcome)| Step::Settle(lease, outcome)),
        2 => any::<usize>().prop_map(Step::Drop),
        2 => (any::<usize>(), any::<Option<u8>>()).prop_map(|(lease, after)| Step::Busy(lease, after)),
        2 => any::<usize>().prop_map(Step::TakeBack),
        1 => any::<usize>().prop_map(Step::ChargeAgain),
        4 => Just(Step::Tick),
        3 => Just(Step::Ask),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(question, yes)| Step::Answer(question, yes)),
        1 => (any::<u16>(), any::<u16>(), any::<bool>()).prop_map(|(n, d, c)| Step::Configure(n, d, c)),
        1 => any::<bool>().prop_map(Step::Resolve),
        1 => any::<bool>().prop_map(Step::Join),
        6 => (any::<usize>(), any::<Option<u8>>(), 0_u8..9).prop_map(|(node, held, others)| Step::Credit(node, held, others)),
        6 => prop_oneof![0_u32..50, 900_u32..1100, 4_000_u32..6_000, 0_u32..120_000].prop_map(Step::Pass),
    ]
}

/// A config of eight nodes: `present` and `drained` select those that exist and those that are drained; the
/// last has a host name.
fn some_of_eight(present: u16, drained: u16, check: bool) -> config::Pool {
    let mut all = nodes(8);
    for (i, node) in all.iter_mut().enumerate() {
        node.weight = config::Weight::Fixed([1.0, 1.0, 2.0, 0.5, 1.0, 3.0, 1.0, 1.0][i]);
        node.max_in_flight = match [0, 1, 3, 0, 2, 4, 0, 2][i] {
            0 => MaxInFlight::Off,
            max => MaxInFlight::Fixed(max),
        };
        node.drain = drained >> i & 0x101 == 0x101;
        node.backup = present >> 13 & 1 == 1 && [2, 3, 6].contains(&i);
    }
    all[7].address = "somewhere:8".parse().expect("an address");
    let keep = |(i, node): (usize, config::Node)| (present >> i & 1 == 1).then_some(node);
    let mut conf = conf(all.into_iter().enumerate().filter_map(keep).collect());
    conf.balance = [Balance::LeastInFlight, Balance::LeastInFlight, Balance::RoundRobin, Balance::Random]
        [usize::from(present >> 8 & 3)];
    conf.health.max_fails = u32::from(present >> 10 & 3);
    conf.health.slow_start = seconds(f64::from(drained >> 8 & 1) * 10.0);
    conf.timeouts.stall = (present >> 12 & 1 == 1).then(|| seconds(20.0));
    conf.health.check = check.then(|| Check {
        path: "/health".into(),
        interval: seconds(5.0),
        timeout: seconds(2.0),
        rise: 2,
        fall: 2,
    });
    conf
}

/// The model: the invariants, and the state needed to check them.
struct World {
    bench: Bench,
    leases: Vec<Lease>,
    charges: Vec<Charge>,
    questions: Vec<Question>,
    silence: Silence,
    bell: Arc<Bell>,
    credits: Credits,
}

impl World {
    fn new(present: u16, drained: u16, check: bool) -> Self {
        let bench = Bench::of(some_of_eight(present, drained, check));
        Self {
            bench,
            leases: Vec::new(),
            charges: Vec::new(),
            questions: Vec::new(),
            silence: Silence::default(),
            bell: Arc::default(),
            credits: Credits::default(),
        }
    }

    fn run(&mut self, step: &Step) {
        let now = self.bench.now;
        match step {
            Step::Lease(tried) => self.lease(*tried),
            Step::GoodHead(i) => {
                if let Some(lease) = pick(&self.leases, *i) {
                    self.silence.shows(lease, now);
                    self.silence.saw(&lease.good_head(now));
                }
            }
            Step::Progress(i) => {
                if let Some(lease) = pick(&self.leases, *i) {
                    self.silence.shows(lease, now);
                    lease.progress(now);
                }
            }
            Step::Busy(i, after) => {
                if let Some(lease) = pick(&self.leases, *i) {
                    lease.busy(after.map(|s| seconds(f64::from(s))), now);
                }
            }
            Step::Settle(i, outcome) => self.settle(*i, Outcome::ALL[*outcome]),
            Step::Drop(i) => {
                if let Some(lease) = take(&mut self.leases, *i) {
                    self.silence.ends(&lease);
                }
            }
            Step::TakeBack(i) => {
                if let Some(charge) = pick(&self.charges, *i) {
                    self.silence.saw(&self.bench.pool.withdraw(*charge, now));
                }
            }
            Step::ChargeAgain(i) => {
                if let Some(charge) = take(&mut self.charges, *i) {
                    self.silence.saw(&self.bench.pool.reinstate(charge, now));
                }
            }
            Step::Tick => self.tick(),
            Step::Ask => self.questions.extend(self.bench.pool.questions(now)),
            Step::Answer(i, yes) => {
                if let Some(question) = take(&mut self.questions, *i) {
                    self.silence.saw(&self.bench.pool.answer(&question, *yes, now));
                }
            }
            Step::Configure(present, drained, check) => {
                self.bench.conf = some_of_eight(*present, *drained, *check);
                self.bench.pool.configure(&self.bench.conf, now);
            }
            Step::Resolve(somewhere) => {
                for (key, _) in self.bench.pool.names() {
                    let address = somewhere.then(|| "10.1.1.1:80".parse().expect("an address"));
                    self.bench.pool.resolved(key, address, now);
                }
            }
            Step::Join(cluster) => {
                self.bench.pool.join(cluster.then_some(&self.bell), now);
                self.credits.joined(&self.bench, *cluster);
            }
            Step::Credit(node, held, others) => {
                let held = held.map(|held| u32::from(held % 5));
                self.credits.give(&self.bench, *node, Allow { held, elsewhere: u32::from(*others) });
            }
            Step::Pass(millis) => self.bench.now += Duration::from_millis(u64::from(*millis)),
        }
        self.credits.check(&self.bench);
        self.check();
    }

    fn settle(&mut self, i: usize, outcome: Outcome) {
        let Some(lease) = take(&mut self.leases, i) else { return };
        if outcome == Outcome::Ok {
            self.silence.shows(&lease, self.bench.now);
        }
        self.silence.ends(&lease);
        let Settled { event, charge, .. } = lease.settle(outcome, self.bench.now);
        self.silence.saw(&event);
        self.charges.extend(charge);
    }

    fn tick(&mut self) {
        let mut silent = self.silence.tick(&self.bench);
        let events = self.bench.pool.tick(self.bench.now);
        let mut found = silenced(&events);
        silent.sort();
        found.sort();
        assert_eq!(found, silent);
        self.silence.saw(&events);
    }

    /// A lease must be on a node that is usable at this instant, and the best of those.
    fn lease(&mut self, tried: u8) {
        let keys = self.bench.keys();
        let tried: Vec<Key> =
            keys.iter().enumerate().filter(|(i, _)| tried >> (i % 8) & 1 == 1).map(|(_, k)| k.0).collect();
        let fresh = self.fresh();
        let probing = self.free_permits();
        let none_up = !self.bench.pool.table().members().any(|(_, node)| node.serves());
        let eligible = self.eligible(&tried, none_up);
        match self.bench.pool.lease(&tried, self.bench.now) {
            Ok(lease) => {
                let key = lease.key();
                assert!(eligible.contains(&key), "{key:?} of {eligible:?}");
                assert!(self.leases.iter().all(|other| other.slot.ticket != lease.slot.ticket));
                let permits = self.free_permits();
                assert!(!permits.contains(&key), "the permit is taken");
                assert!(
                    probing.iter().all(|k| *k == key || permits.contains(k)),
                    "no other node may be touched"
                );
                self.silence.begins(&lease, &self.bench);
                self.leases.push(lease);
                self.check_choice(&fresh);
            }
            Err(refusal) => {
                assert!(eligible.is_empty(), "{refusal:?} in spite of {eligible:?}");
                if refusal == Refusal::AllTried {
                    assert!(!self.eligible_but_for_room(&[], none_up).is_empty());
                }
            }
        }
    }

    fn free_permits(&self) -> Vec<Key> {
        let table = self.bench.pool.table();
        let free = |(key, node): (Key, &Node)| {
            (*node.health.state() == State::Probing { probe: None }).then_some(key)
        };
        table.members().filter_map(free).collect()
    }

    fn eligible(&self, tried: &[Key], none_up: bool) -> Vec<Key> {
        let candidates = self.eligible_but_for_room(tried, none_up);
        let table = self.bench.pool.table();
        let now = self.bench.now;
        let room = |key: &Key| {
            table.members().any(|(k, node)| k == *key && node.in_flight < node.cap(table.policy(), now))
        };
        candidates.into_iter().filter(room).collect()
    }

    fn eligible_but_for_room(&self, tried: &[Key], none_up: bool) -> Vec<Key> {
        let now = self.bench.now;
        let table = self.bench.pool.table();
        let is_kept_out = table.members().any(|(key, node)| {
            let is_usable = matches!(node.health.state(), State::Up | State::Probing { probe: None })
                && !node.drains()
                && node.resolved.is_some()
                && node.health.refused_until(now).is_none();
            let is_whole = node.health.share(table.policy(), now) >= 1.0;
            !node.is_backup && !tried.contains(&key) && is_usable && is_whole
        });
        let eligible = |(key, node): (Key, &Node)| {
            let closed = node.drain.is_on()
                || node.removed
                || node.resolved.is_none()
                || node.health.refused_until(now).is_some()
                || tried.contains(&key);
            let open = match node.health.state() {
                State::Up | State::Probing { probe: None } => true,
                State::Probing { probe: Some(_) } => none_up,
                State::Ejected(ejection) => none_up && ejection.accepts,
            };
            (open && !closed && (none_up || !(node.is_backup && is_kept_out))).then_some(key)
        };
        table.members().filter_map(eligible).collect()
    }

    /// The policy's view of the nodes, computed from scratch.
    fn fresh(&self) -> HashMap<usize, Candidate> {
        let table = self.bench.pool.table();
        let fresh = |(key, node): (Key, &Node)| {
            let mut candidate = NOBODY;
            node.refresh(&mut candidate, table.policy(), self.bench.now);
            (key.place, candidate)
        };
        table.members().map(fresh).collect()
    }

    /// The best candidate by brute force, over the view computed from scratch.
    fn check_choice(&self, fresh: &HashMap<usize, Candidate>) {
        let choice = self.bench.pool.table().last_choice.clone().expect("each choice is recorded");
        for (place, seen) in choice.candidates.iter().enumerate() {
            let want = fresh.get(&place).unwrap_or(&NOBODY);
            assert_eq!(seen.tier, want.tier, "{place}");
            if want.tier != Tier::Never {
                let facts = |one: &Candidate| (one.in_flight, one.elsewhere, one.limit);
                assert_eq!(facts(seen), facts(want), "{place}");
                assert!((seen.inverse_rate - want.inverse_rate).abs() < 1e-9, "{place}");
            }
        }
        let key = |place: usize| {
            let candidate = &choice.candidates[place];
            let score =
                if self.bench.conf.balance == Balance::LeastInFlight { candidate.score() } else { 0.0 };
            (candidate.tier, score)
        };
        let may = |place: &usize| {
            let candidate = &choice.candidates[*place];
            candidate.has_room() && candidate.tier <= choice.last && !choice.skip.contains(place)
        };
        let (tier, score) = key(choice.place);
        for other in (0..choice.candidates.len()).filter(may) {
            let (other_tier, other_score) = key(other);
            // scores that differ only by rounding are equal: three times a third is one
            let fair = tier < other_tier || tier == other_tier && score <= other_score * (1.0 + 1e-14);
            assert!(fair, "{other} was better: {choice:?}");
        }
    }

    /// All counts are correct at any time.
    fn check(&self) {
        let mut live: HashMap<Key, u32> = HashMap::new();
        for lease in &self.leases {
            *live.entry(lease.key()).or_default() += 1;
        }
        let table = self.bench.pool.table();
        let mut seen = 0;
        for (key, node) in table.members() {
            assert_eq!(node.in_flight, live.get(&key).copied().unwrap_or(0), "{}", node.id.name);
            seen += node.in_flight as usize;
            if let State::Probing { probe: Some(probe) } = node.health.state() {
                let probes = self.leases.iter().filter(|lease| lease.slot.ticket == probe.ticket).count();
                assert_eq!(probes, 1, "the permit of {} is lost", node.id.name);
            }
        }
        assert_eq!(seen, self.leases.len(), "a lease refers to no node");
        drop(table);
        self.silence.agrees(&self.leases);
    }
}

fn pick<T>(all: &[T], i: usize) -> Option<&T> {
    (!all.is_empty()).then(|| &all[i % all.len()])
}

fn take<T>(all: &mut Vec<T>, i: usize) -> Option<T> {
    (!all.is_empty()).then(|| all.swap_remove(i % all.len()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence(
        (present, drained, check) in (any::<u16>(), any::<u16>(), any::<bool>()),
        steps in vec(step(), 1..300),
    ) {
        let mut world = World::new(present, drained, check);
        for step in &steps {
            world.run(step);
        }
        for lease in world.leases.drain(..) {
            world.silence.ends(&lease);
        }
        world.check();
        assert!(world.bench.pool.is_idle());
        let removed = world.bench.pool.table().members().filter(|(_, node)| node.removed).count();
        assert_eq!(removed, 0, "a removed node should be gone after its last lease");
    }

    #[test]
    fn choose_is_brute_force(
        seen in vec((0_u32..20, 0_u32..3, 0_u32..25, 0.1_f64..10.0, 0_usize..8), 0..12),
        skip in vec(0_usize..12, 0..4),
        last in 0_usize..7,
        cursor in 0_usize..12,
        random in 0.0_f64..1.0,
    ) {
        const TIERS: [Tier; 8] = [
            Tier::Probe,
            Tier::Usable,
            Tier::Busy,
            Tier::Backup,
            Tier::BusyBackup,
            Tier::LastResort,
            Tier::BusyLastResort,
            Tier::Never,
        ];
        let candidate = |(in_flight, elsewhere, limit, inverse_rate, tier): (u32, u32, u32, f64, usize)| {
            Candidate { in_flight, elsewhere: elsewhere * 7, work: None, limit, inverse_rate, tier: TIERS[tier], turn: Candidate::NO_TURN, name: 0 }
        };
        let candidates: Candidates = seen.into_iter().map(candidate).collect();
        let may = |p: &usize| {
            let c = &candidates[*p];
            c.in_flight < c.limit && c.tier <= TIERS[last] && !skip.contains(p)
        };
        let eligible: Vec<_> = (0..candidates.len()).filter(may).collect();
        for policy in [Balance::LeastInFlight, Balance::RoundRobin, Balance::Random] {
            let mut turn = Turn::starting_at(cursor);
            let chosen = choose(policy, &mut candidates.clone(), TIERS[last], &skip, &mut turn, random);
            prop_assert_eq!(chosen.is_some(), !eligible.is_empty());
            let Some(chosen) = chosen else { continue };
            prop_assert!(eligible.contains(&chosen));
            for other in &eligible {
                let (one, other) = (&candidates[chosen], &candidates[*other]);
                prop_assert!(one.tier <= other.tier);
                let compares = policy == Balance::LeastInFlight && one.tier == other.tier;
                prop_assert!(!compares || one.score() <= other.score() * (1.0 + 1e-14));
            }
        }
    }
}
