//! Nodes that register themselves: the book of leases, and the pools that follow it.

use std::time::{Duration, Instant};

use super::Live;
use crate::config::{FoundNode, Origin};
use crate::fleet::{Applied, Fleet, Pool};
use crate::sources::{Denied, Lease, Leases, Registered, Registrant};

/// A pool that has followed the book.
#[derive(Debug)]
pub struct Followed {
    pub pool: std::sync::Arc<Pool>,
    /// Its nodes with leases.
    pub nodes: usize,
    pub applied: Applied,
}

impl Live {
    /// Gives a node a lease in a pool of the config, or renews the one that it has; and the pool follows.
    pub fn register(
        &self,
        pool: &str,
        node: Registrant,
        now: Instant,
    ) -> Result<(Registered, Option<Followed>), Denied> {
        let mut leases = self.leases.lock();
        let fleet = self.fleet();
        let conf = fleet.config.pools.iter().find(|conf| conf.name == pool).ok_or(Denied::Off)?;
        let registered = leases.register(conf, node, now)?;
        let followed = registered.is_change().then(|| follow(&fleet, &leases, pool, now)).flatten();
        Ok((registered, followed))
    }

    /// Ends the lease of a node that leaves: it gets no new requests, and finishes those it has. `None`: it has no lease.
    pub fn deregister(&self, pool: &str, node: &str, now: Instant) -> Option<(Lease, Option<Followed>)> {
        let mut leases = self.leases.lock();
        let lease = leases.deregister(pool, node)?;
        Some((lease, follow(&self.fleet(), &leases, pool, now)))
    }

    /// Ends the leases whose time is over.
    pub fn expire_leases(&self, now: Instant) -> (Vec<(String, Lease)>, Vec<Followed>) {
        let mut leases = self.leases.lock();
        let ended = leases.expire(now);
        let mut pools: Vec<_> = ended.iter().map(|(pool, _)| pool.as_str()).collect();
        pools.dedup();
        let fleet = self.fleet();
        let followed = pools.into_iter().filter_map(|pool| follow(&fleet, &leases, pool, now)).collect();
        (ended, followed)
    }

    /// Ends the leases that the config would not give any more; a pool that is new, or takes nodes again, gets those that it has.
    pub fn recheck_leases(&self, now: Instant) -> (Vec<(String, Lease, Denied)>, Vec<Followed>) {
        let mut leases = self.leases.lock();
        let fleet = self.fleet();
        let ended = leases.follow(&fleet.config.pools);
        let takes = fleet.config.pools.iter().filter(|conf| conf.registration().is_some());
        let followed = takes.filter_map(|conf| follow(&fleet, &leases, &conf.name, now)).collect();
        (ended, followed)
    }

    /// The rest of a node's lease.
    pub fn lease_left(&self, pool: &str, node: &str, now: Instant) -> Option<Duration> {
        self.leases.lock().until(pool, node).map(|until| until.saturating_duration_since(now))
    }
}

/// One list after the other: the book stays locked meanwhile.
fn follow(fleet: &Fleet, leases: &Leases, name: &str, now: Instant) -> Option<Followed> {
    let pool = fleet.pools.iter().map(|member| &member.pool).find(|pool| **pool.name() == *name)?;
    let nodes: Vec<FoundNode> = leases.of(name).map(|lease| lease.node.found()).collect();
    let count = nodes.len();
    let applied = pool.found(&Origin::Registered, nodes, now)?;
    Some(Followed { pool: std::sync::Arc::clone(pool), nodes: count, applied })
}
