//! Simulated nodes.

use std::time::Duration;

use evenkeel::sim::{Fault, Node, Options, StepTimes};

/// A node on a free port that remembers what it gets.
pub(crate) fn node(options: Options) -> Node {
    Node::start(Options { record: true, ..options }).unwrap()
}

/// So many instant nodes: a, b, c and so on.
pub(crate) fn nodes(count: usize) -> Vec<Node> {
    nodes_like(count, &Options::default())
}

/// So many nodes of a kind: a, b, c and so on.
pub(crate) fn nodes_like(count: usize, options: &Options) -> Vec<Node> {
    let named = |name: char| node(Options { name: name.to_string(), ..options.clone() });
    ('a'..='z').take(count).map(named).collect()
}

/// A fault in its short form, such as `status:500,times=3`.
pub(crate) fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

/// Steps of this many milliseconds, whatever the load.
pub(crate) fn steps(milliseconds: u64) -> StepTimes {
    StepTimes { base: Duration::from_millis(milliseconds), ..StepTimes::default() }
}
