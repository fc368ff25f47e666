//! The file as a tree whose values know their lines and paths, so that what was not taken can be told in the end.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::note::{Origin, Place};
use crate::config::{Raw, RawValue};

/// The lines of all values that have been read.
#[derive(Debug, Default)]
pub(super) struct Taken(RefCell<BTreeSet<*const Raw>>);

/// A value of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'a> {
    pub raw: &'a Raw,
    file: &'a Arc<str>,
    taken: &'a Taken,
}

impl<'a> Tree<'a> {
    pub(super) fn new(raw: &'a Raw, file: &'a Arc<str>, taken: &'a Taken) -> Self {
        Self { raw, file, taken }
    }

    fn at(self, raw: &'a Raw) -> Self {
        Self { raw, ..self }
    }

    /// The value of this key, which counts as read.
    pub(super) fn get(self, key: &str) -> Option<Self> {
        let (_, found) = self.entries().find(|(name, _)| name == key)?;
        found.taken.0.borrow_mut().insert(found.raw);
        Some(found).filter(|found| !matches!(found.raw.value, RawValue::Null))
    }

    /// The first of these keys that there is.
    pub(super) fn any<'k>(self, keys: &[&'k str]) -> Option<(&'k str, Self)> {
        keys.iter().find_map(|key| Some((*key, self.get(key)?)))
    }

    pub(super) fn entries(self) -> impl Iterator<Item = (String, Self)> {
        let entries = match &self.raw.value {
            RawValue::Mapping(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(move |(key, value)| (text_of(key).unwrap_or_default(), self.at(value)))
    }

    pub(super) fn items(self) -> impl Iterator<Item = Self> {
        let items = match &self.raw.value {
            RawValue::List(items) => items.as_slice(),
            _ => &[],
        };
        items.iter().map(move |item| self.at(item))
    }

    /// Nothing has asked for it.
    pub(super) fn is_left(self) -> bool {
        !self.taken.0.borrow().contains(&std::ptr::from_ref(self.raw))
    }

    pub(super) fn is_null(self) -> bool {
        matches!(self.raw.value, RawValue::Null)
    }

    pub(super) fn text(self) -> Option<String> {
        text_of(self.raw)
    }

    pub(super) fn number(self) -> Option<f64> {
        self.text()?.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
    }

    pub(super) fn is_on(self) -> bool {
        matches!(self.raw.value, RawValue::Bool(true))
            || self.text().is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    pub(super) fn place(self) -> Option<Place> {
        (self.raw.line > 0).then(|| Place::new(self.file, self.raw.line))
    }

    /// The line with the key and, unless it may hold a secret, the value.
    pub(super) fn origin(self, key: &str) -> Option<Origin> {
        let hides = ["key", "password", "token", "secret"].iter().any(|word| key.contains(word));
        let words = match self.text().filter(|_| !hides) {
            Some(text) => format!("{key}: {text}"),
            None => key.to_owned(),
        };
        Some(Origin::new(self.place()?, &words))
    }
}

fn text_of(raw: &Raw) -> Option<String> {
    match &raw.value {
        RawValue::Text(text) => Some(text.clone()),
        RawValue::Bool(value) => Some(value.to_string()),
        RawValue::Integer(value) => Some(value.to_string()),
        RawValue::Float(value) => Some(value.to_string()),
        RawValue::Null | RawValue::List(_) | RawValue::Mapping(_) => None,
    }
}
