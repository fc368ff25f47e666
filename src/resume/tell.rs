//! What a story makes of one chunk: from the first node it is heard and passed on as it is, from those that go on it is
//! told as if the first had said it.

use bytes::Bytes;

use super::event::{Choice, Chunk};
use super::json::{Object, items, string};
use super::{Kind, NotResumable, Transcript};

const IDENTITY: [&str; 3] = ["id", "created", "model"];

impl Transcript {
    /// A chunk of the first node.
    pub(super) fn hear(&mut self, chunk: &Chunk, event: Bytes) -> Bytes {
        self.note_identity(&chunk.fields);
        if chunk.is_several {
            self.lose(NotResumable::Several);
        }
        if let Some(usage) = chunk.fields.object("usage") {
            self.heard.prompt_tokens = usage.number("prompt_tokens").or(self.heard.prompt_tokens);
            self.heard.usage |= chunk.choice.as_ref().is_none_or(|choice| choice.finished);
        }
        if let Some(choice) = &chunk.choice {
            self.heard.prompt_ids = self.heard.prompt_ids.take().or_else(|| choice.prompt_ids.clone());
            self.note(choice, &choice.text);
        }
        let counted = chunk.fields.object("usage").and_then(|usage| usage.number("completion_tokens"));
        self.heard.tokens = counted.unwrap_or(self.heard.tokens);
        event
    }

    /// What the client gets of a chunk of a node that goes on.
    pub(super) fn retell(&mut self, mut chunk: Chunk) -> Option<Bytes> {
        let mut is_news = chunk.choice.is_none();
        let is_end = chunk.choice.as_ref().is_some_and(|choice| choice.finished);
        if let Some(choice) = chunk.choice.take() {
            let first = *items(chunk.fields.get("choices")?)?.first()?;
            let retold = self.retell_choice(&choice, Object::parse(first.as_bytes())?);
            is_news = retold.is_some();
            if let Some(retold) = retold {
                chunk.fields.set("choices", format!("[{retold}]"));
            }
        }
        if !is_news {
            // some engines put the usage beside the last choice
            if !self.part.is_mute || chunk.fields.get("usage").is_none() {
                return None;
            }
            chunk.fields.set("choices", "[]");
        }
        chunk.fields.remove("prompt_token_ids");
        self.note_identity(&chunk.fields);
        for (key, first) in IDENTITY.iter().zip(&self.heard.identity) {
            if let Some(first) = first {
                chunk.fields.set(key, first.clone());
            }
        }
        if let Some(usage) = chunk.fields.object("usage") {
            let is_counted = usage.number("completion_tokens").is_some() && !self.part.is_mute;
            let usage = self.added_up(usage);
            if is_counted {
                self.heard.tokens = usage.number("completion_tokens").unwrap_or(self.heard.tokens);
            }
            let usage = usage.to_string();
            chunk.fields.set("usage", usage);
            self.heard.usage |= is_end || chunk.fields.get("choices").is_none_or(|choices| choices == "[]");
        }
        Some(format!("data: {}\n\n", chunk.fields).into())
    }

    /// `None`: it brings the client nothing new.
    fn retell_choice(&mut self, choice: &Choice, mut fields: Object) -> Option<String> {
        let text = if self.part.is_mute { "" } else { self.without_blanks(&choice.text) };
        let is_end = choice.finished && !(self.part.is_mute && self.heard.finished);
        let is_role = choice.has_role && !self.heard.role;
        let is_other = choice.has_tools || choice.has_reasoning || choice.is_odd && !self.part.is_mute;
        if text.is_empty() && !is_end && !is_role && !is_other {
            // blanks that were said before, a second role, or nothing at all
            if !self.part.is_mute && !choice.text.is_empty() {
                let again = choice.ids.as_ref().map_or(1, |ids| ids.len() as u64);
                self.heard.tokens += again;
                self.heard.blank_tokens += again;
            }
            return None;
        }
        fields.remove("prompt_token_ids");
        if self.part.is_mute {
            fields.set("finish_reason", "\"length\"");
        }
        match self.asked.kind {
            Kind::Completion if choice.is_odd => {}
            Kind::Completion => fields.set("text", string(text)),
            Kind::Chat => {
                let delta = fields.get("delta").unwrap_or("{}").to_owned();
                let mut delta = Object::parse(delta.as_bytes())?;
                if !is_role {
                    delta.remove("role");
                }
                if delta.get("content").is_some() && !choice.is_odd {
                    delta.set("content", string(text));
                }
                fields.set("delta", delta.to_string());
            }
        }
        let text = text.to_owned();
        self.note(choice, &text);
        Some(fields.to_string())
    }

    /// The text without the blanks at its beginning that were said already.
    fn without_blanks<'a>(&mut self, text: &'a str) -> &'a str {
        let blanks = std::mem::take(&mut self.part.blanks);
        let same = blanks.bytes().zip(text.bytes()).take_while(|(said, now)| said == now).count();
        // the first bytes of two different blanks may be the same
        let same = (0..=same)
            .rev()
            .find(|at| text.is_char_boundary(*at) && blanks.is_char_boundary(*at))
            .unwrap_or(0);
        if same == text.len() {
            blanks[same..].clone_into(&mut self.part.blanks);
        }
        &text[same..]
    }

    fn note_identity(&mut self, fields: &Object) {
        for (key, known) in IDENTITY.iter().zip(&mut self.heard.identity) {
            if known.is_none() {
                *known = fields.get(key).filter(|value| *value != "\"\"").map(str::to_owned);
            }
        }
    }

    /// Remembers what the client has got. `text` is that of the choice as it was told.
    fn note(&mut self, choice: &Choice, text: &str) {
        self.heard.role |= choice.has_role;
        self.heard.finished |= choice.finished;
        self.heard.names_ends |= choice.finished || choice.is_unfinished;
        if choice.has_tools {
            self.lose(NotResumable::Tools);
        }
        if choice.has_reasoning {
            self.lose(NotResumable::Reasoning);
        }
        if choice.is_odd {
            self.lose(NotResumable::NotUnderstood);
        }
        let heard = &mut self.heard;
        let before = heard.tokens;
        match &choice.ids {
            None if text.is_empty() => {}
            None => {
                heard.tokens += 1;
                heard.ids = None;
            }
            Some(ids) => heard.unsaid.extend_from_slice(ids),
        }
        // ids without text are those of half a character, or of what may become a stop string: both come again
        if !text.is_empty() || choice.finished {
            heard.tokens += heard.unsaid.len() as u64;
            let unsaid = std::mem::take(&mut heard.unsaid);
            heard.ids.iter_mut().for_each(|ids| ids.extend_from_slice(&unsaid));
        }
        match text.trim_end() {
            "" => heard.blank_tokens += heard.tokens - before,
            _ => heard.blank_tokens = 0,
        }
        if self.lost.is_none() {
            heard.text.push_str(text);
        }
    }

    /// The usage of a continuation, and what was used before: its prompt holds what the others have said.
    fn added_up<'a>(&self, mut usage: Object<'a>) -> Object<'a> {
        let before = self.part.before;
        let own = usage.number("prompt_tokens").unwrap_or(0);
        let prompt = self.heard.prompt_tokens.unwrap_or_else(|| own.saturating_sub(before));
        let said = if self.part.is_mute {
            self.part.blank_tokens
        } else {
            usage.number("completion_tokens").unwrap_or(0)
        };
        usage.set("prompt_tokens", prompt.to_string());
        usage.set("completion_tokens", before.saturating_add(said).to_string());
        usage.set("total_tokens", prompt.saturating_add(before).saturating_add(said).to_string());
        usage
    }

    /// The last events of a stream of which nothing else is missing.
    pub(super) fn ending(&self) -> Bytes {
        let mut ending = String::new();
        if !self.heard.finished {
            let mut fields = Object::default();
            for (key, first) in IDENTITY.iter().zip(&self.heard.identity) {
                if let Some(first) = first {
                    fields.set(key, first.as_str());
                }
            }
            let (object, nothing) = match self.asked.kind {
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
