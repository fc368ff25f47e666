//! Candidates: the balancing policy's view of a pool's nodes, by place and ranked.

use std::ops::Index;

use super::tournament::Tournament;
use super::{Candidate, Tier};

/// Candidates by place. Change them only through [`Candidates::update`], which keeps the ranking correct.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    all: Vec<Candidate>,
    ranking: Tournament,
    order: Order,
    /// No candidate's `inverse_rate` is below this.
    fastest: Option<f64>,
}

/// The order of candidates in one tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Load,
    Turn,
}

impl Candidates {
    pub fn push(&mut self, candidate: Candidate) {
        self.all.push(candidate);
        self.ranking.push(rank(&candidate, self.order));
        self.note_rate(candidate.inverse_rate);
    }

    pub fn update(&mut self, place: usize, change: impl FnOnce(&mut Candidate)) {
        let candidate = &mut self.all[place];
        let before = candidate.inverse_rate;
        change(candidate);
        let after = candidate.inverse_rate;
        self.ranking.set(place, rank(candidate, self.order));
        if after < before {
            self.note_rate(after);
        }
    }

    fn note_rate(&mut self, inverse: f64) {
        self.fastest = Some(self.fastest.map_or(inverse, |fastest| fastest.min(inverse)));
    }

    /// Finds the fastest again: one that was faster may have left.
    pub(super) fn find_fastest(&mut self) {
        self.fastest = self.all.iter().map(|candidate| candidate.inverse_rate).reduce(f64::min);
    }

    /// The part of the fastest candidate's rate that this one has, at most: from 0 to 1.
    pub(super) fn part_of_fastest(&self, candidate: &Candidate) -> f64 {
        self.fastest.map_or(1.0, |fastest| fastest / candidate.inverse_rate)
    }

    /// Ranks them in this order from now on.
    pub(super) fn order_by(&mut self, order: Order) {
        if self.order != order {
            self.order = order;
            for (place, candidate) in self.all.iter().enumerate() {
                self.ranking.set(place, rank(candidate, order));
            }
        }
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
        self.without(skip, last, |ranking, best| ranking.first_from(cursor, best))
    }

    /// The place of the candidate with the lowest tier up to `last`, and among those the earliest turn. All turns up to `now` are
    /// due; ties go to the first at or after `cursor`.
    pub(super) fn next_in_turn(
        &mut self,
        last: Tier,
        skip: &[usize],
        cursor: usize,
        now: f64,
    ) -> Option<usize> {
        self.without(skip, last, |ranking, best| {
            let due = tier_of(best) | now.to_bits() >> TIER_BITS;
            ranking.first_from(cursor, best.max(due))
        })
    }

    /// The lowest tier, up to `last`, of those that may be taken.
    pub(super) fn lowest_tier(&mut self, last: Tier, skip: &[usize]) -> Option<Tier> {
        let place = self.without(skip, last, |ranking, best| ranking.first(0, tier_of(best) | SCORE))?;
        Some(self.all[place].tier)
    }

    /// Looks at the ranking without these places, given the best rank.
    fn without(
        &mut self,
        skip: &[usize],
        last: Tier,
        look: impl FnOnce(&Tournament, u64) -> Option<usize>,
    ) -> Option<usize> {
        let skipped = skip.iter().filter(|place| **place < self.all.len());
        skipped.clone().for_each(|place| self.ranking.set(*place, Tournament::OUT));
        let best = self.ranking.best().filter(|rank| *rank < worse_than(last));
        let found = best.and_then(|best| look(&self.ranking, best));
        skipped.for_each(|place| self.ranking.set(*place, rank(&self.all[*place], self.order)));
        found
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
fn rank(candidate: &Candidate, order: Order) -> u64 {
    if candidate.tier == Tier::Never || !candidate.has_room() {
        return Tournament::OUT;
    }
    let score = match order {
        Order::Load => candidate.score(),
        // no turn is before time 0, so all that are due tie
        Order::Turn => candidate.next_turn(0.0),
    };
    lowest_of(candidate.tier) | score.to_bits() >> TIER_BITS
}

/// The bits of a rank's score.
const SCORE: u64 = (1 << (63 - TIER_BITS)) - 1;

/// The lowest rank in the tier of this one.
fn tier_of(rank: u64) -> u64 {
    rank & !SCORE
}

fn lowest_of(tier: Tier) -> u64 {
    (tier as u64) << (63 - TIER_BITS)
}

/// Ranks of `last` and lower tiers are below this.
fn worse_than(last: Tier) -> u64 {
    (last as u64 + 1) << (63 - TIER_BITS)
}
