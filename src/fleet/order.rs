//! Orders of an operator about one node, beside what the config says of it.

use std::time::Duration;

/// An order about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// No new requests; those in flight end as they would.
    Drain,
    /// The end of [`Order::Drain`], with slow start.
    Undrain,
    /// No requests at all, not even as the last resort, for this time or for `fail_timeout`; then it is probed.
    Eject(Option<Duration>),
    /// The end of any ejection, with slow start, and all failures forgotten.
    Restore,
}

/// The reason why an order was not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The pool has no such node.
    Unknown,
    /// The node has no address that it could be restored to.
    Unresolved,
}

/// The parties that drain a node. A reload replaces the config's wish and leaves the operator's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    pub by_config: bool,
    pub by_operator: bool,
}

impl Drain {
    pub fn is_on(self) -> bool {
        self.by_config || self.by_operator
    }

    /// Their names; none if the node is not drained.
    pub fn names(self) -> Vec<&'static str> {
        let all = [(self.by_config, "config"), (self.by_operator, "operator")];
        all.into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| name).collect()
    }
}
