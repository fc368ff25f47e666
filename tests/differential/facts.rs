//! The facts about a message that two readers must agree on.

use std::fmt;

/// Names in lower case and values, sorted by name.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

#[derive(Clone, PartialEq)]
pub(crate) enum Facts {
    /// The head was refused, or is not whole.
    Refused,
    Read(Box<Message>),
}

#[derive(Clone, PartialEq)]
pub(crate) struct Message {
    /// The status code, or method and target.
    pub(crate) start: String,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    /// The body came to its end.
    pub(crate) is_whole: bool,
    /// The connection can be used for the next message.
    pub(crate) goes_on: bool,
}

impl Facts {
    pub(crate) fn message(&self) -> Option<&Message> {
        match self {
            Self::Refused => None,
            Self::Read(message) => Some(message),
        }
    }
}

pub(crate) fn fields<'a>(lines: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Fields {
    let lower = |name| String::from_utf8_lossy(name).to_ascii_lowercase();
    let mut fields: Fields = lines.map(|(name, value)| (lower(name), value.to_vec())).collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields
}

pub(crate) fn of_map(map: &http::HeaderMap) -> Fields {
    fields(map.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())))
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(message) = self.message() else { return f.write_str("refused") };
        write!(f, "{}", message.start)?;
        for (name, value) in &message.fields {
            write!(f, " | {name}: {}", value.escape_ascii())?;
        }
        let end = if message.is_whole { "whole" } else { "not whole" };
        let next = if message.goes_on { "goes on" } else { "is over" };
        write!(f, " | body \"{}\", {end}, connection {next}", message.body.escape_ascii())
    }
}
