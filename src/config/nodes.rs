//! The schema of a pool's `nodes`: each is an address, or a mapping with an address and more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::NodeAddress;
use super::link::{Link, NodeKey};
use super::model::{HttpVersion, Listener, MaxInFlight, Node, NodeDefaults, Weight};
use super::raw::Value;
use super::reach::{Loader, Tls, authorization};
use super::section::{Place, Section};
use super::server::leads_back;
use super::source::Origin;
use super::values::{default_name, max_in_flight, name, node_address, switch, weight};

/// The most nodes of a pool.
pub const NODES_MAX: usize = 4096;
pub(super) const IN_FLIGHT_MAX: usize = 1_000_000;

/// The settings of nodes that have none of their own.
pub(super) struct Usual<'a> {
    weight: Weight,
    max_in_flight: MaxInFlight,
    tls: Tls,
    authorization: Option<NodeKey>,
    http_version: HttpVersion,
    loader: &'a Loader<'a>,
}

impl<'a> Usual<'a> {
    pub(super) fn of(s: &mut Section, http_version: HttpVersion, loader: &'a Loader) -> Self {
        let nothing = Self {
            weight: Weight::Fixed(1.0),
            max_in_flight: MaxInFlight::Off,
            tls: Tls::default(),
            authorization: None,
            http_version,
            loader,
        };
        nothing.or_own(s)
    }

    fn or_own(&self, s: &mut Section) -> Self {
        let Self { http_version, loader, .. } = *self;
        Self {
            weight: s.get("weight", self.weight, weight),
            max_in_flight: s.get("max_in_flight", self.max_in_flight, max_in_flight(IN_FLIGHT_MAX)),
            tls: Tls::of(s, &self.tls, loader),
            authorization: authorization(s, self.authorization.as_ref(), loader),
            http_version,
            loader,
        }
    }

    /// The same for nodes that sources find.
    pub(super) fn defaults(&self, listen: &[Listener]) -> NodeDefaults {
        NodeDefaults {
            weight: self.weight,
            max_in_flight: self.max_in_flight,
            authorization: self.authorization.clone(),
            https: self.tls.https(self.http_version, self.loader),
            listen: listen.to_vec(),
        }
    }

    /// The weights of some are learned.
    pub(super) fn learns(&self) -> bool {
        self.weight == Weight::Auto
    }

    fn link(&self, address: &NodeAddress) -> Result<Link, String> {
        self.tls.link(address, self.http_version, self.loader)
    }
}

/// The nodes under the key `nodes`, with distinct names and addresses. `is_all`: there are no sources of others.
pub(super) fn nodes(s: &mut Section, listen: &[Listener], usual: &Usual, is_all: bool) -> Vec<Node> {
    let place = if is_all { s.required("nodes", MISSING) } else { s.take("nodes") };
    let items = place.and_then(|place| place.items(usize::from(is_all)..=NODES_MAX, "nodes"));
    let mut nodes = Vec::new();
    let mut names = HashMap::new();
    let mut addresses = HashMap::new();
    for (index, item) in items.iter().flatten().enumerate() {
        let Some(node) = node(item, usual) else { continue };
        if let Some(listener) = node.address.host_port().and_then(|address| leads_back(listen, address)) {
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
    let has_tls = !is_all || nodes.is_empty() || nodes.iter().any(|node| matches!(node.link, Link::Tls(_)));
    s.rule("tls", &["nodes"], has_tls || !usual.tls.is_any(), || ONLY_HTTPS.to_owned());
    let has_primary = !is_all || nodes.is_empty() || nodes.iter().any(|node| !node.backup);
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

const MISSING: &str =
    "write at least one, such as `nodes: [192.168.0.150:9997]`, or the `sources` that they come from";
const ONLY_HTTPS: &str = "is for nodes whose address begins with https://";

fn node(place: &Place, usual: &Usual) -> Option<Node> {
    if matches!(place.raw.value, Value::Mapping(_)) {
        return place.section()?.finish(|s| mapped_node(s, usual));
    }
    let address = place.read(node_address)?;
    let name = place.read(|_| default_name(&address))?;
    let link = place.read(|_| usual.link(&address))?;
    let Usual { weight, max_in_flight, .. } = *usual;
    let authorization = usual.authorization.clone();
    let origin = Origin::Config;
    Some(Node {
        name,
        address,
        link,
        authorization,
        weight,
        max_in_flight,
        drain: false,
        backup: false,
        origin,
    })
}

fn mapped_node(s: &mut Section, usual: &Usual) -> Option<Node> {
    let place = s.required("address", "write the node's host:port");
    let address = place.as_ref().and_then(|place| place.read(node_address));
    let name = s.option("name", name);
    let own = usual.or_own(s);
    let drain = s.get("drain", false, switch);
    let backup = s.get("backup", false, switch);
    let address = address?;
    let default = default_name(&address);
    s.rule("name", &[], name.is_some() || default.is_ok(), || default.clone().err().unwrap_or_default());
    let link = place.and_then(|place| place.read(|_| own.link(&address)))?;
    let has_own = own.tls.is_any() && !usual.tls.is_any();
    s.rule("tls", &[], matches!(link, Link::Tls(_)) || !has_own, || ONLY_HTTPS.to_owned());
    let Usual { weight, max_in_flight, authorization, .. } = own;
    Some(Node {
        name: name.or(default.ok())?,
        address,
        link,
        authorization,
        weight,
        max_in_flight,
        drain,
        backup,
        origin: Origin::Config,
    })
}
