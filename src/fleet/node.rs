//! One node of a pool: who it is, what it may get, how it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::activity::{Activity, Done};
use super::event::Reason;
use super::health::{Health, PIECES, State};
use crate::balance::learned::Speed;
use crate::balance::{Candidate, Tier};
use crate::config::{self, NodeAddress};
use crate::outcome::Outcome;

/// Who a node is. Pool, name and address together are its identity: a node that keeps all three keeps its counts
/// and its health over a reload.
#[derive(Debug, PartialEq, Eq)]
pub struct NodeId {
    pub pool: Arc<str>,
    pub name: Arc<str>,
    pub address: NodeAddress,
}

/// A node in its pool's table.
#[derive(Debug)]
pub(super) struct Node {
    pub id: Arc<NodeId>,
    /// Never used twice in a pool, unlike the place in the table.
    pub serial: u64,
    /// What the config says.
    pub wanted: config::Weight,
    pub speed: Speed,
    pub limit: u32,
    /// Told to drain by the config or by hand, or removed from the config.
    pub drain: bool,
    pub removed: bool,
    /// Where its name leads; `None` while that is not known.
    pub resolved: Option<SocketAddr>,
    pub in_flight: u32,
    /// What [`Self::room`] was when all, or as many as it has room for, were last woken.
    pub announced_room: u32,
    /// When the attempts began that it has, by their numbers, or when their clients began to read again. Empty while `timeouts.stall` is off.
    pub at_work: BTreeMap<u64, Instant>,
    /// The last attempt that began before its last ejection: what has been silent for longer than that is not held against
    /// the node once it is back.
    pub last_before: u64,
    pub activity: Arc<Activity>,
    /// The work that its weight was learned from, and that its slow start has seen.
    pub learned: Done,
    pub seen: Done,
    pub health: Health,
    pub attempts: [u64; Outcome::ALL.len()],
    pub ejections: u64,
}

impl Node {
    pub(super) fn new(id: NodeId, serial: u64, conf: &config::Node, health: Health, now: Instant) -> Self {
        let mut node = Self {
            resolved: id.address.ip().map(|ip| SocketAddr::new(ip, id.address.port)),
            id: Arc::new(id),
            serial,
            wanted: config::Weight::Fixed(1.0),
            speed: Speed::default(),
            limit: u32::MAX,
            drain: false,
            removed: false,
            in_flight: 0,
            announced_room: u32::MAX,
            at_work: BTreeMap::new(),
            last_before: 0,
            activity: Arc::new(Activity::new(now)),
            learned: Done::default(),
            seen: Done::default(),
            health,
            attempts: [0; Outcome::ALL.len()],
            ejections: 0,
        };
        node.configure(conf);
        if node.resolved.is_none() {
            node.health.take_out(Reason::Unresolved, std::time::Duration::ZERO, now);
        }
        node
    }

    pub(super) fn configure(&mut self, conf: &config::Node) {
        if self.wanted != conf.weight {
            self.speed = Speed::default();
        }
        // what was counted while nobody learned from it, or under the last config
        self.learned = self.activity.done();
        self.speed.doubt();
        self.wanted = conf.weight;
        self.limit = conf.max_in_flight.map_or(u32::MAX, |max| u32::try_from(max).unwrap_or(u32::MAX));
        self.drain = conf.drain;
        self.removed = false;
    }

    pub(super) fn weight(&self) -> f64 {
        match self.wanted {
            config::Weight::Fixed(weight) => weight,
            config::Weight::Auto => self.speed.weight(),
        }
    }

    /// Whether what it does now can be compared: with a part of its load it is as fast as it will not be with all of it.
    pub(super) fn is_comparable(&self, policy: &config::Health, now: Instant) -> bool {
        self.serves() && self.health.is_settled(policy, now)
    }

    /// Lets its slow start see the pieces of its streams since the last time.
    pub(super) fn show_events(&mut self, policy: &config::Health, now: Instant) {
        let answers = self.seen.catch_up(self.activity.done()).pieces / PIECES;
        self.health.showed(answers, self.in_flight, policy, now);
    }

    /// Whether it counts as a node that is up when it is asked whether another one is left.
    pub(super) fn serves(&self) -> bool {
        self.health.is_up() && !self.drain && !self.removed
    }

    /// Since when it has had something to do and has shown nothing: its oldest attempt, or its last sign of life. Only
    /// attempts after this one count.
    pub(super) fn silent_since(&self, attempt: u64) -> Option<Instant> {
        let oldest = *self.at_work.range(attempt + 1..).map(|(_, since)| since).min()?;
        Some(self.activity.last().map_or(oldest, |last| last.max(oldest)))
    }

    pub(super) fn count(&mut self, outcome: Outcome) {
        let place = Outcome::ALL.iter().position(|o| *o == outcome);
        if let Some(count) = place.and_then(|place| self.attempts.get_mut(place)) {
            *count += 1;
        }
    }

    /// Most requests that it may have now. Where `max_in_flight` is set, slow start lets it have its share of that and no
    /// more: requests that wait go where there is room, whatever the scores. That holds for the last node that is up too,
    /// and for a last resort that was just heard again, for they would get all that wait at once. Without a limit there
    /// is nothing to take a share of, and nobody waits for room.
    pub(super) fn cap(&self, policy: &config::Health, now: Instant) -> u32 {
        let share = self.health.share(policy, now);
        if self.limit == u32::MAX || share >= 1.0 {
            return self.limit;
        }
        // a little less, or 0.11 x 100 would be 12
        ((f64::from(self.limit) * share - 1e-9).ceil() as u32).max(1)
    }

    /// The same, and none while it refuses connections.
    pub(super) fn room(&self, policy: &config::Health, now: Instant) -> u32 {
        if self.health.refused_until(now).is_some() { 0 } else { self.cap(policy, now) }
    }

    fn tier(&self, now: Instant) -> Tier {
        if self.drain || self.removed || self.resolved.is_none() || self.health.refused_until(now).is_some() {
            return Tier::Never;
        }
        let busy = self.health.busy_until(now).is_some();
        match self.health.state() {
            State::Up | State::Probing { probe: None } if busy => Tier::Busy,
            State::Probing { probe: None } => Tier::Probe,
            State::Up => Tier::Usable,
            State::Ejected(ejection) if !ejection.accepts => Tier::Never,
            State::Probing { probe: Some(_) } | State::Ejected(_) if busy => Tier::BusyLastResort,
            State::Probing { probe: Some(_) } | State::Ejected(_) => Tier::LastResort,
        }
    }

    /// Brings what the balancing policy sees of this node up to date.
    pub(super) fn refresh(&self, candidate: &mut Candidate, policy: &config::Health, now: Instant) {
        candidate.in_flight = self.in_flight;
        candidate.limit = self.cap(policy, now);
        candidate.inverse_rate = 1.0 / (self.weight() * self.health.share(policy, now));
        candidate.tier = self.tier(now);
    }
}
