//! The keys as a table for people, and as JSON. No hash is shown in full.

use std::fmt::Write;
use std::time::SystemTime;

use serde::Serialize;

use super::edit::second;
use crate::config::{ApiKey, Class};

const COLUMNS: [&str; 8] =
    ["NAME", "HASH", "CLASS", "IN FLIGHT", "REQUESTS/MIN", "TOKENS/MIN", "EXPIRES", "MODELS"];

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    /// Its first digits.
    hash: String,
    models: Vec<&'a str>,
    class: Option<&'a str>,
    max_in_flight: Option<u32>,
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
    expires: Option<String>,
    expired: bool,
}

impl<'a> Shown<'a> {
    fn of(key: &'a ApiKey, now: SystemTime) -> Self {
        let models =
            key.models.as_ref().map(|models| models.iter().map(|pattern| pattern.as_str()).collect());
        Self {
            name: &key.name,
            hash: key.hash.short(),
            models: models.unwrap_or_else(|| vec!["*"]),
            class: key.class.map(Class::as_str),
            max_in_flight: key.max_in_flight,
            requests_per_minute: key.requests_per_minute,
            tokens_per_minute: key.tokens_per_minute,
            expires: key.expires.map(second),
            expired: key.expires.is_some_and(|time| now >= time),
        }
    }

    fn row(&self) -> [String; COLUMNS.len()] {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let expired = if self.expired { " (expired)" } else { "" };
        [
            self.name.to_owned(),
            self.hash.clone(),
            or_dash(self.class.map(str::to_owned)),
            or_dash(self.max_in_flight.map(|limit| limit.to_string())),
            or_dash(self.requests_per_minute.map(|limit| limit.to_string())),
            or_dash(self.tokens_per_minute.map(|limit| limit.to_string())),
            or_dash(self.expires.clone()) + expired,
            self.models.join(" "),
        ]
    }
}

pub(super) fn json(keys: &[ApiKey], now: SystemTime) -> String {
    let shown: Vec<_> = keys.iter().map(|key| Shown::of(key, now)).collect();
    serde_json::to_string_pretty(&shown).unwrap_or_default()
}

pub(super) fn table(keys: &[ApiKey], now: SystemTime) -> String {
    let rows: Vec<_> = keys.iter().map(|key| Shown::of(key, now).row()).collect();
    let heads = COLUMNS.map(str::to_owned);
    let width = |column: usize| {
        let cells = std::iter::once(&heads).chain(&rows);
        cells.map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..COLUMNS.len()).map(width).collect();
    let mut table = String::new();
    for row in std::iter::once(&heads).chain(&rows) {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(table, "{}", cells.join("  ").trim_end());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::expiry;

    #[test]
    fn a_table_and_json_without_a_whole_hash() {
        let hash = "0123456789abcdef".repeat(4);
        let text = format!(
            "keys:\n- {{ name: alice, hash: \"sha256:{hash}\", models: [\"Q/*\", m], class: batch, expires: 2027-01-01 }}\n\
             - {{ name: b, hash: \"sha256:{}\", tokens_per_minute: 7 }}\n",
            "ab".repeat(32)
        );
        let keys = ApiKey::parse(&text, "t").unwrap_or_else(|problems| panic!("{problems}"));
        let now = expiry("2027-01-01").expect("a date");
        let want = "\
NAME   HASH             CLASS  IN FLIGHT  REQUESTS/MIN  TOKENS/MIN  EXPIRES                         MODELS
alice  sha256:01234567  batch  -          -             -           2027-01-01T00:00:00Z (expired)  Q/* m
b      sha256:abababab  -      -          -             7           -                               *
";
        assert_eq!(table(&keys, now), want);
        let shown: serde_json::Value = serde_json::from_str(&json(&keys, now)).expect("JSON");
        assert_eq!((&shown[0]["expired"], &shown[1]["models"][0]), (&true.into(), &"*".into()));
        assert!(!json(&keys, now).contains(&hash[..16]));
    }
}
