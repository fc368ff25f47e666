//! Rendering simulated answers; what is common to the events of all tokens is filled in once.

use std::borrow::Cow;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::super::flight::Flight;
use super::super::options::Options;
use super::super::stats::add;
use super::super::text::Prompt;
use super::errors::ApiError;
use super::request::GenerationRequest;
use super::speech::Speech;
use super::template::{Constants, Event, Template, json_ids};

/// Renders one answer.
pub(crate) struct Render {
    pub speech: &'static Speech,
    facts: Facts,
    stamps: bool,
    token: Template,
    /// The first event after the tokens takes the last of them along.
    pub end_has_text: bool,
    /// Events so far.
    events: u32,
}

/// The values for the holes of a whole answer.
struct Facts {
    prompt: Prompt,
    id: String,
    created: u64,
    model_json: String,
    max_tokens: u32,
    include_usage: bool,
    continuous_usage: bool,
    token_ids: bool,
    plain: bool,
    /// Tokens of the prompt that were in the cache, if the node has one.
    cached: Option<u32>,
    is_first: bool,
    /// The finish reason, once it is known.
    reason: &'static str,
}

impl Constants for Facts {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(match name {
            "id" => self.id.as_str().into(),
            "created" => self.created.to_string().into(),
            "created_at" => created_at(self.created).into(),
            "model" => self.model_json.as_str().into(),
            "cached" => self.cached.map_or("null".into(), cached_tokens).into(),
            "and_cached" => self.cached.map_or(String::new(), and_cached_tokens).into(),
            "max_tokens" => self.max_tokens.to_string().into(),
            "reason" => self.reason.into(),
            "prompt_tokens" => self.prompt.len.to_string().into(),
            "prompt_ids" if self.token_ids => json_ids(self.prompt.token_ids()).into(),
            "prompt_ids" => "null".into(),
            "all_prompt_ids" => json_ids(self.prompt.token_ids()).into(),
            "ids" if !self.token_ids => "null".into(),
            _ => return None,
        })
    }

    fn holds(&self, condition: &str) -> bool {
        match condition {
            "plain" => self.plain,
            "usage" => self.include_usage,
            "continuous" => self.continuous_usage,
            "ids" => self.token_ids,
            "first" => self.is_first,
            "first_ids" => self.is_first && self.token_ids,
            reason => reason == self.reason,
        }
    }
}

fn cached_tokens(tokens: u32) -> String {
    format!("{{\"cached_tokens\":{tokens}}}")
}

fn and_cached_tokens(tokens: u32) -> String {
    format!(",\"prompt_tokens_details\":{}", cached_tokens(tokens))
}

/// As RFC 3339 writes it.
fn created_at(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.unwrap_or_default().to_string()
}

impl Render {
    /// `options` are those of the answering node.
    pub(crate) fn new(
        speech: &'static Speech,
        options: &Options,
        number: u64,
        request: GenerationRequest,
    ) -> Self {
        let facts = Facts {
            prompt: request.prompt,
            id: format!("{}{}-{number}", speech.id, options.name),
            created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            model_json: request.model_json,
            max_tokens: request.max_tokens,
            include_usage: request.include_usage,
            continuous_usage: request.continuous_usage,
            token_ids: request.return_token_ids,
            plain: request.plain,
            cached: options.limits.prefix_cache.then_some(0),
            is_first: false,
            reason: "",
        };
        let end_has_text = speech.end.first().is_some_and(|end| Template::new(end, &facts).has_text());
        let token = Template::new(if request.stream { speech.token } else { "" }, &facts);
        Render {
            speech,
            facts,
            stamps: options.stamp && speech.token.starts_with("data: {"),
            token,
            end_has_text,
            events: 0,
        }
    }

    pub(crate) fn prompt_tokens(&self) -> u32 {
        self.facts.prompt.len
    }

    /// The prompt's tokens that were in the cache go into the answer's usage.
    pub(super) fn count_prompt(&mut self, flight: &Flight, cached: u32) {
        add(&flight.shared.counters.prompt_tokens, self.prompt_tokens().into());
        add(&flight.shared.counters.cached_tokens, cached.into());
        self.facts.cached = self.facts.cached.map(|_| cached);
    }

    /// The events before the first token's.
    pub(crate) fn begin(&mut self) -> impl Iterator<Item = Bytes> + '_ {
        self.speech.begin.iter().filter_map(|source| self.event(source, 0..0))
    }

    /// The event of these tokens.
    pub(crate) fn token(&mut self, tokens: Range<u32>) -> Bytes {
        self.facts.is_first = tokens.start == 0;
        let first = self.facts.is_first.then(|| Template::new(self.speech.token, &self.facts));
        let template = first.as_ref().unwrap_or(&self.token);
        let event = Event { prompt: &self.facts.prompt, tokens, number: self.events };
        self.events += 1;
        Bytes::from(if self.stamps { template.fill_stamped(&event) } else { template.fill(&event) })
    }

    /// The events after the tokens; these are the last of them, for the first of those events if it takes them.
    pub(crate) fn end(
        &mut self,
        tokens: &Range<u32>,
        reason: &'static str,
    ) -> impl Iterator<Item = Bytes> + '_ {
        self.facts.is_first = tokens.start == 0;
        self.facts.reason = reason;
        let tokens = tokens.clone();
        self.speech.end.iter().filter_map(move |source| self.event(source, tokens.clone()))
    }

    /// The event of a good end.
    pub(crate) fn done(&mut self, tokens: u32) -> Option<Bytes> {
        self.event(self.speech.done, 0..tokens)
    }

    /// The events of an error.
    pub(crate) fn error(&self, error: &ApiError) -> impl Iterator<Item = Bytes> {
        self.speech.error.iter().map(|event| Bytes::from(error.fill(event)))
    }

    /// An answer that does not stream.
    pub(crate) fn whole(&mut self, tokens: u32, reason: &'static str) -> String {
        self.facts.reason = reason;
        let event = Event { prompt: &self.facts.prompt, tokens: 0..tokens, number: 0 };
        Template::new(self.speech.whole, &self.facts).fill(&event)
    }

    /// `None` for an event that this request did not ask for.
    fn event(&mut self, source: &str, tokens: Range<u32>) -> Option<Bytes> {
        let event = Event { prompt: &self.facts.prompt, tokens, number: self.events };
        let filled = Template::new(source, &self.facts).fill(&event);
        self.events += u32::from(!filled.is_empty());
        (!filled.is_empty()).then(|| Bytes::from(filled))
    }
}
