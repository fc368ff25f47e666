//! The model in a JSON body.

use crate::classify::members::members;

/// The `model` of a JSON object, read without building the rest of the document.
pub(super) fn model(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        model: Option<String>,
    }
    match serde_json::from_slice::<Named>(body) {
        Ok(named) => named.model,
        Err(_) => scanned(body),
    }
}

/// The same of what is no strict JSON. As in Python, the last one counts.
fn scanned(body: &[u8]) -> Option<String> {
    serde_json::from_slice(members(body, "model").last()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_in_bodies() {
        for (body, want) in [
            (r#"{"model":"m"}"#, Some("m")),
            (r#"{"a":NaN,"model":"m"}"#, Some("m")),
            (r#"{"model": "m", "a": [-Infinity, {"model": "x"}]}"#, Some("m")),
            (r#"{"a":NaN,"b":"\"model\":","c":"model","model" : "m\u00e9\"" }"#, Some("m\u{e9}\"")),
            (r#"{"model":"m","model":"n"}"#, Some("n")),
            (r#"{"model":"m","cut":"o"#, Some("m")),
            (r#"{"model":"m","cut":1"#, Some("m")),
            (r#"{"a":NaN,"b":{"model":"m"}}"#, None),
            (r#"{"a":NaN,"model":["m"]}"#, None),
            (r#"{"a":NaN,"model":1,"b":"m"}"#, None),
            (r#"["model","m",NaN]"#, None),
            (r#"no "model":"m""#, None),
            (r#"{"model":"m"#, None),
            ("", None),
        ] {
            assert_eq!(model(body.as_bytes()).as_deref(), want, "{body}");
        }
    }
}
