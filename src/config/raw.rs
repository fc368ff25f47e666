//! The raw tree: any YAML as serde reads it, each value with its line.
//!
//! Typed serde structs would stop at the first wrong type and silently drop repeated keys. This tree accepts
//! everything, so that the schema can walk it to the end and report all problems at once.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::outline::{INFO_SHOWN_MAX, outline};
use super::problems::{Collector, plain};

/// A value and its line; 0: unknown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Raw {
    pub line: usize,
    pub value: Value,
    /// The text that the file has, if a variable of the environment was put into it.
    pub written: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Raw>),
    /// In the order of the file; a key may appear twice.
    Mapping(Vec<(Raw, Raw)>),
}

impl Raw {
    /// The value as a mapping's key; `None` for lists and mappings, which cannot be keys here.
    pub(super) fn as_key(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Null => Some("null".to_owned()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Integer(value) => Some(value.to_string()),
            Value::Float(value) => Some(value.to_string()),
            Value::List(_) | Value::Mapping(_) => None,
        }
    }
}

/// Parses the text as one YAML document. `None`: it is not one, and the reason is in `problems`.
pub(super) fn parse(text: &str, problems: &Collector) -> Option<Raw> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = match outline(text) {
        Ok(lines) if lines.is_empty() => {
            return Some(Raw { line: 0, value: Value::Null, written: None });
        }
        Ok(lines) => lines,
        Err((line, message)) => {
            problems.add("", line, message);
            return None;
        }
    };
    match read(text, &lines) {
        Ok(raw) => Some(raw),
        Err(error) => {
            let line = error.location().map_or(0, |location| location.line());
            let message = plain(&error.to_string(), INFO_SHOWN_MAX);
            problems.add("", line, format!("not valid YAML: {message}"));
            None
        }
    }
}

/// Reads the values with their lines. The two parsers differ on oddities such as an anchor named `a:`. If
/// they have not counted the same values, no value gets a line, because no line is better than a wrong one.
fn read(text: &str, lines: &[usize]) -> Result<Raw, serde_yaml::Error> {
    let yaml = || serde_yaml::Deserializer::from_str(text);
    let mut values = Lines { lines, count: 0 };
    let raw = values.deserialize(yaml())?;
    if values.count == lines.len() { Ok(raw) } else { Lines { lines: &[], count: 0 }.deserialize(yaml()) }
}

/// Assigns a line to each value as serde visits it: both parsers walk the document in the same order.
struct Lines<'a> {
    lines: &'a [usize],
    count: usize,
}

/// Parses the text as one value of JSON, none of which has a line. The error is a message for people.
pub(super) fn parse_json(text: &str) -> Result<Raw, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let raw = Lines { lines: &[], count: 0 }.deserialize(&mut json);
    let raw = raw.and_then(|raw| json.end().map(|()| raw));
    raw.map_err(|error| plain(&error.to_string(), INFO_SHOWN_MAX))
}

impl<'de> DeserializeSeed<'de> for &mut Lines<'_> {
    type Value = Raw;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        let line = self.lines.get(self.count).copied().unwrap_or(0);
        self.count += 1;
        let value = deserializer.deserialize_any(self)?;
        Ok(Raw { line, value, written: None })
    }
}

impl<'de> Visitor<'de> for &mut Lines<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain YAML")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(&mut *self)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(&mut *self)? {
            entries.push((key, map.next_value_seed(&mut *self)?));
        }
        Ok(Value::Mapping(entries))
    }
}
