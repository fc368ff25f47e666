//! The models that nodes say they serve (`GET /v1/models`), adapters included.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::key::Key;

/// Time between two questions to a node.
const EVERY: Duration = Duration::from_secs(10);
/// The longest time in which a node that has joined is not asked.
const NEW_WITHIN: Duration = Duration::from_secs(1);
/// The most nodes of a pool that are asked at a time.
const AT_ONCE_MAX: usize = 64;
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
    /// The entries of a list in OpenAI's form. `None`: the body is not such a list.
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
    /// The earliest time at which one is due. `None`: nothing is known of any.
    next: Option<Instant>,
}

#[derive(Debug)]
struct List {
    due: Instant,
    entries: Option<Arc<[Listed]>>,
}

impl Lists {
    /// A question may be due: a look at all of them is worth it.
    pub(super) fn may_be_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    /// Forgets the nodes that are not among these, and returns those of them that are to be asked now.
    pub(super) fn due(&mut self, members: &[Key], now: Instant) -> HashSet<Key> {
        let known: HashSet<_> = members.iter().collect();
        self.nodes.retain(|key, _| known.contains(key));
        let mut due = HashSet::new();
        for key in members {
            let list = self.nodes.entry(*key).or_insert(List { due: now, entries: None });
            if now >= list.due && due.len() < AT_ONCE_MAX {
                list.due = now + EVERY;
                due.insert(*key);
            }
        }
        // nodes that have joined are found within a second
        let next = self.nodes.values().map(|list| list.due).min();
        self.next = Some(next.map_or(now + NEW_WITHIN, |next| next.min(now + NEW_WITHIN)));
        due
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
        assert_eq!(lists.due(&[key(1), key(2)], start), [key(1), key(2)].into());
        assert!(lists.due(&[key(1), key(2)], start + EVERY / 2).is_empty());
        let entry = Listed { id: "m".to_owned(), json: "{}".to_owned() };
        lists.set(key(1), Some(vec![entry]));
        lists.set(key(3), Some(Vec::new()));
        assert!(lists.of(key(1)).is_some() && lists.of(key(2)).is_none() && lists.of(key(3)).is_none());
        assert_eq!(lists.due(&[key(2), key(3)], start + EVERY), [key(2), key(3)].into());
        assert!(lists.of(key(1)).is_none(), "it has left");
    }

    #[test]
    fn a_large_pool_is_asked_bit_by_bit_and_looked_at_once_a_second() {
        let members: Vec<_> = (1..=100).map(|serial| Key { place: 0, serial }).collect();
        let (mut lists, start) = (Lists::default(), Instant::now());
        assert!(lists.may_be_due(start));
        assert_eq!(lists.due(&members, start).len(), AT_ONCE_MAX);
        assert!(lists.may_be_due(start), "the others");
        assert_eq!(lists.due(&members, start).len(), 100 - AT_ONCE_MAX);
        assert!(!lists.may_be_due(start + NEW_WITHIN / 2) && lists.may_be_due(start + NEW_WITHIN));
    }
}
