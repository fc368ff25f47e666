//! The reasons for which a pool does not take a node.

use std::fmt;
use std::time::Duration;

use crate::config::{NodeAddress, units::show_duration};

/// The reason why a node gets no lease. Its text says what to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Denied {
    /// The pool takes no nodes, or is not there any more.
    Off,
    /// The address is in none of the networks.
    Elsewhere,
    /// The config has it: this is its name there.
    Fixed { node: String },
    /// Another address has a lease under this name.
    Taken { address: NodeAddress, left: Duration },
    /// As many nodes as may be have leases.
    Full { max: usize },
    /// Its weight would be learned, and the pool does not go by weights.
    NothingToLearn,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("the pool takes no nodes that register themselves: give it `sources: [{ registration: on }]` in the config"),
            Self::Elsewhere => f.write_str(
                "the address is in none of the networks of the pool's `registration.allow`: add its network there, or register \
                 with an IP address instead of a name",
            ),
            Self::Fixed { node } => write!(
                f,
                "the config has this node already, as {node}: it needs no lease; to have it register itself, remove it from \
                 the pool's `nodes` and reload"
            ),
            Self::Taken { address, left } => write!(
                f,
                "the name belongs to the node at {address} for another {}: use another name, or end that lease (DELETE)",
                // whole seconds, and none of them too few
                show_duration(Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0)))
            ),
            Self::Full { max } => write!(
                f,
                "{max} nodes have leases, the most that the pool takes: raise its `registration.max`, or let some leave"
            ),
            Self::NothingToLearn => {
                f.write_str("`weight: auto` needs `balance: least_in_flight` or `least_work` in the pool's config")
            }
        }
    }
}
