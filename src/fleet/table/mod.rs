//! The table behind a pool's lock: its nodes, the balancing policy's view of them, events and counters.

mod backup;
mod bound;
mod choose;
mod credit;
mod grant;
mod learning;
mod orders;
mod rounds;
mod told;
mod work;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addresses::Addresses;
use super::bell::Bell;
use super::counters::Counters;
use super::event::{Change, Event, Reason};
use super::fair::Done;
use super::health::{Health, Report};
use super::key::{Chosen, Delivered, Key, Slot};
use super::node::{Access, Node, NodeId};
use super::pending::Weighing;
use super::queue::Queue;
use super::skips::Skips;
use super::snapshot::{Load, NodeSnapshot, NodeState, PoolSnapshot};
use super::views::Views;
use super::want::Profile;
#[cfg(test)]
use crate::balance::Candidates;
use crate::balance::{self, Candidate, Tier, Turn};
use crate::config::{self, Balance, NodeAddress};
use crate::outcome::Outcome;

/// The number of events that a pool keeps for the status.
const EVENTS_MAX: usize = 100;

#[derive(Debug)]
pub(super) struct Table {
    pool: Arc<str>,
    balance: Balance,
    /// Some of the nodes are backups.
    has_backups: bool,
    /// `affinity.bound`.
    bound: f64,
    policy: config::Health,
    stall: Option<Duration>,
    /// The pool is no longer in the config.
    retired: bool,
    /// The pool had no requests when it was retired.
    retired_idle: bool,
    /// A place is stable while a lease may refer to it, and is reused afterwards.
    nodes: Vec<Option<Node>>,
    /// Some of them have left the config.
    has_removed: bool,
    /// The policy's view of each node, by place.
    candidates: Views,
    /// Places whose candidate changes with time alone.
    restless: Vec<usize>,
    /// The time of the last round of learning weights.
    learned: Instant,
    /// There if the pool chooses by it.
    weighing: Option<Box<Weighing>>,
    turn: Turn,
    random: fastrand::Rng,
    /// Of the pool's cluster; `None`: nodes need no credits.
    bell: Option<Arc<Bell>>,
    /// It is to be rung.
    rings: bool,
    last_ticket: u64,
    last_serial: u64,
    events: VecDeque<Event>,
    last_event: u64,
    /// The latest time that it was told.
    now: Instant,
    pub queue: Queue,
    pub skips: Skips,
    pub counters: Counters,
    #[cfg(test)]
    pub last_choice: Option<Choice>,
    /// Looks for a node on behalf of a waiting request.
    #[cfg(test)]
    pub looks: u64,
}

/// The inputs and the result of the last choice.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub candidates: Candidates,
    pub last: Tier,
    pub skip: Vec<usize>,
    pub place: usize,
}

impl Table {
    pub(super) fn new(conf: &config::Pool, now: Instant) -> Self {
        let mut table = Self {
            pool: conf.name.as_str().into(),
            balance: conf.balance,
            has_backups: conf.nodes.iter().any(|node| node.backup),
            bound: conf.affinity.bound,
            policy: conf.health.clone(),
            stall: conf.timeouts.stall,
            retired: false,
            retired_idle: false,
            nodes: Vec::new(),
            has_removed: false,
            candidates: Views::with_reserve(conf.queue.reserve),
            restless: Vec::new(),
            learned: now,
            weighing: None,
            turn: Turn::default(),
            random: fastrand::Rng::new(),
            bell: None,
            rings: false,
            last_ticket: 0,
            last_serial: 0,
            events: VecDeque::new(),
            last_event: 0,
            now,
            queue: Queue::new(conf.queue.shares),
            skips: Skips::default(),
            counters: Counters::default(),
            #[cfg(test)]
            last_choice: None,
            #[cfg(test)]
            looks: 0,
        };
        table.weigh_if(conf.balance);
        for node in &conf.nodes {
            table.insert(node, Health::up(now), now);
        }
        table
    }

    pub(super) fn policy(&self) -> &config::Health {
        &self.policy
    }

    fn insert(&mut self, conf: &config::Node, health: Health, now: Instant) -> Key {
        self.last_serial += 1;
        let id = NodeId {
            pool: Arc::clone(&self.pool),
            name: conf.name.as_str().into(),
            address: conf.address.clone(),
            addresses: Addresses::default(),
            access: Access::of(conf),
        };
        let mut node = Node::new(id, self.last_serial, conf, health, now);
        node.need_credits(self.bell.is_some());
        let free = self.nodes.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            let nothing = Candidate {
                in_flight: 0,
                elsewhere: 0,
                work: None,
                limit: 0,
                inverse_rate: 1.0,
                tier: Tier::Never,
                turn: Candidate::NO_TURN,
                name: 0,
            };
            self.nodes.push(None);
            self.candidates.push(nothing);
            self.nodes.len() - 1
        });
        self.nodes[place] = Some(node);
        let name = balance::name_hash(&conf.name);
        self.candidates
            .update(place, |candidate| (candidate.turn, candidate.name) = (Candidate::NO_TURN, name));
        self.refresh(place, now);
        Key { place, serial: self.last_serial }
    }

    /// See [`super::Pool::configure`].
    pub(super) fn configure(&mut self, conf: &config::Pool, now: Instant) -> Vec<Event> {
        self.balance = conf.balance;
        self.has_backups = conf.nodes.iter().any(|node| node.backup);
        self.bound = conf.affinity.bound;
        self.weigh_if(conf.balance);
        self.policy = conf.health.clone();
        self.stall = conf.timeouts.stall;
        self.queue.shares = conf.queue.shares;
        self.candidates.set_reserve(conf.queue.reserve);
        self.retired = false;
        let mut events = Vec::new();
        let mut wanted: Vec<_> = conf.nodes.iter().map(Some).collect();
        for place in 0..self.nodes.len() {
            let Some(node) = &mut self.nodes[place] else { continue };
            let key = Key { place, serial: node.serial };
            let same = |w: &Option<&config::Node>| {
                w.is_some_and(|w| *w.name == *node.id.name && w.address == node.id.address)
            };
            let drained_before = node.drains();
            match wanted.iter_mut().find(|w| same(w)).and_then(Option::take) {
                Some(conf) => {
                    node.configure(conf);
                    node.need_credits(self.bell.is_some());
                }
                None => node.remove(),
            }
            let drains = node.drains();
            if drained_before && !drains {
                node.health.undrained(now);
            }
            events.extend(self.note(key, (drains && !drained_before).then_some(Change::Draining), now));
            self.bury(place);
        }
        self.note_removed();
        for conf in wanted.into_iter().flatten() {
            let key = self.insert(conf, Health::joining(now), now);
            events.extend(self.note(key, Some(Change::Joined), now));
        }
        let mut skips = std::mem::take(&mut self.skips);
        skips.retain(|key| self.is_member(key));
        self.skips = skips;
        events
    }

    /// See [`super::Pool::retire`].
    pub(super) fn retire(&mut self, now: Instant) -> Vec<Event> {
        self.retired = true;
        self.retired_idle = self.is_idle();
        let mut events = Vec::new();
        for place in 0..self.nodes.len() {
            let Some(node) = &mut self.nodes[place] else { continue };
            node.remove();
            let key = Key { place, serial: node.serial };
            events.extend(self.note(key, Some(Change::Draining), now));
            self.bury(place);
        }
        self.note_removed();
        events
    }

    /// Frees the place of a removed node that has no requests left.
    fn bury(&mut self, place: usize) {
        if self.nodes[place].as_ref().is_some_and(|n| n.removed && n.in_flight == 0) {
            self.nodes[place] = None;
            self.note_removed();
            // at no rate, or it would count as the fastest for ever
            self.candidates.update(place, |candidate| {
                (candidate.tier, candidate.inverse_rate) = (Tier::Never, f64::INFINITY);
            });
        }
    }

    pub(super) fn node(&mut self, key: Key) -> Option<&mut Node> {
        self.nodes.get_mut(key.place)?.as_mut().filter(|node| node.serial == key.serial)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (Key, &Node)> {
        let with_key =
            |(place, node): (usize, &'_ Option<Node>)| node.as_ref().map(|node| (place, node.serial));
        let keys = self.nodes.iter().enumerate().filter_map(with_key);
        keys.map(|(place, serial)| Key { place, serial }).zip(self.nodes.iter().flatten())
    }

    fn serving(&self) -> usize {
        self.members().filter(|(_, node)| node.serves()).count()
    }

    fn refresh(&mut self, place: usize, now: Instant) {
        let Some(node) = &self.nodes[place] else { return };
        let work = self.weighing.as_ref().map(|weighing| weighing.work(&node.pending));
        self.candidates.update(place, |candidate| {
            node.refresh(candidate, &self.policy, now);
            candidate.work = work;
        });
        if node.health.is_restless(&self.policy, now) && !self.restless.contains(&place) {
            self.restless.push(place);
        }
    }

    fn refresh_restless(&mut self, now: Instant) {
        for place in std::mem::take(&mut self.restless) {
            self.refresh(place, now);
        }
    }

    pub(super) fn hold_ends(&self, now: Instant) -> Option<Instant> {
        self.members().filter_map(|(_, node)| node.health.refused_until(now)).min()
    }

    /// Takes a slot on the node at this place.
    pub(super) fn take(&mut self, chosen: Chosen, profile: Profile, now: Instant) -> Slot {
        let Chosen { place, by } = chosen;
        self.counters.choices[by as usize] += 1;
        self.queue.passed(profile.class);
        self.now = self.now.max(now);
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        let paid = self.queue.charge(ticket, profile);
        let node = self.nodes[place].as_mut().expect("a chosen place holds a node");
        node.in_flight += 1;
        let work =
            self.weighing.as_ref().map(|weighing| weighing.begin(&mut node.pending, ticket, profile.size));
        self.candidates.update(place, |candidate| {
            (candidate.in_flight, candidate.work) = (node.in_flight, work);
        });
        if self.stall.is_some() {
            node.at_work.insert(ticket, now);
        }
        let slot = Slot {
            key: Key { place, serial: node.serial },
            ticket,
            epoch: node.health.epoch(),
            id: Arc::clone(&node.id),
            address: node.resolved.expect("a node without an address is never chosen"),
            activity: Arc::clone(&node.activity),
            by,
            paid,
        };
        if !node.health.is_up() {
            node.health.begin(ticket, now);
            self.refresh(place, now);
        }
        slot
    }

    /// The time of the node's death, if another death of it is reported `now`.
    pub(super) fn died_at(&mut self, key: Key, now: Instant) -> Instant {
        self.node(key).map_or(now, |node| node.health.died_at(now))
    }

    /// Ends an attempt and gives its slot back.
    pub(super) fn end(&mut self, key: Key, report: Report, done: Delivered, now: Instant) -> Option<Event> {
        self.queue.settle(report.ticket, || Done::of(report.outcome, done));
        let node = self.node(key)?;
        node.count(report.outcome);
        if report.outcome.is_failure() {
            node.last_failure = Some((report.outcome, now));
        }
        if done.inter_token > 0 {
            node.recent.inter_token(Duration::from_micros(done.inter_token.into()), now);
        }
        let change = self.report(key, report, now);
        let is_answer = done.is_any && report.outcome == Outcome::Ok;
        if let Some(node) = self.nodes[key.place].as_mut().filter(|_| is_answer) {
            node.health.showed(1.0, node.in_flight, &self.policy, now);
        }
        let event = self.note(key, change, now);
        self.give_back(key, report.ticket, Some(done.tokens).filter(|said| is_answer && *said > 0));
        event
    }

    pub(super) fn abandon(&mut self, key: Key, ticket: u64, done: Delivered) {
        self.queue.settle(ticket, || Done::of(Outcome::ClientGone, done));
        let Some(node) = self.node(key) else { return };
        node.count(Outcome::ClientGone);
        node.health.abandoned(ticket);
        self.give_back(key, ticket, None);
    }

    /// A slot that was granted and not used.
    pub(super) fn abandon_unused(&mut self, key: Key, ticket: u64) {
        self.queue.settle(ticket, || Done::Nothing);
        let Some(node) = self.node(key) else { return };
        node.health.abandoned(ticket);
        self.give_back(key, ticket, None);
    }

    /// The latest time that it was told.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    fn give_back(&mut self, key: Key, ticket: u64, said: Option<u32>) {
        let found = self.nodes.get_mut(key.place).and_then(Option::as_mut);
        let Some(node) = found.filter(|node| node.serial == key.serial) else { return };
        node.in_flight -= 1;
        self.rings |= node.is_above_held();
        node.at_work.remove(&ticket);
        let work = self.weighing.as_mut().map(|weighing| weighing.end(&mut node.pending, ticket, said));
        self.candidates.update(key.place, |candidate| {
            (candidate.in_flight, candidate.work) = (node.in_flight, work);
        });
        self.bury(key.place);
    }

    /// Applies a report to the node's health.
    fn report(&mut self, key: Key, report: Report, now: Instant) -> Option<Change> {
        let last_up = report.outcome.is_failure() && self.is_last_up(key);
        let node = self.nodes[key.place].as_mut().filter(|node| node.serial == key.serial)?;
        node.health.end(report, &self.policy, last_up, now)
    }

    /// See [`Health::reinstate`].
    pub(super) fn reinstate(
        &mut self,
        key: Key,
        report: Report,
        at: Instant,
        now: Instant,
    ) -> Option<Change> {
        let last_up = self.is_last_up(key);
        let policy = self.policy.clone();
        self.node(key)?.health.reinstate(report, at, &policy, last_up, now)
    }

    fn is_last_up(&self, key: Key) -> bool {
        !self.members().any(|(other, node)| other != key && node.serves())
    }

    /// Records a change as an event, and updates the policy's view of the node.
    pub(super) fn note(&mut self, key: Key, change: Option<Change>, now: Instant) -> Option<Event> {
        self.node(key)?;
        self.refresh(key.place, now);
        let (change, last_ticket) = (change?, self.last_ticket);
        let node = self.nodes[key.place].as_mut()?;
        if let Change::Ejected { reason, .. } = &change {
            node.ejections += u64::from(*reason != Reason::Unresolved);
            node.last_before = last_ticket;
            node.speed.doubt();
        }
        self.last_event += 1;
        let event = Event {
            number: self.last_event,
            at: now,
            pool: Arc::clone(&self.pool),
            node: Arc::clone(&node.id.name),
            change,
            in_flight: node.in_flight,
        };
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event.clone());
        Some(event)
    }

    pub(super) fn names(&self) -> Vec<(Key, Arc<NodeId>)> {
        let named = |(_, node): &(Key, &Node)| {
            node.id.address.host_port().is_some_and(|address| address.ip().is_none()) && !node.removed
        };
        self.members().filter(named).map(|(key, node)| (key, Arc::clone(&node.id))).collect()
    }

    pub(super) fn addresses(&self) -> HashSet<NodeAddress> {
        self.members().map(|(_, node)| node.id.address.clone()).collect()
    }

    pub(super) fn has_left(&self) -> bool {
        self.retired && self.retired_idle
    }

    pub(super) fn is_idle(&self) -> bool {
        self.members().all(|(_, node)| node.in_flight == 0)
    }

    /// A node gets requests.
    pub(super) fn has_usable(&self) -> bool {
        self.members().any(|(_, node)| NodeState::of(node).is_usable())
    }

    pub(super) fn load(&self, after: u64) -> Load {
        let nodes = self.members().map(|(_, node)| (Arc::clone(&node.id.name), node.in_flight)).collect();
        let is_new = self.events.iter().rev().take_while(|event| event.number > after).count();
        let events = self.events.range(self.events.len() - is_new..).cloned().collect();
        Load { waiting: self.queue.len(), nodes, events }
    }

    pub(super) fn snapshot(&self, name: &Arc<str>, now: Instant) -> PoolSnapshot {
        let mut skips = self.skips.snapshot(now);
        let snapshot = |(key, node): (Key, &Node)| {
            let skips = skips.remove(&key).unwrap_or_default();
            let work = self.weighing.is_some().then(|| node.pending.amount());
            let elsewhere = self.bell.is_some().then_some(node.elsewhere);
            NodeSnapshot { skips, work, elsewhere, ..NodeSnapshot::of(node, &self.policy, now) }
        };
        let nodes = self.members().map(snapshot).collect();
        PoolSnapshot {
            name: Arc::clone(name),
            nodes,
            queue: self.queue.len(),
            queue_by_class: self.queue.by_class(),
            counters: self.counters.clone(),
            events: self.events.iter().cloned().collect(),
        }
    }
}
