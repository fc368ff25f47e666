//! The gateway's own pool as the policy, with its ticks and the questions it asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::balance::tokens::Size;
use evenkeel::config::{self, Balance, MaxInFlight, Weight};
use evenkeel::fleet::{Lease, Pool, Profile};
use evenkeel::outcome::Outcome;

use super::engines::{Dispatch, Node, Told};
use crate::fleet::Plan;

/// The pool as it showed itself at one tick.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub at: f64,
    pub in_flight: Vec<usize>,
    pub weights: Vec<f64>,
    /// 0: none.
    pub caps: Vec<u32>,
    /// Requests that have ended.
    pub ended: Vec<u64>,
}

pub(super) struct Gateway {
    pub pool: Arc<Pool>,
    told: Told,
    limits: bool,
    /// The beginning of the present scene.
    began: Instant,
    leases: HashMap<usize, Lease>,
    profiles: HashMap<usize, Profile>,
    pub samples: Vec<Sample>,
}

impl Gateway {
    pub(super) fn new(nodes: usize, weight: Weight, told: Told) -> Self {
        Self::with(nodes, weight, told, |_| {})
    }

    pub(super) fn with(
        nodes: usize,
        weight: Weight,
        told: Told,
        change: impl FnOnce(&mut config::Health),
    ) -> Self {
        let mut conf = Plan::calm(nodes, 1).conf;
        conf.nodes.iter_mut().for_each(|node| node.weight = weight);
        change(&mut conf.health);
        let began = Instant::now();
        let pool = Arc::new(Pool::new(&conf, began));
        Self {
            pool,
            told,
            limits: false,
            began,
            leases: HashMap::new(),
            profiles: HashMap::new(),
            samples: Vec::new(),
        }
    }

    /// `least_work`. `limits`: requests tell how long their answers will be.
    pub(super) fn by_work(nodes: usize, weight: Weight, told: Told, limits: bool) -> Self {
        let gateway = Self::new(nodes, weight, told);
        let mut conf = Plan::calm(nodes, 1).conf;
        conf.balance = Balance::LeastWork;
        conf.nodes.iter_mut().for_each(|node| node.weight = weight);
        Self { pool: Arc::new(Pool::new(&conf, gateway.began)), limits, ..gateway }
    }

    pub(super) fn capped(nodes: usize, weight: Weight, told: Told, cap: MaxInFlight) -> Self {
        let gateway = Self::new(nodes, weight, told);
        let mut conf = Plan::calm(nodes, 1).conf;
        conf.nodes.iter_mut().for_each(|node| {
            node.weight = weight;
            node.max_in_flight = cap;
        });
        Self { pool: Arc::new(Pool::new(&conf, gateway.began)), ..gateway }
    }

    /// The next scene begins so many seconds after the last one did.
    pub(super) fn go_on(&mut self, after: f64) {
        self.began += Duration::from_secs_f64(after);
        self.samples.clear();
    }

    /// The same, and the clients of the last scene have left.
    pub(super) fn go_on_lost(&mut self, after: f64) {
        self.leases.clear();
        self.go_on(after);
    }

    fn at(&self, now: f64) -> Instant {
        self.began + Duration::from_secs_f64(now)
    }

    pub(super) fn weights(&self) -> Vec<f64> {
        self.samples.last().map(|sample| sample.weights.clone()).unwrap_or_default()
    }
}

impl Dispatch for Gateway {
    fn place(&mut self, request: usize, _nodes: &[Node], now: f64) -> Option<usize> {
        let profile = self.profiles[&request];
        let lease = self.pool.lease_by(profile, &[], self.at(now)).ok()?;
        let place = usize::from(lease.address().port()) - 1;
        self.leases.insert(request, lease);
        Some(place)
    }

    fn asks(&mut self, request: usize, prompt: u32, tokens: u32) {
        let size = Size { prompt, limit: self.limits.then_some(tokens) };
        self.profiles.insert(request, Profile { size, ..Profile::default() });
    }

    fn token(&mut self, request: usize, now: f64) {
        let at = self.at(now);
        self.leases.get_mut(&request).expect("it is under way").worked(1, at);
    }

    fn done(&mut self, request: usize, tokens: u32, now: f64) {
        let at = self.at(now);
        let mut lease = self.leases.remove(&request).expect("it is under way");
        lease.good_head(at);
        match self.told {
            Told::Stream => {}
            Told::Usage => lease.worked(tokens.into(), at),
            Told::Nothing => lease.answered(at),
        }
        lease.settle(Outcome::Ok, at);
    }

    fn lost(&mut self, request: usize, refused: bool, now: f64) {
        let at = self.at(now);
        let lease = self.leases.remove(&request).expect("it is under way");
        lease.settle(if refused { Outcome::Connect } else { Outcome::Reset }, at);
    }

    fn tick(&mut self, nodes: &[Node], now: f64) {
        let at = self.at(now);
        self.pool.tick(at);
        for question in self.pool.questions(at) {
            let is_up = nodes[usize::from(question.address.port()) - 1].is_up;
            self.pool.answer(&question, is_up, at);
        }
        let seen = self.pool.snapshot(at).nodes;
        self.samples.push(Sample {
            at: now,
            in_flight: nodes.iter().map(|node| node.in_flight).collect(),
            weights: seen.iter().map(|node| node.weight).collect(),
            caps: seen.iter().map(|node| node.max_in_flight.unwrap_or(0)).collect(),
            ended: seen.iter().map(|node| node.attempts.iter().sum()).collect(),
        });
    }
}
