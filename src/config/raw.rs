//! The serde mirror of the file: any YAML there is, each value with the line it was written on.
//!
//! Typed serde structs would stop at the first wrong type and drop repeated keys. This tree takes
//! everything in, so that the schema can walk it to the end and name all problems at once.

use std::fmt;
use std::slice;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::outline::outline;
use super::problems::{Collector, plain};

/// A value and its line; 0: not known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Raw {
    pub line: usize,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Raw>),
    /// In the order of the file; a key may be there twice.
    Mapping(Vec<(Raw, Raw)>),
}

impl Raw {
    /// The value as a mapping's key; `None`: a list or a mapping, which is no key here.
    pub fn as_key(&self) -> Option<String> {
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

/// Reads the text as one YAML document. `None`: it is not, and the collector says why.
pub(super) fn parse(text: &str, problems: &Collector) -> Option<Raw> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = match outline(text) {
        Ok(lines) if lines.is_empty() => {
            return Some(Raw {
                line: 0,
                value: Value::Null,
            });
        }
        Ok(lines) => lines,
        Err((line, message)) => {
            problems.add("", line, message);
            return None;
        }
    };
    let seed = Lines(&mut lines.iter());
    match seed.deserialize(serde_yaml::Deserializer::from_str(text)) {
        Ok(raw) => Some(raw),
        Err(error) => {
            let line = error.location().map_or(0, |location| location.line());
            problems.add(
                "",
                line,
                format!("not valid YAML: {}", plain(&error.to_string(), 200)),
            );
            None
        }
    }
}

/// Hands a line to each value as serde comes to it: both parsers walk the document in one order.
struct Lines<'a, 'b>(&'a mut slice::Iter<'b, usize>);

impl<'de> DeserializeSeed<'de> for Lines<'_, '_> {
    type Value = Raw;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        let line = self.0.next().copied().unwrap_or(0);
        let value = deserializer.deserialize_any(self)?;
        Ok(Raw { line, value })
    }
}

impl<'de> Visitor<'de> for Lines<'_, '_> {
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
        while let Some(item) = seq.next_element_seed(Lines(self.0))? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(Lines(self.0))? {
            entries.push((key, map.next_value_seed(Lines(self.0))?));
        }
        Ok(Value::Mapping(entries))
    }
}
