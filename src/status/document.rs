//! The status as a document that is sent once and then kept up to date by what has changed in it.
//!
//! A page that is open shows the fleet as it is, every second. Of 1000 nodes a few change in a second: so each node's JSON is
//! kept as text and compared with the new one, and only for those that differ the fields that do are sent, as a JSON merge
//! patch (RFC 7386). In the document pools and nodes are members of objects by their names, with their order in a list beside.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value};

use super::history::{marks, quoted};
use super::time::Moment;
use super::{NodeStatus, PoolStatus, Snapshot, Status};
use crate::fleet::NodeSnapshot;
use crate::history::History;

/// The marks that a page gets when it is opened.
const MARKS: u64 = 300;

/// The status as pages have it.
#[derive(Debug)]
pub struct Document {
    head: Map<String, Value>,
    pools: Vec<Pool>,
    last_mark: u64,
}

#[derive(Debug)]
struct Pool {
    name: String,
    /// All but its nodes and events.
    head: Map<String, Value>,
    nodes: Vec<(String, String)>,
}

impl Document {
    pub fn new(snapshot: Snapshot, history: &History) -> Self {
        let moment = Moment { at: snapshot.at, wall: snapshot.wall };
        let (head, pools) = parts(snapshot, history, moment);
        Self { head, pools, last_mark: history.marks().last() }
    }

    /// The whole of it, with the last marks.
    pub fn whole(&self, history: &History, moment: Moment) -> String {
        let mut head = self.head.clone();
        let last = marks(history, self.last_mark.saturating_sub(MARKS), moment);
        let known = |mark: &Value| mark["number"].as_u64().is_some_and(|number| number <= self.last_mark);
        let last = last.iter().map(value).filter(known).collect();
        head.insert("marks".into(), Value::Array(last));
        head.insert("pool_order".into(), names(self.pools.iter().map(|pool| &pool.name)));
        let pools = joined(self.pools.iter().map(|pool| (pool.name.as_str(), pool.whole())));
        with(&head, "pools", &pools)
    }

    /// Brings the document up to date. The merge patch that does the same to a copy; what is new among the marks is in
    /// `new_marks`.
    pub fn advance(&mut self, snapshot: Snapshot, history: &History) -> String {
        let moment = Moment { at: snapshot.at, wall: snapshot.wall };
        let (head, pools) = parts(snapshot, history, moment);
        let mut patch = changes(&self.head, &head);
        let order = |pools: &[Pool]| names(pools.iter().map(|pool| &pool.name));
        if order(&self.pools) != order(&pools) {
            patch.insert("pool_order".into(), order(&pools));
        }
        let new = marks(history, self.last_mark, moment);
        if !new.is_empty() {
            patch.insert("new_marks".into(), value(&new));
        }
        let mut old: HashMap<_, _> = self.pools.iter().map(|pool| (pool.name.as_str(), pool)).collect();
        let changed: Vec<_> = pools
            .iter()
            .filter_map(|pool| {
                let change = match old.remove(pool.name.as_str()) {
                    Some(old) => old.patch(pool)?,
                    None => pool.whole(),
                };
                Some((pool.name.as_str(), change))
            })
            .collect();
        let gone = old.into_keys().map(|name| (name, "null".to_owned()));
        let patch = with(&patch, "pools", &joined(changed.into_iter().chain(gone)));
        (self.head, self.pools, self.last_mark) = (head, pools, history.marks().last());
        patch
    }
}

impl Pool {
    fn of(mut pool: crate::fleet::PoolSnapshot, s: &Snapshot) -> Self {
        let nodes = std::mem::take(&mut pool.nodes);
        pool.events = Vec::new();
        let mut head = object(&PoolStatus::of(&pool, s));
        for name in ["nodes", "events", "name"] {
            head.remove(name);
        }
        let keys = keys(&nodes);
        let texts = nodes.iter().map(|node| serde_json::to_string(&NodeStatus::of(node, s.moment())));
        let nodes = keys.into_iter().zip(texts.map(Result::unwrap_or_default)).collect();
        Self { name: pool.name.to_string(), head, nodes }
    }

    fn whole(&self) -> String {
        let mut head = self.head.clone();
        head.insert("order".into(), names(self.nodes.iter().map(|(name, _)| name)));
        with(&head, "nodes", &joined(self.nodes.iter().map(|(name, text)| (name.as_str(), text.clone()))))
    }

    /// The change from this state to the next, if there is one.
    fn patch(&self, next: &Self) -> Option<String> {
        let mut patch = changes(&self.head, &next.head);
        let same_nodes = self.nodes.len() == next.nodes.len()
            && self.nodes.iter().zip(&next.nodes).all(|((old, _), (new, _))| old == new);
        let nodes: Vec<_> = if same_nodes {
            let both = self.nodes.iter().zip(&next.nodes).filter(|((_, old), (_, new))| old != new);
            both.map(|((name, old), (_, new))| (name.as_str(), node_patch(old, new))).collect()
        } else {
            patch.insert("order".into(), names(next.nodes.iter().map(|(name, _)| name)));
            self.other_nodes(next)
        };
        if patch.is_empty() && nodes.is_empty() {
            return None;
        }
        Some(with(&patch, "nodes", &joined(nodes.into_iter())))
    }

    /// The same where nodes have come, gone or changed places.
    fn other_nodes<'a>(&'a self, next: &'a Self) -> Vec<(&'a str, String)> {
        let mut old: HashMap<_, _> = self.nodes.iter().map(|(name, text)| (name.as_str(), text)).collect();
        let mut patches = Vec::new();
        for (name, text) in &next.nodes {
            match old.remove(name.as_str()) {
                Some(old) if old == text => {}
                Some(old) => patches.push((name.as_str(), node_patch(old, text))),
                None => patches.push((name.as_str(), text.clone())),
            }
        }
        patches.extend(old.into_keys().map(|name| (name, "null".to_owned())));
        patches
    }
}

fn parts(mut snapshot: Snapshot, history: &History, moment: Moment) -> (Map<String, Value>, Vec<Pool>) {
    let pools = std::mem::take(&mut snapshot.pools);
    let mut head = object(&Status::of(&snapshot));
    head.remove("pools");
    // there may be a thousand, and no page shows them
    head.remove("keys");
    head.insert("second".into(), history.second(moment.at).into());
    head.insert("origin".into(), moment.origin(history).into());
    (head, pools.into_iter().map(|pool| Pool::of(pool, &snapshot)).collect())
}

/// Unique names: one that was removed and still has requests may have the name of one that came after it.
fn keys(nodes: &[NodeSnapshot]) -> Vec<String> {
    let mut seen = HashSet::new();
    let stays = nodes.iter().filter(|node| !node.is_removed).map(|node| &*node.id.name);
    seen.extend(stays.map(str::to_owned));
    let key = |node: &NodeSnapshot| {
        let mut key = node.id.name.to_string();
        while node.is_removed && !seen.insert(key.clone()) {
            key.push_str(" (removed)");
        }
        key
    };
    nodes.iter().map(key).collect()
}

fn node_patch(old: &str, new: &str) -> String {
    let read = |text| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    Value::Object(changes(&read(old), &read(new))).to_string()
}

/// The members of `new` that differ, and `null` for those that it lacks.
fn changes(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let changed = new.iter().filter_map(|(name, value)| match (old.get(name), value) {
        (Some(before), value) if before == value => None,
        (Some(Value::Object(before)), Value::Object(members)) => {
            Some((name.clone(), Value::Object(changes(before, members))))
        }
        (_, value) => Some((name.clone(), value.clone())),
    });
    let gone = old.keys().filter(|name| !new.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    changed.chain(gone).collect()
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

fn object(of: &impl Serialize) -> Map<String, Value> {
    match value(of) {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Value {
    names.map(|name| Value::from(name.as_str())).collect()
}

/// An object of members whose values are JSON already.
fn joined<'a>(members: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut json = String::from("{");
    for (name, value) in members {
        json.push_str(if json.len() > 1 { "," } else { "" });
        let _ = write!(json, "{}:{value}", quoted(name));
    }
    json.push('}');
    json
}

/// The object with one member more, unless that is empty.
fn with(object: &Map<String, Value>, name: &str, json: &str) -> String {
    let mut text = Value::Object(object.clone()).to_string();
    if json == "{}" {
        return text;
    }
    text.pop();
    text.push_str(if object.is_empty() { "" } else { "," });
    let _ = write!(text, "{}:{json}}}", quoted(name));
    text
}
