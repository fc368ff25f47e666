//! The file of clients' keys (`server.api_keys.file`): text in, all keys or all [`Problems`] out.
//!
//! It holds hashes. No message repeats a value that could be a key, written to the wrong place.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::class::Class;
use super::models;
use super::pattern::Pattern;
use super::problems::{Collector, Problems};
use super::raw::{self, Raw, Value};
use super::read_plain;
use super::secret::SecretHash;
use super::section::{Place, Section};
use super::values::{check_name, choice, count, integer, or_word, text};

/// The most keys in a file.
const KEYS_MAX: usize = 65_536;
/// The largest file, in bytes.
const FILE_BYTES_MAX: usize = 32 << 20;
const MODELS_MAX: usize = 256;
const IN_FLIGHT_MAX: u32 = 1 << 20;
const REQUESTS_MAX: u64 = 1_000_000_000;
const TOKENS_MAX: u64 = 1_000_000_000_000;

/// A client's key, as it is kept: without the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Distinct from those of the others; shown in logs, metrics and the status.
    pub name: Arc<str>,
    /// SHA-256 of the key.
    pub hash: SecretHash,
    /// The models that it may name; `None`: any, the default. At most 256.
    pub models: Option<Vec<Pattern>>,
    /// The highest class of its requests, and that of those that say none; `None`: as without a key, the default.
    pub class: Option<Class>,
    /// The most requests at one time; 1 to 1048576, default no limit.
    pub max_in_flight: Option<u32>,
    /// 1 to 10^9, default no limit.
    pub requests_per_minute: Option<u64>,
    /// Of prompts and answers together; 1 to 10^12, default no limit.
    pub tokens_per_minute: Option<u64>,
    /// The time from which on it is refused; default never.
    pub expires: Option<SystemTime>,
}

impl ApiKey {
    /// Reads and checks a file of at most 32MiB.
    pub fn load(path: &Path) -> Result<Vec<Self>, Problems> {
        let (text, source) = read_plain(path, FILE_BYTES_MAX)?;
        Self::parse(&text, &source)
    }

    /// Checks a text; `source` is its name in problems.
    pub fn parse(text: &str, source: &str) -> Result<Vec<Self>, Problems> {
        let problems = Collector::default();
        let keys = read(text, &problems);
        problems.finish(keys, source)
    }
}

fn read(text: &str, problems: &Collector) -> Option<Vec<ApiKey>> {
    if text.len() > FILE_BYTES_MAX {
        problems.add("", 0, "is larger than 32MiB");
        return None;
    }
    let raw = raw::parse(text, problems)?;
    let root = Place::root(&raw, problems);
    if raw.value == Value::Null {
        // half of a write looks like that, and would lock everybody out
        root.problem("is empty; write `keys: []` for no keys at all");
        return None;
    }
    if !matches!(raw.value, Value::Mapping(_)) {
        // what stands there may be a key
        root.problem("is no file of keys: it begins with `keys:`, and `evenkeel key new NAME` writes it");
        return None;
    }
    root.section()?.finish(keys)
}

fn keys(s: &mut Section) -> Option<Vec<ApiKey>> {
    let place = s.required("keys", "list the keys there; `evenkeel key new NAME` adds one")?;
    let (mut names, mut hashes) = (HashMap::new(), HashMap::new());
    let mut keys = Vec::new();
    for item in &place.items(0..=KEYS_MAX, "keys")? {
        if !matches!(item.raw.value, Value::Mapping(_)) {
            // it may be a key
            item.problem("is no mapping of `name` and `hash`; `evenkeel key new NAME` writes one");
            continue;
        }
        let Some(key) = item.section().and_then(|section| section.finish(key)) else { continue };
        if let Some(first) = names.insert(Arc::clone(&key.name), item.raw.line) {
            item.problem_at("name", format!("`{}` is the name of the key on line {first} too", key.name));
        }
        if let Some(first) = hashes.insert(*key.hash.bytes(), item.raw.line) {
            item.problem_at("hash", format!("is that of the key on line {first} too"));
        }
        keys.push(key);
    }
    Some(keys)
}

fn key(s: &mut Section) -> Option<ApiKey> {
    let name = s.required("name", "name the key's owner; logs and metrics show it");
    let hash = s.required("hash", "`evenkeel key new NAME` writes it");
    let models = s.take("models").and_then(|place| patterns(&place));
    const CLASSES: [(&str, Class); 3] =
        [("interactive", Class::Interactive), ("normal", Class::Normal), ("batch", Class::Batch)];
    let class = s.option("class", choice(&CLASSES));
    let max_in_flight = s.get("max_in_flight", None, or_word("off", integer(1..=IN_FLIGHT_MAX)));
    let requests_per_minute = s.get("requests_per_minute", None, or_word("off", integer(1..=REQUESTS_MAX)));
    let tokens_per_minute = s.get("tokens_per_minute", None, or_word("off", integer(1..=TOKENS_MAX)));
    let expires = s.get("expires", None, or_word("off", time));
    let (name, hash) = (name?.read(key_name), hash?.read(hash_of));
    Some(ApiKey {
        name: name?,
        hash: hash?,
        models,
        class,
        max_in_flight,
        requests_per_minute,
        tokens_per_minute,
        expires,
    })
}

/// The models of a list; `None` if `*` is among them.
fn patterns(place: &Place) -> Option<Vec<Pattern>> {
    let items = place.items(0..=MODELS_MAX, "entries")?;
    if let Err(message) = count(items.len(), &(1..=MODELS_MAX), "entries") {
        place.problem(message + "; leave the key out, or write [\"*\"], for any model");
    }
    let names: Vec<_> = items.iter().filter_map(|item| item.read(models::model)).collect();
    let is_any = names.iter().any(|name| name == "*");
    (!is_any).then(|| names.into_iter().map(Pattern::new).collect())
}

fn key_name(raw: &Raw) -> Result<Arc<str>, String> {
    let name = text(raw)?;
    if name.starts_with("ek-") && name.len() > 40 {
        return Err("is a key itself, which is to stand in no file; write its owner's name".to_owned());
    }
    check_name(&name).map(|()| name.into())
}

fn hash_of(raw: &Raw) -> Result<SecretHash, String> {
    let wrong = || {
        "is not `sha256:` and 64 hexadecimal digits; `evenkeel key new NAME` writes it, and so does \
         `printf %s \"$KEY\" | sha256sum`"
            .to_owned()
    };
    let text = text(raw).map_err(|_| wrong())?;
    SecretHash::parse(&text).flatten().ok_or_else(wrong)
}

fn time(raw: &Raw) -> Result<SystemTime, String> {
    expiry(&text(raw)?)
}

/// A point in time: RFC 3339, or a date, which is its beginning in UTC.
pub fn expiry(text: &str) -> Result<SystemTime, String> {
    let midnight = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let is_date = text.len() == "2027-01-01".len();
    let time = if is_date { midnight() } else { text.parse::<Timestamp>().ok() };
    time.map(SystemTime::from)
        .ok_or_else(|| "is not a point in time; write 2027-01-01 or 2027-01-01T00:00:00Z".to_owned())
}
