//! The property test's model of silent nodes: the rule of `timeouts.stall` in its plainest form.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::fleet::{Change, Reason};

#[derive(Debug)]
struct Attempt {
    key: Key,
    node: String,
    since: Instant,
    /// The attempt began while `stall` was on.
    counts: bool,
    /// The node was ejected after the attempt began.
    older: bool,
    given_up: bool,
}

#[derive(Debug, Default)]
pub(super) struct Silence {
    attempts: BTreeMap<u64, Attempt>,
    alive: HashMap<Key, Instant>,
}

impl Silence {
    pub(super) fn begins(&mut self, lease: &Lease, bench: &Bench) {
        let attempt = Attempt {
            key: lease.key(),
            node: lease.node().name.to_string(),
            since: bench.now,
            counts: bench.conf.timeouts.stall.is_some(),
            older: false,
            given_up: false,
        };
        self.attempts.insert(lease.slot.ticket, attempt);
    }

    pub(super) fn ends(&mut self, lease: &Lease) {
        self.attempts.remove(&lease.slot.ticket);
    }

    pub(super) fn shows(&mut self, lease: &Lease, now: Instant) {
        self.alive.insert(lease.key(), now);
    }

    pub(super) fn saw<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        for event in events.into_iter().filter(|event| matches!(event.change, Change::Ejected { .. })) {
            let there = self.attempts.values_mut().filter(|attempt| *attempt.node == *event.node);
            there.for_each(|attempt| attempt.older = true);
        }
    }

    /// The start of this node's silence, judged by some of its attempts.
    fn silent_since(&self, key: Key, newer_only: bool) -> Option<Instant> {
        let waits = |a: &&Attempt| a.key == key && a.counts && !a.given_up && !(newer_only && a.older);
        let oldest = self.attempts.values().filter(waits).map(|attempt| attempt.since).min()?;
        Some(oldest.max(self.alive.get(&key).copied().unwrap_or(oldest)))
    }

    /// Call right before a tick. Gives up the attempts that must be given up, and returns the nodes that must
    /// be ejected.
    pub(super) fn tick(&mut self, bench: &Bench) -> Vec<String> {
        let Some(stall) = bench.conf.timeouts.stall else { return Vec::new() };
        let recent = |at: Instant| bench.now - at < stall;
        let states: Vec<_> = {
            let table = bench.pool.table();
            let state = |(key, node): (Key, &crate::fleet::node::Node)| {
                let at_work =
                    !matches!(node.health.state(), State::Ejected(_) | State::Probing { probe: None });
                (key, node.id.name.to_string(), node.serves(), at_work)
            };
            table.members().map(state).collect()
        };
        if !states
            .iter()
            .any(|(key, _, serves, _)| *serves && self.alive.get(key).is_some_and(|a| recent(*a)))
        {
            return Vec::new();
        }
        let mut ejected = Vec::new();
        for (key, name, _, at_work) in states {
            let is_silent = |since: Option<Instant>| since.is_some_and(|since| !recent(since));
            let all = is_silent(self.silent_since(key, true));
            let some = is_silent(self.silent_since(key, false));
            let theirs = self.attempts.values_mut().filter(|attempt| attempt.key == key);
            theirs.for_each(|attempt| attempt.given_up |= all || (some && attempt.older));
            if all && at_work {
                ejected.push(name);
            }
        }
        ejected
    }

    pub(super) fn agrees(&self, leases: &[Lease]) {
        assert_eq!(self.attempts.len(), leases.len());
        for lease in leases {
            let attempt = &self.attempts[&lease.slot.ticket];
            assert_eq!(lease.is_given_up(), attempt.given_up, "{attempt:?}");
        }
    }
}

/// The nodes that were ejected for silence, according to these events.
pub(super) fn silenced(events: &[Event]) -> Vec<String> {
    let silent = |event: &&Event| {
        let Change::Ejected { reason, .. } = event.change else { return false };
        matches!(reason, Reason::Stalled | Reason::ProbeFailed(Outcome::Stalled))
    };
    events.iter().filter(silent).map(|event| event.node.to_string()).collect()
}
