//! The members of a JSON object, found without building a document.
//!
//! Works on what is no strict JSON, too: Python writes NaN and Infinity, a name may come twice, and the end may be missing.

/// The values of all members with this name, in their order. See [`all_members`].
pub fn members<'a>(object: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    all_members(object).filter_map(move |(found, value)| (found == name.as_bytes()).then_some(value))
}

/// The names and values of all members, in their order: a text with its quotes, a number or a word as it is written, and
/// an object or an array with everything behind it. A text or a word that is cut off is left out.
pub fn all_members(object: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let at = object.len() - without_mark(object).len();
    let mut scan = Scan { bytes: object, at, depth: 0, name: None };
    std::iter::from_fn(move || scan.next_member())
}

/// JSON without the mark that some writers put before it, and Python and others skip (RFC 8259 section 8.1).
pub fn without_mark(json: &[u8]) -> &[u8] {
    json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json)
}

/// The elements of an array, up to one that is cut off.
pub fn elements(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = array.strip_prefix(b"[").unwrap_or_default();
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        let (element, after) = rest.split_at(length(rest).filter(|length| *length > 0)?);
        let after = after.trim_ascii_start();
        rest = after.strip_prefix(b",").unwrap_or_default();
        Some(element)
    })
}

/// The length of the value at the start. `None`: it is cut off.
pub fn length(value: &[u8]) -> Option<usize> {
    match value.first()? {
        b'"' => string_length(value),
        b'{' | b'[' => inner_length(&value[1..], 1).map(|inner| inner + 1),
        _ => value.iter().position(|byte| b",}] \t\r\n".contains(byte)),
    }
}

/// The length of what is left of so many objects and arrays, one within the other, with their ends.
fn inner_length(bytes: &[u8], depth: usize) -> Option<usize> {
    let (mut at, mut depth) = (0, depth);
    while depth > 0 {
        at += bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))?;
        match bytes[at] {
            b'"' => at += string_length(&bytes[at..])?,
            b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
            _ => (at, depth) = (at + 1, depth - 1),
        }
    }
    Some(at)
}

/// The values of all members with this name at any depth, each with everything behind it: a cheap look. Within a text the
/// quotes would be escaped.
pub(super) fn anywhere<'a>(json: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    memchr::memmem::find_iter(json, name).filter_map(move |at| {
        let (before, rest) = (&json[..at], &json[at + name.len()..]);
        before.ends_with(b"\"").then(|| rest.strip_prefix(b"\""))?.and_then(value)
    })
}

/// The value of a member, behind its name and the quotes.
pub(super) fn value(rest: &[u8]) -> Option<&[u8]> {
    rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start)
}

/// The whole number at the start of a value.
pub fn number(value: &[u8]) -> Option<u64> {
    let end = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
    std::str::from_utf8(&value[..end]).ok()?.parse().ok()
}

/// True if the `type` of an event is this.
pub(super) fn has_type(event: &[u8], kind: &str) -> bool {
    let is_kind = |value: &[u8]| {
        let rest = value.strip_prefix(b"\"").and_then(|text| text.strip_prefix(kind.as_bytes()));
        rest.is_some_and(|rest| rest.starts_with(b"\""))
    };
    anywhere(event, "type").any(is_kind)
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// That of the member whose value follows.
    name: Option<&'a [u8]>,
}

impl<'a> Scan<'a> {
    /// `None`: the object has ended, or what is there of it.
    fn next_member(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        loop {
            if self.depth > 1 {
                self.at += inner_length(self.bytes.get(self.at..)?, self.depth - 1)?;
                self.depth = 1;
            }
            let rest = self.bytes.get(self.at..)?;
            let length = match rest.first()? {
                b'"' => string_length(rest)?,
                b'{' | b'[' | b'}' | b']' | b':' | b',' | b' ' | b'\t' | b'\r' | b'\n' => 1,
                _ => rest.iter().position(|byte| b",}] \t\r\n".contains(byte))?,
            };
            let (token, after) = rest.split_at(length);
            self.at += length;
            match token {
                b" " | b"\t" | b"\r" | b"\n" | b":" => continue,
                b"}" | b"]" => self.depth = self.depth.checked_sub(1).filter(|depth| *depth > 0)?,
                b"{" | b"[" => {
                    self.depth += 1;
                    if let Some(name) = self.name.take() {
                        return Some((name, rest));
                    }
                }
                b"," => {}
                _ if self.depth == 0 => return None,
                [b'"', inner @ .., b'"'] if after.trim_ascii_start().starts_with(b":") => {
                    self.name = (self.depth == 1).then_some(inner);
                    continue;
                }
                value => {
                    if let Some(name) = self.name.take() {
                        return Some((name, value));
                    }
                }
            }
            self.name = None;
        }
    }
}

/// The length of the string at the start, with its quotes.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut escaped = 0;
    // one pass, because each search has a price, and texts may have an escape every few words
    for at in memchr::memchr2_iter(b'"', b'\\', bytes.get(1..)?).map(|at| at + 1) {
        match bytes[at] {
            _ if at == escaped => {}
            b'"' => return Some(at + 1),
            _ => escaped = at + 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found<'a>(object: &'a str, name: &'a str) -> Vec<&'a str> {
        members(object.as_bytes(), name)
            .map(|value| std::str::from_utf8(value).expect("a part of it"))
            .collect()
    }

    #[test]
    fn values_by_their_name() {
        type Row<'a> = (&'a str, &'a [&'a str]);
        let table: [Row; 15] = [
            (r#"{"a":"x"}"#, &["\"x\""]),
            ("\u{feff} {\"a\":\"x\"}", &["\"x\""]),
            (r#"{"b":NaN,"a" : "x"} "a":2"#, &["\"x\""]),
            (r#"{"b":{"a":1},"c":[{"a":2},"a",3],"a":-Infinity}"#, &["-Infinity"]),
            (r#"{"b":"\"a\":","c":"a","a":"y\"}"}"#, &[r#""y\"}""#]),
            (r#"{"a":true, "a":null}"#, &["true", "null"]),
            (r#"{"a":{"b":1},"c":2}"#, &[r#"{"b":1},"c":2}"#]),
            (r#"{"a":[],"a":1}"#, &[r#"[],"a":1}"#, "1"]),
            (r#"{"a":"whole","b":"cut"#, &["\"whole\""]),
            (r#"{"a":"cut"#, &[]),
            (r#"{"a":fals"#, &[]),
            (r#"{"a":"cut\"#, &[]),
            (r#"["a",1]"#, &[]),
            (r#"no "a":1"#, &[]),
            ("", &[]),
        ];
        for (object, want) in table {
            assert_eq!(found(object, "a"), want, "{object}");
        }
    }

    #[test]
    fn values_at_any_depth() {
        let table: [(&str, &[&str]); 7] = [
            (r#"{"a":1}"#, &["1}"]),
            (r#"{"b":{"a" : "x"},"a":2}"#, &[r#""x"},"a":2}"#, "2}"]),
            (r#"{"aa":1,"b":"a","c":a}"#, &[]),
            (r#"{"b":"say \"a\": no"}"#, &[]),
            (r#"["a"]"#, &[]),
            (r#"{"a"#, &[]),
            ("a", &[]),
        ];
        for (json, want) in table {
            let found: Vec<_> = anywhere(json.as_bytes(), "a").map(String::from_utf8_lossy).collect();
            assert_eq!(found, want, "{json}");
        }
    }

    #[test]
    fn an_events_type() {
        assert!(has_type(br#"{"x":{"type":"b"},"type" : "a"}"#, "a"));
        for other in [r#"{"type":"ab"}"#, r#"{"type":a}"#, r#"{"x":"type","y":"a"}"#, r#"{"type":"a"#, ""] {
            assert!(!has_type(other.as_bytes(), "a"), "{other}");
        }
    }

    #[test]
    fn elements_of_arrays() {
        let table: [(&str, &[&str]); 9] = [
            ("[]", &[]),
            ("[ 1 , \"a]\\\"\",true]", &["1", "\"a]\\\"\"", "true"]),
            (r#"[{"a":"]}"},[[1],2], {} ],[3]"#, &[r#"{"a":"]}"}"#, "[[1],2]", "{}"]),
            (r#"[{"a":1},{"a":"#, &[r#"{"a":1}"#]),
            ("[1,2", &["1"]),
            ("[\"a", &[]),
            ("[,1]", &[]),
            ("{}", &[]),
            ("", &[]),
        ];
        for (array, want) in table {
            let found: Vec<_> = elements(array.as_bytes()).map(String::from_utf8_lossy).collect();
            assert_eq!(found, want, "{array}");
        }
    }

    #[test]
    fn members_of_members() {
        let event = br#"{"x":[1],"response":{"output":[{"id":"no"}],"id":"r"},"id":"no"}"#;
        let ids: Vec<_> = members(event, "response").flat_map(|response| members(response, "id")).collect();
        assert_eq!(ids, [b"\"r\""]);
    }

    proptest! {
        /// Values that a strict parser reads are found, and a beginning of the object gives a beginning of them.
        #[test]
        fn as_a_parser_reads_it(pairs in prop::collection::vec(("[abc\"\\\\{}:,]{0,3}", value()), 0..5), cut in 0.0..1.0) {
            let written = |text: &String| serde_json::Value::from(text.as_str()).to_string();
            let all: Vec<_> = pairs.iter().map(|(name, value)| format!("{}: {value}", written(name))).collect();
            let object = format!("{{{}}}", all.join(", "));
            let want: Vec<_> = pairs.iter().filter(|(name, _)| name == "a").map(|(_, value)| value.clone()).collect();
            let values = |bytes: &[u8]| -> Vec<String> {
                let first = |text: &[u8]| {
                    let mut parsed = serde_json::Deserializer::from_slice(text).into_iter::<serde_json::Value>();
                    parsed.next().and_then(Result::ok)
                };
                members(bytes, "a").map_while(first).map(|value| value.to_string()).collect()
            };
            let want: Vec<_> = want.iter().map(ToString::to_string).collect();
            prop_assert_eq!(&values(object.as_bytes()), &want);
            let start = &object.as_bytes()[..(object.len() as f64 * cut) as usize];
            prop_assert!(want.starts_with(&values(start)));
        }

        #[test]
        fn any_bytes_have_an_end(bytes in prop::collection::vec(prop::sample::select(&b"{}[]\",:\\a1 "[..]), 0..64)) {
            prop_assert!(members(&bytes, "a").count() <= bytes.len());
            prop_assert!(elements(&bytes).count() <= bytes.len());
        }
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            "[a\"\\\\{}\\]\\[:, ]{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            let object = prop::collection::btree_map("[ab]", inner.clone(), 0..3);
            prop_oneof![
                prop::collection::vec(inner, 0..3).prop_map(Into::into),
                object.prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
