//! The request: whether its answer could be continued, and the request that continues it.

use super::json::{Object, items, string};
use super::kind::Kind;
use super::not_resumable::NotResumable;
use crate::config::Engine;

/// What a completion may say if the request does not set a limit (vLLM, SGLang).
const COMPLETION_TOKENS: u64 = 16;
/// Fields that bind an answer to a form which a continuation would begin anew.
const FORMS: [&str; 6] = ["structured_outputs", "json_schema", "regex", "ebnf", "grammar", "structural_tag"];
/// The last is llama.cpp's.
const LIMITS: [&str; 3] = ["max_tokens", "max_completion_tokens", "n_predict"];

/// What matters of a request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub kind: Kind,
    engine: Engine,
    /// Most tokens of the answer; `None`: as many as it takes.
    pub limit: Option<u64>,
    pub wants_usage: bool,
    wants_ids: bool,
    stops: Vec<String>,
}

/// What has been said so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoken<'a> {
    pub text: &'a str,
    pub tokens: u64,
    /// The ids of the prompt, as a JSON array, and of all that was said, where they are known.
    pub ids: Option<(&'a str, &'a [u32])>,
    /// Nothing is missing but what follows the text.
    pub is_whole: bool,
}

impl Asked {
    /// `engine` is what runs on the pool's nodes.
    pub(super) fn of(kind: Kind, engine: Engine, body: &[u8]) -> Result<Self, NotResumable> {
        let request = Object::parse(body).ok_or(NotResumable::NotUnderstood)?;
        refuse(&request)?;
        let limits = LIMITS.iter().filter(|key| request.get(key).is_some());
        let limits: Option<Vec<u64>> = limits.map(|key| request.number(key)).collect();
        // engines do not agree on what 0 means
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

    /// Whether it can go on token by token.
    pub(super) fn knows_ids(&self) -> bool {
        self.wants_ids
            && self.kind == Kind::Completion
            && matches!(self.engine, Engine::Vllm | Engine::Sglang)
    }

    /// The body of the request that goes on after what was said.
    pub(super) fn continued(&self, body: &[u8], said: Spoken) -> Result<String, NotResumable> {
        let mut request = Object::parse(body).ok_or(NotResumable::NotUnderstood)?;
        let goes_on = !said.is_whole;
        if goes_on && self.stops.iter().any(|stop| ends_in_beginning(said.text, stop)) {
            return Err(NotResumable::Stop);
        }
        // a character whose bytes were not all there yet
        if goes_on && said.text.ends_with('\u{fffd}') {
            return Err(NotResumable::HalfCharacter);
        }
        if !said.text.is_empty() {
            match self.kind {
                Kind::Chat => self.continue_chat(&mut request, said.text)?,
                Kind::Completion => self.continue_prompt(&mut request, said)?,
            }
        }
        let left = self.limit.map(|limit| limit.saturating_sub(said.tokens).max(1));
        if let Some(left) = if said.is_whole { Some(1) } else { left } {
            let left = left.to_string();
            let named = LIMITS.iter().filter(|key| request.get(key).is_some()).count();
            for key in LIMITS {
                if request.get(key).is_some() || named == 0 && key == "max_tokens" {
                    request.set(key, left.clone());
                }
            }
        }
        if let Some(least) = request.number("min_tokens") {
            let least = if said.is_whole { 0 } else { least.saturating_sub(said.tokens) };
            request.set("min_tokens", least.to_string());
        }
        Ok(request.to_string())
    }

    /// vLLM, SGLang and llama.cpp go on in the last message if both of these fields say so.
    fn continue_chat(&self, request: &mut Object, text: &str) -> Result<(), NotResumable> {
        if self.engine == Engine::Generic {
            return Err(NotResumable::Engine);
        }
        // templates cut the blanks off the end of a message
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
        if self.engine == Engine::Generic && self.limit.is_none() && !said.is_whole {
            return Err(NotResumable::NoLimit);
        }
        if let Some((prompt, ids)) = said.ids {
            request.set("prompt", joined(prompt, ids)?);
            return Ok(());
        }
        let prompt = request.get("prompt").ok_or(NotResumable::NotUnderstood)?;
        // a list of one is what some clients make of a single prompt
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

/// A JSON array of ids, and more of them.
fn joined(prompt: &str, ids: &[u32]) -> Result<String, NotResumable> {
    let mut all: Vec<u32> = serde_json::from_str(prompt).map_err(|_| NotResumable::Ids)?;
    all.extend_from_slice(ids);
    serde_json::to_string(&all).map_err(|_| NotResumable::Ids)
}

/// What cannot be cut in two.
fn refuse(request: &Object) -> Result<(), NotResumable> {
    let means_something = |value: &str| !["null", "false", "[]", "{}", "\"\"", "\"none\""].contains(&value);
    let is_used = |key: &str| request.get(key).is_some_and(means_something);
    // one pass: a request may have a million fields
    let mut forms = request.fields().filter(|(key, _)| key.starts_with("guided_") || FORMS.contains(key));
    let above_one = |key: &str| request.get(key).is_some_and(|value| value != "1");
    let formatted =
        request.object("response_format").is_some_and(|f| f.text("type").as_deref() != Some("text"));
    let several_prompts = request.get("prompt").and_then(items).is_some_and(|prompts| {
        let texts = prompts.iter().filter(|prompt| !prompt.starts_with(|c: char| c.is_ascii_digit())).count();
        texts > 1 || texts == 1 && prompts[0].starts_with('[')
    });
    let refused = if ["tools", "functions"].iter().any(|key| is_used(key)) {
        NotResumable::Tools
    } else if formatted || forms.any(|(_, value)| means_something(value)) {
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

/// Whether the text ends in a part of the stop string, or in the whole, which some engines do not cut off.
fn ends_in_beginning(text: &str, stop: &str) -> bool {
    let ends = stop.char_indices().map(|(at, char)| at + char.len_utf8());
    ends.into_iter().any(|end| text.ends_with(&stop[..end]))
}
