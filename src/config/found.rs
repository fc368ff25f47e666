//! Nodes that a source has found: checked as those of the config are, with the pool's usual settings.

use std::sync::Arc;

use super::address::{HostPort, NodeAddress};
use super::link::Link;
use super::model::{MaxInFlight, Node, NodeDefaults, Weight};
use super::server::leads_back;
use super::source::Origin;
use super::values::{check_name, default_name};

/// A node that a source has found. What it does not say is as usual in its pool.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundNode {
    pub address: NodeAddress,
    /// Default: its address, without the way it is reached.
    pub name: Option<String>,
    /// The name that the certificate of one with `https://` is for, unless `tls.sni` names another; default: its address.
    pub host: Option<Arc<str>>,
    /// Default: the pool's.
    pub weight: Option<Weight>,
    /// Default: the pool's.
    pub max_in_flight: Option<MaxInFlight>,
    pub drain: bool,
    pub backup: bool,
}

impl FoundNode {
    /// One at this address, with the pool's settings.
    pub fn at(address: NodeAddress) -> Self {
        Self {
            address,
            name: None,
            host: None,
            weight: None,
            max_in_flight: None,
            drain: false,
            backup: false,
        }
    }
}

impl Default for NodeDefaults {
    fn default() -> Self {
        Self {
            weight: Weight::Fixed(1.0),
            max_in_flight: MaxInFlight::Off,
            authorization: None,
            https: Err("the pool has no sources of nodes".to_owned()),
            listen: Vec::new(),
        }
    }
}

impl NodeDefaults {
    /// The node with all its settings, or what is wrong with it, for people.
    pub fn node(&self, found: &FoundNode, origin: Origin) -> Result<Node, String> {
        let address = &found.address;
        if let Some(own) = address.host_port().and_then(|address| leads_back(&self.listen, address)) {
            return Err(format!("{address} leads back to the gateway, which listens on {}", own.address));
        }
        let name = match &found.name {
            Some(name) => check_name(name).map(|()| name.clone())?,
            None => default_name(address)?,
        };
        Ok(Node {
            name,
            address: address.clone(),
            link: self.link(address, found.host.as_deref())?,
            authorization: self.authorization.clone(),
            weight: found.weight.unwrap_or(self.weight),
            max_in_flight: found.max_in_flight.unwrap_or(self.max_in_flight),
            drain: found.drain,
            backup: found.backup,
            origin,
        })
    }

    fn link(&self, address: &NodeAddress, host: Option<&str>) -> Result<Link, String> {
        match address {
            NodeAddress::Http(_) => Ok(Link::Tcp),
            NodeAddress::Unix(path) => Ok(Link::Unix(Arc::clone(path))),
            NodeAddress::Https(HostPort { host: own, .. }) => {
                self.https.as_ref().map_err(Clone::clone)?.link(host.unwrap_or(own))
            }
        }
    }
}
