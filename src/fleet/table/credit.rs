//! Credits of the nodes, where several gateways share them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::super::bell::Bell;
use super::super::credit::Allow;
use super::super::key::Key;
use super::super::node::Node;
use super::super::shared::Shared;
use super::super::snapshot::NodeState;
use super::super::want::{CLASSES, Want};
use super::Table;
use crate::balance::{Tier, Turn};

impl Table {
    /// The pool belongs to this cluster from now on, or to none. In one, ties begin elsewhere than in other gateways.
    pub(crate) fn join(&mut self, cluster: Option<&Arc<Bell>>, now: Instant) {
        if self.bell.as_ref().map(Arc::as_ptr) == cluster.map(Arc::as_ptr) {
            return;
        }
        self.bell = cluster.cloned();
        self.turn = Turn::starting_at(self.random.usize(..self.nodes.len().max(1)));
        for place in 0..self.nodes.len() {
            self.nodes[place].iter_mut().for_each(|node| node.join(cluster.is_some()));
            self.refresh(place, now);
        }
    }

    /// A request has begun to wait.
    pub(crate) fn has_waiting(&mut self) {
        self.rings = self.bell.is_some();
    }

    /// The bell, if it is to be rung.
    pub(crate) fn take_bell(&mut self) -> Option<Arc<Bell>> {
        if std::mem::take(&mut self.rings) { self.bell.clone() } else { None }
    }

    pub(crate) fn shares(&self, now: Instant) -> Vec<Shared> {
        let mut left_over = self.left_over();
        let live = self.members().filter(|(_, node)| !node.removed);
        let waiting = self.waiting(now);
        let mut shares: Vec<_> = live
            .map(|(key, node)| {
                let in_flight = node.in_flight + left_over.remove(&node.identity).unwrap_or(0);
                let held = node.held.unwrap_or(0).max(in_flight);
                let waiting = waiting.of(key.place);
                let usable = if node.is_usable(Tier::BusyLastResort, now) {
                    node.cap_of_all(&self.policy, now)
                } else {
                    0
                };
                let is_out = matches!(NodeState::of(node), NodeState::Ejected);
                Shared { in_flight, usable, waiting, is_out, ..Self::share(key, node, held) }
            })
            .collect();
        let left = self.members().filter(|(_, node)| node.removed);
        shares.extend(left.filter_map(|(key, node)| {
            let in_flight = left_over.remove(&node.identity)?;
            Some(Shared { in_flight, ..Self::share(key, node, in_flight) })
        }));
        shares
    }

    fn share(key: Key, node: &Node, held: u32) -> Shared {
        let cap = node.fixed_cap();
        let held = if cap.is_some() { held } else { 0 };
        Shared {
            key,
            node: node.identity,
            cap,
            held,
            in_flight: 0,
            usable: 0,
            waiting: [0; CLASSES],
            is_out: false,
        }
    }

    pub(super) fn note_removed(&mut self) {
        self.has_removed = self.nodes.iter().flatten().any(|node| node.removed);
    }

    /// Requests in flight on nodes that have left the config, by identity.
    fn left_over(&self) -> HashMap<u64, u32> {
        let mut left = HashMap::new();
        if !self.has_removed {
            return left;
        }
        for (_, node) in self.members().filter(|(_, node)| node.removed) {
            *left.entry(node.identity).or_default() += node.in_flight;
        }
        left
    }

    /// See [`super::super::Pool::credit`].
    pub(crate) fn credit(&mut self, allowed: &[(Key, Allow)], now: Instant) -> Vec<u32> {
        let left_over = self.left_over();
        let give = |(key, allow): &(Key, Allow)| {
            let Some(node) = self.node(*key) else { return 0 };
            if node.removed {
                return left_over.get(&node.identity).copied().unwrap_or(0);
            }
            let before = (node.held, node.elsewhere);
            let left = left_over.get(&node.identity).copied().unwrap_or(0);
            node.allow(Allow { held: allow.held.map(|held| held.saturating_sub(left)), ..*allow });
            let held = node.held.map_or(0, |held| held.max(node.in_flight) + left);
            if (node.held, node.elsewhere) != before {
                self.refresh(key.place, now);
            }
            held
        };
        allowed.iter().map(give).collect()
    }

    /// See [`super::super::Pool::hint`].
    pub(crate) fn hint(&mut self, node: u64, now: Instant) -> bool {
        if self.policy.check.is_none() {
            return false;
        }
        let mut nodes = self.nodes.iter_mut().flatten();
        let found = nodes.find(|one| one.identity == node && !one.removed && one.health.is_up());
        found.map(|node| node.health.checks().hint(now)).is_some()
    }

    /// The waiting requests, as they could use the nodes.
    fn waiting(&self, now: Instant) -> Waiting {
        let mut waiting = Waiting::default();
        if self.queue.is_empty() {
            return waiting;
        }
        let last = self.widest_tier();
        let usable: Vec<_> = self.members().filter(|(_, node)| node.is_usable(last, now)).collect();
        for (want, count) in self.queue.counts() {
            let able: Vec<_> = match want {
                Want::Home { key, .. } => vec![key.place],
                Want::Any { avoid, .. } => {
                    let is_avoided =
                        |key: &Key| !avoid.is_empty() && avoid.iter().all(|keys| keys.contains(key));
                    usable.iter().filter(|(key, _)| !is_avoided(key)).map(|(key, _)| key.place).collect()
                }
            };
            waiting.add(&able, count);
        }
        waiting
    }
}

/// Parts of waiting requests, by place and class.
#[derive(Debug, Default)]
struct Waiting(HashMap<usize, [f64; CLASSES]>);

impl Waiting {
    /// Each of so many can use any of these.
    fn add(&mut self, places: &[usize], count: [usize; CLASSES]) {
        let part = 1.0 / places.len().max(1) as f64;
        for place in places {
            let sums = self.0.entry(*place).or_default();
            sums.iter_mut().zip(count).for_each(|(sum, count)| *sum += count as f64 * part);
        }
    }

    fn of(&self, place: usize) -> [u32; CLASSES] {
        // subtract a little: three thirds are slightly above 1
        let whole = |sum: f64| (sum - 1e-9).ceil() as u32;
        self.0.get(&place).map_or([0; CLASSES], |sums| sums.map(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_in_parts_that_are_rounded_up() {
        let mut waiting = Waiting::default();
        waiting.add(&[0, 1, 2], [3, 1, 0]);
        waiting.add(&[2], [0, 0, 4]);
        waiting.add(&[], [9, 9, 9]);
        assert_eq!([0, 1, 2, 3].map(|place| waiting.of(place)), [[1, 1, 0], [1, 1, 0], [1, 1, 4], [0, 0, 0]]);
    }
}
