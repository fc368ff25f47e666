//! The schema of a pool's `nodes`: each is an address, or a mapping with an address and more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::NodeAddress;
use super::model::{Listener, MaxInFlight, Node, Weight};
use super::raw::Value;
use super::section::{Place, Section};
use super::server::leads_back;
use super::values::{check_name, max_in_flight, name, node_address, switch, weight};

const NODES_MAX: usize = 4096;
pub(super) const IN_FLIGHT_MAX: usize = 1_000_000;

/// The settings of nodes that have none of their own.
#[derive(Clone, Copy)]
pub(super) struct Usual {
    pub weight: Weight,
    pub max_in_flight: MaxInFlight,
}

impl Usual {
    fn or(s: &mut Section, usual: Self) -> Self {
        Self {
            weight: s.get("weight", usual.weight, weight),
            max_in_flight: s.get("max_in_flight", usual.max_in_flight, max_in_flight(IN_FLIGHT_MAX)),
        }
    }

    pub(super) fn of(s: &mut Section) -> Self {
        Self::or(s, Self { weight: Weight::Fixed(1.0), max_in_flight: MaxInFlight::Off })
    }
}

/// The nodes under the key `nodes`, with distinct names and addresses.
pub(super) fn nodes(s: &mut Section, listen: &[Listener], usual: Usual) -> Vec<Node> {
    let place = s.required("nodes", "write at least one, such as `nodes: [192.168.0.150:9997]`");
    let items = place.and_then(|place| place.items(1..=NODES_MAX, "nodes"));
    let mut nodes = Vec::new();
    let mut names = HashMap::new();
    let mut addresses = HashMap::new();
    for (index, item) in items.iter().flatten().enumerate() {
        let Some(node) = node(item, usual) else { continue };
        if let Some(listener) = leads_back(listen, &node.address) {
            let own = listener.address;
            item.problem(format!("{} leads back to the gateway, which listens on {own}", node.address));
        }
        if let Some(first) = claim(&mut addresses, node.address.clone(), index) {
            item.problem(format!("the address {} is already that of nodes[{first}]", node.address));
        } else if let Some(first) = claim(&mut names, node.name.clone(), index) {
            item.problem(format!("the name `{}` is already that of nodes[{first}]", node.name));
        }
        nodes.push(node);
    }
    let has_primary = nodes.is_empty() || nodes.iter().any(|node| !node.backup);
    s.rule("nodes", &[], has_primary, || {
        "each of them is a `backup`; leave at least one without, for which the others stand in".to_owned()
    });
    nodes
}

/// Claims the key for `index`; returns the index that has it already, if any.
fn claim<K: std::hash::Hash + Eq>(taken: &mut HashMap<K, usize>, key: K, index: usize) -> Option<usize> {
    match taken.entry(key) {
        Entry::Occupied(first) => Some(*first.get()),
        Entry::Vacant(free) => {
            free.insert(index);
            None
        }
    }
}

fn node(place: &Place, usual: Usual) -> Option<Node> {
    if matches!(place.raw.value, Value::Mapping(_)) {
        return place.section()?.finish(|s| mapped_node(s, usual));
    }
    let address = place.read(node_address)?;
    let name = place.read(|_| default_name(&address))?;
    let Usual { weight, max_in_flight } = usual;
    Some(Node { name, address, weight, max_in_flight, drain: false, backup: false })
}

fn mapped_node(s: &mut Section, usual: Usual) -> Option<Node> {
    let address =
        s.required("address", "write the node's host:port").and_then(|place| place.read(node_address));
    let name = s.option("name", name);
    let Usual { weight, max_in_flight } = Usual::or(s, usual);
    let drain = s.get("drain", false, switch);
    let backup = s.get("backup", false, switch);
    let address = address?;
    let default = default_name(&address);
    s.rule("name", &[], name.is_some() || default.is_ok(), || default.clone().err().unwrap_or_default());
    Some(Node { name: name.or(default.ok())?, address, weight, max_in_flight, drain, backup })
}

fn default_name(address: &NodeAddress) -> Result<String, String> {
    let name = address.to_string();
    check_name(&name)
        .map(|()| name)
        .map_err(|_| "the address is too long to be the name; give it a `name`".to_owned())
}
