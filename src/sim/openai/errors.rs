//! Errors of the simulated node in OpenAI's format, with vLLM's messages.

use http::StatusCode;
use serde_json::json;

pub(super) const DEAD_ENGINE: &str =
    "EngineCore encountered an issue. See stack trace (above) for the root cause.";
pub(super) const QUEUE_FULL: &str = "The request queue is full.";

/// An error answer in OpenAI's format.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        ApiError { status, message: message.into() }
    }

    /// 400.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, message)
    }
}

/// `{"error": {"message", "type", "param", "code"}}`
pub(crate) fn error_json(code: u16, kind: &str, message: &str) -> String {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}
