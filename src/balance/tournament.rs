//! A tournament tree: the smallest of many ranks, updated in time logarithmic in their number.
//!
//! Each player's rank is a leaf, and each match above it keeps the smaller of its two. A change replays only
//! the matches on the way up, and stops at the first whose result is unchanged.

/// Ranks by position. The lowest is the best; [`Tournament::OUT`] never is.
#[derive(Clone, Debug, Default)]
pub(super) struct Tournament {
    /// The root is at 1, the children of `i` at `2i` and `2i + 1`, and the leaves, a power of two of them,
    /// come last. Empty, or with index 0 unused.
    matches: Vec<u64>,
    players: usize,
}

impl Tournament {
    /// The rank of a player that does not take part.
    pub(super) const OUT: u64 = u64::MAX;

    fn leaves(&self) -> usize {
        self.matches.len() / 2
    }

    /// Adds a player at the next position.
    pub(super) fn push(&mut self, rank: u64) {
        if self.players == self.leaves() {
            self.grow();
        }
        self.players += 1;
        self.set(self.players - 1, rank);
    }

    fn grow(&mut self) {
        let old = self.leaves();
        let leaves = (old * 2).max(1);
        let mut matches = vec![Self::OUT; leaves * 2];
        matches[leaves..leaves + old].copy_from_slice(&self.matches[old..]);
        for at in (1..leaves).rev() {
            matches[at] = matches[at * 2].min(matches[at * 2 + 1]);
        }
        self.matches = matches;
    }

    pub(super) fn set(&mut self, position: usize, rank: u64) {
        let mut at = self.leaves() + position;
        let mut winner = rank;
        while self.matches[at] != winner {
            self.matches[at] = winner;
            if at == 1 {
                return;
            }
            winner = winner.min(self.matches[at ^ 1]);
            at /= 2;
        }
    }

    /// The smallest rank, unless all are out.
    pub(super) fn best(&self) -> Option<u64> {
        self.matches.get(1).copied().filter(|rank| *rank != Self::OUT)
    }

    /// The first position at or after `start`, or else from the beginning, whose rank is `rank` or less.
    pub(super) fn first_from(&self, start: usize, rank: u64) -> Option<usize> {
        self.first(start, rank).or_else(|| self.first(0, rank))
    }

    /// The first position at or after `start` whose rank is `rank` or less.
    pub(super) fn first(&self, start: usize, rank: u64) -> Option<usize> {
        if start >= self.players {
            return None;
        }
        let leaves = self.leaves();
        let mut at = leaves + start;
        while self.matches[at] > rank {
            // climb while this is a right child, then step to the subtree on its right
            at >>= at.trailing_ones();
            if at == 0 {
                return None;
            }
            at += 1;
        }
        while at < leaves {
            at *= 2;
            at += usize::from(self.matches[at] > rank);
        }
        Some(at - leaves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn there_is_no_winner_without_players() {
        let mut tournament = Tournament::default();
        assert_eq!((tournament.best(), tournament.first(0, 9)), (None, None));
        tournament.push(Tournament::OUT);
        assert_eq!((tournament.best(), tournament.first(0, 9)), (None, None));
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_list(
            pushed in vec(0_u64..6, 1..40),
            changes in vec((0_usize..40, 0_u64..6), 0..60),
            start in 0_usize..45,
            rank in 0_u64..6,
        ) {
            // 5 stands for a player that is out
            let rank_of = |n: u64| if n == 5 { Tournament::OUT } else { n };
            let mut plain: Vec<_> = pushed.into_iter().map(rank_of).collect();
            let mut tournament = Tournament::default();
            plain.iter().for_each(|rank| tournament.push(*rank));
            for (position, rank) in changes {
                let position = position % plain.len();
                plain[position] = rank_of(rank);
                tournament.set(position, rank_of(rank));
            }
            let best = plain.iter().min().copied().filter(|rank| *rank != Tournament::OUT);
            prop_assert_eq!(tournament.best(), best);
            let first = (start..plain.len()).find(|position| plain[*position] <= rank);
            prop_assert_eq!(tournament.first(start, rank), first);
        }
    }
}
