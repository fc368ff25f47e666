//! The promises, watched from outside: the watcher knows what was sent where and what came of it, and the events
//! that the fleet announced. It does not look into the fleet, but for a snapshot now and then.

use std::collections::VecDeque;

use evenkeel::balance::learned::WEIGHT_MAX;
use evenkeel::config::{self, MaxInFlight, Node, Weight};
use evenkeel::fleet::{Change, Event, NodeState, PoolSnapshot, Reason};
use evenkeel::outcome::Outcome;

/// One node, as far as it is known.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub state: NodeState,
    /// Since when it has that state.
    pub since: f64,
    pub in_flight: u32,
    limit: u32,
    /// The beginning of its slow start, and what that was before it was ejected.
    ramp: Option<f64>,
    ramp_before: Option<f64>,
    /// Leases taken since it is probing that are still there.
    pub probes: Vec<usize>,
    /// Leases that others got while it was probing and nobody tried it.
    pub passed_over: u32,
    pub refused_until: f64,
    /// The last time at which it could not have served.
    pub last_unfit: f64,
    pub well: bool,
    pub well_since: f64,
    failures: VecDeque<f64>,
    pub leases: u64,
    pub ejections: u64,
    pub stalls: u64,
    pub given_up: u64,
}

#[derive(Debug)]
pub(crate) struct Watch {
    pub nodes: Vec<Seen>,
    policy: config::Health,
    stall: Option<f64>,
    lightest: f64,
    heaviest: f64,
    clients: usize,
    /// The longest time without a tick.
    sleep: f64,
}

impl Watch {
    pub(crate) fn new(conf: &config::Pool, clients: usize, sleep: f64) -> Self {
        let seen = |node: &config::Node| Seen {
            state: NodeState::Up,
            since: 0.0,
            in_flight: 0,
            limit: match node.max_in_flight {
                MaxInFlight::Fixed(max) => max as u32,
                MaxInFlight::Off | MaxInFlight::Auto => u32::MAX,
            },
            ramp: None,
            ramp_before: None,
            probes: Vec::new(),
            passed_over: 0,
            refused_until: 0.0,
            last_unfit: -1.0,
            well: true,
            well_since: 0.0,
            failures: VecDeque::new(),
            leases: 0,
            ejections: 0,
            stalls: 0,
            given_up: 0,
        };
        let bounds = |node: &Node| match node.weight {
            Weight::Fixed(weight) => (weight, weight),
            Weight::Auto => (1.0 / WEIGHT_MAX, WEIGHT_MAX),
        };
        let weights = || conf.nodes.iter().map(bounds);
        Self {
            nodes: conf.nodes.iter().map(seen).collect(),
            policy: conf.health.clone(),
            stall: conf.timeouts.stall.map(|stall| stall.as_secs_f64()),
            lightest: weights().map(|(least, _)| least).fold(f64::MAX, f64::min),
            heaviest: weights().map(|(_, most)| most).fold(0.0, f64::max),
            clients,
            sleep,
        }
    }

    pub(crate) fn any_up(&self) -> bool {
        self.nodes.iter().any(|node| node.state == NodeState::Up)
    }

    pub(crate) fn all_up(&self) -> bool {
        self.nodes.iter().all(|node| node.state == NodeState::Up)
    }

    /// Most requests that it may have by the time since its return; by its answers it may have more. What an ejected node may have as the last resort is not known here.
    pub(crate) fn cap(&self, node: usize, now: f64) -> u32 {
        let (seen, slow_start) = (&self.nodes[node], self.policy.slow_start.as_secs_f64());
        match seen.ramp {
            Some(since) if seen.state == NodeState::Up && seen.limit < u32::MAX && slow_start > 0.0 => {
                let share = ((now - since) / slow_start).clamp(0.05, 1.0);
                ((f64::from(seen.limit) * share - 1e-9).ceil() as u32).max(1)
            }
            _ => seen.limit,
        }
    }

    pub(crate) fn is_fit(&self, node: usize, now: f64) -> bool {
        let cap = self.cap(node, now - 1e-6);
        let node = &self.nodes[node];
        node.well && node.state == NodeState::Up && node.in_flight < cap && now >= node.refused_until
    }

    /// To be called after anything that may have changed it.
    pub(crate) fn look(&mut self, now: f64) {
        for i in 0..self.nodes.len() {
            if !self.is_fit(i, now) {
                self.nodes[i].last_unfit = now;
            }
        }
    }

    pub(crate) fn event(&mut self, event: &Event, now: f64) {
        let node: usize = event.node.parse().expect("nodes are numbered");
        let state = match event.change {
            Change::Ejected { reason, .. } => {
                self.ejected(node, reason, now);
                NodeState::Ejected
            }
            Change::Accepts => {
                self.nodes[node].refused_until = 0.0;
                NodeState::Ejected
            }
            Change::Probing => NodeState::Probing,
            Change::Back { reason } => {
                let seen = &mut self.nodes[node];
                seen.ramp = if reason == Reason::NotItsFault { seen.ramp_before } else { Some(now) };
                NodeState::Up
            }
            Change::Joined
            | Change::Registered
            | Change::Draining
            | Change::DrainedByOperator
            | Change::UndrainedByOperator { .. }
            | Change::Skipped { .. } => {
                unreachable!("no reload and no operator here, and no model is refused")
            }
        };
        let seen = &mut self.nodes[node];
        if state != NodeState::Ejected {
            seen.refused_until = 0.0;
        }
        if state != seen.state {
            seen.since = now;
            seen.probes.clear();
            seen.passed_over = 0;
        }
        seen.state = state;
    }

    /// An ejection must have its failures: counted here again, in the plainest way.
    fn ejected(&mut self, node: usize, reason: Reason, now: f64) {
        let window = self.policy.fail_timeout.as_secs_f64();
        let max_fails = self.policy.max_fails as usize;
        let others_up = self.nodes.iter().enumerate().any(|(i, n)| i != node && n.state == NodeState::Up);
        let seen = &mut self.nodes[node];
        seen.ejections += 1;
        seen.ramp_before = seen.ramp;
        let well_for = if seen.well { now - seen.well_since } else { 0.0 };
        match reason {
            Reason::Failures(_) if seen.state == NodeState::Probing => {}
            Reason::Failures(outcome) => {
                let failed = seen.failures.iter().filter(|at| now - **at < window + 1e-6).count();
                assert!(max_fails > 0 && failed >= max_fails, "node {node}: ejected for {failed} failures");
                assert!(outcome != Outcome::Http5xx || others_up, "node {node}: a 5xx ejected the last");
            }
            Reason::ProbeFailed(_) => assert_eq!(seen.state, NodeState::Probing, "node {node}"),
            Reason::Stalled => {
                seen.stalls += 1;
                let stall = self.stall.expect("it is switched on");
                assert!(others_up, "node {node}: the last was ejected as stalled");
                assert!(seen.in_flight > 0, "node {node}: stalled without work");
                assert!(
                    well_for <= stall + self.sleep,
                    "node {node}: stalled, though it streams since {well_for} s"
                );
            }
            Reason::CheckFailed => assert!(others_up, "node {node}: a check ejected the last"),
            other => panic!("node {node}: ejected because {other}"),
        }
    }

    /// `share` looks into the fleet: what a node has earned by its answers is not counted here again.
    pub(crate) fn leased(
        &mut self,
        client: usize,
        node: usize,
        before: &[usize],
        share: impl FnOnce() -> f64,
        now: f64,
    ) {
        let any_up = self.any_up();
        if before.contains(&node) {
            let better = (0..self.nodes.len()).find(|i| {
                let other = &self.nodes[*i];
                let open = other.state == NodeState::Up && other.in_flight < self.cap(*i, now - 1e-6);
                !before.contains(i) && open && now >= other.refused_until
            });
            assert!(better.is_none(), "node {node} again, and {better:?} was not tried: {:?}", self.nodes);
        }
        for other in self.nodes.iter_mut().filter(|n| n.state == NodeState::Probing && n.probes.is_empty()) {
            other.passed_over += 1;
        }
        let mut cap = self.cap(node, now + 1e-6);
        if self.nodes[node].in_flight >= cap {
            cap = (f64::from(self.nodes[node].limit) * share() - 1e-9).ceil() as u32;
        }
        let seen = &mut self.nodes[node];
        assert!(seen.in_flight < cap, "node {node}: above its limit, or its share of that: {cap}");
        assert!(now >= seen.refused_until - 1e-6, "node {node}: it refused a moment ago");
        seen.in_flight += 1;
        seen.leases += 1;
        match seen.state {
            NodeState::Up => {}
            NodeState::Probing => {
                assert!(!any_up || seen.probes.is_empty(), "node {node}: a second probe");
                seen.probes.push(client);
                seen.passed_over = 0;
            }
            NodeState::Ejected | NodeState::Draining => {
                assert!(!any_up, "node {node}: used while it is ejected and another is up");
            }
        }
    }

    pub(crate) fn ended(&mut self, client: usize, node: usize, outcome: Outcome, now: f64) {
        let seen = &mut self.nodes[node];
        seen.in_flight -= 1;
        seen.probes.retain(|probe| *probe != client);
        let keep = self.policy.fail_timeout.as_secs_f64() + 1.0;
        while seen.failures.front().is_some_and(|at| now - at > keep) {
            seen.failures.pop_front();
        }
        if outcome.is_failure() {
            seen.failures.push_back(now);
        }
    }

    /// It was found stalled with an attempt that had no head yet, or its check had lost it.
    pub(crate) fn given_up(&mut self, node: usize, now: f64) {
        // a check that it passes finds it again
        let found = self
            .policy
            .check
            .as_ref()
            .map_or(0.0, |check| 1.1 * check.interval.as_secs_f64() + check.timeout.as_secs_f64());
        let stall = self.stall.unwrap_or(0.0).max(found);
        let seen = &mut self.nodes[node];
        seen.given_up += 1;
        let well_for = if seen.well { now - seen.well_since } else { 0.0 };
        assert!(
            well_for <= stall + self.sleep,
            "node {node}: given up, though it streams since {well_for} s"
        );
    }

    pub(crate) fn refused(&mut self, node: usize, now: f64) {
        self.nodes[node].refused_until = now + 1.0;
    }

    pub(crate) fn accepted(&mut self, node: usize) {
        self.nodes[node].refused_until = 0.0;
    }

    pub(crate) fn weather(&mut self, node: usize, well: bool, now: f64) {
        let seen = &mut self.nodes[node];
        if well && !seen.well {
            seen.well_since = now;
        }
        seen.well = well;
    }

    /// Nobody is forgotten.
    pub(crate) fn nobody_is_forgotten(&self, now: f64) {
        // a question that was put before takes up to 5 s to get its no, and the next one comes 5 s later
        let patience = self.policy.max_eject.as_secs_f64() + 5.0 + 5.0 + 1.0 + 2.0 * self.sleep;
        // the score of an empty node, against that of the heaviest with all clients
        let turns = 4.0 * self.clients as f64 * self.heaviest / self.lightest + 100.0;
        for (i, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.well) {
            let waits = now - node.since.max(node.well_since);
            assert!(
                node.state != NodeState::Ejected || waits <= patience,
                "node {i} has been well for {waits} s, and is still ejected"
            );
            assert!(
                node.state != NodeState::Probing || f64::from(node.passed_over) < turns,
                "node {i} is probing, and {} requests went elsewhere: {:?}",
                node.passed_over,
                self.nodes
            );
        }
    }

    pub(crate) fn agrees(&self, snapshot: &PoolSnapshot) {
        for (i, (node, seen)) in snapshot.nodes.iter().zip(&self.nodes).enumerate() {
            assert_eq!(node.in_flight, seen.in_flight, "node {i}: leases");
            assert_eq!(node.state, seen.state, "node {i}: events do not tell its state");
            assert_eq!(node.ejections, seen.ejections, "node {i}: ejections");
        }
    }
}
