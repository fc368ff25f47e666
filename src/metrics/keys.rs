//! The numbers of clients' keys, by their names.

use std::fmt;

use super::sheet::{NONE, Sheet};
use crate::keys::Limit;
use crate::status::Snapshot;

/// The classes of status codes.
const CODES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Nothing, as long as no keys are asked for.
pub(super) fn write(sheet: &mut Sheet<'_>, s: &Snapshot) -> fmt::Result {
    let file = || s.keys_file.as_ref();
    let success = file().map(|file| (NONE, u64::from(file.error.is_none())));
    sheet.gauges("keys_reload_success", "1 if the last reading of the file of keys succeeded.", success)?;
    let failures = file().map(|file| (NONE, file.failures));
    sheet.counters("keys_reload_failures", "Readings of the file of keys that were refused.", failures)?;
    let in_flight = s.keys.iter().map(|key| ([("key", &*key.name)], key.in_flight));
    sheet.gauges("key_in_flight", "Requests under way, by the name of their key.", in_flight)?;
    let requests = s.keys.iter().flat_map(|key| {
        let of = CODES.into_iter().zip(key.used.requests).filter(|(_, count)| *count > 0);
        of.map(|(code, count)| ([("code", code), ("key", &*key.name)], count))
    });
    sheet.counters(
        "key_requests",
        "Requests answered, those that were refused among them, by class of status code and name of the key.",
        requests,
    )?;
    let tokens = s.keys.iter().flat_map(|key| {
        let of = ["prompt", "answer"].into_iter().zip(key.used.tokens);
        of.map(|(kind, count)| ([("key", &*key.name), ("kind", kind)], count))
    });
    sheet.counters("key_tokens", "Tokens of requests that have ended, by the name of their key.", tokens)?;
    let limited = s.keys.iter().flat_map(|key| {
        let of = Limit::ALL.into_iter().zip(key.used.limited).filter(|(_, count)| *count > 0);
        of.map(|(limit, count)| ([("key", &*key.name), ("limit", limit.as_str())], count))
    });
    sheet.counters("key_limited", "Requests that a limit of their key has refused.", limited)
}
