//! A pool among those of other gateways: what an exchange of credits reads and writes.

use std::sync::Arc;
use std::time::Instant;

use super::bell::Bell;
use super::credit::Allow;
use super::key::Key;
use super::pool::Pool;
use super::shared::Shared;

/// The most nodes that are given credits under one lock.
const AT_ONCE: usize = 128;

impl Pool {
    /// The pool belongs to a cluster from now on: its capped nodes have no credits until they get some. `None`: it belongs to none.
    pub fn join(&self, cluster: Option<&Arc<Bell>>, now: Instant) {
        let mut table = self.table.lock();
        table.join(cluster, now);
        Self::hand_over(table, false, now);
    }

    /// Its nodes as an exchange of credits sees them. One that has left the config is among them until its last request has ended.
    pub fn shares(&self, now: Instant) -> Vec<Shared> {
        self.table.lock().shares(now)
    }

    /// Another gateway has taken this node out ([`Shared::node`]): if it is up here, it is asked at once as its check would, at most once
    /// a second. It is ejected by the answers only, after `health.check.fall` of them as always. `false`: it is not there or not up, or
    /// the pool has no check.
    pub fn hint(&self, node: u64, now: Instant) -> bool {
        self.table.lock().hint(node, now)
    }

    /// Gives the nodes these credits. Returns what each really holds: no fewer than are in flight. Those above what was allowed
    /// are given to no other request as they come back, and ring the [`Bell`].
    pub fn credit(&self, allowed: &[(Key, Allow)], now: Instant) -> Vec<u32> {
        let mut held = Vec::with_capacity(allowed.len());
        for some in allowed.chunks(AT_ONCE) {
            let mut table = self.table.lock();
            held.extend(table.credit(some, now));
            Self::hand_over(table, false, now);
        }
        held
    }
}
