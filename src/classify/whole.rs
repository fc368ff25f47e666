//! A whole answer, held until its end: whether it is an error, or its engine was told to stop in the middle.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::choices;
use super::dialect::{Dialect, End};
use super::words;
use crate::outcome::Outcome;

/// Built once: building a finder costs more than searching an answer.
static CANCELLED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"cancelled\""));
static MESSAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"message\""));
static STOP_REASON: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"stop_reason\":\""));

/// The engine may have been told to stop in the middle: vLLM says `finish_reason: "abort"`, on `/responses`
/// `status: "cancelled"`, and on `/messages` no stop reason. Or it is an error in spite of its 200: OpenRouter's and
/// LiteLLM's, LMDeploy's proxy (`error_code`), and a response that has failed. Or its end is missing.
pub fn whole_answer(path: &str, body: &[u8]) -> Outcome {
    let Some(dialect) = Dialect::of(path) else { return Outcome::Ok };
    if is_cut(body) {
        return Outcome::Truncated;
    }
    if let Some(told) = words::told(body, false) {
        return told.meaning.outcome();
    }
    let aborted = match dialect.end {
        End::Choices | End::Members(_) => choices::is_broken(body),
        End::Types(_) => may_be_stopped(body) && is_stopped(body),
        End::Message => false,
    };
    if aborted { Outcome::Aborted } else { Outcome::Ok }
}

/// An object whose end is missing, though the HTTP message is complete: a proxy in between has lost its connection.
fn is_cut(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    body.starts_with(b"{") && !body.ends_with(b"}")
}

/// A cheap look first: most answers have a stop reason, or are no messages.
fn may_be_stopped(body: &[u8]) -> bool {
    let has_reason = STOP_REASON.find(body).is_some();
    CANCELLED.find(body).is_some() || !has_reason && MESSAGE.find(body).is_some()
}

fn is_stopped(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Answer<'a> {
        status: Option<&'a str>,
        r#type: Option<&'a str>,
        stop_reason: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Answer>(body).is_ok_and(|answer| {
        answer.status == Some("cancelled") || answer.r#type == Some("message") && answer.stop_reason.is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_answer_may_have_been_cut_off_too() {
        let aborted = br#"{"choices":[{"message":{"content":"a"},"finish_reason": "abort"}]}"#;
        let quoted =
            br#"{"choices":[{"message":{"content":"\"finish_reason\":\"abort\""},"finish_reason":"stop"}]}"#;
        assert_eq!(whole_answer("/v1/chat/completions", aborted), Outcome::Aborted);
        assert_eq!(whole_answer("/prefix/v1/completions/", aborted), Outcome::Aborted);
        assert_eq!(whole_answer("/v1/chat/completions", quoted), Outcome::Ok);
        assert_eq!(whole_answer("/v1/files", aborted), Outcome::Ok);
        assert_eq!(whole_answer("/v1/responses", br#"{"id":"r","status":"cancelled"}"#), Outcome::Aborted);
        assert_eq!(
            whole_answer("/v1/responses", br#"{"output":[{"status":"cancelled"}],"status":"completed"}"#),
            Outcome::Ok
        );
        let table = [
            ("/v1/messages", r#"{"type":"message","content":[],"usage":{}}"#, Outcome::Aborted),
            ("/v1/messages", r#"{"type":"message","content":[],"stop_reason":null}"#, Outcome::Aborted),
            ("/v1/messages", r#"{"type":"message","content":[],"stop_reason":"end_turn"}"#, Outcome::Ok),
            ("/v1/messages", r#"{"type":"message","content":[],"stop_reason": "end_turn"}"#, Outcome::Ok),
            ("/v1/responses", r#"{"output":[{"type":"message"}],"status":"completed"}"#, Outcome::Ok),
            ("/generate", r#"{"text":"a","meta_info":{"finish_reason":{"type":"abort"}}}"#, Outcome::Aborted),
            (
                "/generate",
                r#"{"text":"\"abort\"","meta_info":{"finish_reason":{"type":"stop"},"x":"abort"}}"#,
                Outcome::Ok,
            ),
        ];
        for (path, body, want) in table {
            assert_eq!(whole_answer(path, body.as_bytes()), want, "{path} {body}");
        }
    }

    #[test]
    fn an_error_with_status_200_is_no_answer() {
        let table = [
            (
                "/v1/chat/completions",
                r#"{"error":{"message":"Provider returned error","code":502}}"#,
                Outcome::EngineError,
            ),
            (
                "/v1/chat/completions",
                r#"{"object":"error","message":"CUDA error","code":500}"#,
                Outcome::EngineError,
            ),
            (
                "/v1/chat/completions",
                r#"{"object":"error","message":"no such model","code":404}"#,
                Outcome::Ok,
            ),
            ("/v1/chat/completions", r#"{"error":{"code":"429","message":"slow down"}}"#, Outcome::Busy),
            ("/v1/embeddings", r#"{"error":"Model is overloaded","error_type":"overloaded"}"#, Outcome::Busy),
            (
                "/v1/responses",
                r#"{"status":"failed","error":{"code":"server_error","message":"died"}}"#,
                Outcome::EngineError,
            ),
            ("/v1/responses", r#"{"status":"completed","error":null,"output":[]}"#, Outcome::Ok),
            ("/v1/chat/completions", r#"{"choices":[{"finish_reason":"stop"}],"error":""}"#, Outcome::Ok),
            ("/predict", r#"{"error":0.25}"#, Outcome::Ok),
            (
                "/v1/chat/completions",
                r#"{"choices":[{"finish_reason":"stop"},{"finish_reason":"abort"}]}"#,
                Outcome::Aborted,
            ),
            ("/generate", r#"{"text":"a","meta_info":{"finish_reason":{"type":"abort"}}}"#, Outcome::Aborted),
            ("/v1/files", r#"{"error":{"message":"died"}}"#, Outcome::Ok),
            ("/v1/chat/completions", r#" {"choices":[{"message":{"content":"a"#, Outcome::Truncated),
            ("/v1/audio/transcriptions", "words", Outcome::Ok),
        ];
        for (path, body, want) in table {
            assert_eq!(whole_answer(path, body.as_bytes()), want, "{path}: {body}");
        }
    }
}
