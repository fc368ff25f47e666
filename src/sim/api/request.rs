//! Parsing a request, as far as the simulated node depends on it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::super::text::{Prompt, push_ids};
use super::errors::ApiError;
use super::speech::{Form, Speech, Streams};
use super::upload;

/// vLLM's own default for completions.
const MAX_TOKENS_DEFAULT: u32 = 16;
/// Members of any request that are no part of its prompt.
const NO_PROMPT: [&str; 4] = ["model", "stop", "encoding_format", "response_format"];

/// A parsed request.
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
    /// vLLM's and SGLang's order.
    pub priority: i64,
    /// The request sets no limit, so the answer ends with the reason "stop".
    pub natural_end: bool,
    /// The answer is text, not JSON.
    pub plain: bool,
}

#[derive(Default, Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    stream: Option<bool>,
    #[serde(default, deserialize_with = "object")]
    stream_options: StreamOptions,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    max_output_tokens: Option<u32>,
    n_predict: Option<i64>,
    #[serde(default, deserialize_with = "object")]
    options: Limits,
    #[serde(default, deserialize_with = "object")]
    parameters: Limits,
    #[serde(default, deserialize_with = "object")]
    sampling_params: Limits,
    priority: Option<i64>,
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

/// The limit's names within an object: Ollama's, TGI's and SGLang's.
#[derive(Default, Deserialize)]
struct Limits {
    num_predict: Option<i64>,
    max_new_tokens: Option<i64>,
}

/// The members of a prompt, apart from the others: of another form they are of another type.
#[derive(Deserialize)]
struct RawPrompts<'a> {
    #[serde(borrow)]
    messages: Option<Vec<Message<'a>>>,
    prompt: Option<RawPrompt>,
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

impl Raw<'_> {
    /// The tokens asked for.
    fn limit(&self) -> Option<u32> {
        let positive = |limit: Option<i64>| limit.and_then(|limit| u32::try_from(limit).ok());
        let nested = [&self.options, &self.parameters, &self.sampling_params];
        let nested = nested.iter().find_map(|limits| positive(limits.num_predict.or(limits.max_new_tokens)));
        self.max_completion_tokens
            .or(self.max_tokens)
            .or(self.max_output_tokens)
            .or(positive(self.n_predict))
            .or(nested)
    }
}

/// A member that may be `null`, or in other dialects something else.
fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::de::DeserializeOwned,
{
    let value = Value::deserialize(deserializer)?;
    Ok(if value.is_object() { serde_json::from_value(value).unwrap_or_default() } else { T::default() })
}

pub(super) fn parse(speech: &Speech, body: &[u8]) -> Result<GenerationRequest, ApiError> {
    let (raw, prompt, plain) = if speech.form == Form::Upload {
        let upload = upload::parse(body).ok_or_else(|| ApiError::bad("the body is no multipart form"))?;
        let (model, stream) = (upload.model.map(Cow::Borrowed), upload.stream);
        let raw = Raw { model, stream, max_tokens: upload.max_tokens, ..Raw::default() };
        (raw, Prompt::chat(upload.prompt, None), upload.plain)
    } else {
        let raw: Raw<'_> = from_json(body)?;
        let prompt = match speech.form {
            Form::Chat => chat_prompt(&raw, from_json(body)?)?,
            Form::Completion => completion_prompt(from_json(body)?)?,
            Form::Json | Form::Upload => any_prompt(&from_json(body)?),
        };
        (raw, prompt, false)
    };
    let asked = raw.limit();
    if asked == Some(0) {
        return Err(ApiError::bad("max_tokens must be at least 1, got 0."));
    }
    let default = if speech.streams == Streams::Never { 1 } else { MAX_TOKENS_DEFAULT };
    let model = raw.model.as_deref().unwrap_or("sim");
    Ok(GenerationRequest {
        prompt,
        plain,
        model_json: Value::from(model).to_string(),
        stream: match speech.streams {
            Streams::Asked => raw.stream.unwrap_or(false),
            Streams::Unasked => raw.stream.unwrap_or(true),
            Streams::Always => true,
            Streams::Never => false,
        },
        include_usage: raw.stream_options.include_usage,
        continuous_usage: raw.stream_options.include_usage && raw.stream_options.continuous_usage_stats,
        return_token_ids: raw.return_token_ids.unwrap_or(false),
        max_tokens: asked.unwrap_or(default),
        priority: raw.priority.unwrap_or(0),
        natural_end: asked.is_none(),
    })
}

fn from_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad(error.to_string()))
}

fn chat_prompt(raw: &Raw<'_>, prompts: RawPrompts<'_>) -> Result<Prompt, ApiError> {
    let continues = raw.continue_final_message.unwrap_or(false);
    if continues && raw.add_generation_prompt.unwrap_or(true) {
        return Err(ApiError::bad(
            "Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
        ));
    }
    let Some(mut messages) = prompts.messages.filter(|messages| !messages.is_empty()) else {
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

fn completion_prompt(prompts: RawPrompts<'_>) -> Result<Prompt, ApiError> {
    let text = match prompts.prompt {
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

/// All texts and ids of a request are its prompt.
fn any_prompt(body: &Value) -> Prompt {
    fn push(value: &Value, ids: &mut Vec<u32>) {
        match value {
            Value::String(text) => push_ids(text, ids),
            Value::Array(values) => values.iter().for_each(|value| push(value, ids)),
            Value::Object(members) => {
                let prompts = members.iter().filter(|(name, _)| !NO_PROMPT.contains(&name.as_str()));
                prompts.for_each(|(_, value)| push(value, ids));
            }
            Value::Number(number) => ids.extend(number.as_u64().and_then(|id| u32::try_from(id).ok())),
            Value::Bool(_) | Value::Null => {}
        }
    }
    let mut ids = Vec::new();
    push(body, &mut ids);
    Prompt::chat(ids, None)
}

#[cfg(test)]
mod tests {
    use super::super::rows::speech_of;
    use super::*;
    use crate::config::Engine;

    fn ask(path: &str, json: &str) -> Result<GenerationRequest, ApiError> {
        parse(speech_of(path, Engine::Vllm, json.as_bytes()).unwrap(), json.as_bytes())
    }

    fn chat(json: &str) -> Result<GenerationRequest, ApiError> {
        ask("/v1/chat/completions", json)
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
    fn each_dialect_names_its_limit_and_its_stream() {
        let table = [
            ("/v1/responses", r#"{"input":"x","max_output_tokens":3,"stream":true}"#, true),
            ("/v1/responses", r#"{"input":[{"role":"user","content":"x"}],"max_output_tokens":3}"#, false),
            ("/v1/messages", r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":3}"#, false),
            ("/api/generate", r#"{"prompt":"x","options":{"num_predict":3}}"#, true),
            ("/api/generate", r#"{"prompt":"x","options":{"num_predict":3},"stream":false}"#, false),
            ("/generate", r#"{"text":"x","sampling_params":{"max_new_tokens":3},"stream":true}"#, true),
            ("/generate", r#"{"inputs":"x","parameters":{"max_new_tokens":3},"stream":true}"#, false),
            ("/generate_stream", r#"{"inputs":"x","parameters":{"max_new_tokens":3}}"#, true),
            ("/completion", r#"{"prompt":"x","n_predict":3,"stream":true}"#, true),
            ("/infill", r#"{"input_prefix":"x","input_suffix":"y","n_predict":3}"#, false),
        ];
        for (path, body, stream) in table {
            let request = ask(path, body).unwrap();
            assert_eq!((request.max_tokens, request.stream), (3, stream), "{path} {body}");
            assert!(request.prompt.len > 0, "{path} {body}");
        }
        assert_eq!(ask("/v1/embeddings", r#"{"input":["x","y"],"stream":true}"#).unwrap().max_tokens, 1);
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
        assert!(ask("/v1/completions", "{}").is_err());
        assert!(ask("/v1/completions", r#"{"prompt":[1,2,3]}"#).is_ok());
        assert!(ask("/v1/audio/transcriptions", "{}").is_err());
    }
}
