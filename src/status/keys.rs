//! The use of clients' keys, by their names.

use serde::Serialize;

use crate::keys::{Limit, Usage};

/// A key, and what it has used since the process began.
#[derive(Serialize)]
pub(super) struct KeyStatus {
    name: String,
    in_flight: u64,
    /// By the first digit of their status, `2xx`; those that were refused are among them.
    requests_by_code: serde_json::Map<String, serde_json::Value>,
    prompt_tokens: u64,
    answer_tokens: u64,
    /// Requests that a limit has refused.
    limited: serde_json::Map<String, serde_json::Value>,
}

impl KeyStatus {
    pub(super) fn of(usage: &Usage) -> Self {
        let codes = usage.used.requests.iter().zip(1..).filter(|(count, _)| **count > 0);
        let limited = Limit::ALL.iter().zip(usage.used.limited);
        let [prompt_tokens, answer_tokens] = usage.used.tokens;
        Self {
            name: usage.name.to_string(),
            in_flight: usage.in_flight,
            requests_by_code: codes.map(|(count, digit)| (format!("{digit}xx"), (*count).into())).collect(),
            prompt_tokens,
            answer_tokens,
            limited: limited.map(|(limit, count)| (limit.as_str().to_owned(), count.into())).collect(),
        }
    }
}
