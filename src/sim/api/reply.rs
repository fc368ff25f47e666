//! The list of models.

use serde_json::json;

use super::super::answer::{Answer, json_answer};

/// `GET /v1/models`
pub(crate) fn models(model: &str) -> Answer {
    let model = json!({"id": model, "object": "model", "created": 0, "owned_by": "evenkeel-sim"});
    json_answer(json!({"object": "list", "data": [model]}).to_string())
}
