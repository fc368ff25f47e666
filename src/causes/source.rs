//! Causes that lie with the sources of a pool's nodes.

use std::sync::Arc;

use super::scene::{PoolScene, SourceScene};
use super::words::{count, time};
use crate::status::{Cause, Severity};

pub(super) fn causes(pool: &PoolScene) -> Vec<Cause> {
    pool.sources
        .iter()
        .flat_map(|source| [failed(source), left_out(source)])
        .flatten()
        .map(|(severity, text)| Cause { severity, pool: Some(Arc::clone(&pool.name)), node: None, text })
        .collect()
}

fn failed(source: &SourceScene) -> Option<(Severity, String)> {
    let (why, since) = source.trouble.as_ref()?;
    let stays = match source.nodes {
        0 => "it has named no nodes".to_owned(),
        nodes => format!("{} that it named last stay in use", count(nodes as u64, "node")),
    };
    Some((Severity::Warn, format!("{} has failed for {}: {why}; {stays}", source.name, time(*since))))
}

fn left_out(source: &SourceScene) -> Option<(Severity, String)> {
    let (address, why) = source.left_out.as_ref()?;
    let text = match source.left_out_count {
        1 => format!("{} names {address}, which is left out: {why}", source.name),
        all => format!("{} names {all} nodes that are left out, such as {address}: {why}", source.name),
    };
    Some((Severity::Info, text))
}
