//! A JSON object in which some fields are read or changed while all others keep their exact text.
//!
//! A request is repeated with a longer prompt and a smaller limit; an event is passed on under another id. Every other
//! field (a seed of 20 digits, a field unknown here) must come out as it went in.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// The fields in their order, values as JSON text.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(Vec<(String, Cow<'a, str>)>);

impl<'a> Object<'a> {
    /// `None` if the text is not a JSON object.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let mut json = serde_json::Deserializer::from_slice(text);
        let object = json.deserialize_map(Fields).ok()?;
        json.end().ok()?;
        Some(object)
    }

    /// The JSON text of a field's value; `null` counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        // if a key occurs twice, parsers take the last
        let found = self.0.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_ref()).filter(|value| *value != "null")
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?).ok()
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    pub(super) fn is_true(&self, key: &str) -> bool {
        self.get(key) == Some("true")
    }

    pub(super) fn object(&self, key: &str) -> Option<Object<'_>> {
        Object::parse(self.get(key)?.as_bytes())
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_ref()))
    }

    /// Replaces a field in place, or appends it.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        match self.0.iter_mut().rev().find(|(name, _)| name == key) {
            Some(field) => field.1 = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.0.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            write!(f, "{before}{}:{value}", string(name))?;
        }
        f.write_str(if self.0.is_empty() { "{}" } else { "}" })
    }
}

/// Encodes a text as a JSON string.
pub(super) fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The items of a JSON array, each as JSON text.
pub(super) fn items(array: &str) -> Option<Vec<&str>> {
    let items: Vec<&RawValue> = serde_json::from_str(array).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

struct Fields;

impl<'a> Visitor<'a> for Fields {
    type Value = Object<'a>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Object<'a>, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &'a RawValue>()? {
            fields.push((name, Cow::Borrowed(value.get())));
        }
        Ok(Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untouched_fields_keep_their_text() {
        let text =
            br#"{"a": 1.50, "b\"": [1, {"c":  null}],"seed":123456789012345678901234567890 ,"d":null}"#;
        let mut object = Object::parse(text).unwrap();
        object.set("a", "2");
        object.set("e", string("x\n"));
        assert_eq!(
            object.to_string(),
            r#"{"a":2,"b\"":[1, {"c":  null}],"seed":123456789012345678901234567890,"d":null,"e":"x\n"}"#
        );
    }

    #[test]
    fn fields_are_read_by_type() {
        let object = Object::parse(br#"{"t":"a\u00e4","n":7,"f":-1,"b":true,"o":{"x":1},"z":null}"#).unwrap();
        assert_eq!((object.text("t").as_deref(), object.text("n")), (Some("aä"), None));
        assert_eq!((object.number("n"), object.number("f"), object.number("z")), (Some(7), None, None));
        assert!(object.is_true("b") && !object.is_true("n"));
        assert_eq!(object.object("o").and_then(|o| o.number("x")), Some(1));
        assert_eq!(items("[1, {\"a\":[2]}]"), Some(vec!["1", "{\"a\":[2]}"]));
    }

    #[test]
    fn only_a_json_object_parses() {
        for text in ["", "[]", "{", "{\"a\":}", "{} {}", "\"x\"", "\u{fffd}"] {
            assert!(Object::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(Object::parse(b" {} ").unwrap().to_string(), "{}");
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_none(), "not UTF-8");
    }
}
