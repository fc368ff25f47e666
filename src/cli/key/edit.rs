//! Changes to the text of a file of keys that leave everything else in it as it is, comments too.
//!
//! A change is made to the lines, and read again: if the keys are not those that are wanted, the file is written anew.

use std::fmt::Write;
use std::time::SystemTime;

use jiff::Timestamp;

use crate::config::{ApiKey, Class, SecretHash, line_of};

const HEAD: &str = "\
# The keys of clients. `evenkeel key new`, `list` and `revoke` write it; conf/evenkeel.yaml explains it. The gateway reads it
# again when it changes.
";

/// The part of a file's comments that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    All,
    /// Those before the first key.
    Beginning,
}

/// The text of a changed file.
pub(super) struct Written {
    pub text: String,
    pub kept: Kept,
}

/// A key that is to be made, as it was asked for.
pub(super) struct Wanted<'a> {
    pub name: &'a str,
    pub hash: SecretHash,
    pub models: &'a [String],
    pub class: Option<&'a str>,
    pub max_in_flight: Option<u64>,
    pub requests_per_minute: Option<u64>,
    pub tokens_per_minute: Option<u64>,
    pub expires: Option<SystemTime>,
}

impl Wanted<'_> {
    /// The key as a mapping on one line.
    pub(super) fn entry(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut entry = format!("{{ name: {}, hash: \"{}\"", quoted(self.name), self.hash);
        if !self.models.is_empty() {
            let models: Vec<_> = self.models.iter().map(|model| quoted(model)).collect();
            let _ = write!(entry, ", models: [{}]", models.join(", "));
        }
        let mut put = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = write!(entry, ", {key}: {value}");
            }
        };
        put("class", self.class.map(quoted));
        put("max_in_flight", self.max_in_flight.map(|limit| limit.to_string()));
        put("requests_per_minute", self.requests_per_minute.map(|limit| limit.to_string()));
        put("tokens_per_minute", self.tokens_per_minute.map(|limit| limit.to_string()));
        put("expires", self.expires.map(second));
        entry + " }"
    }
}

/// A point in time as the file has it, to the second.
pub(super) fn second(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "off".to_owned(), |time| format!("{time:.0}"))
}

fn entry(key: &ApiKey) -> String {
    let models: Vec<_> = key.models.iter().flatten().map(|pattern| pattern.as_str().to_owned()).collect();
    Wanted {
        name: &key.name,
        hash: key.hash,
        models: &models,
        class: key.class.map(Class::as_str),
        max_in_flight: key.max_in_flight.map(u64::from),
        requests_per_minute: key.requests_per_minute,
        tokens_per_minute: key.tokens_per_minute,
        expires: key.expires,
    }
    .entry()
}

/// The text with one more key, behind the others.
pub(super) fn with(text: &str, old: &[ApiKey], key: ApiKey) -> Written {
    let line = entry(&key);
    let wanted: Vec<_> = old.iter().cloned().chain([key]).collect();
    let last = old.len().checked_sub(1).and_then(|last| line_at(text, last));
    let indent = last.and_then(|last| text.lines().nth(last - 1)?.split_once('-')).map(|(indent, _)| indent);
    let candidate = indent.filter(|indent| indent.trim().is_empty()).map(|indent| {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        format!("{text}{end}{indent}- {line}\n")
    });
    checked(text, candidate, &wanted)
}

/// The text without the key in this place.
pub(super) fn without(text: &str, old: &[ApiKey], place: usize) -> Written {
    let wanted: Vec<_> =
        old.iter().enumerate().filter(|(at, _)| *at != place).map(|(_, key)| key.clone()).collect();
    let candidate = line_at(text, place).map(|first| {
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        // the comments before the next key are that one's
        let next = line_at(text, place + 1).unwrap_or(lines.len() + 1);
        let is_its_own = |line: &&str| !line.trim_start().starts_with('#') && !line.trim().is_empty();
        let own = lines[first - 1..next - 1].iter().rposition(is_its_own).map_or(0, |at| at + 1);
        [&lines[..first - 1], &lines[first - 1 + own..]].concat().concat()
    });
    checked(text, candidate, &wanted)
}

/// The line of the key in this place, counted from 1.
fn line_at(text: &str, place: usize) -> Option<usize> {
    line_of(text, &format!("keys[{place}]")).filter(|line| *line <= text.lines().count())
}

fn checked(text: &str, candidate: Option<String>, wanted: &[ApiKey]) -> Written {
    let is_right = |text: &String| ApiKey::parse(text, "").is_ok_and(|keys| keys == wanted);
    match candidate.filter(is_right) {
        Some(text) => Written { text, kept: Kept::All },
        None => anew(text, wanted),
    }
}

fn anew(text: &str, wanted: &[ApiKey]) -> Written {
    let is_comment = |line: &&str| line.trim_start().starts_with('#') || line.trim().is_empty();
    let beginning: String = text.split_inclusive('\n').take_while(|line| is_comment(line)).collect();
    let has_more = text.lines().skip_while(|line| is_comment(line)).any(|line| line.contains('#'));
    let mut written = if text.is_empty() { HEAD.to_owned() } else { beginning };
    if wanted.is_empty() {
        written.push_str("keys: []\n");
    } else {
        written.push_str("keys:\n");
        for key in wanted {
            let _ = writeln!(written, "  - {}", entry(key));
        }
    }
    Written { text: written, kept: if has_more { Kept::Beginning } else { Kept::All } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<ApiKey> {
        ApiKey::parse(text, "t").unwrap_or_else(|problems| panic!("{problems}\n{text}"))
    }

    fn key(name: &str) -> ApiKey {
        let hash: String = format!("{:02x}", name.as_bytes()[0]).repeat(32);
        let text = format!(
            "keys: [{{ name: {name}, hash: \"sha256:{hash}\", models: [\"Q/*\", \"ä\\\\\"], class: batch, max_in_flight: 4, \
             requests_per_minute: 5, tokens_per_minute: 6, expires: 2027-01-01T00:00:00Z }}]"
        );
        parse(&text).remove(0)
    }

    fn add(text: &str, name: &str) -> Written {
        let old = if text.is_empty() { Vec::new() } else { parse(text) };
        with(text, &old, key(name))
    }

    fn remove(text: &str, name: &str) -> Written {
        let old = parse(text);
        let place = old.iter().position(|key| *key.name == *name).expect("its name");
        without(text, &old, place)
    }

    #[test]
    fn a_file_grows_and_shrinks_by_lines() {
        let one = add("", "a");
        assert!(one.text.starts_with(HEAD) && one.kept == Kept::All);
        assert_eq!(parse(&one.text), [key("a")]);
        let text = one.text.replace("keys:\n", "keys:   # all\n  # of A\n").replace(" }\n", " } # a's\n");
        let two = add(&text, "b");
        assert_eq!((&two.text[..text.len()], two.kept), (&*text, Kept::All));
        assert_eq!(parse(&two.text), [key("a"), key("b")]);
        let commented = two.text.replace("  - { name: \"b\"", "\n  # of B\n  - { name: \"b\"");
        let left = remove(&commented, "a");
        assert!(left.text.contains("# of B\n  - { name: \"b\"") && left.kept == Kept::All, "{}", left.text);
        assert!(!left.text.contains("a's"), "{}", left.text);
        assert_eq!(parse(&left.text), [key("b")]);
        let none = remove(&left.text, "b");
        assert_eq!(parse(&none.text), []);
        assert_eq!(parse(&add(&none.text, "c").text), [key("c")]);
    }

    #[test]
    fn other_ways_to_write_it_are_kept_or_written_anew() {
        let hash = |byte: &str| format!("\"sha256:{}\"", byte.repeat(32));
        let block = format!(
            "# mine\nkeys:\n- name: a\n  hash: {}\n  class: batch # low\n- name: b\n  hash: {}\n",
            hash("01"),
            hash("02")
        );
        let more = add(&block, "c");
        assert!(more.text.starts_with(&block) && more.kept == Kept::All, "{}", more.text);
        let fewer = remove(&block, "a");
        assert_eq!(
            fewer.text,
            block.replace(&block[block.find("- name: a").unwrap()..block.find("- name: b").unwrap()], "")
        );
        let flow = format!("# mine\nkeys: [{{ name: a, hash: {} }}] # all\n", hash("01"));
        let more = add(&flow, "c");
        assert_eq!((more.kept, parse(&more.text).len()), (Kept::Beginning, 2));
        assert!(more.text.starts_with("# mine\nkeys:\n"), "{}", more.text);
        assert_eq!(parse(&add("keys: []", "c").text), [key("c")]);
        assert_eq!(add("keys: []", "c").kept, Kept::All);
    }
}
