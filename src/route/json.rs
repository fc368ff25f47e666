//! The model in a JSON body.

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

/// The same of what is no strict JSON: Python writes NaN and Infinity, a key may come twice, or the end may be missing. As
/// in Python, the last one counts.
fn scanned(body: &[u8]) -> Option<String> {
    let (mut depth, mut at, mut model) = (0_usize, 0, None);
    let mut is_model = false;
    while let Some(byte) = body.get(at) {
        match byte {
            b'"' => {
                let end = at + string_length(&body[at..])?;
                let text = &body[at..end];
                let is_key = body[end..].trim_ascii_start().starts_with(b":");
                if is_model && !is_key {
                    model = serde_json::from_slice(text).ok();
                }
                is_model = depth == 1 && is_key && text == b"\"model\"";
                at = end;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b':' | b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            _ if depth == 0 => return None,
            _ => {}
        }
        is_model = false;
        at += 1;
    }
    model
}

/// The length of the string at the start, with its quotes.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
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
            (r#"{"model":"m","cut":"o"#, None),
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
