//! The choice of a node, by the pool's policy.

use std::time::Instant;

use super::super::key::{Chosen, Key, Refusal};
use super::super::views::Reach;
use super::super::want::Profile;
#[cfg(test)]
use super::Choice;
use super::Table;
use crate::balance::{self, By, Preference, Preferred, Tier};
use crate::config::Balance;

impl Table {
    /// The places of those of these nodes that are in the pool.
    pub(super) fn places(&self, keys: &[Key]) -> Vec<usize> {
        let is_there = |key: &&Key| {
            self.nodes.get(key.place).and_then(Option::as_ref).is_some_and(|node| node.serial == key.serial)
        };
        keys.iter().filter(is_there).map(|key| key.place).collect()
    }

    /// The place of the best node. The cost does not depend on the number of requests in flight.
    pub(crate) fn choose(
        &mut self,
        tried: &[Key],
        profile: Profile,
        now: Instant,
    ) -> Result<Chosen, Refusal> {
        self.refresh_restless(now);
        let skip = self.places(tried);
        let last = self.last_tier(&skip, now);
        #[cfg(test)]
        let candidates = self.candidates.of(Reach::of(profile)).clone();
        let choice = self.choose_among(last, &skip, profile);
        #[cfg(test)]
        {
            self.last_choice =
                choice.map(|Chosen { place, .. }| Choice { candidates, last, skip: skip.clone(), place });
        }
        choice.ok_or_else(|| self.refusal(&skip, last, now))
    }

    fn choose_among(&mut self, last: Tier, skip: &[usize], profile: Profile) -> Option<Chosen> {
        let reach = Reach::of(profile);
        let (candidates, turn) = (self.candidates.of(reach), &mut self.turn);
        let chosen = match (self.balance, profile.affinity) {
            (by_key @ (Balance::Affinity | Balance::IpHash), Some(key)) => {
                let preferred = Preference { key, bound: self.bound }.choose(candidates, last, skip, turn);
                preferred.map(|Preferred { place, is_home }| Chosen { place, by: By::key(by_key, is_home) })
            }
            (policy, _) => {
                let random = if policy == Balance::Random { self.random.f64() } else { 0.0 };
                let place = balance::choose(policy, candidates, last, skip, turn, random);
                place.map(|place| Chosen { place, by: By::load(policy) })
            }
        }?;
        self.candidates.chosen(chosen.place, reach);
        Some(chosen)
    }

    fn refusal(&self, skip: &[usize], last: Tier, now: Instant) -> Refusal {
        if self.retired {
            return Refusal::Retired;
        }
        let usable = || {
            (0..self.candidates.len())
                .filter(|p| self.nodes[*p].is_some() && self.candidates.tier(*p) <= last)
        };
        if usable().any(|place| !skip.contains(&place)) {
            return Refusal::Full;
        }
        if usable().next().is_some() {
            return Refusal::AllTried;
        }
        Refusal::Unreachable { until: self.hold_ends(now) }
    }
}
