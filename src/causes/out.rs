//! A node that is out, on its way back, or drained.

use super::scene::NodeScene;
use super::words::{count, out, time};
use crate::config::Origin;
use crate::fleet::{NodeState, Reason};
use crate::status::Severity;

/// The cause that the node's own state says; `None`: it is up, with its full share.
pub(super) fn state(node: &NodeScene) -> Option<(Severity, String)> {
    let name = &node.name;
    match node.state {
        NodeState::Draining => Some((Severity::Info, draining(node))),
        NodeState::Ejected => Some(ejected(node)),
        NodeState::Probing => {
            Some((Severity::Info, format!("{name} answers again: one request at a time tries it")))
        }
        NodeState::Up if node.share < 1.0 => {
            let percent = node.share * 100.0;
            Some((
                Severity::Info,
                format!("{name} is back: its share rises, and is {percent:.0} % now (slow start)"),
            ))
        }
        NodeState::Up => None,
    }
}

fn draining(node: &NodeScene) -> String {
    let by = match (node.is_removed, node.drain.by_operator, node.drain.by_config) {
        (true, _, _) => match node.origin {
            Origin::Config => "was removed from the config",
            Origin::Dns(_) | Origin::File(_) => "is no longer named by its source",
            Origin::Registered => "has no lease any more",
        },
        (_, true, true) => "is drained by the config and an operator",
        (_, true, false) => "is drained by an operator",
        (_, false, _) => "is drained by the config",
    };
    let left = match node.in_flight {
        0 => "nothing is in flight on it".to_owned(),
        left => format!("{} left on it", count(left.into(), "request")),
    };
    format!("{} {by}: {left}", node.name)
}

fn ejected(node: &NodeScene) -> (Severity, String) {
    let reason = node.reason.map_or_else(|| "is out".to_owned(), out);
    let until = match node.ejected_for {
        Some(left) if !left.is_zero() => format!("it gets no requests for {} more", time(left)),
        _ if node.reason == Some(Reason::Unchecked) => "it gets no requests until then".to_owned(),
        _ => "it gets no requests until it answers again".to_owned(),
    };
    let with = match node.in_flight {
        0 => String::new(),
        left => format!("; {} still in flight on it", count(left.into(), "request")),
    };
    let severity = match node.reason {
        Some(Reason::Operator | Reason::Unchecked) => Severity::Info,
        _ => Severity::Bad,
    };
    (severity, format!("{} {reason}; {until}{with}", node.name))
}
