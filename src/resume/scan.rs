//! The members of a JSON object by their places in the text: one pass, nothing allocated, nothing copied.
//!
//! A stream's event is read and changed in place, so that everything unknown here goes on byte for byte. Only the
//! structure is looked at: a text that is no JSON at all is refused, but a malformed number is left to the client.

use std::ops::Range;

/// One member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// From the first quote of its name to the end of its value.
    pub whole: Range<usize>,
    pub value: Range<usize>,
}

/// The place of a member: the first quote of its name, and its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begin {
    pub name: usize,
    pub value: usize,
}

impl Begin {
    /// The whole member, which costs a look through its value.
    pub(super) fn member(self, text: &[u8]) -> Option<Member> {
        let end = value_end(text, self.value)?;
        Some(Member { whole: self.name..end, value: self.value..end })
    }
}

/// Visits each member of the object that begins at `at`: its name, without quotes, and where it begins. The visitor looks
/// through the value, and returns the place after it. Returns the place after the object; `None` if this is no object, or
/// the visitor finds a member that it does not understand.
pub(super) fn members(
    text: &[u8],
    at: usize,
    mut visit: impl FnMut(&[u8], Begin) -> Option<usize>,
) -> Option<usize> {
    let mut at = blank(text, expect(text, at, b'{')?);
    if text.get(at) == Some(&b'}') {
        return Some(at + 1);
    }
    loop {
        let name = name(text, at)?;
        let colon = blank(text, at + name.len() + 2);
        let start = blank(text, expect(text, colon, b':')?);
        let after = blank(text, visit(name, Begin { name: at, value: start })?);
        match text.get(after)? {
            b',' => at = blank(text, after + 1),
            b'}' => return Some(after + 1),
            _ => return None,
        }
    }
}

/// A member's name. No engine escapes its own: one that is not what it looks like could hide what matters.
fn name(text: &[u8], at: usize) -> Option<&[u8]> {
    let rest = text.get(expect(text, at, b'"')?..)?;
    let end = rest.iter().position(is_quote_or_escape)?;
    (rest[end] == b'"').then(|| &rest[..end])
}

fn is_quote_or_escape(byte: &u8) -> bool {
    matches!(byte, b'"' | b'\\')
}

/// Visits the first item of the array that begins at `at`, if it has any; the visitor returns the place after it. Returns
/// the place after the array, and whether it has more items. `None` if this is no array.
pub(super) fn first_item(
    text: &[u8],
    at: usize,
    visit: impl FnOnce(usize) -> Option<usize>,
) -> Option<(usize, bool)> {
    let start = blank(text, expect(text, at, b'[')?);
    if text.get(start) == Some(&b']') {
        return Some((start + 1, false));
    }
    let after = blank(text, visit(start)?);
    match text.get(after)? {
        b',' => Some((value_end(text, at)?, true)),
        b']' => Some((after + 1, false)),
        _ => None,
    }
}

/// The ids in an array of token ids. `None` if it is anything else.
pub(super) fn ids(array: &[u8]) -> Option<impl Iterator<Item = u32> + Clone> {
    let inner = array.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let is_plain = inner.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b' '));
    let id = |item: &[u8]| std::str::from_utf8(item.trim_ascii()).ok()?.parse().ok();
    let items = || inner.split(|byte| *byte == b',');
    let is_empty = inner.trim_ascii().is_empty();
    let is_whole = is_plain && (is_empty || items().all(|item| id(item).is_some()));
    is_whole.then(|| items().filter_map(id))
}

/// The place after white space.
pub(super) fn blank(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

fn expect(text: &[u8], at: usize, byte: u8) -> Option<usize> {
    (text.get(at) == Some(&byte)).then_some(at + 1)
}

const SHORT: usize = 16;

fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = expect(text, start, b'"')?;
    // most strings are shorter than a search takes to begin
    let rest = text.get(at..)?;
    let short = &rest[..rest.len().min(SHORT)];
    match short.iter().position(is_quote_or_escape) {
        Some(end) if short[end] == b'"' => return Some(at + end + 1),
        Some(escape) => at += escape,
        None => at += short.len(),
    }
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

pub(super) fn value_end(text: &[u8], start: usize) -> Option<usize> {
    match text.get(start)? {
        b'"' => string_end(text, start),
        b'{' | b'[' => container_end(text, start),
        _ => {
            let is_over = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
            let length = text[start..].iter().position(is_over)?;
            (length > 0).then_some(start + length)
        }
    }
}

fn container_end(text: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        match text.get(at)? {
            b'"' => {
                at = string_end(text, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn found(text: &str) -> Option<Vec<(String, String)>> {
        let mut found = Vec::new();
        members(text.as_bytes(), 0, |name, begin| {
            let member = begin.member(text.as_bytes())?;
            assert!(text[member.whole.clone()].starts_with('"') && member.whole.end == member.value.end);
            found.push((String::from_utf8_lossy(name).into_owned(), text[member.value.clone()].to_owned()));
            Some(member.value.end)
        })
        .map(|_| found)
    }

    #[test]
    fn members_are_found_in_their_order() {
        let text = r#"{"a": 1.5 , "b":"x\"}", "c":[1,{"d":"]"}],"e":{},"f":null}"#;
        let want = [("a", "1.5"), ("b", r#""x\"}""#), ("c", r#"[1,{"d":"]"}]"#), ("e", "{}"), ("f", "null")];
        let want = want.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(found(text), Some(want));
        assert_eq!(found("{ }"), Some(vec![]));
    }

    #[test]
    fn a_text_that_is_no_object_is_refused() {
        let table = [
            "",
            "[]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":}",
            "{\"a\":1",
            "{\"a\":1]",
            "{\"a\" 1}",
            "{a:1}",
            "{,}",
            "{\"a\":\"x}",
            "{\"a\":[1}",
            "{\"a\":1,}",
            "{\"\\u0061\":1}",
            "{\"a\":\"\\",
        ];
        for text in table {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_item_of_an_array_is_found() {
        let table = [
            ("[]", Some((2, false)), None),
            ("[ {\"a\":[1,2]} ]", Some((15, false)), Some(2)),
            ("[1, 2]", Some((6, true)), Some(1)),
            ("{}", None, None),
            ("[1", None, Some(1)),
            ("[1}", None, Some(1)),
        ];
        for (text, want, first) in table {
            let mut visited = None;
            let visit = |at| {
                visited = Some(at);
                value_end(text.as_bytes(), at)
            };
            assert_eq!(first_item(text.as_bytes(), 0, visit), want, "{text}");
            assert_eq!(visited, first, "{text}");
        }
    }

    #[test]
    fn ids_are_whole_numbers_only() {
        let read = |text: &str| ids(text.as_bytes()).map(Iterator::collect::<Vec<u32>>);
        assert_eq!(read("[1,22, 4294967295]"), Some(vec![1, 22, u32::MAX]));
        assert_eq!(read("[]"), Some(vec![]));
        for text in ["null", "[1,]", "[-1]", "[1.0]", "[\"1\"]", "[4294967296]", "[[1]]", "[", "]"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,3}", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_a_parser_finds(map in proptest::collection::btree_map("[a-z]{1,3}", any_value(), 0..5), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&map) } else { serde_json::to_string(&map) }.unwrap();
            let found = found(&text).unwrap();
            prop_assert_eq!(found.len(), map.len());
            for (name, value) in found {
                prop_assert_eq!(&serde_json::from_str::<Value>(&value).unwrap(), &map[&name]);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(prop_oneof![Just(b'{'), Just(b'"'), Just(b'\\'),
            Just(b':'), Just(b'['), Just(b']'), Just(b'}'), Just(b','), any::<u8>()], 0..40)) {
            let _ = members(&text, 0, |_, begin| Some(begin.member(&text)?.value.end));
            let _ = first_item(&text, 0, |at| value_end(&text, at));
            let _ = ids(&text).map(Iterator::count);
        }
    }
}
