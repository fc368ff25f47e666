//! The candidates as the classes of requests see them: all of a cap, or all but the part that is reserved.
//!
//! A pool without a reserve has one view, and pays a branch. With one there is a second ranking, and a choice among either costs
//! the same: nothing is searched for room that only some may use.

use super::want::Profile;
use crate::balance::{Candidate, Candidates, Tier};
use crate::config::Class;

/// The part of a cap that a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All but the reserve.
    Open,
    Whole,
}

impl Reach {
    pub(super) fn of(profile: Profile) -> Self {
        if profile.class == Class::Interactive || profile.is_due { Self::Whole } else { Self::Open }
    }
}

/// The candidates of a pool, by place.
#[derive(Debug, Default)]
pub(super) struct Views {
    /// Their limits are without the reserve.
    open: Candidates,
    /// With it, where there is one.
    whole: Option<Box<Candidates>>,
    /// The part of each cap that is reserved, 0 to 0.9.
    reserve: f64,
}

impl Views {
    pub(super) fn with_reserve(reserve: f64) -> Self {
        let whole = (reserve > 0.0).then(Box::default);
        Self { open: Candidates::default(), whole, reserve }
    }

    pub(super) fn set_reserve(&mut self, reserve: f64) {
        let whole = self.whole.take().unwrap_or_else(|| Box::new(self.open.clone()));
        *self = Self::with_reserve(reserve);
        whole.iter().for_each(|candidate| self.push(*candidate));
    }

    pub(super) fn push(&mut self, candidate: Candidate) {
        self.open.push(Candidate { limit: open_limit(self.reserve, candidate.limit), ..candidate });
        if let Some(whole) = &mut self.whole {
            whole.push(candidate);
        }
    }

    /// Changes what is known of a node. `limit` means its whole cap.
    pub(super) fn update(&mut self, place: usize, change: impl Fn(&mut Candidate)) {
        let Some(whole) = &mut self.whole else { return self.open.update(place, change) };
        whole.update(place, &change);
        let limit = open_limit(self.reserve, whole[place].limit);
        self.open.update(place, |candidate| {
            change(candidate);
            candidate.limit = limit;
        });
    }

    /// Those among which a request with this reach is placed. A choice that changes one is to be followed by [`Self::chosen`].
    pub(super) fn of(&mut self, reach: Reach) -> &mut Candidates {
        match (&mut self.whole, reach) {
            (Some(whole), Reach::Whole) => whole,
            _ => &mut self.open,
        }
    }

    /// The candidate here has been chosen with this reach: the other view hears of its turn.
    pub(super) fn chosen(&mut self, place: usize, reach: Reach) {
        if self.whole.is_some() {
            let turn = self.of(reach)[place].turn;
            self.update(place, |candidate| candidate.turn = turn);
        }
    }

    /// There is a candidate with room whose tier is `last` or lower.
    pub(super) fn has_room(&self, reach: Reach, last: Tier) -> bool {
        match (&self.whole, reach) {
            (Some(whole), Reach::Whole) => whole.has_room(last),
            _ => self.open.has_room(last),
        }
    }

    /// The most requests that a node with this cap may have when it gets another.
    pub(super) fn limit(&self, reach: Reach, cap: u32) -> u32 {
        if reach == Reach::Whole { cap } else { open_limit(self.reserve, cap) }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn tier(&self, place: usize) -> Tier {
        self.open[place].tier
    }
}

/// A cap without its reserve, which is rounded up; but one slot is for all.
fn open_limit(reserve: f64, cap: u32) -> u32 {
    if reserve == 0.0 || cap == u32::MAX {
        return cap;
    }
    // subtract a little: 0.07 x 100 is slightly above 7
    let reserved = (f64::from(cap) * reserve - 1e-9).ceil() as u32;
    cap - reserved.min(cap.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_leaves_a_slot_for_all() {
        for (reserve, cap, open) in [
            (0.0, 8, 8),
            (0.1, 0, 0),
            (0.1, 1, 1),
            (0.1, 2, 1),
            (0.1, 10, 9),
            (0.07, 100, 93),
            (0.1, 11, 9),
            (0.9, 10, 1),
            (0.9, 3, 1),
            (0.5, u32::MAX, u32::MAX),
        ] {
            assert_eq!(open_limit(reserve, cap), open, "{reserve} of {cap}");
        }
    }
}
