//! Candidates: the balancing policy's view of a pool's nodes, by place and ranked.

use std::ops::Index;

use super::tournament::Tournament;
use super::{Candidate, Tier};

/// Candidates by place. Change them only through [`Candidates::update`], which keeps the ranking correct.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    all: Vec<Candidate>,
    ranking: Tournament,
}

impl Candidates {
    pub fn push(&mut self, candidate: Candidate) {
        self.all.push(candidate);
        self.ranking.push(rank(&candidate));
    }

    pub fn update(&mut self, place: usize, change: impl FnOnce(&mut Candidate)) {
        change(&mut self.all[place]);
        self.ranking.set(place, rank(&self.all[place]));
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// There is one with room whose tier is `last` or lower.
    pub fn has_room(&self, last: Tier) -> bool {
        self.ranking.best().is_some_and(|rank| rank < worse_than(last))
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Candidate> {
        self.all.iter()
    }

    /// The place of the candidate with the lowest tier up to `last`, and among those the smallest score. Ties
    /// go to the first at or after `cursor`. Places in `skip` are not considered.
    pub(super) fn least_loaded(&mut self, last: Tier, skip: &[usize], cursor: usize) -> Option<usize> {
        let skipped = skip.iter().filter(|place| **place < self.all.len());
        skipped.clone().for_each(|place| self.ranking.set(*place, Tournament::OUT));
        let best = self.ranking.best().filter(|rank| *rank < worse_than(last));
        let chosen =
            best.and_then(|rank| self.ranking.first(cursor, rank).or_else(|| self.ranking.first(0, rank)));
        skipped.for_each(|place| self.ranking.set(*place, rank(&self.all[*place])));
        chosen
    }
}

impl Index<usize> for Candidates {
    type Output = Candidate;

    fn index(&self, place: usize) -> &Candidate {
        &self.all[place]
    }
}

impl FromIterator<Candidate> for Candidates {
    fn from_iter<I: IntoIterator<Item = Candidate>>(candidates: I) -> Self {
        let mut all = Self::default();
        candidates.into_iter().for_each(|candidate| all.push(candidate));
        all
    }
}

/// Bits for the tier, of which there are eight, above those of the score. The score loses its last digits to them, which are below its
/// rounding error.
const TIER_BITS: u32 = 3;

/// One number that orders by tier, then by score. The bits of a positive float are ordered like its values
/// (IEEE 754, 5.10), and its sign bit is zero.
fn rank(candidate: &Candidate) -> u64 {
    if candidate.tier == Tier::Never || !candidate.has_room() {
        return Tournament::OUT;
    }
    lowest_of(candidate.tier) | candidate.score().to_bits() >> TIER_BITS
}

fn lowest_of(tier: Tier) -> u64 {
    (tier as u64) << (63 - TIER_BITS)
}

/// Ranks of `last` and lower tiers are below this.
fn worse_than(last: Tier) -> u64 {
    (last as u64 + 1) << (63 - TIER_BITS)
}
