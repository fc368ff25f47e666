//! The models that nodes say they serve (`GET /v1/models`), adapters included.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::key::Key;

/// Time between two questions to a node.
const EVERY: Duration = Duration::from_secs(10);
/// The most entries of one node's list, and the size of the longest, in bytes. Others are left out.
const ENTRIES_MAX: usize = 1024;
const ENTRY_BYTES_MAX: usize = 16 * 1024;

/// A model of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub id: String,
    /// As the node gave it.
    pub json: String,
}

impl Listed {
    /// The entries of a list in OpenAI's form. `None`: it is none.
    pub fn read(body: &[u8]) -> Option<Vec<Self>> {
        #[derive(Deserialize)]
        struct List<'a> {
            #[serde(borrow)]
            data: Vec<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let list: List = serde_json::from_slice(body).ok()?;
        let entry = |json: &RawValue| {
            let json = Some(json.get()).filter(|json| json.len() <= ENTRY_BYTES_MAX)?;
            let Named { id } = serde_json::from_str(json).ok()?;
            Some(Self { id, json: json.to_owned() })
        };
        Some(list.data.into_iter().filter_map(entry).take(ENTRIES_MAX).collect())
    }
}

/// The lists of a pool's nodes.
#[derive(Debug, Default)]
pub(super) struct Lists {
    nodes: HashMap<Key, List>,
}

#[derive(Debug)]
struct List {
    due: Instant,
    entries: Option<Arc<[Listed]>>,
}

impl Lists {
    /// Forgets the nodes that are not among these, and says which of them are to be asked now.
    pub(super) fn due(&mut self, members: &[Key], now: Instant) -> Vec<Key> {
        self.nodes.retain(|key, _| members.contains(key));
        let mut is_due = |key: &Key| {
            let list = self.nodes.entry(*key).or_insert(List { due: now, entries: None });
            let is_due = now >= list.due;
            if is_due {
                list.due = now + EVERY;
            }
            is_due
        };
        members.iter().copied().filter(|key| is_due(key)).collect()
    }

    /// A node's answer; `None`: it has no list.
    pub(super) fn set(&mut self, key: Key, entries: Option<Vec<Listed>>) {
        if let Some(list) = self.nodes.get_mut(&key) {
            list.entries = entries.map(Into::into);
        }
    }

    pub(super) fn of(&self, key: Key) -> Option<Arc<[Listed]>> {
        self.nodes.get(&key)?.entries.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stay_as_they_are() {
        let entry = r#"{"id": "a\u00e9", "object":"model", "max_model_len": 1.50, "permission":[{}]}"#;
        let long = format!(r#"{{"id":"long","x":"{}"}}"#, "x".repeat(ENTRY_BYTES_MAX));
        let body = format!(r#"{{"object":"list","data":[{entry},{{"no":"id"}}, 7, {long}]}}"#);
        let want = Listed { id: "a\u{e9}".to_owned(), json: entry.to_owned() };
        assert_eq!(Listed::read(body.as_bytes()), Some(vec![want]));
        for no_list in ["", "{}", r#"{"data":{}}"#, r#"{"error":"x"}"#, "[]"] {
            assert_eq!(Listed::read(no_list.as_bytes()), None, "{no_list}");
        }
        let many = format!(r#"{{"data":[{}]}}"#, vec![r#"{"id":"m"}"#; 2000].join(","));
        assert_eq!(Listed::read(many.as_bytes()).map(|list| list.len()), Some(ENTRIES_MAX));
    }

    #[test]
    fn nodes_are_asked_at_intervals_and_forgotten_when_they_leave() {
        let key = |serial| Key { place: 0, serial };
        let (mut lists, start) = (Lists::default(), Instant::now());
        assert_eq!(lists.due(&[key(1), key(2)], start), [key(1), key(2)]);
        assert!(lists.due(&[key(1), key(2)], start + EVERY / 2).is_empty());
        let entry = Listed { id: "m".to_owned(), json: "{}".to_owned() };
        lists.set(key(1), Some(vec![entry]));
        lists.set(key(3), Some(Vec::new()));
        assert!(lists.of(key(1)).is_some() && lists.of(key(2)).is_none() && lists.of(key(3)).is_none());
        assert_eq!(lists.due(&[key(2), key(3)], start + EVERY), [key(2), key(3)]);
        assert!(lists.of(key(1)).is_none(), "it has left");
    }
}
