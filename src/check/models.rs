//! Asks a node for its list of models, with its own key if it has one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::ask::Asked;
use crate::config::HttpVersion;
use crate::fleet::{ListQuestion, Listed, Pool};

/// The longest time that a list may take, and its largest size, in bytes, head included.
const WITHIN: Duration = Duration::from_secs(5);
const BYTES_MAX: usize = 1024 * 1024;

/// Asks, and tells the pool. A node that is slow is at work: what is known of it stays.
pub(super) async fn ask_and_tell(pool: Arc<Pool>, question: ListQuestion, version: HttpVersion) {
    let asked = Asked { node: &question.node, address: question.address, version };
    let Ok(answer) = timeout(WITHIN, asked.get("/v1/models", WITHIN, BYTES_MAX)).await else { return };
    let list = answer.ok().filter(|(status, _)| *status == 200).and_then(|(_, list)| Listed::read(&list));
    if list.is_none() {
        let (pool, node) = (&question.node.pool, &question.node.name);
        log::debug!(pool:%, node:%; "pool {pool}, node {node}: no list of models");
    }
    pool.set_list(question.key, list);
}
