//! Delivering one chunk to the client: the first node's unchanged, a later node's rewritten to look like the first's.

use bytes::Bytes;

use super::event::{Choice, Chunk};
use super::json::{Object, items, string};
use super::{Kind, NotResumable, Transcript};

const IDENTITY: [&str; 3] = ["id", "created", "model"];

impl Transcript {
    /// Records a chunk of the first node, which the client gets unchanged.
    pub(super) fn record_first(&mut self, chunk: &Chunk, event: Bytes) -> Bytes {
        self.record_identity(&chunk.fields);
        if chunk.is_several {
            self.give_up(NotResumable::Several);
        }
        if let Some(usage) = chunk.fields.object("usage") {
            self.delivered.prompt_tokens = usage.number("prompt_tokens").or(self.delivered.prompt_tokens);
            self.delivered.usage |= chunk.choice.as_ref().is_none_or(|choice| choice.finished);
        }
        if let Some(choice) = &chunk.choice {
            self.delivered.prompt_ids =
                self.delivered.prompt_ids.take().or_else(|| choice.prompt_ids.clone());
            self.record(choice, &choice.text);
        }
        let counted = chunk.fields.object("usage").and_then(|usage| usage.number("completion_tokens"));
        self.delivered.tokens = counted.unwrap_or(self.delivered.tokens);
        event
    }

    /// Rewrites a chunk of a continuing node. `None` if it holds nothing new for the client.
    pub(super) fn rewrite(&mut self, mut chunk: Chunk) -> Option<Bytes> {
        let mut is_news = chunk.choice.is_none();
        let is_end = chunk.choice.as_ref().is_some_and(|choice| choice.finished);
        if let Some(choice) = chunk.choice.take() {
            let first = *items(chunk.fields.get("choices")?)?.first()?;
            let rewritten = self.rewrite_choice(&choice, Object::parse(first.as_bytes())?);
            is_news = rewritten.is_some();
            if let Some(rewritten) = rewritten {
                chunk.fields.set("choices", format!("[{rewritten}]"));
            }
        }
        if !is_news {
            // some engines put the usage into the last choice's chunk
            if !self.segment.is_text_complete || chunk.fields.get("usage").is_none() {
                return None;
            }
            chunk.fields.set("choices", "[]");
        }
        chunk.fields.remove("prompt_token_ids");
        self.record_identity(&chunk.fields);
        for (key, first) in IDENTITY.iter().zip(&self.delivered.identity) {
            if let Some(first) = first {
                chunk.fields.set(key, first.clone());
            }
        }
        if let Some(usage) = chunk.fields.object("usage") {
            let is_counted = usage.number("completion_tokens").is_some() && !self.segment.is_text_complete;
            let usage = self.total_usage(usage);
            if is_counted {
                self.delivered.tokens = usage.number("completion_tokens").unwrap_or(self.delivered.tokens);
            }
            let usage = usage.to_string();
            chunk.fields.set("usage", usage);
            self.delivered.usage |=
                is_end || chunk.fields.get("choices").is_none_or(|choices| choices == "[]");
        }
        Some(format!("data: {}\n\n", chunk.fields).into())
    }

    /// Rewrites a choice of a continuing node. `None` if it holds nothing new for the client.
    fn rewrite_choice(&mut self, choice: &Choice, mut fields: Object) -> Option<String> {
        let text = if self.segment.is_text_complete { "" } else { self.without_blanks(&choice.text) };
        let is_end = choice.finished && !(self.segment.is_text_complete && self.delivered.finished);
        let is_role = choice.has_role && !self.delivered.role;
        let is_other = choice.has_tools
            || choice.has_reasoning
            || choice.is_unreadable && !self.segment.is_text_complete;
        if text.is_empty() && !is_end && !is_role && !is_other {
            // repeated whitespace, a second role, or nothing at all
            if !self.segment.is_text_complete && !choice.text.is_empty() {
                let again = choice.ids.as_ref().map_or(1, |ids| ids.len() as u64);
                self.delivered.tokens += again;
                self.delivered.blank_tokens += again;
            }
            return None;
        }
        fields.remove("prompt_token_ids");
        if self.segment.is_text_complete {
            fields.set("finish_reason", "\"length\"");
        }
        match self.original.kind {
            Kind::Completion if choice.is_unreadable => {}
            Kind::Completion => fields.set("text", string(text)),
            Kind::Chat => {
                let delta = fields.get("delta").unwrap_or("{}").to_owned();
                let mut delta = Object::parse(delta.as_bytes())?;
                if !is_role {
                    delta.remove("role");
                }
                if delta.get("content").is_some() && !choice.is_unreadable {
                    delta.set("content", string(text));
                }
                fields.set("delta", delta.to_string());
            }
        }
        let text = text.to_owned();
        self.record(choice, &text);
        Some(fields.to_string())
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

    fn record_identity(&mut self, fields: &Object) {
        for (key, known) in IDENTITY.iter().zip(&mut self.delivered.identity) {
            if known.is_none() {
                *known = fields.get(key).filter(|value| *value != "\"\"").map(str::to_owned);
            }
        }
    }

    /// Records a choice. `text` is the part of its text that the client gets.
    fn record(&mut self, choice: &Choice, text: &str) {
        self.delivered.role |= choice.has_role;
        self.delivered.finished |= choice.finished;
        self.delivered.reports_finish |= choice.finished || choice.is_unfinished;
        if choice.has_tools {
            self.give_up(NotResumable::Tools);
        }
        if choice.has_reasoning {
            self.give_up(NotResumable::Reasoning);
        }
        if choice.is_unreadable {
            self.give_up(NotResumable::NotUnderstood);
        }
        let delivered = &mut self.delivered;
        let before = delivered.tokens;
        match &choice.ids {
            None if text.is_empty() => {}
            None => {
                delivered.tokens += 1;
                delivered.ids = None;
            }
            Some(ids) => delivered.pending_ids.extend_from_slice(ids),
        }
        // ids arrive without text for half a character or a possible stop string; the text then comes with later ids
        if !text.is_empty() || choice.finished {
            delivered.tokens += delivered.pending_ids.len() as u64;
            let pending_ids = std::mem::take(&mut delivered.pending_ids);
            delivered.ids.iter_mut().for_each(|ids| ids.extend_from_slice(&pending_ids));
        }
        match text.trim_end() {
            "" => delivered.blank_tokens += delivered.tokens - before,
            _ => delivered.blank_tokens = 0,
        }
        if self.not_resumable.is_none() {
            delivered.text.push_str(text);
        }
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

    /// The final events of a stream whose text is complete.
    pub(super) fn final_events(&self) -> Bytes {
        let mut ending = String::new();
        if !self.delivered.finished {
            let mut fields = Object::default();
            for (key, first) in IDENTITY.iter().zip(&self.delivered.identity) {
                if let Some(first) = first {
                    fields.set(key, first.as_str());
                }
            }
            let (object, nothing) = match self.original.kind {
                Kind::Chat => ("\"chat.completion.chunk\"", "\"delta\":{}"),
                Kind::Completion => ("\"text_completion\"", "\"text\":\"\""),
            };
            fields.set("object", object);
            fields.set(
                "choices",
                format!("[{{\"index\":0,{nothing},\"logprobs\":null,\"finish_reason\":\"length\"}}]"),
            );
            ending = format!("data: {fields}\n\n");
        }
        (ending + "data: [DONE]\n\n").into()
    }
}
