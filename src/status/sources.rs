//! The sources of a pool's nodes, as the status shows them.

use jiff::Timestamp;
use serde::Serialize;

use super::time::Moment;
use crate::sources::SourceSnapshot;

/// The most nodes that are left out and named.
const LEFT_OUT_MAX: usize = 100;

#[derive(Serialize)]
pub(super) struct SourceStatus {
    /// `dns vllm.default.svc:8000`, `srv _http._tcp.vllm`, `file /etc/evenkeel/nodes.yaml`; a node says so in `origin`.
    source: String,
    /// It has answered since the start.
    answered: bool,
    /// The nodes that it named last, which stay while it fails.
    nodes: usize,
    /// What is wrong with it now.
    error: Option<String>,
    /// To the second.
    failing_since: Option<String>,
    failures: u64,
    /// Nodes of it that are not in use; at most 100.
    left_out: Vec<LeftOutStatus>,
}

#[derive(Serialize)]
struct LeftOutStatus {
    address: String,
    reason: String,
}

impl SourceStatus {
    pub(super) fn of(source: &SourceSnapshot, moment: Moment) -> Self {
        let since = source.trouble.as_ref().map(|(_, ago)| {
            let at = moment.wall.checked_sub(*ago).unwrap_or(moment.wall);
            Timestamp::try_from(at).map_or_else(|_| String::new(), |time| format!("{time:.0}"))
        });
        let left_out = source
            .left_out
            .iter()
            .take(LEFT_OUT_MAX)
            .map(|one| LeftOutStatus { address: one.address.to_string(), reason: one.why.to_string() });
        Self {
            source: source.origin.to_string(),
            answered: source.heard.is_some(),
            nodes: source.nodes,
            error: source.trouble.as_ref().map(|(trouble, _)| trouble.0.to_string()),
            failing_since: since,
            failures: source.failures,
            left_out: left_out.collect(),
        }
    }
}
