//! Nodes and events as tables for spreadsheets.

use super::history::{MarkStatus, marks};
use super::time::Moment;
use super::{NodeStatus, Snapshot, csv};
use crate::history::History;
use crate::outcome::Outcome;

const FIXED: [&str; 11] = [
    "pool",
    "node",
    "address",
    "state",
    "reason",
    "ejected_for_seconds",
    "in_flight",
    "max_in_flight",
    "weight",
    "slow_start_share",
    "ejections",
];

/// `GET /api/nodes?format=csv`: a line a node.
pub fn nodes_csv(snapshot: &Snapshot) -> String {
    let outcomes = Outcome::ALL.map(Outcome::as_str).map(|name| format!("attempts_{name}"));
    let mut table = csv::line(FIXED.iter().copied().chain(outcomes.iter().map(String::as_str)));
    for pool in &snapshot.pools {
        for (node, taken) in
            pool.nodes.iter().zip(pool.nodes.iter().map(|node| NodeStatus::of(node, snapshot.moment())))
        {
            let or_empty = |value: Option<String>| value.unwrap_or_default();
            let mut fields = vec![
                pool.name.to_string(),
                taken.name,
                taken.address,
                taken.state.to_owned(),
                or_empty(taken.reason),
                or_empty(taken.ejected_for_seconds.map(|seconds| format!("{seconds:.3}"))),
                taken.in_flight.to_string(),
                or_empty(taken.max_in_flight.map(|limit| limit.to_string())),
                taken.weight.to_string(),
                taken.slow_start_share.to_string(),
                taken.ejections.to_string(),
            ];
            fields.extend(node.attempts.iter().map(u64::to_string));
            table.push_str(&csv::line(fields.iter().map(String::as_str)));
        }
    }
    table
}

/// `GET /api/events?format=csv`: a line an event, oldest first.
pub fn events_csv(history: &History, moment: Moment) -> String {
    let mut table = csv::line(["time", "pool", "node", "kind", "text", "in_flight"]);
    for MarkStatus { time, pool, node, kind, text, in_flight, .. } in marks(history, 0, moment) {
        let (pool, node) = (pool.unwrap_or_default(), node.unwrap_or_default());
        let in_flight = in_flight.to_string();
        table.push_str(&csv::line([time.as_str(), &pool, &node, kind, &text, &in_flight]));
    }
    table
}
