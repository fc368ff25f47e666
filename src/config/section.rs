//! Walks the raw tree of a config and finds keys that the schema does not know.
//!
//! A `Place` is a value with its path and line; a `Section` is a mapping that reports the keys that the
//! schema did not ask for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::RangeInclusive;

use super::problems::{Collector, plain};
use super::raw::{Raw, Value};
use super::suggest;
use super::values::{count, is_off, shown};

/// The most characters of a user's key in a path or message.
const KEY_SHOWN_MAX: usize = 60;

/// A value with its path, its line and the collector for its problems.
pub(super) struct Place<'a> {
    pub raw: &'a Raw,
    path: String,
    line: usize,
    problems: &'a Collector,
}

impl<'a> Place<'a> {
    pub(super) fn root(raw: &'a Raw, problems: &'a Collector) -> Self {
        Self { raw, path: String::new(), line: raw.line, problems }
    }

    /// No problem has been found so far, anywhere.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn problem(&self, message: impl Into<String>) {
        self.problems.add(&self.path, self.line, message);
    }

    /// A problem with the value under this key of the mapping.
    pub(super) fn problem_at(&self, key: &str, message: impl Into<String>) {
        let Value::Mapping(entries) = &self.raw.value else { return self.problem(message) };
        let is_it = |(name, _): &&(Raw, Raw)| name.as_key().is_some_and(|name| name == key);
        let line = entries.iter().find(is_it).map_or(self.line, |(name, _)| name.line);
        self.problems.add(&(self.path.clone() + &step(&self.path, key)), line, message);
    }

    /// The value, or `None` and a problem.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Raw) -> Result<T, String>) -> Option<T> {
        let value = match self.raw.value {
            Value::Null => Err("has no value; write one, or remove the key".to_owned()),
            _ => read(self.raw),
        };
        value.map_err(|message| self.problem(message)).ok()
    }

    /// The items of a list, where `off` is an empty list; or `None` and a problem.
    pub(super) fn items(&self, range: RangeInclusive<usize>, things: &str) -> Option<Vec<Place<'a>>> {
        let items = match &self.raw.value {
            Value::List(items) => items.as_slice(),
            _ if is_off(self.raw) => &[],
            _ => {
                self.problem(format!("expected a list (`[a, b]`), found {}", shown(self.raw)));
                return None;
            }
        };
        count(items.len(), &range, things).map_err(|message| self.problem(message)).ok()?;
        let place = |(index, raw): (usize, &'a Raw)| self.inner(&format!("[{index}]"), raw.line, raw);
        Some(items.iter().enumerate().map(place).collect())
    }

    /// The value as a mapping, where no value is an empty mapping; or `None` and a problem.
    pub(super) fn section(&self) -> Option<Section<'a>> {
        let entries = match &self.raw.value {
            Value::Mapping(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => {
                self.problem(format!("expected a mapping (`key: value`), found {}", shown(self.raw)));
                return None;
            }
        };
        let mut section = Section::empty(&self.path, self.line, self.problems);
        let mut seen = HashMap::new();
        for (key, raw) in entries {
            let Some(name) = key.as_key() else {
                self.problems.add(&self.path, key.line, format!("a key is a plain word, not {}", shown(key)));
                continue;
            };
            let place = self.inner(&step(&self.path, &name), key.line, raw);
            match seen.entry(name.clone()) {
                Entry::Occupied(first) => {
                    place.problem(format!("appears twice; the first is on line {}", first.get()))
                }
                Entry::Vacant(free) => {
                    free.insert(key.line);
                    section.entries.push((name, place));
                }
            }
        }
        Some(section)
    }

    fn inner(&self, step: &str, line: usize, raw: &'a Raw) -> Place<'a> {
        Place { raw, path: self.path.clone() + step, line, problems: self.problems }
    }
}

/// A mapping while the schema reads it.
pub(super) struct Section<'a> {
    path: String,
    line: usize,
    entries: Vec<(String, Place<'a>)>,
    /// The keys of the schema, each with its line if the file has it, or else with the section's line.
    asked: Vec<(&'static str, usize)>,
    /// Keys whose value could not be read, and was replaced by a default.
    bad: Vec<&'static str>,
    problems: &'a Collector,
}

impl<'a> Section<'a> {
    pub(super) fn empty(path: &str, line: usize, problems: &'a Collector) -> Self {
        Self { path: path.to_owned(), line, entries: vec![], asked: vec![], bad: vec![], problems }
    }

    /// The entries of a mapping whose keys are the user's own names.
    pub(super) fn named(self) -> Vec<(String, Place<'a>)> {
        self.entries
    }

    /// Takes the entry of this key, if the file has one, and notes that the key is in the schema.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Place<'a>> {
        let found = self.entries.iter().position(|(name, _)| name == key);
        let line = found.map_or(self.line, |index| self.entries[index].1.line);
        self.asked.push((key, line));
        #[cfg(test)]
        if found.is_none() {
            self.problems.absent.borrow_mut().push(self.path_of(key));
        }
        found.map(|index| self.entries.swap_remove(index).1)
    }

    /// The value under this key; the default if it is absent, or bad and reported.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Raw) -> Result<T, String>,
    ) -> T {
        self.option(key, read).unwrap_or(default)
    }

    /// The value under this key; `None` if it is absent, or bad and reported.
    pub(super) fn option<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Raw) -> Result<T, String>,
    ) -> Option<T> {
        let place = self.take(key)?;
        let value = place.read(read);
        if value.is_none() {
            self.bad.push(key);
        }
        value
    }

    /// The entry of this key. Its absence is a problem, and `hint` says how to fix it.
    pub(super) fn required(&mut self, key: &'static str, hint: &str) -> Option<Place<'a>> {
        let place = self.take(key);
        if place.is_none() {
            self.problems.add(&self.path_of(key), self.line, format!("is missing; {hint}"));
        }
        place
    }

    /// The items of the list under this key, where `off` is an empty list; `None` if the key is absent.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<usize>,
        read: impl Fn(&Raw) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let items = self.take(key)?.items(range, "entries");
        let values: Vec<_> = items.iter().flatten().map(|item| item.read(&read)).collect();
        if items.is_none() || values.iter().any(Option::is_none) {
            self.bad.push(key);
        }
        Some(values.into_iter().flatten().collect())
    }

    /// The same, where `off` is an empty list whatever the range.
    pub(super) fn list_or_off<T>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<usize>,
        read: impl Fn(&Raw) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let is_off = self.entries.iter().any(|(name, place)| name == key && is_off(place.raw));
        self.list(key, if is_off { 0..=0 } else { range }, read)
    }

    /// Reads the section under this key; if it is absent, all of its keys have their defaults.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        let section = self.take(key).and_then(|place| place.section());
        section.unwrap_or_else(|| Section::empty(&self.path_of(key), 0, self.problems)).finish(read)
    }

    /// The file has this key, which the schema has not asked for yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name == key)
    }

    /// The schema has asked for this key.
    pub(super) fn knows(&self, key: &'static str) -> bool {
        self.asked.iter().any(|(asked, _)| *asked == key)
    }

    /// Reports a violated rule between `key` and `others`, unless one of them is bad anyway.
    pub(super) fn rule(
        &self,
        key: &'static str,
        others: &[&'static str],
        holds: bool,
        message: impl FnOnce() -> String,
    ) {
        let excused = self.bad.contains(&key) || others.iter().any(|other| self.bad.contains(other));
        if !holds && !excused {
            self.problems.add(&self.path_of(key), self.line_of(key), message());
        }
    }

    /// Says that the value under this key is valid, and yet does less than one may expect.
    pub(super) fn notice(&self, key: &'static str, message: impl Into<String>) {
        self.problems.note(&self.path_of(key), self.line_of(key), message);
    }

    /// The line of a key that was asked for; the section's if the file does not have it.
    fn line_of(&self, key: &'static str) -> usize {
        self.asked.iter().find(|(asked, _)| *asked == key).map_or(self.line, |(_, line)| *line)
    }

    /// Reads the section with its schema, then reports the keys that the schema did not ask for.
    pub(super) fn finish<T>(mut self, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        let value = read(&mut self);
        for (name, place) in &self.entries {
            place.problem(suggest::unknown_key(name, self.asked.iter().map(|(key, _)| *key)));
        }
        value
    }

    /// The path of this key, for problems that show up after the file was read.
    pub(super) fn place(&self, key: &str) -> String {
        self.path_of(key)
    }

    fn path_of(&self, key: &str) -> String {
        self.path.clone() + &step(&self.path, key)
    }
}

/// A key as written after the path of its section.
pub(super) fn step(path: &str, key: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("{dot}{}", plain(key, KEY_SHOWN_MAX))
}
