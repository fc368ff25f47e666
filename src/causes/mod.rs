//! The causes of what is seen, in words: which node is sick and why, who waits and for what. For people who look at the page, the
//! status or the terminal, and would else have to infer it from numbers.
//!
//! A cause is said only where the numbers leave little doubt; a threshold stands with its reason beside it. Nothing here changes where
//! a request goes.

mod certificate;
mod cluster;
mod gateway;
mod node;
mod out;
mod past;
mod pool;
mod scene;
mod source;
#[cfg(test)]
mod tests;
mod words;

pub use past::Past;
pub use scene::Scene;

use crate::status::{Cause, Severity};

/// The most causes that are told.
const CAUSES_MAX: usize = 50;

/// All causes, the worst first; none where nothing stands out.
pub fn causes(scene: &Scene) -> Vec<Cause> {
    let mut all = gateway::causes(&scene.gateway);
    all.extend(certificate::causes(&scene.gateway.certificates));
    all.extend(scene.gateway.cluster.iter().flat_map(cluster::causes));
    for pool in &scene.pools {
        all.extend(pool::causes(pool));
        all.extend(source::causes(pool));
        all.extend(pool.nodes.iter().flat_map(|node| node::causes(node, pool)));
    }
    all.sort_by_key(|cause| cause.severity);
    let left = all.len().saturating_sub(CAUSES_MAX);
    if left > 0 {
        all.truncate(CAUSES_MAX);
        let text = format!("{left} more are not listed here; /api/status has every node's state");
        all.push(Cause { severity: Severity::Info, pool: None, node: None, text });
    }
    all
}
