//! Gateways in virtual time: each admits by its limits alone, and calls the ledger over a network that loses and delays.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::credits::*;

pub(super) const TERMS: Terms = Terms { settle_ms: 2000, known_ms: 5000 };

/// The fate of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    /// Carried out, and its answer is lost.
    Unheard,
    Lost,
    /// Comes when the member has given it up.
    Delayed,
    /// The answer is that to the call before.
    Garbage,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counter {
    pub limit: u32,
    pub in_use: u32,
    pub urgent: u32,
    pub waiting: u32,
}

#[derive(Debug)]
pub(super) struct Gateway {
    pub member: Member,
    pub counters: BTreeMap<Name, Counter>,
    last: Option<Answer>,
    /// A question to it gets its answer.
    pub can_be_asked: bool,
    /// None of its calls comes through.
    pub is_split: bool,
    called: Instant,
}

pub(super) struct World {
    pub ledger: Ledger,
    pub gateways: Vec<Option<Gateway>>,
    pub caps: Vec<u32>,
    pub now: Instant,
    pub ms: u64,
    delayed: Vec<Call>,
    fresh: u64,
    pub calls: u64,
}

impl Counter {
    fn credit(&mut self, limit: u32) -> u32 {
        self.limit = limit;
        limit.max(self.in_use)
    }

    /// Requests that wait get the units that are free, the urgent first.
    pub(super) fn grant(&mut self) {
        let free = self.limit.saturating_sub(self.in_use);
        let urgent = free.min(self.urgent);
        let others = (free - urgent).min(self.waiting);
        self.urgent -= urgent;
        self.waiting -= others;
        self.in_use += urgent + others;
    }
}

impl Gateway {
    fn needs(&self, caps: &[u32]) -> Vec<Need> {
        let needs = self.counters.iter().map(|(name, counter)| Need {
            name: *name,
            cap: Some(caps[name.0 as usize]),
            in_use: counter.in_use,
            urgent: counter.urgent,
            waiting: counter.waiting,
            usable: u32::MAX,
            is_node: true,
        });
        needs.collect()
    }
}

impl World {
    pub(super) fn new(gateways: usize, caps: &[u32]) -> Self {
        let mut world = Self {
            ledger: Ledger::new(TERMS),
            gateways: Vec::new(),
            caps: caps.to_vec(),
            now: Instant::now(),
            ms: 1_000_000,
            delayed: Vec::new(),
            fresh: 1,
            calls: 0,
        };
        for _ in 0..gateways {
            world.join();
        }
        world
    }

    pub(super) fn join(&mut self) -> usize {
        let gateway = self.fresh_gateway();
        self.gateways.push(Some(gateway));
        self.gateways.len() - 1
    }

    fn fresh_gateway(&mut self) -> Gateway {
        self.fresh += 1;
        let settings =
            Settings { heartbeat: Duration::from_millis(500), forget_after: Duration::from_mins(15) };
        let mut member = Member::new(MemberId(self.fresh), format!("host:{}", self.fresh), settings);
        member.watch.set_own(Some("host".into()));
        let counters = (0..self.caps.len()).map(|name| (Name(name as u64), Counter::default()));
        Gateway {
            member,
            counters: counters.collect(),
            last: None,
            can_be_asked: true,
            is_split: false,
            called: self.now,
        }
    }

    /// Ends a gateway without a word.
    pub(super) fn kill(&mut self, at: usize) {
        self.gateways[at] = None;
    }

    pub(super) fn counter(&mut self, at: usize, name: u64) -> &mut Counter {
        let gateway = self.gateways[at].as_mut().expect("it lives");
        gateway.counters.get_mut(&Name(name)).expect("a resource")
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.ms += ms;
        self.now += Duration::from_millis(ms);
    }

    /// Time in which all that are not cut off make their calls.
    pub(super) fn live(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(100) {
            self.pass(ms.min(100));
            for at in 0..self.gateways.len() {
                let gap = self.gateways[at].as_ref().map(|gateway| self.now - gateway.called);
                if gap.is_some_and(|gap| gap >= Duration::from_millis(500)) {
                    self.exchange(at, Fate::Answered);
                }
            }
        }
    }

    fn epoch(&mut self) -> Epoch {
        self.fresh += 1;
        Epoch(self.fresh)
    }

    /// One call, if the member has something to say, and another if it then owes something.
    pub(super) fn exchange(&mut self, at: usize, fate: Fate) {
        if self.exchange_once(at, fate) {
            self.exchange_once(at, fate);
        }
    }

    fn exchange_once(&mut self, at: usize, fate: Fate) -> bool {
        let (next, now) = (self.epoch(), self.now);
        let caps = &self.caps;
        let Some(gateway) = &mut self.gateways[at] else { return false };
        let needs = gateway.needs(caps);
        let counters = &mut gateway.counters;
        let credit = |Allowance { name, limit, .. }: Allowance| {
            counters.get_mut(&name).expect("a resource").credit(limit.unwrap_or(0))
        };
        if let Some(call) = gateway.member.call(&needs, credit, next, now) {
            self.carry(at, call, fate);
        }
        let Some(gateway) = &mut self.gateways[at] else { return false };
        gateway.member.owes(&gateway.needs(&self.caps))
    }

    /// Calls until it is in.
    pub(super) fn enter(&mut self, at: usize) {
        for _ in 0..4 {
            self.exchange(at, Fate::Answered);
        }
    }

    fn carry(&mut self, at: usize, call: Call, fate: Fate) {
        self.calls += 1;
        let Some(gateway) = &mut self.gateways[at] else { return };
        gateway.called = self.now;
        let fate = if gateway.is_split { Fate::Lost } else { fate };
        let answer = match fate {
            Fate::Lost => None,
            Fate::Delayed => {
                self.delayed.push(call);
                None
            }
            Fate::Unheard => {
                self.ledger.call(&call, self.ms);
                None
            }
            Fate::Answered => Some(self.ledger.call(&call, self.ms)),
            Fate::Garbage => {
                let answer = self.ledger.call(&call, self.ms);
                gateway.last.replace(answer)
            }
        };
        let Some(allowances) = answer.as_ref().and_then(|answer| gateway.member.accept(answer, self.now))
        else {
            gateway.member.failed();
            return;
        };
        gateway.last = answer;
        for Allowance { name, limit, .. } in allowances {
            let counter = gateway.counters.get_mut(&name).expect("a resource");
            counter.limit = limit.expect("a limit");
            counter.grant();
        }
    }

    /// A late call reaches the ledger.
    pub(super) fn arrive(&mut self) {
        if let Some(call) = self.delayed.pop() {
            self.ledger.call(&call, self.ms);
        }
    }

    /// Asks silent fellows, and buries the dead.
    pub(super) fn ask(&mut self, at: usize) {
        let Some(gateway) = &mut self.gateways[at] else { return };
        for question in gateway.member.watch.questions(16, self.now) {
            let living = self.gateways.iter().flatten();
            let living = living.filter(|other| other.member.id() == question.id);
            let heard = match living.map(|other| other.can_be_asked).next() {
                Some(true) => Heard::Itself,
                Some(false) => Heard::Nothing,
                None => Heard::Refused,
            };
            let Some(gateway) = &mut self.gateways[at] else { return };
            let found = gateway.member.watch.heard(question.id, heard, self.now);
            let Some(Found { verdict: Verdict::Dead | Verdict::Forgotten, seq, .. }) = found else {
                continue;
            };
            if let Some(call) = gateway.member.bury(question.id, seq) {
                self.carry(at, call, Fate::Answered);
            }
        }
    }

    /// Units in use, over all gateways.
    pub(super) fn in_use(&self, name: u64) -> u32 {
        self.sum(name, |counter| counter.in_use)
    }

    pub(super) fn limits(&self, name: u64) -> u32 {
        self.sum(name, |counter| counter.limit)
    }

    fn sum(&self, name: u64, of: impl Fn(&Counter) -> u32) -> u32 {
        self.gateways.iter().flatten().map(|gateway| of(&gateway.counters[&Name(name)])).sum()
    }

    pub(super) fn check(&self) {
        for (name, cap) in self.caps.iter().enumerate() {
            let of = |counter: &Counter| counter.in_use.max(counter.limit);
            let could = self.sum(name as u64, of);
            assert!(could <= *cap, "{could} of {cap} units of {name} may be in use");
        }
    }

    /// So many rounds of exchanges, each of all gateways.
    pub(super) fn rounds(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.pass(100);
            for at in 0..self.gateways.len() {
                self.exchange(at, Fate::Answered);
                self.ask(at);
            }
            self.check();
        }
    }

    /// All are in, the ledger has settled and everything idle is divided.
    pub(super) fn settled(gateways: usize, caps: &[u32]) -> Self {
        let mut world = Self::new(gateways, caps);
        (0..gateways).for_each(|at| world.enter(at));
        world.rounds(30);
        assert!(world.gateways.iter().flatten().all(|gateway| gateway.member.standing() == Standing::Joined));
        world
    }
}
