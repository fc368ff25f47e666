//! The work of an engine for one request.

use super::kv::{BLOCK, Held};
use crate::mix::mix;

/// A prompt, as far as an engine's work depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    tokens: u32,
    /// A hash for each full block, of everything up to its end.
    blocks: Vec<u64>,
}

impl Prompt {
    /// One that shares nothing with another.
    pub fn of_tokens(tokens: u32) -> Self {
        Self { tokens, blocks: Vec::new() }
    }

    /// That of these token ids.
    pub fn of_ids(ids: impl IntoIterator<Item = u32>) -> Self {
        let mut prompt = Self::default();
        let mut hash = 0;
        for id in ids {
            hash = mix(hash ^ u64::from(id));
            prompt.tokens += 1;
            if prompt.tokens.is_multiple_of(BLOCK) {
                prompt.blocks.push(hash);
            }
        }
        prompt
    }

    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    pub(super) fn blocks(&self) -> &[u64] {
        &self.blocks
    }
}

/// One request's work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    pub prompt: Prompt,
    /// Tokens of the answer.
    pub tokens: u32,
    /// Keep the slot after the last token, as a stalled sequence does.
    pub hold: bool,
    /// The lower, the sooner, where the engine orders by it.
    pub priority: i64,
}

impl Work {
    /// An answer to a prompt that costs nothing.
    pub fn answer(tokens: u32) -> Self {
        Self { tokens, ..Self::default() }
    }
}

/// A sequence in the engine.
pub(super) struct Entry<T> {
    pub item: T,
    pub prompt: Prompt,
    /// Tokens generated.
    pub said: u32,
    /// Tokens still to generate.
    pub left: u32,
    pub hold: bool,
    /// Tokens of prompt and answer whose keys and values are there.
    pub computed: u32,
    /// Tokens that the step under way computes.
    pub planned: u32,
    /// Tokens of the prompt that were there when it came.
    pub cached: Option<u32>,
    pub held: Held,
}

impl<T> Entry<T> {
    pub(super) fn new(item: T, work: Work) -> Self {
        Self {
            item,
            prompt: work.prompt,
            said: 0,
            left: work.tokens,
            hold: work.hold,
            computed: 0,
            planned: 0,
            cached: None,
            held: Held::default(),
        }
    }

    /// Tokens of prompt and answer.
    pub(super) fn length(&self) -> u32 {
        self.prompt.tokens() + self.said
    }

    /// Tokens to compute before the next one is generated.
    pub(super) fn todo(&self) -> u32 {
        (self.length() - self.computed).max(1)
    }
}
