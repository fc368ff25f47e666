//! Errors of the simulated node, with vLLM's messages.

use std::borrow::Cow;

use http::StatusCode;

use super::super::answer::{Answer, error_answer};
use super::speech::{ERROR_BODY, Speech};
use super::template::{Constants, Template};
use crate::config::Engine;

/// An error answer.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(super) status: StatusCode,
    kind: &'static str,
    pub(super) message: Cow<'static, str>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        let kind = match status {
            StatusCode::NOT_FOUND => "NotFoundError",
            StatusCode::SERVICE_UNAVAILABLE => "Service Unavailable",
            status if status.is_server_error() => "InternalServerError",
            _ => "BadRequestError",
        };
        ApiError { status, kind, message: message.into() }
    }

    /// 400.
    pub(crate) fn bad(message: impl Into<Cow<'static, str>>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, message)
    }

    /// The words of an engine with this code: that it is full, that it cannot take the request, or that it is dead.
    pub(super) fn of_engine(code: u16, prompt: u32, engine: Engine) -> Self {
        match code {
            429 | 503 => Self::full(engine),
            ..500 => Self::too_long(prompt, engine),
            _ => Self::dead_engine(code),
        }
    }

    /// The words of vLLM and of SGLang for a prompt that does not fit into the engine's memory.
    pub(super) fn too_long(prompt: u32, engine: Engine) -> Self {
        Self::bad(match engine {
            Engine::Sglang => {
                format!("The input ({prompt} tokens) is longer than the model's context length.")
            }
            _ => format!(
                "This model's maximum context length is less than the {prompt} tokens of the prompt and what was requested."
            ),
        })
    }

    /// vLLM's dead engine.
    fn dead_engine(code: u16) -> Self {
        let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        ApiError {
            status,
            kind: "InternalServerError",
            message: "EngineCore encountered an issue. See stack trace (above) for the root cause.".into(),
        }
    }

    /// No place is left in the engine's queue (vLLM's `--max-num-queued-reqs`, SGLang's `--max-queued-requests`).
    pub(super) fn full(engine: Engine) -> Self {
        let message = match engine {
            Engine::Sglang => "The request queue is full.",
            _ => {
                "The engine is currently busy and cannot accept new requests. Please try again later or on a different instance."
            }
        };
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// No place came free in time (SGLang's `SGLANG_QUEUED_TIMEOUT_MS`).
    pub(super) fn queue_timeout() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        ApiError { status, kind: "SERVICE_UNAVAILABLE", message: "Request queue timeout reached.".into() }
    }

    /// vLLM 0.32.0 after SIGTERM.
    pub(crate) fn draining() -> Self {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "cannot schedule new futures after shutdown")
    }

    /// An answer of this status in OpenAI's form.
    pub(crate) fn into_answer(self) -> Answer {
        error_answer(self.status.as_u16(), self.fill(ERROR_BODY))
    }

    /// An answer of this status in the form of the path.
    pub(super) fn into_answer_of(self, speech: &Speech) -> Answer {
        error_answer(self.status.as_u16(), self.fill(speech.error_body))
    }

    pub(super) fn fill(&self, template: &str) -> String {
        Template::new(template, self).constant()
    }
}

impl Constants for ApiError {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(match name {
            "code" => self.status.as_u16().to_string().into(),
            "kind" => self.kind.into(),
            "message" => serde_json::Value::from(&*self.message).to_string().into(),
            _ => return None,
        })
    }

    fn holds(&self, condition: &str) -> bool {
        let code = self.status.as_u16();
        match condition {
            "busy" => matches!(code, 429 | 503),
            "mistake" => code < 500 && code != 429,
            "broken" => code >= 500 && code != 503,
            _ => false,
        }
    }
}

/// `{"error": {"message", "type", "param", "code"}}`
pub(crate) fn error_json(code: u16, kind: &'static str, message: &'static str) -> String {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    ApiError { status, kind, message: message.into() }.fill(ERROR_BODY)
}
