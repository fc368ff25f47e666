//! Rendering simulated answers as JSON and events; the part common to all events of a stream is built once.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::Value;

use super::super::options::Options;
use super::super::stamp;
use super::super::text::Prompt;
use super::errors::error_json;
use super::manners::Manners;
use super::request::{GenerationRequest, Kind};

pub(super) const DONE: &str = "data: [DONE]\n\n";

/// Renders one answer.
pub(crate) struct Render {
    kind: Kind,
    pub prompt: Prompt,
    include_usage: bool,
    token_ids: bool,
    stamps: bool,
    manners: Manners,
    id: String,
    model_json: String,
    created: u64,
    /// The event of a token, up to the token's text.
    prefix: String,
}

impl Render {
    /// `options` are those of the answering node.
    pub(crate) fn new(kind: Kind, options: &Options, number: u64, request: GenerationRequest) -> Self {
        let (manners, node) = (Manners::of(options.engine), &options.name);
        let prefix = manners.id.unwrap_or(match kind {
            Kind::Chat => "chatcmpl",
            Kind::Completion => "cmpl",
        });
        let id = format!("{prefix}-{node}-{number}");
        let mut render = Render {
            kind,
            manners,
            id,
            created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            prompt: request.prompt,
            include_usage: request.include_usage,
            token_ids: request.return_token_ids,
            stamps: options.stamp,
            model_json: request.model_json,
            prefix: String::new(),
        };
        if request.stream {
            let text = match kind {
                Kind::Chat => r#""delta":{"content":""#,
                Kind::Completion => r#""text":""#,
            };
            render.prefix = format!("{}\"choices\":[{{\"index\":0,{text}", render.event_head());
        }
        render
    }

    pub(crate) fn is_chat(&self) -> bool {
        self.kind == Kind::Chat
    }

    /// The first event of a chat.
    pub(crate) fn role(&self) -> Bytes {
        let prompt_ids = if self.token_ids { self.prompt_ids() } else { String::new() };
        let Manners { first_delta, choice, event, .. } = self.manners;
        let choice =
            format!(r#"{{"index":0,"delta":{first_delta},"logprobs":null,"finish_reason":null{choice}}}"#);
        Bytes::from(format!("{}\"choices\":[{choice}]{event}{prompt_ids}}}\n\n", self.event_head()))
    }

    /// The event of this answer's token `number`.
    pub(crate) fn token(&self, number: u32) -> Bytes {
        let position = self.prompt.start + number;
        let mut out = String::with_capacity(self.prefix.len() + 128);
        if self.stamps {
            stamp::begin(&self.prefix, &mut out);
        } else {
            out.push_str(&self.prefix);
        }
        self.prompt.push_token(position, &mut out);
        out.push_str(match self.kind {
            Kind::Chat => r#""},"logprobs":null,"finish_reason":null"#,
            Kind::Completion => r#"","logprobs":null,"finish_reason":null"#,
        });
        if self.token_ids {
            // Writing to a String cannot fail.
            let _ = write!(out, ",\"token_ids\":[{}]", self.prompt.token_id(position));
            if number == 0 && self.kind == Kind::Completion {
                out.push_str(&self.prompt_ids());
            }
        }
        let Manners { choice, event, .. } = self.manners;
        // Writing to a String cannot fail.
        let _ = write!(out, "{choice}}}]{event}}}\n\n");
        Bytes::from(out)
    }

    /// The event with the finish reason, after so many tokens.
    pub(crate) fn finish(&self, reason: &str, tokens: u32) -> Bytes {
        let Manners { last_delta, choice, event, .. } = self.manners;
        let text = match self.kind {
            Kind::Chat => format!("\"delta\":{last_delta}"),
            Kind::Completion => r#""text":"""#.to_owned(),
        };
        let usage =
            if self.ends_in_usage() { format!(",{}", self.usage_field(tokens)) } else { String::new() };
        let head = self.event_head();
        let choice = format!(r#"{{"index":0,{text},"logprobs":null,"finish_reason":"{reason}"{choice}}}"#);
        Bytes::from(format!("{head}\"choices\":[{choice}]{event}{usage}}}\n\n"))
    }

    /// True if the event with the finish reason also contains the usage.
    fn ends_in_usage(&self) -> bool {
        self.manners.completion_has_usage && self.kind == Kind::Completion
    }

    /// True if the usage comes in an event of its own.
    pub(crate) fn has_usage_event(&self) -> bool {
        self.include_usage && !self.ends_in_usage()
    }

    /// The usage event, the last before `[DONE]`, if the request asked for it.
    pub(crate) fn usage(&self, tokens: u32) -> Bytes {
        let Manners { usage, .. } = self.manners;
        Bytes::from(format!("{}\"choices\":[],{}{usage}}}\n\n", self.event_head(), self.usage_field(tokens)))
    }

    /// An answer that does not stream.
    pub(crate) fn whole(&self, tokens: u32, reason: &str) -> String {
        let mut text = String::new();
        let positions = self.prompt.start..self.prompt.start + tokens;
        positions.clone().for_each(|position| self.prompt.push_token(position, &mut text));
        let (object, text) = match self.kind {
            Kind::Chat => {
                ("chat.completion", format!(r#""message":{{"role":"assistant","content":"{text}"}}"#))
            }
            Kind::Completion => ("text_completion", format!(r#""text":"{text}""#)),
        };
        let ids = if self.token_ids {
            let ids: Vec<u32> = positions.map(|position| self.prompt.token_id(position)).collect();
            format!(",\"token_ids\":{}{}", Value::from(ids), self.prompt_ids())
        } else {
            String::new()
        };
        let Render { id, created, model_json, .. } = self;
        let choice = format!(r#"{{"index":0,{text},"logprobs":null,"finish_reason":"{reason}"{ids}}}"#);
        format!(
            r#"{{"id":"{id}","object":"{object}","created":{created},"model":{model_json},"choices":[{choice}],{}}}"#,
            self.usage_field(tokens)
        )
    }

    fn usage_field(&self, tokens: u32) -> String {
        let prompt = self.prompt.len;
        let total = prompt + tokens;
        format!(r#""usage":{{"prompt_tokens":{prompt},"completion_tokens":{tokens},"total_tokens":{total}}}"#)
    }

    fn prompt_ids(&self) -> String {
        format!(",\"prompt_token_ids\":{}", Value::from(self.prompt.token_ids()))
    }

    fn event_head(&self) -> String {
        let object = match self.kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Completion => "text_completion",
        };
        let Render { id, created, model_json, .. } = self;
        format!(r#"data: {{"id":"{id}","object":"{object}","created":{created},"model":{model_json},"#)
    }
}

/// An error as an event of a stream.
pub(super) fn error_event(code: u16, kind: &str, message: &str) -> Bytes {
    Bytes::from(format!("data: {}\n\n", error_json(code, kind, message)))
}
