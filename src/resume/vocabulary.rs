//! The tokens of each model that are known to be whole characters.
//!
//! vLLM puts several tokens into one event when its API server is behind, and the last of them may be half of a character,
//! whose text is still to come. An answer that breaks off there must not be continued from all its ids: vLLM 0.32 takes half a
//! character at the end of a prompt as a reason to tell the whole prompt again. A token that once came alone, and had text at
//! once, is whole wherever it stands.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Models whose tokens are remembered, 64 KiB each.
const MODELS_MAX: usize = 64;
/// Ids that are remembered: Gemma's, the most known, are half as many.
const IDS_MAX: usize = 1 << 19;

/// The vocabularies of a gateway's models.
#[derive(Debug, Default)]
pub struct Vocabularies {
    hasher: RandomState,
    models: Mutex<HashMap<u64, Arc<Vocabulary>>>,
}

impl Vocabularies {
    /// That of a pool's model. One too many gets none to keep.
    pub fn of(&self, pool: &str, model: &str) -> Arc<Vocabulary> {
        let mut models = self.models.lock();
        let is_full = models.len() >= MODELS_MAX;
        let key = self.hasher.hash_one((pool, model));
        match models.get(&key) {
            Some(known) => known.clone(),
            None if is_full => Arc::default(),
            None => models.entry(key).or_insert_with(|| Arc::new(Vocabulary::with_room())).clone(),
        }
    }
}

/// A set of token ids.
#[derive(Debug, Default)]
pub struct Vocabulary {
    /// A bit for each id. Empty if nothing is remembered.
    bits: Box<[AtomicU64]>,
}

impl Vocabulary {
    fn with_room() -> Self {
        Self { bits: std::iter::repeat_with(AtomicU64::default).take(IDS_MAX / 64).collect() }
    }

    pub(super) fn is_whole(&self, id: u32) -> bool {
        let (word, bit) = place(id);
        self.bits.get(word).is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    pub(super) fn learn(&self, id: u32) {
        let (word, bit) = place(id);
        // most are known: their cache line stays shared
        if let Some(word) = self.bits.get(word).filter(|word| word.load(Ordering::Relaxed) & bit == 0) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }
}

fn place(id: u32) -> (usize, u64) {
    ((id / 64) as usize, 1 << (id % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_model_of_a_pool_has_a_vocabulary() {
        let all = Vocabularies::default();
        all.of("a", "m").learn(7);
        let of = [("a", "m"), ("a", "n"), ("b", "m")].map(|(pool, model)| all.of(pool, model).is_whole(7));
        assert_eq!(of, [true, false, false]);
    }

    #[test]
    fn ids_and_models_are_bounded() {
        let all = Vocabularies::default();
        let known = all.of("a", "m");
        for id in [0, 63, 64, 524_287, 524_288, u32::MAX] {
            known.learn(id);
        }
        let kept = [0, 63, 64, 524_287, 524_288, u32::MAX, 1].map(|id| known.is_whole(id));
        assert_eq!(kept, [true, true, true, true, false, false, false]);
        for number in 0..2 * MODELS_MAX {
            all.of("a", &number.to_string()).learn(1);
        }
        assert_eq!(all.models.lock().len(), MODELS_MAX);
        assert!(all.of("a", "0").is_whole(1) && !all.of("a", "100").is_whole(1));
    }
}
