//! Answers that are not generations: errors and the list of models.

use http::StatusCode;
use serde_json::json;

use super::super::answer::{Answer, error_answer, json_answer};
use super::errors::{ApiError, error_json};

impl ApiError {
    pub(crate) fn into_answer(self) -> Answer {
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

/// `GET /v1/models`
pub(crate) fn models(model: &str) -> Answer {
    let model = json!({"id": model, "object": "model", "created": 0, "owned_by": "evenkeel-sim"});
    json_answer(json!({"object": "list", "data": [model]}).to_string())
}
