//! Rewriting the events of a later node to look like those of the first.

use std::borrow::Cow;

use bytes::Bytes;

use super::Transcript;
use super::chunk::{Choice, Chunk};
use super::deliver::IDENTITY;
use super::edits::Edits;
use super::json::{Object, string};
use crate::config::Engine;

impl Transcript {
    /// Records a chunk of a continuing node and rewrites it. `None` if it holds nothing new for the client.
    pub(super) fn rewrite(&mut self, event: Bytes, chunk: &Chunk) -> Option<Bytes> {
        let usage = chunk.usage(&event);
        if let Some(usage) = usage.filter(|_| self.segment.is_whole) {
            self.delivered.prompt_tokens = self.delivered.prompt_tokens.or(usage.prompt_tokens);
        }
        let mut edits = Edits::default();
        let is_news = match &chunk.choice {
            Some(choice) => {
                self.record_prompt(&event, chunk, choice);
                let counted = usage.and_then(|usage| usage.completion_tokens);
                self.rewrite_choice(&event, choice, counted, &mut edits)
            }
            None => true,
        };
        if is_news {
            self.hide(&event, chunk, &mut edits);
            if let Some(ids) = chunk.prompt_ids.as_ref().filter(|_| !self.original.hides_ids()) {
                edits.replace(ids.value.clone(), "null");
            }
        } else {
            // some engines put the usage into the last choice's chunk
            if !self.segment.is_text_complete || usage.is_none() || self.hides_usage_of(chunk) {
                return None;
            }
            edits.replace(chunk.choices.clone()?, "[]");
        }
        self.record_identity(&event, chunk);
        self.rewrite_identity(chunk, &mut edits);
        if let Some(member) = chunk.usage.as_ref().filter(|_| !self.hides_usage_of(chunk))
            && let Some(usage) = Object::parse(&event[member.value.clone()])
        {
            edits.replace(member.value.clone(), self.total_usage(usage).to_string());
            self.delivered.usage |= !is_news || chunk.choice.as_ref().is_none_or(|choice| choice.finished);
        }
        Some(edits.apply(event))
    }

    fn rewrite_identity(&self, chunk: &Chunk, edits: &mut Edits) {
        for ((key, place), first) in IDENTITY.iter().zip(&chunk.identity).zip(&self.delivered.identity) {
            match (place, first) {
                (Some(place), Some(first)) => edits.replace(place.clone(), first.clone()),
                (None, Some(first)) => edits.insert(chunk.start, key, first),
                (_, None) => {}
            }
        }
        if let Some(place) = chunk.object.clone().filter(|_| self.is_told_as_chat()) {
            edits.replace(place, "\"chat.completion.chunk\"");
        }
    }

    /// A completion is told as the chat that the client asked for.
    pub(super) fn is_told_as_chat(&self) -> bool {
        self.segment.kind != self.original.kind
    }

    /// Records a choice of a continuing node and rewrites it. False if it holds nothing new for the client.
    fn rewrite_choice(
        &mut self,
        event: &[u8],
        choice: &Choice,
        counted: Option<u64>,
        edits: &mut Edits,
    ) -> bool {
        let read = choice.text(event);
        let all = read.as_deref().unwrap_or_default();
        let is_text_complete = self.segment.is_text_complete;
        let is_unreadable = read.is_err() && !is_text_complete;
        let (text, told) = if is_text_complete {
            ("", 0)
        } else {
            (self.without_blanks(all), self.count(event, choice, all, counted))
        };
        let is_end = choice.finished && !(is_text_complete && self.delivered.finished);
        let is_role = choice.role.is_some() && !self.delivered.role;
        let is_other = choice.has_tools || choice.has_reasoning || is_unreadable;
        let has_ids = self.original.wants_ids && choice.ids.is_some() && !is_text_complete;
        if text.is_empty() && !is_end && !is_role && !is_other && !has_ids {
            // repeated whitespace, a second role, ids without text, or nothing at all
            self.delivered.blank_tokens += told;
            return false;
        }
        if self.is_told_as_chat() {
            tell_as_delta(event, choice, edits);
        } else if let Some(member) = choice.text.as_ref().filter(|_| text != all && !is_unreadable) {
            edits.replace(member.value.clone(), string(text));
        }
        if let Some(role) = choice.role.as_ref().filter(|_| !is_role) {
            edits.remove(event, role);
        }
        if is_text_complete {
            match choice.finish.clone() {
                Some(place) => edits.replace(place, "\"length\""),
                None => edits.insert(choice.start, "finish_reason", "\"length\""),
            }
        }
        if !self.original.hides_ids() {
            self.rewrite_ids(event, choice, edits);
        }
        self.record(choice, text, is_unreadable, told);
        true
    }

    /// For a client that asked for ids: the prompt's came with the first event, and a text that is complete gets no more.
    fn rewrite_ids(&self, event: &[u8], choice: &Choice, edits: &mut Edits) {
        let keeps_null = self.original.engine == Engine::Vllm;
        if let Some(member) = choice.prompt_ids.as_ref().filter(|_| !self.is_told_as_chat()) {
            if keeps_null {
                edits.replace(member.value.clone(), "null");
            } else {
                edits.remove(event, member);
            }
        }
        if let Some(ids) = choice.ids.as_ref().filter(|_| self.segment.is_text_complete) {
            edits.replace(ids.value.clone(), "[]");
        }
    }

    /// The text without leading whitespace that the client already has.
    fn without_blanks<'a>(&mut self, text: &'a str) -> &'a str {
        let blanks = std::mem::take(&mut self.segment.blanks);
        let same = blanks.bytes().zip(text.bytes()).take_while(|(said, now)| said == now).count();
        // different whitespace characters may share their first bytes
        let same = (0..=same)
            .rev()
            .find(|at| text.is_char_boundary(*at) && blanks.is_char_boundary(*at))
            .unwrap_or(0);
        if same == text.len() {
            blanks[same..].clone_into(&mut self.segment.blanks);
        }
        &text[same..]
    }

    /// The usage of the whole answer, from that of a continuation, whose prompt includes the text delivered before.
    fn total_usage<'a>(&self, mut usage: Object<'a>) -> Object<'a> {
        let before = self.segment.tokens_before;
        let own = usage.number("prompt_tokens").unwrap_or(0);
        let prompt = self.delivered.prompt_tokens.unwrap_or_else(|| own.saturating_sub(before));
        let said = if self.segment.is_text_complete {
            self.segment.blank_tokens
        } else {
            usage.number("completion_tokens").unwrap_or(0)
        };
        usage.set("prompt_tokens", prompt.to_string());
        usage.set("completion_tokens", before.saturating_add(said).to_string());
        usage.set("total_tokens", prompt.saturating_add(before).saturating_add(said).to_string());
        usage
    }
}

/// The choice of a completion, as a chat tells it.
fn tell_as_delta(event: &[u8], choice: &Choice, edits: &mut Edits) {
    if let Some(text) = &choice.text {
        let value = String::from_utf8_lossy(&event[text.value.clone()]);
        edits.replace(text.whole.clone(), Cow::Owned(format!("\"delta\":{{\"content\":{value}}}")));
    }
    // a chat has them beside its choices
    if let Some(ids) = &choice.prompt_ids {
        edits.remove(event, ids);
    }
    // vLLM's chats have it at their end only
    if let Some(reason) = choice.stop_reason.as_ref().filter(|_| !choice.finished) {
        edits.remove(event, reason);
    }
}
