//! The file of a pool's nodes (`sources: [{ file: ... }]`): text in, all nodes or all [`Problems`] out.

use std::collections::HashMap;
use std::path::Path;

use super::found::FoundNode;
use super::model::{Balance, MaxInFlight, Pool, Weight};
use super::nodes::{IN_FLIGHT_MAX, NODES_MAX};
use super::problems::{Collector, Problems};
use super::raw::{self, Raw, Value};
use super::section::{Place, Section};
use super::source::Origin;
use super::values::{max_in_flight, name, node_address, switch, weight};
use super::{NodeAddress, read_plain};

/// The largest file, in bytes: enough for 4096 nodes with all their keys.
const FILE_BYTES_MAX: usize = 1 << 20;
const TARGETS_MAX: usize = NODES_MAX;

impl FoundNode {
    /// Reads and checks a file of at most 1MiB.
    pub fn load(path: &Path, pool: &Pool) -> Result<Vec<Self>, Problems> {
        let (text, source) = read_plain(path, FILE_BYTES_MAX)?;
        Self::parse(&text, &source, pool)
    }

    /// Checks a text by the rules of the pool; `source` is its name in problems.
    pub fn parse(text: &str, source: &str, pool: &Pool) -> Result<Vec<Self>, Problems> {
        let problems = Collector::default();
        let nodes = read(text, pool, &problems);
        problems.finish(nodes, source)
    }
}

fn read(text: &str, pool: &Pool, problems: &Collector) -> Option<Vec<FoundNode>> {
    if text.len() > FILE_BYTES_MAX {
        problems.add("", 0, "is larger than 1MiB");
        return None;
    }
    let raw = raw::parse(text, problems)?;
    let root = Place::root(&raw, problems);
    if raw.value == Value::Null {
        // half of a write looks like that
        root.problem("is empty; write `[]` for no nodes at all");
        return None;
    }
    let mut list = List { pool, names: HashMap::new(), addresses: HashMap::new(), nodes: Vec::new() };
    for item in &root.items(0..=NODES_MAX, "entries")? {
        match &item.raw.value {
            Value::Mapping(_) => {
                let section = item.section()?;
                if section.has("targets") {
                    section.finish(|s| targets(s, &mut list));
                } else if let Some(node) = section.finish(|s| mapped(s, pool)) {
                    list.add(item, node);
                }
            }
            _ => list.add_address(item),
        }
    }
    if list.nodes.len() > NODES_MAX {
        root.problem(format!("has {} nodes; at most {NODES_MAX} are allowed", list.nodes.len()));
    }
    Some(list.nodes)
}

/// An entry as Prometheus' file_sd has it. Its labels are for Prometheus.
fn targets(s: &mut Section, list: &mut List) {
    s.take("labels");
    let items = s.take("targets").and_then(|place| place.items(0..=TARGETS_MAX, "targets"));
    items.iter().flatten().for_each(|item| list.add_address(item));
}

fn mapped(s: &mut Section, pool: &Pool) -> Option<FoundNode> {
    let place = s.required("address", "write the node's host:port");
    let address = place.and_then(|place| place.read(node_address));
    let name = s.option("name", name);
    let weight = s.option("weight", weight);
    let follows_weights = matches!(pool.balance, Balance::LeastInFlight | Balance::LeastWork);
    s.rule("weight", &[], weight != Some(Weight::Auto) || follows_weights, || {
        "`weight: auto` needs `balance: least_in_flight` or `least_work` of the pool".to_owned()
    });
    let max_in_flight: Option<MaxInFlight> = s.option("max_in_flight", max_in_flight(IN_FLIGHT_MAX));
    let drain = s.get("drain", false, switch);
    let backup = s.get("backup", false, switch);
    for key in ["tls", "authorization"] {
        if let Some(place) = s.take(key) {
            place.problem("is that of the pool for nodes of a file; write it there");
        }
    }
    Some(FoundNode { name, weight, max_in_flight, drain, backup, ..FoundNode::at(address?) })
}

/// The nodes of a file, with distinct names and addresses.
struct List<'a> {
    pool: &'a Pool,
    /// Each with the line of its node.
    names: HashMap<String, usize>,
    addresses: HashMap<NodeAddress, usize>,
    nodes: Vec<FoundNode>,
}

impl List<'_> {
    fn add_address(&mut self, item: &Place) {
        let read = |raw: &Raw| node_address(raw);
        if let Some(address) = item.read(read) {
            self.add(item, FoundNode::at(address));
        }
    }

    fn add(&mut self, item: &Place, node: FoundNode) {
        let name = match self.pool.defaults.node(&node, Origin::Config) {
            Ok(valid) => valid.name,
            Err(message) => return item.problem(message),
        };
        let line = item.raw.line;
        if let Some(first) = self.addresses.insert(node.address.clone(), line) {
            item.problem(format!("the address {} is already on line {first}", node.address));
        } else if let Some(first) = self.names.insert(name.clone(), line) {
            item.problem(format!("the name `{name}` is already on line {first}"));
        }
        self.nodes.push(node);
    }
}
