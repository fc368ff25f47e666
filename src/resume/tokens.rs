//! The token ids that came with an answer, and how many of them the client has been told as text.
//!
//! Text lags behind ids: half a character has ids and no text, and vLLM holds back as many characters as its longest stop
//! string has but one. An answer is continued from ids only where both agree, and what was not told is generated anew.

use std::collections::VecDeque;
use std::ops::Range;

use super::vocabulary::Vocabulary;
use crate::config::Engine;

/// Ids since the prompt that they continue.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// The prompt's ids as a JSON array; empty if unknown.
    prompt: String,
    /// Ids of the answer. Empty if they are counted only.
    ids: Vec<u32>,
    is_counted_only: bool,
    received: u64,
    told: u64,
    /// Characters of text told.
    chars: u64,
    /// Those of the last event that is told whole.
    told_chars: u64,
    waiting: VecDeque<Waiting>,
    /// The text told is that of the ids told, all of it and no more.
    is_aligned: bool,
    /// Ids whose text is plain ASCII, if that of the last is complete: the next text will tell.
    plain: Range<usize>,
}

/// Ids whose text is complete once so many characters are told.
#[derive(Debug)]
struct Waiting {
    chars: u64,
    received: u64,
}

/// One event's part of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub text: &'a str,
    /// It is the last.
    pub is_last: bool,
    pub engine: Engine,
    /// Characters that the engine holds back.
    pub held_back: u64,
}

impl Tokens {
    /// A number of ids that is never continued from.
    pub(super) fn count_only(&mut self) {
        let kept = std::mem::take(self);
        *self = Self { prompt: String::new(), ids: Vec::new(), is_counted_only: true, ..kept };
    }

    /// Bytes kept.
    pub(super) fn size(&self) -> usize {
        self.prompt.len() + self.ids.len() * size_of::<u32>()
    }

    /// Ids have come whose text has not.
    pub(super) fn is_behind(&self) -> bool {
        self.told < self.received
    }

    pub(super) fn has_any(&self) -> bool {
        self.received > 0
    }

    pub(super) fn has_prompt(&self) -> bool {
        !self.prompt.is_empty()
    }

    pub(super) fn set_prompt(&mut self, ids: &str) {
        if !self.is_counted_only {
            ids.clone_into(&mut self.prompt);
        }
    }

    /// Records an event's ids and returns the number of tokens that the client has been told more than before.
    pub(super) fn record(
        &mut self,
        ids: impl Iterator<Item = u32>,
        part: Part<'_>,
        vocabulary: &Vocabulary,
    ) -> u64 {
        let before = self.received;
        let is_clear = self.is_aligned && !self.is_behind();
        let mut last = None;
        for id in ids {
            self.received += 1;
            last = Some(id);
            if !self.is_counted_only {
                self.ids.push(id);
            }
        }
        let new = self.received - before;
        if part.is_last {
            self.waiting.clear();
            return self.tell_up_to(self.received);
        }
        if part.held_back > 0 {
            return self.record_held_back(new, part);
        }
        if part.text.is_empty() {
            return 0;
        }
        if part.engine != Engine::Sglang {
            self.learn_plain(new, part.text, vocabulary);
        }
        // vLLM tells whole characters only: with a single id, nothing is left of it; the last of several may be half of one
        self.is_aligned = match part.engine {
            Engine::Sglang => new > 0 && !may_be_cut(part.text),
            _ => new == 1 || last.is_some_and(|last| vocabulary.is_whole(last)),
        } && !part.text.ends_with(char::REPLACEMENT_CHARACTER);
        if let (1, Some(id), true) = (new, last, is_clear && self.is_aligned) {
            vocabulary.learn(id);
        }
        self.tell_up_to(self.received)
    }

    /// Learns from events of several tokens, which may be all that comes of a busy engine. A text of ASCII begins after a whole
    /// character, and ends with one if the next text begins with ASCII: half a character would be its first.
    fn learn_plain(&mut self, new: u64, text: &str, vocabulary: &Vocabulary) {
        let place = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let ids = if text.starts_with(|first: char| first.is_ascii()) {
            self.ids.get(self.plain.clone())
        } else {
            None
        };
        ids.unwrap_or_default().iter().for_each(|id| vocabulary.learn(*id));
        // one that comes alone is learned at once
        self.plain = if new > 1 && text.is_ascii() { place(self.told)..place(self.received) } else { 0..0 };
    }

    fn record_held_back(&mut self, new: u64, part: Part<'_>) -> u64 {
        self.chars += part.text.chars().count() as u64;
        if new > 0 {
            // rather too many are taken for told than too few: the next node must not exceed max_tokens
            let chars = if self.chars == 0 { 1 } else { self.chars + part.held_back };
            self.waiting.push_back(Waiting { chars, received: self.received });
        }
        let mut told = self.told;
        while let Some(waiting) = self.waiting.pop_front_if(|waiting| waiting.chars <= self.chars) {
            told = waiting.received;
            self.told_chars = waiting.chars;
        }
        // of several tokens in one event, a part may be told: all but the last, at most
        if let Some(waiting) = self.waiting.front().filter(|_| self.chars > self.told_chars) {
            told = told.max(waiting.received - 1);
        }
        self.tell_up_to(told)
    }

    fn tell_up_to(&mut self, told: u64) -> u64 {
        let before = std::mem::replace(&mut self.told, told);
        told - before
    }

    /// Text came without ids: from here on it is not known what was said.
    pub(super) fn lose(&mut self) {
        self.is_aligned = false;
        self.count_only();
    }

    /// The ids of prompt and answer, as a JSON array, if the answer can be continued from them.
    pub(super) fn to_continue(&self) -> Option<String> {
        let told = usize::try_from(self.told).ok().filter(|told| *told > 0)?;
        let known = !self.is_counted_only && self.is_aligned;
        let prompt = self.prompt.strip_prefix('[')?.strip_suffix(']')?.trim();
        let said = self.ids.get(..told).filter(|_| known)?;
        let said: Vec<_> = said.iter().map(u32::to_string).collect();
        let separator = if prompt.is_empty() { "" } else { "," };
        Some(format!("[{prompt}{separator}{}]", said.join(",")))
    }

    /// The next node goes on from the ids told.
    pub(super) fn go_on(&mut self) {
        self.ids.truncate(usize::try_from(self.told).unwrap_or(usize::MAX));
        self.received = self.told;
        self.plain = 0..0;
    }

    /// The next node goes on from a text; its ids are those of another prompt.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }
}

/// True if SGLang 0.5.23 may have told only a part of the text, because the rest ended in half a character: then it tells
/// what stands before the last space, or an ideograph (`find_printable_text`).
fn may_be_cut(text: &str) -> bool {
    text.ends_with(|last: char| last == ' ' || is_ideograph(last))
}

/// The blocks that BERT's tokenizer and its heirs call Chinese characters.
fn is_ideograph(char: char) -> bool {
    matches!(char, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2fa1f}')
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::Vocabularies;
    use super::*;

    fn part(text: &str, engine: Engine, held_back: u64) -> Part<'_> {
        Part { text, is_last: false, engine, held_back }
    }

    fn tokens() -> Tokens {
        let mut tokens = Tokens::default();
        tokens.set_prompt("[1, 2]");
        tokens
    }

    #[test]
    fn an_answer_is_continued_from_ids_where_they_agree_with_the_text() {
        use Engine::{Sglang, Vllm};
        // the ids of each event, its text, and the ids from which the answer could be continued after it
        type Events = &'static [(&'static [u32], &'static str)];
        let table: [(Engine, Events, Option<&str>); 12] = [
            (Vllm, &[(&[3], "a")], Some("[1, 2,3]")),
            (Vllm, &[(&[3], "a"), (&[4], "")], Some("[1, 2,3]")),
            (Vllm, &[(&[3], "a"), (&[4], ""), (&[5], "é")], Some("[1, 2,3,4,5]")),
            (Vllm, &[(&[3, 4], "ab")], None),
            (Vllm, &[(&[3, 4], "ab"), (&[5], "c")], Some("[1, 2,3,4,5]")),
            (Vllm, &[(&[3], "")], None),
            (Vllm, &[(&[3], "\u{fffd}")], None),
            (Vllm, &[], None),
            (Sglang, &[(&[3, 4], "ab")], Some("[1, 2,3,4]")),
            (Sglang, &[(&[3, 4], "ab ")], None),
            (Sglang, &[(&[3], "日")], None),
            (Sglang, &[(&[3], "日"), (&[4], "。")], Some("[1, 2,3,4]")),
        ];
        for (engine, events, want) in table {
            let (mut tokens, vocabulary) = (tokens(), Vocabulary::default());
            for (ids, text) in events {
                tokens.record(ids.iter().copied(), part(text, engine, 0), &vocabulary);
            }
            assert_eq!(tokens.to_continue().as_deref(), want, "{engine:?} {events:?}");
        }
    }

    /// The last of several tokens was seen before, or is not known.
    #[test]
    fn an_answer_is_continued_after_several_tokens_of_which_the_last_is_known_to_be_whole() {
        let vocabulary = Vocabularies::default().of("pool", "model");
        let events: [(&[u32], &str, bool); 9] = [
            // the first may have completed what the prompt began
            (&[3], "a", true),
            (&[3, 3], "aa", false),
            (&[4], "b", true),
            (&[5], "c", true),
            (&[3, 5], "ac", true),
            // a character of two tokens: neither is whole
            (&[6], "", true),
            (&[7], "é", true),
            (&[5, 7], "cé", false),
            (&[7, 5], "éc", true),
        ];
        let mut tokens = tokens();
        for (number, (ids, text, is_exact)) in events.into_iter().enumerate() {
            tokens.record(ids.iter().copied(), part(text, Engine::Vllm, 0), &vocabulary);
            assert_eq!(tokens.to_continue().is_some(), is_exact, "event {number}");
        }
    }

    /// A busy engine puts several tokens into each event.
    #[test]
    fn tokens_are_learned_from_events_of_several() {
        // the events' ids and texts, and those that are known to be whole then
        type Events = &'static [(&'static [u32], &'static str)];
        let table: [(Events, &[u32]); 9] = [
            (&[(&[3, 4], "ab")], &[]),
            (&[(&[3, 4], "ab"), (&[5, 6], "cd")], &[3, 4]),
            (&[(&[3, 4], "ab"), (&[5, 6], "cd"), (&[7], "e")], &[3, 4, 5, 6]),
            // 4 was the first half of the character
            (&[(&[3, 4], "a"), (&[5, 6], "éb")], &[]),
            (&[(&[3, 4], "a"), (&[5, 6], "éb"), (&[7, 8], "cd")], &[]),
            (&[(&[3, 4], "a"), (&[5, 6], "\u{fffd}b"), (&[7, 8], "cd")], &[]),
            (&[(&[3, 4], "a"), (&[5], ""), (&[6, 7], "éb")], &[]),
            // 5 has no text of its own: a special token
            (&[(&[3, 4], "a"), (&[5], ""), (&[6, 7], "bc"), (&[8], "d")], &[3, 4, 5, 6, 7]),
            (&[(&[3, 4], "aé"), (&[5, 6], "cd")], &[]),
        ];
        for (events, want) in table {
            let (mut tokens, vocabulary) = (tokens(), Vocabularies::default().of("pool", "model"));
            for (ids, text) in events {
                tokens.record(ids.iter().copied(), part(text, Engine::Vllm, 0), &vocabulary);
            }
            let known: Vec<u32> = (0..10).filter(|id| vocabulary.is_whole(*id)).collect();
            assert_eq!(known, want, "{events:?}");
        }
    }

    #[test]
    fn what_was_not_told_is_generated_anew() {
        let (mut tokens, vocabulary) = (tokens(), Vocabulary::default());
        assert_eq!(tokens.record([3].into_iter(), part("a", Engine::Vllm, 0), &vocabulary), 1);
        assert_eq!(tokens.record([4, 5].into_iter(), part("", Engine::Vllm, 0), &vocabulary), 0);
        assert!(tokens.is_behind());
        tokens.go_on();
        assert!(!tokens.is_behind());
        assert_eq!(tokens.record([6].into_iter(), part("b", Engine::Vllm, 0), &vocabulary), 1);
        assert_eq!(tokens.to_continue().as_deref(), Some("[1, 2,3,6]"));
        let last = Part { is_last: true, ..part("", Engine::Vllm, 0) };
        assert_eq!(tokens.record([7, 8].into_iter(), last, &vocabulary), 2);
    }

    /// One token a character, and a stop string of four: vLLM tells each three characters late.
    #[test]
    fn tokens_held_back_for_a_stop_string_are_not_told() {
        let (mut tokens, vocabulary) = (tokens(), Vocabulary::default());
        let mut told = 0;
        for number in 0..10_u32 {
            let text = if number < 3 { "" } else { "x" };
            told += tokens.record([number].into_iter(), part(text, Engine::Vllm, 3), &vocabulary);
            let want = if number < 3 { 0..=0 } else { u64::from(number) - 2..=3.max(u64::from(number) - 2) };
            assert!(want.contains(&told), "{number}: {told}, not {want:?}");
        }
        let last = Part { is_last: true, ..part("xxx", Engine::Vllm, 3) };
        assert_eq!(told + tokens.record(std::iter::empty(), last, &vocabulary), 10);
    }

    #[test]
    fn ids_that_are_only_counted_are_not_kept() {
        let (mut tokens, vocabulary) = (tokens(), Vocabulary::default());
        tokens.record([3].into_iter(), part("a", Engine::Vllm, 0), &vocabulary);
        assert_eq!(tokens.size(), "[1, 2]".len() + 4);
        tokens.count_only();
        assert_eq!(tokens.record([4, 5].into_iter(), part("b", Engine::Vllm, 0), &vocabulary), 2);
        tokens.set_prompt("[1]");
        assert_eq!((tokens.size(), tokens.to_continue()), (0, None));
    }
}
