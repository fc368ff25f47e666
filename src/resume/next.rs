//! The request that asks another node for the rest of an answer.

use bytes::Bytes;

use super::json::{Object, items, string};
use super::kind::Kind;
use super::not_resumable::NotResumable;
use super::original::{LIMITS, Original, limits_of};
use crate::config::Engine;

/// A request for the rest of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextRequest {
    pub body: Bytes,
    /// The path of completions, where a chat is continued as one from its token ids.
    pub path: Option<String>,
}

/// The answer so far, as the next node must be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoken<'a> {
    pub text: &'a str,
    pub tokens: u64,
    /// The text is complete; only the usage and the end are missing.
    pub is_text_complete: bool,
}

/// Fields of a chat that mean the same in a completion (vLLM 0.32, `completion/protocol.py`).
const CARRIED: [&str; 32] = [
    "model",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "repetition_detection",
    "length_penalty",
    "logit_bias",
    "seed",
    "stop",
    "stop_token_ids",
    "include_stop_str_in_output",
    "stream",
    "stream_options",
    "stream_interval",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "min_tokens",
    "ignore_eos",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "allowed_token_ids",
    "bad_words",
    "watermarking",
    "priority",
    "request_id",
    "session_id",
    "cache_salt",
    "vllm_xargs",
    "user",
    "return_tokens_as_token_ids",
];
/// Fields that shape only a chat's prompt, whose ids are known, or that are harmless where the answer can be continued.
const SPENT: [&str; 31] = [
    "messages",
    "add_generation_prompt",
    "continue_final_message",
    "add_special_tokens",
    "documents",
    "chat_template",
    "chat_template_kwargs",
    "media_io_kwargs",
    "mm_processor_kwargs",
    "reasoning_effort",
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "parallel_tool_calls",
    "response_format",
    "structured_outputs",
    "n",
    "best_of",
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "echo",
    "store",
    "metadata",
    "service_tier",
    "return_token_ids",
    "return_prompt_text",
    "max_tokens",
    "max_completion_tokens",
    "n_predict",
];
/// Fields of a message whose content is text alone.
const PLAIN: [&str; 8] =
    ["role", "content", "name", "tool_calls", "tool_call_id", "reasoning", "reasoning_content", "refusal"];

impl Original {
    /// The request that goes on from the ids of prompt and answer. `None` if this one cannot be put so.
    pub(super) fn next_by_ids(&self, body: &[u8], ids: String, said: Spoken) -> Option<NextRequest> {
        let request = Object::parse(body)?;
        let (mut next, path) = match self.kind {
            Kind::Completion => (request, None),
            Kind::Chat => {
                // a completion without a limit ends after 16 tokens
                let path = self.completions.clone().filter(|_| self.limit.is_some())?;
                (as_completion(&request)?, Some(path))
            }
        };
        next.set("prompt", ids);
        self.set_limits(&mut next, said);
        self.wish.set(&mut next);
        Some(NextRequest { body: next.to_string().into(), path })
    }

    /// The request that goes on from the text.
    pub(super) fn next_by_text(&self, body: &[u8], said: Spoken) -> Result<NextRequest, NotResumable> {
        let mut next = Object::parse(body).ok_or(NotResumable::NotUnderstood)?;
        // engines send U+FFFD for a character whose bytes are incomplete
        if !said.is_text_complete && said.text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Err(NotResumable::HalfCharacter);
        }
        if !said.text.is_empty() {
            match self.kind {
                Kind::Chat => self.continue_chat(&mut next, said.text)?,
                Kind::Completion => self.continue_prompt(&mut next, said)?,
            }
        }
        self.set_limits(&mut next, said);
        self.wish.set(&mut next);
        Ok(NextRequest { body: next.to_string().into(), path: None })
    }

    fn set_limits(&self, next: &mut Object, said: Spoken) {
        let left = self.limit.map(|limit| limit.saturating_sub(said.tokens).max(1));
        if let Some(left) = if said.is_text_complete { Some(1) } else { left } {
            let left = left.to_string();
            let is_named = limits_of(self.kind, self.engine).iter().any(|key| next.get(key).is_some());
            for key in LIMITS {
                if next.get(key).is_some() || !is_named && key == "max_tokens" {
                    next.set(key, left.clone());
                }
            }
        }
        if let Some(least) = next.number("min_tokens") {
            let least = if said.is_text_complete { 0 } else { least.saturating_sub(said.tokens) };
            next.set("min_tokens", least.to_string());
        }
    }

    /// vLLM, SGLang and llama.cpp continue the last message if `continue_final_message` and `add_generation_prompt`
    /// both say so.
    fn continue_chat(&self, next: &mut Object, text: &str) -> Result<(), NotResumable> {
        if self.engine == Engine::Generic {
            return Err(NotResumable::Engine);
        }
        // chat templates cut trailing whitespace off a message
        let text = text.trim_end();
        if text.trim_start().starts_with("<think>") || text.contains("</think>") {
            return Err(NotResumable::Reasoning);
        }
        let messages = items(next.get("messages").unwrap_or("")).ok_or(NotResumable::NotUnderstood)?;
        let mut messages: Vec<String> = messages.into_iter().map(str::to_owned).collect();
        if next.is_true("continue_final_message") {
            let last = messages.pop().ok_or(NotResumable::NotUnderstood)?;
            let mut last = Object::parse(last.as_bytes()).ok_or(NotResumable::NotUnderstood)?;
            let begun = last.text("content").ok_or(NotResumable::NotUnderstood)?;
            last.set("content", string(&(begun + text)));
            messages.push(last.to_string());
        } else if !text.is_empty() {
            messages.push(format!("{{\"role\":\"assistant\",\"content\":{}}}", string(text)));
        } else {
            return Ok(());
        }
        next.set("messages", format!("[{}]", messages.join(",")));
        next.set("continue_final_message", "true");
        next.set("add_generation_prompt", "false");
        Ok(())
    }

    fn continue_prompt(&self, next: &mut Object, said: Spoken) -> Result<(), NotResumable> {
        if self.engine == Engine::Generic && self.limit.is_none() && !said.is_text_complete {
            return Err(NotResumable::NoLimit);
        }
        let prompt = next.get("prompt").ok_or(NotResumable::NotUnderstood)?;
        // some clients send a single prompt as a list of one
        let prompt = match items(prompt).as_deref() {
            Some([only]) => *only,
            Some(_) => return Err(NotResumable::Ids),
            None => prompt,
        };
        let prompt: String = serde_json::from_str(prompt).map_err(|_| NotResumable::Ids)?;
        next.set("prompt", string(&(prompt + said.text)));
        Ok(())
    }
}

/// A chat's request as one for a completion, still without its prompt. `None` if a field has no equal there, or the prompt
/// is more than its ids: an image, or a cache that another node filled.
fn as_completion<'a>(chat: &'a Object<'a>) -> Option<Object<'a>> {
    if !items(chat.get("messages")?)?.into_iter().all(is_text) {
        return None;
    }
    let mut completion = Object::default();
    for (name, value) in chat.fields() {
        if CARRIED.contains(&name) {
            completion.set(name, value);
        } else if !SPENT.contains(&name) && value != "null" {
            return None;
        }
    }
    Some(completion)
}

fn is_text(message: &str) -> bool {
    let Some(message) = Object::parse(message.as_bytes()) else { return false };
    let is_plain = message.fields().all(|(name, value)| PLAIN.contains(&name) || value == "null");
    is_plain
        && message.get("content").is_none_or(|content| {
            content.starts_with('"')
                || items(content).is_some_and(|parts| parts.into_iter().all(is_text_part))
        })
}

fn is_text_part(part: &str) -> bool {
    let part = Object::parse(part.as_bytes());
    part.is_some_and(|part| part.text("type").as_deref() == Some("text"))
}
