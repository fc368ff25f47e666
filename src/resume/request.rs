//! Reads a generation request: refuses answers that cannot be continued, and builds the request that continues one.

use super::json::{Object, items, string};
use super::kind::Kind;
use super::not_resumable::NotResumable;
use crate::config::Engine;

/// Default limit of a completion in vLLM and SGLang.
const COMPLETION_TOKENS: u64 = 16;
/// Fields that demand an output format; a continuation would start that format from scratch.
const FORMATS: [&str; 6] =
    ["structured_outputs", "json_schema", "regex", "ebnf", "grammar", "structural_tag"];
/// Names of the token limit; `n_predict` is llama.cpp's.
const LIMITS: [&str; 3] = ["max_tokens", "max_completion_tokens", "n_predict"];

/// The client's request, as far as continuing its answer depends on it.
#[derive(Clone, Debug)]
pub(super) struct OriginalRequest {
    pub kind: Kind,
    engine: Engine,
    /// Maximum tokens of the answer; `None` if unlimited.
    pub limit: Option<u64>,
    pub wants_usage: bool,
    wants_ids: bool,
    stops: Vec<String>,
}

/// The answer so far, as the next node must be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoken<'a> {
    pub text: &'a str,
    pub tokens: u64,
    /// Token ids of the prompt (a JSON array) and of the answer so far, if known.
    pub ids: Option<(&'a str, &'a [u32])>,
    /// The text is complete; only the usage and the end are missing.
    pub is_text_complete: bool,
}

impl OriginalRequest {
    /// `engine` is the engine of the pool's nodes.
    pub(super) fn of(kind: Kind, engine: Engine, body: &[u8]) -> Result<Self, NotResumable> {
        let request = Object::parse(body).ok_or(NotResumable::NotUnderstood)?;
        check_resumable(&request)?;
        let limits = LIMITS.iter().filter(|key| request.get(key).is_some());
        let limits: Option<Vec<u64>> = limits.map(|key| request.number(key)).collect();
        // engines disagree on the meaning of 0
        let limits = limits.filter(|limits| !limits.contains(&0)).ok_or(NotResumable::NotUnderstood)?;
        let default = (kind == Kind::Completion && matches!(engine, Engine::Vllm | Engine::Sglang))
            .then_some(COMPLETION_TOKENS);
        let stops = match request.get("stop") {
            None => Vec::new(),
            Some(stop) if stop.starts_with('"') => request.text("stop").into_iter().collect(),
            Some(stops) => serde_json::from_str(stops).map_err(|_| NotResumable::NotUnderstood)?,
        };
        Ok(Self {
            kind,
            engine,
            limit: limits.into_iter().min().or(default),
            wants_usage: request
                .object("stream_options")
                .is_some_and(|options| options.is_true("include_usage")),
            wants_ids: request.is_true("return_token_ids"),
            stops,
        })
    }

    /// True if the answer can be continued from its token ids, without tokenizing its text again.
    pub(super) fn continues_by_ids(&self) -> bool {
        self.wants_ids
            && self.kind == Kind::Completion
            && matches!(self.engine, Engine::Vllm | Engine::Sglang)
    }

    /// The body of the request for the rest of the answer.
    pub(super) fn continuation_body(&self, body: &[u8], said: Spoken) -> Result<String, NotResumable> {
        let mut request = Object::parse(body).ok_or(NotResumable::NotUnderstood)?;
        let needs_text = !said.is_text_complete;
        if needs_text && self.stops.iter().any(|stop| ends_in_prefix_of(said.text, stop)) {
            return Err(NotResumable::Stop);
        }
        // engines send U+FFFD for a character whose bytes are incomplete
        if needs_text && said.text.ends_with('\u{fffd}') {
            return Err(NotResumable::HalfCharacter);
        }
        if !said.text.is_empty() {
            match self.kind {
                Kind::Chat => self.continue_chat(&mut request, said.text)?,
                Kind::Completion => self.continue_prompt(&mut request, said)?,
            }
        }
        let left = self.limit.map(|limit| limit.saturating_sub(said.tokens).max(1));
        if let Some(left) = if said.is_text_complete { Some(1) } else { left } {
            let left = left.to_string();
            let named = LIMITS.iter().filter(|key| request.get(key).is_some()).count();
            for key in LIMITS {
                if request.get(key).is_some() || named == 0 && key == "max_tokens" {
                    request.set(key, left.clone());
                }
            }
        }
        if let Some(least) = request.number("min_tokens") {
            let least = if said.is_text_complete { 0 } else { least.saturating_sub(said.tokens) };
            request.set("min_tokens", least.to_string());
        }
        Ok(request.to_string())
    }

    /// vLLM, SGLang and llama.cpp continue the last message if `continue_final_message` and `add_generation_prompt`
    /// both say so.
    fn continue_chat(&self, request: &mut Object, text: &str) -> Result<(), NotResumable> {
        if self.engine == Engine::Generic {
            return Err(NotResumable::Engine);
        }
        // chat templates cut trailing whitespace off a message
        let text = text.trim_end();
        if text.trim_start().starts_with("<think>") || text.contains("</think>") {
            return Err(NotResumable::Reasoning);
        }
        let messages = items(request.get("messages").unwrap_or("")).ok_or(NotResumable::NotUnderstood)?;
        let mut messages: Vec<String> = messages.into_iter().map(str::to_owned).collect();
        if request.is_true("continue_final_message") {
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
        request.set("messages", format!("[{}]", messages.join(",")));
        request.set("continue_final_message", "true");
        request.set("add_generation_prompt", "false");
        Ok(())
    }

    fn continue_prompt(&self, request: &mut Object, said: Spoken) -> Result<(), NotResumable> {
        if self.engine == Engine::Generic && self.limit.is_none() && !said.is_text_complete {
            return Err(NotResumable::NoLimit);
        }
        if let Some((prompt, ids)) = said.ids {
            request.set("prompt", joined(prompt, ids)?);
            return Ok(());
        }
        let prompt = request.get("prompt").ok_or(NotResumable::NotUnderstood)?;
        // some clients send a single prompt as a list of one
        let prompt = match items(prompt).as_deref() {
            Some([only]) => *only,
            Some(_) => return Err(NotResumable::Ids),
            None => prompt,
        };
        let prompt: String = serde_json::from_str(prompt).map_err(|_| NotResumable::Ids)?;
        request.set("prompt", string(&(prompt + said.text)));
        Ok(())
    }
}

/// Appends ids to a JSON array of ids.
fn joined(prompt: &str, ids: &[u32]) -> Result<String, NotResumable> {
    let mut all: Vec<u32> = serde_json::from_str(prompt).map_err(|_| NotResumable::Ids)?;
    all.extend_from_slice(ids);
    serde_json::to_string(&all).map_err(|_| NotResumable::Ids)
}

/// Refuses requests whose answers cannot be split between two nodes.
fn check_resumable(request: &Object) -> Result<(), NotResumable> {
    let means_something = |value: &str| !["null", "false", "[]", "{}", "\"\"", "\"none\""].contains(&value);
    let is_used = |key: &str| request.get(key).is_some_and(means_something);
    // one pass: a request may have a million fields
    let mut formats = request.fields().filter(|(key, _)| key.starts_with("guided_") || FORMATS.contains(key));
    let above_one = |key: &str| request.get(key).is_some_and(|value| value != "1");
    let formatted =
        request.object("response_format").is_some_and(|f| f.text("type").as_deref() != Some("text"));
    let several_prompts = request.get("prompt").and_then(items).is_some_and(|prompts| {
        let texts = prompts.iter().filter(|prompt| !prompt.starts_with(|c: char| c.is_ascii_digit())).count();
        texts > 1 || texts == 1 && prompts[0].starts_with('[')
    });
    let refused = if ["tools", "functions"].iter().any(|key| is_used(key)) {
        NotResumable::Tools
    } else if formatted || formats.any(|(_, value)| means_something(value)) {
        NotResumable::Format
    } else if ["n", "best_of"].iter().any(|key| above_one(key))
        || is_used("use_beam_search")
        || is_used("prompt_embeds")
        || several_prompts
    {
        NotResumable::Several
    } else if ["logprobs", "prompt_logprobs"].iter().any(|key| is_used(key)) {
        NotResumable::Logprobs
    } else if ["echo", "suffix", "truncate_prompt_tokens"].iter().any(|key| is_used(key)) {
        NotResumable::Echo
    } else {
        return Ok(());
    };
    Err(refused)
}

/// True if the text ends in a prefix of the stop string, or in all of it, which some engines do not cut off.
fn ends_in_prefix_of(text: &str, stop: &str) -> bool {
    let ends = stop.char_indices().map(|(at, char)| at + char.len_utf8());
    ends.into_iter().any(|end| text.ends_with(&stop[..end]))
}
