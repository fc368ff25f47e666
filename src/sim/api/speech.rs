//! The way in which an engine answers on some paths: events, whole answers and errors, as data.

use crate::config::Engine;

/// The form of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `messages`
    Chat,
    /// `prompt`
    Completion,
}

/// One row of the tables in `rows`. The texts are [templates](super::template).
pub(crate) struct Speech {
    /// Endings of paths; the longest that fits decides.
    pub paths: &'static [&'static str],
    /// The engines that speak so; empty: all that have no row of their own for these paths.
    pub engines: &'static [Engine],
    /// The form of its requests.
    pub form: Form,
    /// The beginning of an answer's id.
    pub id: &'static str,
    /// The content type of streams.
    pub media: &'static str,
    /// Events before the first token's.
    pub begin: &'static [&'static str],
    pub token: &'static str,
    /// Events after the tokens. If the first of them has a `$text`, it takes the last tokens along.
    pub end: &'static [&'static str],
    /// The last event of a good end.
    pub done: &'static str,
    pub whole: &'static str,
    /// The events of an error in a stream, after which nothing follows.
    pub error: &'static [&'static str],
    pub error_body: &'static str,
}

pub(super) const SSE: &str = "text/event-stream; charset=utf-8";
/// `{"error": {"message", "type", "param", "code"}}`: OpenAI, vLLM, SGLang.
pub(super) const ERROR_BODY: &str =
    r#"{"error":{"message":$message,"type":"$kind","param":null,"code":$code}}"#;
/// As Python's `json.dumps` writes it, and then `[DONE]` as usual: vLLM 0.32.0.
pub(super) const ERROR: &[&str] = &[
    "data: {\"error\": {\"message\": $message, \"type\": \"$kind\", \"param\": null, \"code\": $code}}\n\n",
    DONE,
];
pub(super) const DONE: &str = "data: [DONE]\n\n";
