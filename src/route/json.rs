//! The model in a JSON body.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::classify::members::all_members;
use crate::http1::range_in;

/// Built once: building a finder costs more than searching a short body.
static MODEL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"model\""));

/// The `model` of a JSON object.
pub(super) fn model(body: &[u8]) -> Option<String> {
    serde_json::from_slice(&body[place(body)?]).ok()
}

/// The value of `model`, with its quotes if it is a text. As in Python, the last one counts. Nothing is read behind the last place
/// where the name stands at all: most bodies are long, and begin or end with it.
pub(super) fn place(body: &[u8]) -> Option<Range<usize>> {
    let last = MODEL.find_iter(body).last()?;
    let mut found = None;
    for (name, value) in all_members(body) {
        if name == b"model" {
            found = range_in(body, value);
        }
        if range_in(body, name)?.start > last {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        /// The search for the last place of the name changes nothing.
        #[test]
        fn as_if_all_were_read(parts in prop::collection::vec(prop::sample::select(&["\"model\":\"a\"", "\"model\":\"b\"", "\"x\":{\"model\":\"c\"}", "\"model\":{\"model\":\"d\"}", "\"y\":\"model\"", "\"model\":7"][..]), 0..5), cut in 0_usize..80) {
            let body = format!("{{{}}}", parts.join(","));
            let body = &body.as_bytes()[..body.len() - cut.min(body.len())];
            let all = all_members(body).filter(|(name, _)| name == b"model").last();
            let want = all.and_then(|(_, value)| serde_json::from_slice::<String>(value).ok());
            prop_assert_eq!(model(body), want);
        }
    }
}
