//! Events that say nothing of an answer: with them a stream begins, and nothing that follows could contradict them.

use serde_json::Value;

use super::dialect::{Dialect, End};
use super::members::has_type;

/// OpenAI's Responses and Anthropic's Messages: the answer has an id, and no content. vLLM 0.32 sends the first three before
/// it computes anything.
const TYPES: [&str; 4] = ["response.created", "response.in_progress", "response.queued", "message_start"];

/// True if an event says nothing yet: a chat's role, an empty text, an answer's id. What is not known says something.
pub(super) fn is_silent(dialect: &Dialect, data: &[u8]) -> bool {
    match dialect.end {
        End::Choices => are_choices_silent(data),
        End::Types(_) => TYPES.iter().any(|kind| has_type(data, kind)),
        End::Members(_) | End::Message => false,
    }
}

fn are_choices_silent(data: &[u8]) -> bool {
    let event = serde_json::from_slice::<Value>(data).unwrap_or_default();
    let Some(choices) = event.get("choices").and_then(Value::as_array) else { return false };
    choices.iter().filter_map(Value::as_object).all(|choice| {
        choice.iter().all(|(name, value)| match (name.as_str(), value) {
            ("index" | "prompt_token_ids", _) => true,
            ("delta", Value::Object(delta)) => {
                delta.contains_key("role")
                    && delta.iter().all(|(name, value)| name == "role" || is_empty(value))
            }
            (_, value) => is_empty(value),
        })
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_something() {
        let table = [
            (
                "/chat/completions",
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":[1,2]}"#,
                true,
            ),
            (
                "/chat/completions",
                r#"{"choices":[{"index":1,"delta":{"role":"assistant","content":null,"reasoning_content":null,"tool_calls":[]},"matched_stop":null}]}"#,
                true,
            ),
            ("/chat/completions", r#"{"choices":[],"usage":{"prompt_tokens":9}}"#, true),
            (
                "/chat/completions",
                r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#,
                false,
            ),
            ("/chat/completions", r#"{"choices":[{"index":0,"delta":{"content":" "}}]}"#, false),
            ("/chat/completions", r#"{"choices":[{"index":0,"delta":{"reasoning_content":"a"}}]}"#, false),
            ("/chat/completions", r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}"#, false),
            ("/chat/completions", r#"{"choices":[{"index":0,"delta":{},"finish_reason":null}]}"#, false),
            (
                "/chat/completions",
                r#"{"choices":[{"delta":{"content":""}},{"delta":{"content":"a"}}]}"#,
                false,
            ),
            ("/chat/completions", r#"{"choices":[{"delta":{"content":""},"token_ids":[7]}]}"#, false),
            ("/chat/completions", r#"{"object":"chat.completion.chunk"}"#, false),
            ("/chat/completions", "no JSON", false),
            (
                "/completions",
                r#"{"choices":[{"index":0,"text":"","finish_reason":null,"prompt_token_ids":[1]}]}"#,
                true,
            ),
            ("/completions", r#"{"choices":[{"index":0,"text":"a"}]}"#, false),
            ("/responses", r#"{"type":"response.created","response":{"id":"r","output":[]}}"#, true),
            ("/responses", r#"{"sequence_number":1,"type": "response.in_progress"}"#, true),
            ("/responses", r#"{"type":"response.output_item.added"}"#, false),
            ("/responses", r#"{"type":"response.output_text.delta","delta":"a"}"#, false),
            ("/messages", r#"{"type":"message_start","message":{"content":[]}}"#, true),
            ("/messages", r#"{"type":"content_block_start"}"#, false),
            ("/api/chat", r#"{"message":{"content":""},"done":false}"#, false),
            ("/audio/transcriptions", r#"{"type":"response.created"}"#, false),
        ];
        for (path, data, silent) in table {
            let dialect = Dialect::of(path).expect("a dialect");
            assert_eq!(is_silent(dialect, data.as_bytes()), silent, "{path}: {data}");
        }
    }
}
