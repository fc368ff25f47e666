//! The memory of an engine for keys and values, in blocks of 16 tokens, and the prompts' prefixes that it still holds.
//!
//! As in vLLM (0.32, `v1/core/block_pool.py`): a full block of a prompt is known by the hash of everything up to its end, is
//! shared by all sequences that begin so, and stays when the last of them is gone, until its room is needed.

use std::collections::{BTreeSet, HashMap};

/// Tokens of a block, vLLM's default.
pub(super) const BLOCK: u32 = 16;

/// The blocks of an engine.
#[derive(Debug)]
pub(super) struct Kv {
    /// `None`: without end.
    blocks: Option<usize>,
    /// Blocks with nothing in them.
    free: usize,
    keeps_prefixes: bool,
    known: HashMap<u64, Known>,
    /// Known blocks that no sequence uses, the one unused for longest first.
    idle: BTreeSet<(u64, u64)>,
    clock: u64,
}

/// A block that is known by its hash.
#[derive(Debug)]
struct Known {
    users: u32,
    idle_since: u64,
}

/// The blocks of one sequence.
#[derive(Debug, Default)]
pub(super) struct Held {
    shared: Vec<u64>,
    own: usize,
}

impl Held {
    pub(super) fn blocks(&self) -> usize {
        self.shared.len() + self.own
    }
}

impl Kv {
    pub(super) fn new(tokens: Option<u32>, keeps_prefixes: bool) -> Self {
        let blocks = tokens.map(|tokens| (tokens / BLOCK) as usize);
        Self {
            blocks,
            free: blocks.unwrap_or(usize::MAX),
            keeps_prefixes: keeps_prefixes && blocks.is_some(),
            known: HashMap::new(),
            idle: BTreeSet::new(),
            clock: 0,
        }
    }

    /// True if so many tokens fit into an empty engine.
    pub(super) fn can_ever_hold(&self, tokens: u32) -> bool {
        self.blocks.is_none_or(|blocks| blocks_of(tokens) <= blocks)
    }

    /// The part that is in use, from 0 to 1.
    pub(super) fn usage(&self) -> f64 {
        self.blocks.map_or(0.0, |blocks| 1.0 - (self.free + self.idle.len()) as f64 / blocks.max(1) as f64)
    }

    /// Takes the blocks of a sequence with so many tokens, which begins with these full blocks. Returns the number of its
    /// tokens that are there already, too. `None`: there is no room.
    pub(super) fn take(&mut self, tokens: u32, prompt: &[u64]) -> Option<(Held, u32)> {
        let Some(_) = self.blocks else { return Some((Held::default(), 0)) };
        let prompt = if self.keeps_prefixes { prompt } else { &[] };
        let there = prompt.iter().filter(|hash| self.known.contains_key(hash)).count();
        let idle = prompt.iter().filter(|hash| self.known.get(hash).is_some_and(|known| known.users == 0));
        let room = self.free + self.idle.len() - idle.count();
        let all = blocks_of(tokens);
        if all - there > room {
            return None;
        }
        let hits = prompt.iter().take_while(|hash| self.known.contains_key(hash)).count();
        // those that are there are put out of reach before any is dropped
        let (old, new): (Vec<u64>, Vec<u64>) = prompt.iter().partition(|hash| self.known.contains_key(hash));
        old.iter().for_each(|hash| self.use_known(*hash));
        for hash in new {
            self.take_free();
            self.known.insert(hash, Known { users: 1, idle_since: 0 });
        }
        let own = all - prompt.len();
        (0..own).for_each(|_| self.take_free());
        // the last token of a prompt is always computed: it gives the first one of the answer
        let cached = (hits as u32 * BLOCK).min(tokens.saturating_sub(1) / BLOCK * BLOCK);
        Some((Held { shared: prompt.to_vec(), own }, cached))
    }

    /// Takes one more block. False: there is none.
    pub(super) fn grow(&mut self, held: &mut Held) -> bool {
        let has_room = self.free > 0 || !self.idle.is_empty();
        if has_room {
            self.take_free();
            held.own += 1;
        }
        has_room
    }

    pub(super) fn is_limited(&self) -> bool {
        self.blocks.is_some()
    }

    /// Gives all blocks of a sequence back.
    pub(super) fn give_back(&mut self, held: &mut Held) {
        let Held { shared, own } = std::mem::take(held);
        if self.blocks.is_some() {
            self.free += own;
        }
        // the end of a prompt is of less use to others than its beginning
        for hash in shared.into_iter().rev() {
            let Some(known) = self.known.get_mut(&hash) else { continue };
            known.users -= 1;
            if known.users == 0 {
                self.clock += 1;
                known.idle_since = self.clock;
                self.idle.insert((self.clock, hash));
            }
        }
    }

    fn use_known(&mut self, hash: u64) {
        let Some(known) = self.known.get_mut(&hash) else { return };
        if known.users == 0 {
            self.idle.remove(&(known.idle_since, hash));
        }
        known.users += 1;
    }

    /// A free block, or the one that was unused for longest.
    fn take_free(&mut self) {
        if self.free > 0 {
            self.free -= 1;
        } else if let Some((_, hash)) = self.idle.pop_first() {
            self.known.remove(&hash);
        }
    }
}

pub(super) fn blocks_of(tokens: u32) -> usize {
    tokens.div_ceil(BLOCK) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kv(blocks: u32) -> Kv {
        Kv::new(Some(blocks * BLOCK), true)
    }

    #[test]
    fn what_a_prompt_shares_with_an_earlier_one_is_there_already() {
        let mut kv = kv(10);
        let (mut first, cached) = kv.take(50, &[1, 2, 3]).unwrap();
        assert_eq!((cached, first.blocks()), (0, 4));
        let (mut second, cached) = kv.take(70, &[1, 2, 4, 5]).unwrap();
        assert_eq!((cached, second.blocks(), kv.free), (32, 5, 3));
        kv.give_back(&mut first);
        kv.give_back(&mut second);
        assert_eq!((kv.free, kv.idle.len(), kv.usage()), (5, 5, 0.0));
        let (_, cached) = kv.take(48, &[1, 2, 3]).unwrap();
        assert_eq!(cached, 32, "the last block is computed again");
    }

    #[test]
    fn room_is_taken_from_what_was_unused_for_longest() {
        let mut kv = kv(4);
        for prompt in [[1, 2], [3, 4]] {
            let (mut held, _) = kv.take(32, &prompt).unwrap();
            kv.give_back(&mut held);
        }
        let (_held, _) = kv.take(16, &[]).unwrap();
        assert_eq!([1, 2, 3, 4].map(|hash| kv.known.contains_key(&hash)), [true, false, true, true]);
        assert!(kv.take(65, &[]).is_none(), "more than there is");
        assert!(kv.take(64, &[]).is_none(), "one block is in use");
        assert!(kv.can_ever_hold(64) && !kv.can_ever_hold(65));
    }

    #[test]
    fn an_engine_without_a_limit_holds_everything_and_keeps_nothing() {
        let mut kv = Kv::new(None, true);
        let (mut held, cached) = kv.take(1_000_000, &[1]).unwrap();
        assert!(kv.can_ever_hold(u32::MAX) && (cached, held.blocks(), kv.is_limited()) == (0, 0, false));
        kv.give_back(&mut held);
        assert_eq!(kv.usage(), 0.0);
    }

    proptest! {
        /// Whatever comes and goes, no block is lost or counted twice.
        #[test]
        fn every_block_is_free_or_known_or_owned(steps in proptest::collection::vec((0_u32..200, 0_u64..4, 0_u8..4), 1..60)) {
            let mut kv = kv(24);
            let mut all: Vec<Held> = Vec::new();
            for (tokens, family, what) in steps {
                let prompt: Vec<u64> = (0..u64::from(tokens / BLOCK)).map(|place| family * 100 + place).collect();
                match what {
                    0 if !all.is_empty() => kv.give_back(&mut all.remove(0)),
                    1 => { all.last_mut().map(|held| kv.grow(held)); }
                    _ => all.extend(kv.take(tokens, &prompt).map(|(held, _)| held)),
                }
                let own: usize = all.iter().map(|held| held.own).sum();
                prop_assert_eq!(kv.free + kv.known.len() + own, 24);
                let unused = kv.known.values().filter(|known| known.users == 0).count();
                prop_assert_eq!(unused, kv.idle.len());
            }
            all.iter_mut().for_each(|held| kv.give_back(held));
            prop_assert_eq!(kv.free + kv.idle.len(), 24);
        }
    }
}
