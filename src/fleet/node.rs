//! One node of a pool: its identity, its limits, its load and its health.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::activity::{Activity, Done};
use super::addresses::Addresses;
use super::event::Reason;
use super::health::{Health, PIECES, State};
use super::line::Line;
use super::order::Drain;
use super::pending::Pending;
use super::streams::Totals;
use super::timing::Recent;
use super::trouble::Trouble;
use crate::balance::cap::{Cap, Round};
use crate::balance::learned::Speed;
use crate::balance::{Candidate, Tier};
use crate::config::{self, Link, NodeAddress, NodeKey};
use crate::outcome::Outcome;

/// The identity of a node: pool, name and address together. A node that keeps all three keeps its counts and
/// health across a reload.
#[derive(Debug, PartialEq, Eq)]
pub struct NodeId {
    pub pool: Arc<str>,
    pub name: Arc<str>,
    pub address: NodeAddress,
    /// Of the node's name; one of them is in use.
    pub addresses: Addresses,
    /// The way to it and the key that it wants, which a reload may change.
    pub access: Access,
}

/// The way to a node, and the key that it wants. They are no part of its identity.
#[derive(Clone, Debug, Default)]
pub struct Access {
    pub link: Link,
    pub authorization: Option<NodeKey>,
    /// The last trouble with TLS that was told.
    pub trouble: Trouble,
}

impl Access {
    pub(super) fn of(conf: &config::Node) -> Self {
        let (link, authorization) = (conf.link.clone(), conf.authorization.clone());
        Self { link, authorization, trouble: Trouble::default() }
    }
}

impl PartialEq for Access {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Access {}

/// Stands for the address of a node that is reached by a unix socket, which has none.
const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A learned cap, and the work that it has accounted for.
#[derive(Debug, Default)]
pub(super) struct Capped {
    pub cap: Cap,
    seen: Done,
    answers: u64,
    streams: Totals,
}

/// A node in its pool's table.
#[derive(Debug)]
pub(super) struct Node {
    pub id: Arc<NodeId>,
    /// Unique in the pool, unlike the place in the table, which is reused.
    pub serial: u64,
    /// Its settings.
    pub conf: Box<config::Node>,
    /// The configured weight.
    pub wanted: config::Weight,
    pub speed: Speed,
    pub limit: u32,
    /// With `max_in_flight: auto`: the limit comes from here.
    pub capped: Option<Box<Capped>>,
    pub drain: Drain,
    /// It stands in while no other node can be had.
    pub is_backup: bool,
    /// Neither in the config nor named by a source any longer.
    pub removed: bool,
    /// The resolved address; `None` while the name has not been resolved.
    pub resolved: Option<SocketAddr>,
    pub in_flight: u32,
    /// Empty unless the pool chooses by it.
    pub pending: Pending,
    /// The start of each attempt in flight by its number, or the time when its client began to read again.
    /// Empty while `timeouts.stall` is off.
    pub at_work: BTreeMap<u64, Instant>,
    /// The number of the last attempt that began before the latest ejection. Silence of older attempts is not
    /// held against the node once it is back.
    pub last_before: u64,
    pub activity: Arc<Activity>,
    /// The work already accounted for: by the learned weight, and by slow start.
    pub learned: Done,
    pub seen: Done,
    pub health: Health,
    /// The line in front of it, since it said it is full.
    pub line: Option<Line>,
    pub attempts: [u64; Outcome::ALL.len()],
    /// The last attempt that counted against it, and its end.
    pub last_failure: Option<(Outcome, Instant)>,
    pub ejections: u64,
    pub recent: Box<Recent>,
}

impl Node {
    pub(super) fn new(id: NodeId, serial: u64, conf: &config::Node, health: Health, now: Instant) -> Self {
        let mut node = Self {
            resolved: match id.address.host_port() {
                Some(address) => address.ip().map(|ip| SocketAddr::new(ip, address.port)),
                None => Some(NO_ADDRESS),
            },
            id: Arc::new(id),
            serial,
            conf: Box::new(conf.clone()),
            wanted: config::Weight::Fixed(1.0),
            speed: Speed::default(),
            limit: u32::MAX,
            capped: None,
            drain: Drain::default(),
            is_backup: false,
            removed: false,
            in_flight: 0,
            pending: Pending::default(),
            at_work: BTreeMap::new(),
            last_before: 0,
            activity: Arc::new(Activity::new(now)),
            learned: Done::default(),
            seen: Done::default(),
            health,
            line: None,
            attempts: [0; Outcome::ALL.len()],
            last_failure: None,
            ejections: 0,
            recent: Box::new(Recent::new(now)),
        };
        node.configure(conf);
        if node.resolved.is_none() && node.health.is_up() {
            node.health.take_out(Reason::Unresolved, Duration::ZERO, now);
        }
        node
    }

    pub(super) fn configure(&mut self, conf: &config::Node) {
        conf.clone_into(&mut self.conf);
        self.configure_access(conf);
        if self.wanted != conf.weight {
            self.speed = Speed::default();
        }
        // skip the work that was counted while the weight was fixed, or under the previous config
        self.learned = self.activity.done();
        self.speed.doubt();
        self.wanted = conf.weight;
        self.configure_limit(conf.max_in_flight);
        self.drain.by_config = conf.drain;
        self.is_backup = conf.backup;
        self.removed = false;
    }

    /// Attempts under way keep the access that they began with.
    fn configure_access(&mut self, conf: &config::Node) {
        let old = &self.id.access;
        if old.link == conf.link && old.authorization == conf.authorization {
            return;
        }
        self.id = Arc::new(NodeId {
            pool: Arc::clone(&self.id.pool),
            name: Arc::clone(&self.id.name),
            address: self.id.address.clone(),
            addresses: self.id.addresses.clone(),
            access: Access { trouble: self.id.access.trouble.clone(), ..Access::of(conf) },
        });
    }

    /// A cap that has been learned is kept.
    fn configure_limit(&mut self, conf: config::MaxInFlight) {
        self.limit = match conf {
            config::MaxInFlight::Off => u32::MAX,
            config::MaxInFlight::Fixed(max) => u32::try_from(max).unwrap_or(u32::MAX),
            config::MaxInFlight::Auto => self.capped.get_or_insert_default().cap.now(),
        };
        let is_auto = conf == config::MaxInFlight::Auto;
        self.activity.streams.follow(is_auto);
        if is_auto {
            self.learn_cap(false, Duration::ZERO);
        } else {
            self.capped = None;
        }
    }

    /// Learns the cap from the time that has passed. `is_comparable`: see [`Self::is_comparable`].
    pub(super) fn learn_cap(&mut self, is_comparable: bool, passed: Duration) {
        let answers = self.answers();
        let Some(capped) = &mut self.capped else { return };
        let ended = answers.wrapping_sub(std::mem::replace(&mut capped.answers, answers));
        let work = capped.seen.catch_up(self.activity.done());
        let streams = self.activity.streams.catch_up(&mut capped.streams);
        if is_comparable {
            let ended = ended as f64;
            capped.cap.round(Round { work, streams, ended, in_flight: self.in_flight, passed });
        } else {
            capped.cap.interrupt();
        }
        self.limit = capped.cap.now();
    }

    pub(super) fn weight(&self) -> f64 {
        match self.wanted {
            config::Weight::Fixed(weight) => weight,
            config::Weight::Auto => self.speed.weight(),
        }
    }

    /// The node's speed can be compared: with only a part of its load it is faster than with all of it.
    pub(super) fn is_comparable(&self, policy: &config::Health, now: Instant) -> bool {
        self.serves() && self.health.is_settled(policy, now)
    }

    /// Credits slow start with the pieces of streams since the last call.
    pub(super) fn show_events(&mut self, policy: &config::Health, now: Instant) {
        let answers = self.seen.catch_up(self.activity.done()).pieces / PIECES;
        self.health.showed(answers, self.in_flight, policy, now);
    }

    /// The node counts as up when the pool asks whether another node is left.
    pub(super) fn serves(&self) -> bool {
        self.health.is_up() && !self.drains()
    }

    /// The node gets no new requests, and finishes those it has: it is drained, or was removed from the config.
    pub(super) fn drains(&self) -> bool {
        self.drain.is_on() || self.removed
    }

    /// The start of the node's silence while it has had requests: its oldest attempt or its last sign of
    /// life, whichever is later. Only attempts after this number count.
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

    /// The most requests that the node may have now. With `max_in_flight` set, slow start caps the node at
    /// its share of that, because waiting requests go wherever there is room, whatever the scores. The cap
    /// also holds for the last node that is up, and for a last resort that has just answered again: they
    /// would get all waiting requests at once. Without a limit there is nothing to take a share of, and no
    /// request waits for room.
    pub(super) fn cap(&self, policy: &config::Health, now: Instant) -> u32 {
        let share = self.health.share(policy, now);
        if self.limit == u32::MAX || share >= 1.0 {
            return self.limit;
        }
        // subtract a little: 0.11 x 100 is slightly above 11 and would round up to 12
        ((f64::from(self.limit) * share - 1e-9).ceil() as u32).max(1)
    }

    /// The number of attempts that ended well.
    fn answers(&self) -> u64 {
        Outcome::ALL
            .iter()
            .zip(self.attempts)
            .filter(|(outcome, _)| **outcome == Outcome::Ok)
            .map(|(_, count)| count)
            .sum()
    }

    fn tier(&self, now: Instant) -> Tier {
        if self.drains() {
            return Tier::Never;
        }
        match self.bound_tier(now) {
            Tier::Probe | Tier::Usable if self.is_backup => Tier::Backup,
            Tier::Busy if self.is_backup => Tier::BusyBackup,
            tier => tier,
        }
    }

    /// For a request that no other node can serve, and that a drained one still does.
    pub(super) fn bound_tier(&self, now: Instant) -> Tier {
        if self.resolved.is_none() || self.health.refused_until(now).is_some() {
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

    /// The next request is its trial.
    pub(super) fn is_to_be_probed(&self, now: Instant) -> bool {
        self.tier(now) == Tier::Probe
    }

    /// The node may be chosen as soon as it has room, where tiers up to `last` may.
    pub(super) fn is_usable(&self, last: Tier, now: Instant) -> bool {
        self.tier(now) <= last
    }

    /// Backups stay out of use while it is there, full or not. One that has just come back has no room for all.
    pub(super) fn keeps_backups_out(&self, policy: &config::Health, now: Instant) -> bool {
        self.tier(now) <= Tier::Busy && self.health.share(policy, now) >= 1.0
    }

    /// Updates the policy's view of this node.
    pub(super) fn refresh(&self, candidate: &mut Candidate, policy: &config::Health, now: Instant) {
        candidate.in_flight = self.in_flight;
        candidate.limit = self.cap(policy, now);
        candidate.inverse_rate = 1.0 / (self.weight() * self.health.share(policy, now));
        candidate.tier = self.tier(now);
    }
}
