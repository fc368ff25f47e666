//! Reads a generation request: refuses answers that cannot be continued, and keeps what continuing one depends on.

use bytes::Bytes;

use super::ask::{NodeBody, Wish, may_ask_for_stream};
use super::json::{Object, items};
use super::kind::{Kind, completions_of};
use super::not_resumable::NotResumable;
use crate::config::{Engine, Retry};

/// Default limit of a completion in vLLM and SGLang.
const COMPLETION_TOKENS: u64 = 16;
/// Fields that demand an output format; a continuation would start that format from scratch.
const FORMATS: [&str; 6] =
    ["structured_outputs", "json_schema", "regex", "ebnf", "grammar", "structural_tag"];
/// Names of the token limit; `n_predict` is llama.cpp's.
pub(super) const LIMITS: [&str; 3] = ["max_completion_tokens", "max_tokens", "n_predict"];

/// The client's request, as far as continuing its answer depends on it.
#[derive(Clone, Debug)]
pub struct Original {
    pub(super) kind: Kind,
    pub(super) engine: Engine,
    model: String,
    /// Maximum tokens of the answer; `None` if unlimited.
    pub(super) limit: Option<u64>,
    pub(super) wants_usage: bool,
    wants_counts: bool,
    pub(super) wants_ids: bool,
    /// The wish that nodes get with the request.
    pub(super) wish: Wish,
    is_wish_named: bool,
    stops: Vec<String>,
    /// Characters that the engine holds back because they may begin a stop string.
    pub(super) held_back: u64,
    /// The path where the nodes of a chat take completions.
    pub(super) completions: Option<String>,
}

impl Original {
    /// `path` is without its query; `engine` is the engine of the pool's nodes.
    pub fn read(
        kind: Kind,
        path: &str,
        engine: Engine,
        conf: &Retry,
        body: &[u8],
    ) -> Result<Self, NotResumable> {
        if !may_ask_for_stream(body) {
            return Err(NotResumable::NotUnderstood);
        }
        let request = Object::parse(body).filter(|request| request.is_true("stream"));
        let request = request.ok_or(NotResumable::NotUnderstood)?;
        check_resumable(&request)?;
        let stops = match request.get("stop") {
            None => Vec::new(),
            Some(stop) if stop.starts_with('"') => request.text("stop").into_iter().collect(),
            Some(stops) => serde_json::from_str(stops).map_err(|_| NotResumable::NotUnderstood)?,
        };
        let options = request.object("stream_options").unwrap_or_default();
        // the ids of a prompt take more room than its text
        let has_room = body.len() <= conf.resume_text_max / 2;
        let wish = if has_room { Wish::of(kind, engine) } else { Wish::Nothing };
        Ok(Self {
            kind,
            engine,
            model: request.text("model").unwrap_or_default(),
            limit: limit(kind, engine, &request)?,
            wants_usage: options.is_true("include_usage"),
            wants_counts: options.is_true("continuous_usage_stats"),
            wants_ids: request.is_true("return_token_ids"),
            wish,
            is_wish_named: wish.is_named(&request),
            held_back: held_back(engine, &request, &stops),
            stops,
            completions: if kind == Kind::Chat { completions_of(path) } else { None },
        })
    }

    /// The model that the client named.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The client's request as the first node gets it.
    pub fn for_node(&self, body: &Bytes) -> NodeBody {
        if self.hides_ids() || self.hides_counts() {
            self.wish.add_to(body, self.is_wish_named)
        } else {
            NodeBody::as_it_came(body.clone())
        }
    }

    /// True if token ids come that the client did not ask for.
    pub(super) fn hides_ids(&self) -> bool {
        self.wish == Wish::Ids && !self.wants_ids
    }

    /// True if every event has a usage that the client did not ask for.
    pub(super) fn hides_counts(&self) -> bool {
        self.wish == Wish::Usage && !self.wants_counts
    }

    /// True if the answer might be continued from its ids.
    pub(super) fn needs_ids(&self) -> bool {
        (self.wish == Wish::Ids || self.wants_ids && matches!(self.engine, Engine::Vllm | Engine::Sglang))
            && self.held_back == 0
            && (self.kind == Kind::Completion || self.limit.is_some())
    }

    /// True if the text ends in what may be the start of a stop string.
    pub(super) fn may_stop(&self, text: &str) -> bool {
        self.stops.iter().any(|stop| ends_in_prefix_of(text, stop))
    }
}

/// The names of the token limit that an engine reads.
pub(super) fn limits_of(kind: Kind, engine: Engine) -> &'static [&'static str] {
    match (kind, engine) {
        (Kind::Completion, Engine::Vllm | Engine::Sglang) => &["max_tokens"],
        (Kind::Chat, Engine::Vllm) => &LIMITS[..2],
        _ => &LIMITS,
    }
}

fn limit(kind: Kind, engine: Engine, request: &Object) -> Result<Option<u64>, NotResumable> {
    let is_named = |key: &&&str| request.get(key).is_some();
    // engines disagree on the meaning of 0
    if !LIMITS.iter().filter(is_named).all(|key| request.number(key).is_some_and(|limit| limit > 0)) {
        return Err(NotResumable::NotUnderstood);
    }
    let mut read = limits_of(kind, engine).iter().filter(is_named).filter_map(|key| request.number(key));
    let first = read.next();
    // which of two limits counts is known of vLLM only (0.32)
    if engine != Engine::Vllm && read.any(|limit| Some(limit) != first) {
        return Err(NotResumable::NotUnderstood);
    }
    let has_default = kind == Kind::Completion && matches!(engine, Engine::Vllm | Engine::Sglang);
    Ok(first.or(has_default.then_some(COMPLETION_TOKENS)))
}

/// vLLM holds back as many characters as the longest stop string has, but one (0.32, `v1/engine/detokenizer.py`).
fn held_back(engine: Engine, request: &Object, stops: &[String]) -> u64 {
    if engine != Engine::Vllm || request.is_true("include_stop_str_in_output") {
        return 0;
    }
    let longest = stops.iter().map(|stop| stop.chars().count()).max().unwrap_or(0);
    longest.saturating_sub(1) as u64
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
