//! The answers of an engine on some paths: events, whole answers and errors, as data.

use crate::config::Engine;

/// The form of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `messages`
    Chat,
    /// `prompt`
    Completion,
    /// Any JSON; its texts are the prompt.
    Json,
    /// A multipart form with a file.
    Upload,
}

/// The ways in which an answer may stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// With `"stream": true`.
    Asked,
    /// Without `"stream": false`.
    Unasked,
    Always,
    Never,
}

/// The way in which an engine that is told to stop ends what it is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abort {
    /// It says so in the events of an end, with the reason `abort`.
    Told,
    /// FIN without the last chunk.
    Cut,
}

/// One row of the tables in `rows`. The texts are [templates](super::template).
pub(crate) struct Speech {
    /// Endings of paths; the longest that fits decides.
    pub paths: &'static [&'static str],
    /// The engines that speak so; empty: all that have no row of their own for these paths.
    pub engines: &'static [Engine],
    /// The member of a request that tells it from others on these paths, in quotes.
    pub key: &'static str,
    pub form: Form,
    pub streams: Streams,
    /// The beginning of an answer's id.
    pub id: &'static str,
    /// The content types of streams and of whole answers.
    pub media: [&'static str; 2],
    /// Events before the first token's.
    pub begin: &'static [&'static str],
    pub token: &'static str,
    /// Events after the tokens. If the first of them has a `$text`, it takes the last tokens along.
    pub end: &'static [&'static str],
    /// The last event of a good end.
    pub done: &'static str,
    pub whole: &'static str,
    pub abort: Abort,
    /// The events of an error in a stream, after which nothing follows; none: FIN without the last chunk.
    pub error: &'static [&'static str],
    pub error_body: &'static str,
    /// A full engine answers streams with 200 and the events of an error, and not with a status.
    pub full_in_stream: bool,
}

pub(super) const SSE: &str = "text/event-stream; charset=utf-8";
pub(super) const JSON: &str = "application/json";
/// `{"error": {"message", "type", "param", "code"}}`: OpenAI, vLLM, SGLang.
pub(super) const ERROR_BODY: &str =
    r#"{"error":{"message":$message,"type":"$kind","param":null,"code":$code}}"#;
/// As Python's `json.dumps` writes it, and then `[DONE]` as usual: vLLM 0.32.0.
pub(super) const ERROR: &[&str] = &[
    "data: {\"error\": {\"message\": $message, \"type\": \"$kind\", \"param\": null, \"code\": $code}}\n\n",
    DONE,
];
pub(super) const DONE: &str = "data: [DONE]\n\n";
