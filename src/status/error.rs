//! An error as JSON.

/// The thing that could not be done, and why.
pub fn error_json(message: &str) -> String {
    serde_json::json!({ "error": message }).to_string()
}
