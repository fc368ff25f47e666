//! Tests of the fleet's rules at their limits, in virtual time.

mod affinity;
mod backup;
mod bound;
mod capped;
mod checked;
mod classes;
mod earned;
mod ejection;
mod ended;
mod fair;
mod found;
mod last;
mod learned;
mod orders;
mod probing;
mod property;
mod queue;
mod registered;
mod reload;
mod request_fault;
mod selection;
mod silence;
mod slow_start;
mod stall;
mod stress;
mod told;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::health::State;
use super::{
    Admission, Ask, Charge, Event, Key, Lease, NodeState, Or, Pool, Profile, Question, QuestionKind, Refusal,
    Want,
};
use crate::config::{self, Balance, HostPort, HttpVersion, MaxInFlight, Models, NodeAddress, Weight};
use crate::outcome::Outcome;

/// A test bench: a pool of nodes `a`, `b`, `c` ..., and its clock.
struct Bench {
    pool: Arc<Pool>,
    conf: config::Pool,
    start: Instant,
    now: Instant,
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn node(name: &str, host: &str, port: u16) -> config::Node {
    let address = NodeAddress::Http(HostPort { host: host.into(), port });
    config::Node {
        name: name.into(),
        address,
        link: config::Link::Tcp,
        authorization: None,
        weight: Weight::Fixed(1.0),
        max_in_flight: MaxInFlight::Off,
        drain: false,
        backup: false,
        origin: config::Origin::Config,
    }
}

fn nodes(count: usize) -> Vec<config::Node> {
    let name = |i: usize| char::from(b'a' + u8::try_from(i).expect("a few nodes")).to_string();
    let port = |i: usize| u16::try_from(i + 1).expect("a few nodes");
    (0..count).map(|i| node(&name(i), "10.0.0.1", port(i))).collect()
}

/// The test config: 5 failures in 30 s eject for 30 s, and for 300 s at most; slow starts are short, so that
/// they hide nothing.
fn conf(nodes: Vec<config::Node>) -> config::Pool {
    config::Pool {
        name: "p".into(),
        models: Models { any: true, ..Models::default() },
        chosen_by: config::ChosenBy::default(),
        spill: None,
        engine: config::Engine::Generic,
        balance: Balance::LeastInFlight,
        affinity: config::Affinity::default(),
        nodes,
        sources: Vec::new(),
        defaults: config::NodeDefaults::default(),
        http_version: HttpVersion::H1,
        health: config::Health {
            max_fails: 5,
            fail_timeout: seconds(30.0),
            max_eject: seconds(300.0),
            probe_pass: seconds(5.0),
            slow_start: seconds(10.0),
            check: None,
        },
        queue: config::Queue::default(),
        deadline: config::Deadline::default(),
        retry: config::Retry::default(),
        timeouts: config::Timeouts::default(),
    }
}

impl Bench {
    fn new(count: usize) -> Self {
        Self::of(conf(nodes(count)))
    }

    fn with(count: usize, change: impl FnOnce(&mut config::Health)) -> Self {
        let mut conf = conf(nodes(count));
        change(&mut conf.health);
        Self::of(conf)
    }

    fn of(conf: config::Pool) -> Self {
        let now = Instant::now();
        Self { pool: Arc::new(Pool::new(&conf, now)), conf, start: now, now }
    }

    /// Sets the clock, in seconds from the start.
    fn at(&mut self, at: f64) {
        let to = self.start + seconds(at);
        assert!(to >= self.now, "the clock never goes back");
        self.now = to;
    }

    fn pass(&mut self, time: f64) {
        self.now += seconds(time);
    }

    fn lease(&self) -> Result<Lease, Refusal> {
        self.pool.lease(&[], self.now)
    }

    /// A lease for a request that does not wait.
    fn lease_for(&self, want: Want) -> Option<Result<Lease, Refusal>> {
        let ask =
            Ask { want, admission: Admission::Repeated, profile: Profile::default(), news: self.pool.news() };
        self.pool.wait(&mut None, ask, self.now)
    }

    /// A lease for a request that these nodes failed, and others told that they are full.
    fn lease_in_line(&self, failed: &[Key], lines: &[Key]) -> Result<Lease, Refusal> {
        let or = Or::InLine { failed: failed.to_vec(), skipped: Vec::new(), lines: lines.to_vec() };
        self.lease_for(Want::Any { avoid: Vec::new(), or }).expect("any node")
    }

    /// A lease on this node and no other.
    fn lease_on(&self, key: Key, in_line: bool, is_last_chance: bool) -> Option<Result<Lease, Refusal>> {
        self.lease_for(Want::Home { key, in_line, is_last_chance })
    }

    /// Requests that wait.
    fn queue(&self) -> usize {
        self.pool.snapshot(self.now).queue
    }

    fn keys(&self) -> Vec<(Key, String)> {
        self.pool.table().members().map(|(key, node)| (key, node.id.name.to_string())).collect()
    }

    /// A lease on this node and no other.
    fn try_on(&self, name: &str) -> Result<Lease, Refusal> {
        let others: Vec<_> = self.keys().into_iter().filter(|(_, n)| n != name).map(|(key, _)| key).collect();
        self.pool.lease(&others, self.now)
    }

    fn on(&self, name: &str) -> Lease {
        self.try_on(name).unwrap_or_else(|refusal| panic!("no lease on {name}: {refusal:?}"))
    }

    /// Sends one request that ends at once with this outcome.
    fn once(&self, name: &str, outcome: Outcome) -> Option<Charge> {
        self.on(name).settle(outcome, self.now).charge
    }

    fn fail(&self, name: &str, times: usize) {
        self.fail_with(name, Outcome::Reset, times);
    }

    fn fail_with(&self, name: &str, outcome: Outcome, times: usize) {
        for _ in 0..times {
            self.once(name, outcome);
        }
    }

    fn serve(&self, name: &str) -> Option<Event> {
        let lease = self.on(name);
        let event = lease.good_head(self.now);
        lease.settle(Outcome::Ok, self.now);
        event
    }

    fn snapshot(&self, name: &str) -> super::NodeSnapshot {
        let found = self.pool.snapshot(self.now).nodes.into_iter().find(|node| *node.id.name == *name);
        found.unwrap_or_else(|| panic!("no node {name}"))
    }

    fn state(&self, name: &str) -> NodeState {
        self.snapshot(name).state
    }

    fn is_up(&self, name: &str) -> bool {
        self.state(name) == NodeState::Up
    }

    /// The remaining time of the node's ejection.
    fn out_for(&self, name: &str) -> f64 {
        self.snapshot(name).ejected_for.map_or(0.0, |left| left.as_secs_f64())
    }

    fn accepts(&self, name: &str) -> bool {
        let table = self.pool.table();
        let (_, node) = table.members().find(|(_, node)| *node.id.name == *name).expect("a node");
        matches!(node.health.state(), State::Ejected(ejection) if ejection.accepts)
    }

    fn questions(&self, kind: QuestionKind) -> Vec<Question> {
        self.pool.questions(self.now).into_iter().filter(|question| question.kind == kind).collect()
    }

    /// The nodes that are asked now whether they are back; answers at once.
    fn ask(&self, yes: bool) -> Vec<String> {
        let ask = |question: &Question| {
            self.pool.answer(question, yes, self.now);
            question.node.name.to_string()
        };
        self.questions(QuestionKind::Back).iter().map(ask).collect()
    }

    /// Ejects the node and advances the clock until it is probing.
    fn bring_to_probing(&mut self, name: &str) {
        self.fail(name, 5);
        assert_eq!(self.state(name), NodeState::Ejected);
        self.pass(self.out_for(name));
        assert_eq!(self.ask(true), [name]);
        assert_eq!(self.state(name), NodeState::Probing);
    }
}
