//! The stored response that a path names (OpenAI's Responses API).

use super::percent::decoded;
use crate::fleet::StoredId;

/// Names that follow `/responses/` and are no ids.
const NO_IDS: [&str; 2] = ["input_tokens", "compact"];

/// `/responses/{id}`, `/responses/{id}/cancel` and so on, whatever stands before.
pub(super) fn in_path(path: &str) -> Option<StoredId> {
    let mut segments = path.split('/');
    let mut id = None;
    while segments.any(|segment| segment == "responses") {
        id = segments.clone().next();
    }
    let id = id.filter(|id| !id.is_empty() && !NO_IDS.contains(id))?;
    decoded(id).map(|id| StoredId::of(&id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_in_paths() {
        let r = Some(StoredId::of("resp_1"));
        for (path, want) in [
            ("/v1/responses/resp_1", r),
            ("/v1/responses/resp_1/", r),
            ("/any/prefix/responses/resp%5F1/cancel", r),
            ("/v1/responses/resp_1/input_items/", r),
            ("/responses/v1/responses/resp_1", r),
            ("/responses/other", Some(StoredId::of("other"))),
            ("/v1/responses", None),
            ("/v1/responses/", None),
            ("/v1/responses/input_tokens", None),
            ("/v1/responses/compact", None),
            ("/v1/xresponses/resp_1", None),
            ("/v1/chat/completions/resp_1", None),
            ("", None),
        ] {
            assert_eq!(in_path(path), want, "{path}");
        }
    }
}
