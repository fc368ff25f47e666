//! The simulated model's text: token i of a prompt is the same word on every node.
//!
//! A test can therefore tell whether a stream broken on one node and continued on another reads
//! without a seam, and whether any token was lost or repeated.

use std::fmt::Write;

use crate::mix::mix;

/// The first id of generated tokens: an id is this base plus the token's position.
const GENERATED: u32 = 1_000_000;

const WORDS: [&str; 16] = [
    "anchor", "bow", "current", "deck", "eddy", "fathom", "galley", "harbour", "isle", "jetty", "keel",
    "lantern", "mast", "north", "oar", "pilot",
];

/// A prompt, which determines the words of the answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    /// One id per word; the token ids that `return_token_ids` shows.
    ids: Vec<u32>,
    /// The number of the answer's tokens already in the request (a continuation).
    pub start: u32,
    /// Words of the prompt, including the answer so far: `usage.prompt_tokens`.
    pub len: u32,
    seed: u64,
    /// True if the first token starts with a space, as in completions but not in chats.
    leading_blank: bool,
}

impl Prompt {
    /// A chat prompt of `ids`, continued after the text `said`.
    pub(super) fn chat(ids: Vec<u32>, said: Option<&str>) -> Self {
        let start = said.map_or(0, |text| text.split_whitespace().count() as u32);
        Prompt::new(ids, start, false)
    }

    /// A completion prompt. If it ends in the first words of the answer to the rest of it, those count as
    /// generated already.
    pub(super) fn completion(mut ids: Vec<u32>, text: Option<&str>) -> Self {
        let last = match text.and_then(|text| text.split_whitespace().next_back()) {
            Some(word) => word.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok(),
            None => ids.last().and_then(|id| id.checked_sub(GENERATED)),
        };
        let said = last.and_then(|last: u32| last.checked_add(1)).unwrap_or(0);
        if said > 0
            && let Some(base) = ids.len().checked_sub(said as usize)
            && continues(&ids[base..], seed(&ids[..base]))
        {
            ids.truncate(base);
            return Prompt::new(ids, said, true);
        }
        Prompt::new(ids, 0, true)
    }

    fn new(ids: Vec<u32>, start: u32, leading_blank: bool) -> Self {
        let seed = seed(&ids);
        let len = ids.len() as u32 + start;
        Prompt { ids, start, len, seed, leading_blank }
    }

    /// Appends the answer's token at `position`, counted from the beginning of the whole answer.
    pub(super) fn push_token(&self, position: u32, out: &mut String) {
        if position > 0 || self.leading_blank {
            out.push(' ');
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "{}{position}", word(self.seed, position));
    }

    /// The id of the answer's token at `position`.
    pub(super) fn token_id(&self, position: u32) -> u32 {
        GENERATED.saturating_add(position)
    }

    /// The ids of the prompt, the answer so far included.
    pub(super) fn token_ids(&self) -> impl Iterator<Item = u32> {
        let said = (0..self.start).map(|position| self.token_id(position));
        self.ids.iter().copied().chain(said)
    }
}

/// The id of a word: FNV-1a, which is the same in every process.
pub(super) fn push_ids(text: &str, ids: &mut Vec<u32>) {
    ids.extend(text.split_whitespace().map(word_id));
}

fn word_id(word: &str) -> u32 {
    let hash =
        word.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % GENERATED
}

fn continues(tail: &[u32], seed: u64) -> bool {
    tail.iter().zip(0..).all(|(id, position)| {
        *id == GENERATED.saturating_add(position)
            || *id == word_id(&format!("{}{position}", word(seed, position)))
    })
}

fn seed(ids: &[u32]) -> u64 {
    ids.iter().fold(0, |seed, id| mix(seed ^ u64::from(*id)))
}

fn word(seed: u64, position: u32) -> &'static str {
    WORDS[(mix(seed ^ u64::from(position)) % WORDS.len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        push_ids(text, &mut ids);
        ids
    }

    fn say(prompt: &Prompt, tokens: u32) -> String {
        let mut out = String::new();
        (prompt.start..prompt.start + tokens).for_each(|position| prompt.push_token(position, &mut out));
        out
    }

    #[test]
    fn the_words_depend_only_on_prompt_and_position() {
        let answer = say(&Prompt::chat(ids("user hello there"), None), 8);
        assert_eq!(answer, say(&Prompt::chat(ids("user hello there"), None), 8));
        assert_ne!(answer, say(&Prompt::chat(ids("user hello you"), None), 8));
        assert_eq!(answer.split(' ').count(), 8);
        assert!(answer.ends_with('7'));
    }

    #[test]
    fn a_chat_continues_after_its_own_words() {
        let whole = say(&Prompt::chat(ids("user hello"), None), 8);
        let said = say(&Prompt::chat(ids("user hello"), None), 3);
        let rest = say(&Prompt::chat(ids("user hello"), Some(&said)), 5);
        assert_eq!(said + &rest, whole);
    }

    #[test]
    fn a_completion_continues_after_its_own_words_but_not_after_others() {
        let text = "Once upon a time";
        let whole = say(&Prompt::completion(ids(text), Some(text)), 8);
        let said = format!("{text}{}", say(&Prompt::completion(ids(text), Some(text)), 3));
        let more = Prompt::completion(ids(&said), Some(&said));
        assert_eq!(more.start, 3);
        assert_eq!(said + &say(&more, 5), format!("{text}{whole}"));
        assert_eq!(Prompt::completion(ids("room 0"), Some("room 0")).start, 0);
    }

    #[test]
    fn a_completion_continues_after_token_ids() {
        let text = "Once upon a time";
        let plain = Prompt::completion(ids(text), Some(text));
        let mut tokens: Vec<u32> = plain.token_ids().collect();
        tokens.extend((0..4).map(|position| plain.token_id(position)));
        let more = Prompt::completion(tokens, None);
        assert_eq!((more.start, more.len), (4, 8));
        assert_eq!(say(&plain, 4) + &say(&more, 2), say(&plain, 6));
    }
}
