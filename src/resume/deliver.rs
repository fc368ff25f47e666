//! Delivering one event to the client: the first node's unchanged but for what the client did not ask for, and recorded.

use bytes::Bytes;

use super::chunk::{Choice, Chunk};
use super::edits::Edits;
use super::event::{Data, data};
use super::json::Object;
use super::scan::{self, Member};
use super::tokens::Part;
use super::{Kind, NotResumable, Transcript};
use crate::config::Engine;

pub(super) const IDENTITY: [&str; 3] = ["id", "created", "model"];

impl Transcript {
    /// Records one complete event and returns the bytes for the client, if any.
    pub fn deliver(&mut self, event: Bytes) -> Option<Bytes> {
        let place = match data(&event) {
            Data::None => return Some(event),
            Data::One(place) => place,
            Data::Several => {
                self.give_up(NotResumable::NotUnderstood);
                return Some(event);
            }
        };
        if &event[place.clone()] == b"[DONE]" {
            self.delivered.done = true;
            return Some(event);
        }
        let Some(chunk) = Chunk::read(self.segment.kind, &event, place) else {
            self.give_up(NotResumable::NotUnderstood);
            return Some(event);
        };
        let for_client =
            if self.is_continued() { self.rewrite(event, &chunk) } else { self.first(event, &chunk) };
        self.keep_bounds();
        for_client
    }

    /// The event without what the client did not ask for. For one that is too large to be looked into as it came.
    pub fn shown(&self, event: &Bytes) -> Bytes {
        let Data::One(place) = data(event) else { return event.clone() };
        let Some(chunk) = Chunk::read(self.segment.kind, event, place) else { return event.clone() };
        let mut edits = Edits::default();
        self.hide(event, &chunk, &mut edits);
        edits.apply(event.clone())
    }

    fn keep_bounds(&mut self) {
        let text = self.delivered.text.len();
        if text > self.text_max {
            self.give_up(NotResumable::TooLong);
        } else if text + self.delivered.ids.size() > self.text_max {
            self.delivered.ids.count_only();
        }
    }

    fn first(&mut self, event: Bytes, chunk: &Chunk) -> Option<Bytes> {
        if self.not_resumable.is_none() {
            self.record_first(&event, chunk);
        }
        if self.is_ours_alone(chunk) {
            return None;
        }
        let mut edits = Edits::default();
        self.hide(&event, chunk, &mut edits);
        Some(edits.apply(event))
    }

    fn record_first(&mut self, event: &[u8], chunk: &Chunk) {
        self.record_identity(event, chunk);
        if chunk.is_several {
            self.give_up(NotResumable::Several);
        }
        let usage = chunk.usage(event);
        if let Some(usage) = usage {
            self.delivered.prompt_tokens = usage.prompt_tokens.or(self.delivered.prompt_tokens);
            let is_last = chunk.choice.as_ref().is_none_or(|choice| choice.finished);
            self.delivered.usage |= is_last && !self.hides_usage_of(chunk);
        }
        if let Some(choice) = &chunk.choice {
            self.record_prompt(event, chunk, choice);
            let text = choice.text(event);
            let counted = usage.and_then(|usage| usage.completion_tokens);
            let text_read = text.as_deref().unwrap_or_default();
            let told = self.count(event, choice, text_read, counted);
            self.record(choice, text_read, text.is_err(), told);
        }
    }

    /// True for an event that a node would not have sent if it had not been asked for ids: vLLM's parser has swallowed its
    /// text.
    fn is_ours_alone(&self, chunk: &Chunk) -> bool {
        self.original.hides_ids()
            && chunk
                .choice
                .as_ref()
                .is_some_and(|choice| choice.is_empty && !choice.finished && !choice.has_logprobs)
    }

    /// True if the usage in this chunk is there for the gateway alone.
    pub(super) fn hides_usage_of(&self, chunk: &Chunk) -> bool {
        self.original.hides_counts() && chunk.choice.is_some()
    }

    /// Takes out of an event what the client did not ask for.
    pub(super) fn hide<'a>(&self, event: &[u8], chunk: &Chunk, edits: &mut Edits<'a>) {
        // vLLM sends every member, as `null` where it was not asked for; SGLang only what was
        let keeps_null = self.original.engine == Engine::Vllm;
        if self.original.hides_ids() {
            let choice = chunk.choice.as_ref();
            let ids = choice.and_then(|choice| choice.ids.as_ref());
            let prompt =
                choice.and_then(|choice| choice.prompt_ids.as_ref()).filter(|_| !self.is_told_as_chat());
            for member in [ids, prompt, chunk.prompt_ids.as_ref()].into_iter().flatten() {
                hide(event, member, keeps_null, edits);
            }
        }
        if self.hides_usage_of(chunk)
            && let Some(usage) = &chunk.usage
        {
            hide(event, usage, self.delivered.reports_usage, edits);
        }
    }

    pub(super) fn record_identity(&mut self, event: &[u8], chunk: &Chunk) {
        for (place, known) in chunk.identity.iter().zip(&mut self.delivered.identity) {
            if known.is_none() {
                let value = place.clone().and_then(|place| std::str::from_utf8(&event[place]).ok());
                *known = value.filter(|value| !["\"\"", "null"].contains(value)).map(str::to_owned);
            }
        }
        let usage = chunk.usage.as_ref().map(|usage| &event[usage.value.clone()]);
        self.delivered.reports_usage |= usage == Some(b"null");
    }

    /// Records the ids of the prompt: the client's, or that of the text with which an answer is continued.
    pub(super) fn record_prompt(&mut self, event: &[u8], chunk: &Chunk, choice: &Choice) {
        if self.delivered.ids.has_prompt() {
            return;
        }
        let Some(member) = choice.prompt_ids.as_ref().or(chunk.prompt_ids.as_ref()) else { return };
        let value = &event[member.value.clone()];
        let Some(ids) = scan::ids(value) else { return };
        if self.segment.is_whole {
            self.delivered.prompt_tokens.get_or_insert(ids.count() as u64);
        }
        if let Ok(ids) = std::str::from_utf8(value) {
            self.delivered.ids.set_prompt(ids);
        }
    }

    /// Counts the tokens of a choice: by ids, by the engine's own count, or as one. Returns how many the client has been
    /// told more than before.
    pub(super) fn count(&mut self, event: &[u8], choice: &Choice, text: &str, counted: Option<u64>) -> u64 {
        let delivered = &mut self.delivered;
        let before = delivered.tokens;
        let has_news = !text.is_empty() || choice.finished;
        let ids = choice.ids.as_ref().and_then(|ids| scan::ids(&event[ids.value.clone()]));
        if let Some(ids) = ids {
            let (engine, held_back) = (self.original.engine, self.original.held_back);
            let part = Part { text, is_last: choice.finished, engine, held_back };
            delivered.tokens += delivered.ids.record(ids, part, &self.vocabulary);
            // a parser is at work: what it makes of the next tokens depends on those that it has swallowed
            if choice.is_empty {
                delivered.ids.lose();
            }
        } else if let Some(counted) = counted.filter(|_| has_news) {
            delivered.ids.lose();
            delivered.tokens = self.segment.tokens_before + counted;
        } else if !text.is_empty() {
            delivered.ids.lose();
            delivered.tokens += 1;
            delivered.is_guessed = true;
        }
        delivered.tokens.saturating_sub(before)
    }

    /// Records a choice. `text` is the part of its text that the client gets, `told` the number of tokens.
    pub(super) fn record(&mut self, choice: &Choice, text: &str, is_unreadable: bool, told: u64) {
        self.delivered.role |= choice.role.is_some();
        self.delivered.finished |= choice.finished;
        self.delivered.reports_finish |= choice.finish.is_some();
        if choice.has_tools {
            self.give_up(NotResumable::Tools);
        }
        if choice.has_reasoning {
            self.give_up(NotResumable::Reasoning);
        }
        if is_unreadable {
            self.give_up(NotResumable::NotUnderstood);
        }
        match text.trim_end() {
            "" => self.delivered.blank_tokens += told,
            _ => self.delivered.blank_tokens = 0,
        }
        if self.not_resumable.is_none() {
            self.delivered.text.push_str(text);
        }
    }

    /// True if the usage is known, or told.
    pub(super) fn knows_usage(&self) -> bool {
        let delivered = &self.delivered;
        delivered.usage || !delivered.is_guessed && delivered.prompt_tokens.is_some()
    }

    /// The final events of a stream whose text is complete.
    pub(super) fn final_events(&self) -> Bytes {
        let mut common = Object::default();
        for (key, first) in IDENTITY.iter().zip(&self.delivered.identity) {
            if let Some(first) = first {
                common.set(key, first.as_str());
            }
        }
        let (object, nothing) = match self.original.kind {
            Kind::Chat => ("\"chat.completion.chunk\"", "\"delta\":{}"),
            Kind::Completion => ("\"text_completion\"", "\"text\":\"\""),
        };
        common.set("object", object);
        let mut ending = String::new();
        if !self.delivered.finished {
            let choice =
                format!("[{{\"index\":0,{nothing},\"logprobs\":null,\"finish_reason\":\"length\"}}]");
            common.set("choices", choice);
            ending = format!("data: {common}\n\n");
        }
        if let (true, false, Some(prompt)) =
            (self.original.wants_usage, self.delivered.usage, self.delivered.prompt_tokens)
        {
            let said = self.delivered.tokens;
            let total = prompt.saturating_add(said);
            common.set("choices", "[]");
            let usage = format!(
                "{{\"prompt_tokens\":{prompt},\"total_tokens\":{total},\"completion_tokens\":{said}}}"
            );
            common.set("usage", usage);
            ending += &format!("data: {common}\n\n");
        }
        (ending + "data: [DONE]\n\n").into()
    }
}

fn hide(event: &[u8], member: &Member, keeps_null: bool, edits: &mut Edits<'_>) {
    if &event[member.value.clone()] == b"null" {
        return;
    }
    if keeps_null {
        edits.replace(member.value.clone(), "null");
    } else {
        edits.remove(event, member);
    }
}
