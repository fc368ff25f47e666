//! One list of nodes from several: those of the config first, then those of each source.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::{FoundNode, NODES_MAX, Node, NodeAddress, NodeDefaults, Origin};

/// The nodes of a pool, with distinct names and addresses; at most [`NODES_MAX`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged {
    pub nodes: Vec<Node>,
    pub left_out: Vec<LeftOut>,
}

/// A node that a source has found and that is not used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeftOut {
    pub origin: Origin,
    pub address: NodeAddress,
    /// In words.
    pub why: Arc<str>,
}

impl Merged {
    /// Of two nodes with one address or one name the first stays: that of the config, else that of the earlier source.
    pub(super) fn of<'a>(
        fixed: &[Node],
        defaults: &NodeDefaults,
        found: impl Iterator<Item = (&'a Origin, &'a [FoundNode])>,
    ) -> Self {
        let mut merged = Self { nodes: fixed.to_vec(), left_out: Vec::new() };
        let mut taken = Taken::default();
        fixed.iter().for_each(|node| taken.add(node));
        for (origin, list) in found {
            for one in list {
                match taken.admit(one, defaults, origin) {
                    Ok(node) => merged.nodes.push(node),
                    Err(why) => merged.left_out.push(LeftOut {
                        origin: origin.clone(),
                        address: one.address.clone(),
                        why: why.into(),
                    }),
                }
            }
        }
        merged
    }
}

#[derive(Default)]
struct Taken {
    names: HashSet<String>,
    addresses: HashSet<NodeAddress>,
}

impl Taken {
    fn add(&mut self, node: &Node) {
        self.names.insert(node.name.clone());
        self.addresses.insert(node.address.clone());
    }

    fn admit(&mut self, one: &FoundNode, defaults: &NodeDefaults, origin: &Origin) -> Result<Node, String> {
        if self.addresses.contains(&one.address) {
            return Err("the pool has a node with this address already".to_owned());
        }
        let node = defaults.node(one, origin.clone())?;
        if self.names.contains(&node.name) {
            return Err(format!("the pool has a node with the name `{}` already", node.name));
        }
        if self.addresses.len() >= NODES_MAX {
            return Err(format!("the pool has {NODES_MAX} nodes already, the most that it can"));
        }
        self.add(&node);
        Ok(node)
    }
}
