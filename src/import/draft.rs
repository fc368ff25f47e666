//! The config as it is drawn up: an ordered tree, each entry with the line that it comes from, and notes on the rest.

use super::note::{Kind, Note, Origin, Place};

/// Most notes that are kept: more than that tell nobody anything.
const NOTES_MAX: usize = 2000;

/// The config and the notes on what is not in it.
#[derive(Debug, Default)]
pub struct Draft {
    pub root: Mapping,
    pub notes: Vec<Note>,
}

/// Keys with their values, in the order in which they are written down.
#[derive(Debug, Default, Clone)]
pub struct Mapping {
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub value: Value,
    pub origin: Option<Origin>,
}

/// One item of a list.
#[derive(Debug, Clone)]
pub struct Item {
    pub value: Value,
    pub origin: Option<Origin>,
}

#[derive(Debug, Clone)]
pub enum Value {
    /// A number, duration, size or word of the config's own language.
    Word(String),
    /// Text of the file that is imported.
    Text(String),
    /// Words and texts on one line: `[a, b]`.
    Row(Vec<Value>),
    List(Vec<Item>),
    Mapping(Mapping),
    /// A mapping on one line: `{ a: b }`.
    Inline(Mapping),
    /// A comment on a line of its own, under no key.
    Remark,
}

impl Draft {
    /// A note on this line; the 2000 first ones are kept.
    pub fn note(&mut self, kind: Kind, place: Option<Place>, subject: &str, reason: &str, advice: &str) {
        if self.notes.len() == NOTES_MAX {
            return;
        }
        let [subject, reason, advice] = [subject, reason, advice].map(str::to_owned);
        self.notes.push(Note { kind, place, subject, reason, advice });
    }
}

impl Mapping {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// It has an address and nothing else, and can be written as that.
    pub fn is_address(&self) -> bool {
        matches!(self.entries.as_slice(), [entry] if entry.key == "address")
    }

    /// Sets a key, in place of the value that it has.
    pub fn set(&mut self, key: &str, value: Value, origin: Option<&Origin>) {
        let entry = Entry { key: key.to_owned(), value, origin: origin.cloned() };
        match self.entries.iter_mut().find(|entry| entry.key == key) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }

    /// Adds all entries of another one.
    pub fn append(&mut self, other: &Self) {
        self.entries.extend(other.entries.iter().cloned());
    }

    /// Sets a key to a word of the config's own language.
    pub fn word(&mut self, key: &str, word: impl Into<String>, origin: Option<&Origin>) {
        self.set(key, Value::Word(word.into()), origin);
    }

    /// Sets a key to text of the file that is imported.
    pub fn text(&mut self, key: &str, text: impl Into<String>, origin: Option<&Origin>) {
        self.set(key, Value::Text(text.into()), origin);
    }

    /// A comment on a line of its own, such as a key that the reader may want to set.
    pub fn remark(&mut self, text: &str, origin: Option<&Origin>) {
        self.entries.push(Entry { key: text.to_owned(), value: Value::Remark, origin: origin.cloned() });
    }

    /// Fills the mapping under this key, which is made if there is none, and left out while it is empty.
    pub fn section(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        let old = self.entries.iter_mut().find_map(|entry| match &mut entry.value {
            Value::Mapping(mapping) if entry.key == key => Some(mapping),
            _ => None,
        });
        if let Some(old) = old {
            return fill(old);
        }
        let mut new = Self::default();
        fill(&mut new);
        if !new.is_empty() {
            self.set(key, new.into(), None);
        }
    }
}

impl From<Mapping> for Value {
    fn from(mapping: Mapping) -> Self {
        Self::Mapping(mapping)
    }
}
