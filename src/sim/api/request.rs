//! Parsing a generation request, as far as the simulated node depends on it.

use std::borrow::Cow;

use serde::Deserialize;

use super::super::text::{Prompt, push_ids};
use super::errors::ApiError;
use super::speech::Form;

/// vLLM's own default for completions.
const MAX_TOKENS_DEFAULT: u32 = 16;

/// A parsed generation request.
pub(crate) struct GenerationRequest {
    pub prompt: Prompt,
    /// The model's name as a JSON string, quotes included.
    pub model_json: String,
    pub stream: bool,
    pub include_usage: bool,
    /// Usage in every event (vLLM's `continuous_usage_stats`).
    pub continuous_usage: bool,
    pub return_token_ids: bool,
    pub max_tokens: u32,
    /// The request sets no limit, so the answer ends with the reason "stop".
    pub natural_end: bool,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    #[serde(borrow)]
    messages: Option<Vec<Message<'a>>>,
    prompt: Option<RawPrompt>,
    continue_final_message: Option<bool>,
    add_generation_prompt: Option<bool>,
    return_token_ids: Option<bool>,
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
    #[serde(default)]
    continuous_usage_stats: bool,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    content: Option<MessageContent>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MessageContent {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPrompt {
    Text(String),
    Ids(Vec<u32>),
    Texts(Vec<String>),
}

impl MessageContent {
    fn into_text(self) -> String {
        match self {
            MessageContent::Text(text) => text,
            MessageContent::Parts(parts) => parts.into_iter().map(|part| part.text).collect(),
        }
    }
}

pub(super) fn parse(form: Form, body: &[u8]) -> Result<GenerationRequest, ApiError> {
    let mut raw: Raw<'_> = serde_json::from_slice(body).map_err(|error| ApiError::bad(error.to_string()))?;
    let asked = raw.max_completion_tokens.or(raw.max_tokens);
    if asked == Some(0) {
        return Err(ApiError::bad("max_tokens must be at least 1, got 0."));
    }
    let options = raw.stream_options.take().unwrap_or_default();
    let model = raw.model.take().unwrap_or(Cow::Borrowed("sim"));
    Ok(GenerationRequest {
        model_json: serde_json::to_string(&model).map_err(|error| ApiError::bad(error.to_string()))?,
        stream: raw.stream.unwrap_or(false),
        include_usage: options.include_usage,
        continuous_usage: options.include_usage && options.continuous_usage_stats,
        return_token_ids: raw.return_token_ids.unwrap_or(false),
        max_tokens: asked.unwrap_or(MAX_TOKENS_DEFAULT),
        natural_end: asked.is_none(),
        prompt: match form {
            Form::Chat => chat_prompt(raw)?,
            Form::Completion => completion_prompt(raw)?,
        },
    })
}

fn chat_prompt(raw: Raw<'_>) -> Result<Prompt, ApiError> {
    let continues = raw.continue_final_message.unwrap_or(false);
    if continues && raw.add_generation_prompt.unwrap_or(true) {
        return Err(ApiError::bad(
            "Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
        ));
    }
    let Some(mut messages) = raw.messages.filter(|messages| !messages.is_empty()) else {
        return Err(ApiError::bad("messages: field required"));
    };
    let is_assistant = |message: &mut Message<'_>| message.role == "assistant";
    let last = if continues { messages.pop_if(is_assistant) } else { None };
    let said = last.map(|message| message.content.map_or_else(String::new, MessageContent::into_text));
    let mut ids = Vec::new();
    for message in messages {
        push_ids(&message.role, &mut ids);
        if let Some(content) = message.content {
            push_ids(&content.into_text(), &mut ids);
        }
    }
    Ok(Prompt::chat(ids, said.as_deref()))
}

fn completion_prompt(raw: Raw<'_>) -> Result<Prompt, ApiError> {
    let text = match raw.prompt {
        None => return Err(ApiError::bad("prompt: field required")),
        Some(RawPrompt::Ids(ids)) => return Ok(Prompt::completion(ids, None)),
        Some(RawPrompt::Text(text)) => text,
        // Of a batch of prompts, only the first is answered here.
        Some(RawPrompt::Texts(texts)) => texts.into_iter().next().unwrap_or_default(),
    };
    let mut ids = Vec::new();
    push_ids(&text, &mut ids);
    Ok(Prompt::completion(ids, Some(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(json: &str) -> Result<GenerationRequest, ApiError> {
        parse(Form::Chat, json.as_bytes())
    }

    #[test]
    fn defaults_and_names() {
        let request = chat(r#"{"model":"a\"b","messages":[{"role":"user","content":"x"}]}"#).unwrap();
        assert_eq!((request.max_tokens, request.natural_end, request.stream), (16, true, false));
        assert_eq!(request.model_json, r#""a\"b""#);
        let request = chat(
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"max_tokens":3,
                "max_completion_tokens":5,"stream":true,"stream_options":{"include_usage":true}}"#,
        )
        .unwrap();
        assert_eq!((request.max_tokens, request.natural_end, request.include_usage), (5, false, true));
    }

    #[test]
    fn continuing_wants_both_flags_as_vllm_does() {
        let body = |flags: &str| {
            format!(
                r#"{{"messages":[{{"role":"user","content":"x"}},{{"role":"assistant","content":"one two"}}]{flags}}}"#
            )
        };
        let both = chat(&body(r#","continue_final_message":true,"add_generation_prompt":false"#)).unwrap();
        assert_eq!(both.prompt.start, 2);
        assert!(chat(&body(r#","continue_final_message":true"#)).is_err());
        assert_eq!(chat(&body("")).unwrap().prompt.start, 0);
    }

    #[test]
    fn mistakes_are_400() {
        assert!(chat("{").is_err());
        assert!(chat(r#"{"messages":[]}"#).is_err());
        assert!(chat(r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":0}"#).is_err());
        assert!(parse(Form::Completion, b"{}").is_err());
        assert!(parse(Form::Completion, br#"{"prompt":[1,2,3]}"#).is_ok());
    }
}
