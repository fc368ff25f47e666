//! Starting simulated nodes for the tests.

use std::time::Duration;

use evenkeel::sim::{Fault, Node, Options, StepTimes};

/// A node on a free port that records its requests.
pub(crate) fn node(options: Options) -> Node {
    Node::start(Options { record: true, ..options }).unwrap()
}

/// Instant nodes, named a, b, c and so on.
pub(crate) fn nodes(count: usize) -> Vec<Node> {
    nodes_like(count, &Options::default())
}

/// Nodes with the same options, named a, b, c and so on.
pub(crate) fn nodes_like(count: usize, options: &Options) -> Vec<Node> {
    let named = |name: char| node(Options { name: name.to_string(), ..options.clone() });
    ('a'..='z').take(count).map(named).collect()
}

/// A fault in its short form, such as `status:500,times=3`.
pub(crate) fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

/// Steps of this many milliseconds, independent of the load.
pub(crate) fn steps(milliseconds: u64) -> StepTimes {
    StepTimes { base: Duration::from_millis(milliseconds), ..StepTimes::default() }
}
