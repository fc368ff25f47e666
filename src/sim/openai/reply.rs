//! Answers that are not generations: errors and the list of models.

use http::StatusCode;
use serde_json::json;

use super::super::service::{Answer, error_answer, json_answer};

/// A request that gets an OpenAI-shaped error.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        ApiError { status, message: message.into() }
    }

    /// 400.
    pub fn bad(message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn into_answer(self) -> Answer {
        let kind = match self.status {
            StatusCode::NOT_FOUND => "NotFoundError",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailableError",
            status if status.is_server_error() => "InternalServerError",
            _ => "BadRequestError",
        };
        let code = self.status.as_u16();
        error_answer(code, error_json(code, kind, &self.message))
    }
}

/// `{"error": {"message", "type", "param", "code"}}`
pub fn error_json(code: u16, kind: &str, message: &str) -> String {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}

/// `GET /v1/models`
pub fn models(model: &str) -> Answer {
    let model = json!({"id": model, "object": "model", "created": 0, "owned_by": "evenkeel-sim"});
    json_answer(json!({"object": "list", "data": [model]}).to_string())
}
