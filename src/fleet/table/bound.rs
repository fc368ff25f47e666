//! Requests that are bound to one node, because it has what they name.

use std::time::Instant;

use super::super::key::{Chosen, Key, Refusal, Slot};
use super::super::views::Reach;
use super::super::want::Profile;
use super::Table;
use crate::balance::{By, Tier};

impl Table {
    /// The node is in the pool, and the config has it still.
    pub(crate) fn is_member(&self, key: Key) -> bool {
        let node = self.nodes.get(key.place).and_then(Option::as_ref);
        node.is_some_and(|node| node.serial == key.serial && !node.removed)
    }

    /// A slot on this node, for a request that no other can serve, however loaded it is. `None`: it is no longer in the pool. A node
    /// that is drained serves what is bound to it. One that is ejected is waited for, or is the last chance; one that told the
    /// request that it is full is asked in its turn (`in_line`).
    pub(crate) fn take_on(
        &mut self,
        key: Key,
        in_line: bool,
        is_last_chance: bool,
        profile: Profile,
        now: Instant,
    ) -> Option<Result<Slot, Refusal>> {
        if self.retired {
            return Some(Err(Refusal::Retired));
        }
        if !self.is_member(key) {
            return None;
        }
        let will_do = is_last_chance || self.serving() == 0;
        let last = if will_do { Tier::BusyLastResort } else { Tier::Busy };
        let node = self.nodes[key.place].as_ref()?;
        if node.bound_tier(now) > last {
            return Some(Err(Refusal::Unreachable { until: node.health.refused_until(now) }));
        }
        let is_closed = in_line && node.line.is_some_and(|line| line.opens(now).is_some());
        if is_closed
            || node.in_flight >= self.candidates.limit(Reach::of(profile), node.cap(&self.policy, now))
        {
            return Some(Err(Refusal::Full));
        }
        let slot = self.take(Chosen { place: key.place, by: By::Stored }, profile, now);
        if let Some(node) = self.node(key).filter(|_| in_line) {
            node.line = node.line.and_then(|line| line.ask(now));
        }
        Some(Ok(slot))
    }
}
