//! Nodes that register themselves: the book of leases, and the pools that follow it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::config::{FoundNode, Origin, Pool};
use crate::fleet::{self, Applied, Fleet, NodeSnapshot, PoolSnapshot};
use crate::sources::{Denied, Lease, Leases, Registered, Registrant};
use crate::status::PoolLeases;

/// The leases of all pools. Changes come one after the other, each with the generation that is in use by then: a pool gets no list
/// that is older than the one it has.
#[derive(Debug, Default)]
pub struct LeaseBook {
    /// Locked before the sources of a pool.
    leases: Mutex<Leases>,
    /// The revision that is in the state file, or could not be written.
    kept: AtomicU64,
}

/// A pool that has followed the book.
#[derive(Debug)]
pub struct Followed {
    pub pool: Arc<fleet::Pool>,
    /// Its nodes with leases.
    pub nodes: usize,
    pub applied: Applied,
}

impl LeaseBook {
    /// Gives a node a lease in a pool of the config, or renews the one that it has; and the pool follows.
    pub fn register(
        &self,
        fleet: impl FnOnce() -> Arc<Fleet>,
        pool: &str,
        node: Registrant,
        now: Instant,
    ) -> Result<(Registered, Option<Followed>), Denied> {
        let mut leases = self.leases.lock();
        let fleet = fleet();
        let conf = fleet.config.pools.iter().find(|conf| conf.name == pool).ok_or(Denied::Off)?;
        let registered = leases.register(conf, node, now)?;
        let followed = registered.is_change().then(|| follow(&fleet, &leases, pool, now)).flatten();
        Ok((registered, followed))
    }

    /// Ends the lease of a node that leaves: it gets no new requests, and finishes those it has. `None`: it has no lease.
    pub fn deregister(
        &self,
        fleet: impl FnOnce() -> Arc<Fleet>,
        pool: &str,
        node: &str,
        now: Instant,
    ) -> Option<(Lease, Option<Followed>)> {
        let mut leases = self.leases.lock();
        let lease = leases.deregister(pool, node)?;
        Some((lease, follow(&fleet(), &leases, pool, now)))
    }

    /// Ends the leases whose time is over.
    pub fn expire(
        &self,
        fleet: impl FnOnce() -> Arc<Fleet>,
        now: Instant,
    ) -> (Vec<(String, Lease)>, Vec<Followed>) {
        let mut leases = self.leases.lock();
        let ended = leases.expire(now);
        let mut pools: Vec<_> = ended.iter().map(|(pool, _)| pool.as_str()).collect();
        pools.dedup();
        let fleet = fleet();
        let followed = pools.into_iter().filter_map(|pool| follow(&fleet, &leases, pool, now)).collect();
        (ended, followed)
    }

    /// Ends the leases that the config would not give any more; a pool that is new, or takes nodes again, gets those that it has.
    pub fn recheck(
        &self,
        fleet: impl FnOnce() -> Arc<Fleet>,
        now: Instant,
    ) -> (Vec<(String, Lease, Denied)>, Vec<Followed>) {
        let mut leases = self.leases.lock();
        let fleet = fleet();
        let ended = leases.follow(&fleet.config.pools);
        let takes = fleet.config.pools.iter().filter(|conf| conf.registration().is_some());
        let followed = takes.filter_map(|conf| follow(&fleet, &leases, &conf.name, now)).collect();
        (ended, followed)
    }

    /// Reads or changes the book alone: no pool follows.
    pub fn with<T>(&self, look: impl FnOnce(&mut Leases) -> T) -> T {
        look(&mut self.leases.lock())
    }

    /// All changes so far are in the state file, or could not be written there.
    pub fn is_kept(&self) -> bool {
        let revision = self.leases.lock().revision();
        self.kept.load(Ordering::Acquire) >= revision
    }

    /// The state file has this revision now, or could not be written.
    pub fn set_kept(&self, revision: u64) {
        self.kept.store(revision, Ordering::Release);
    }

    /// The numbers of each pool that takes nodes.
    pub(super) fn numbers(&self, fleet: &Fleet) -> Vec<PoolLeases> {
        let takes = fleet.config.pools.iter().filter(|conf| conf.registration().is_some());
        let leases = self.leases.lock();
        let of = |conf: &Pool| PoolLeases {
            pool: conf.name.clone(),
            held: leases.of(&conf.name).count(),
            counts: leases.counts(&conf.name),
        };
        takes.map(of).collect()
    }

    /// The same snapshot with the ends of the nodes' leases.
    pub(super) fn added_to(&self, mut pool: PoolSnapshot) -> PoolSnapshot {
        let is_registered = |node: &&mut NodeSnapshot| node.origin == Origin::Registered && !node.is_removed;
        let mut nodes = pool.nodes.iter_mut().filter(is_registered).peekable();
        if nodes.peek().is_some() {
            let leases = self.leases.lock();
            nodes.for_each(|node| node.lease = leases.until(&pool.name, &node.id.name));
        }
        pool
    }
}

fn follow(fleet: &Fleet, leases: &Leases, name: &str, now: Instant) -> Option<Followed> {
    let pool = fleet.pools.iter().map(|member| &member.pool).find(|pool| **pool.name() == *name)?;
    let nodes: Vec<FoundNode> = leases.of(name).map(|lease| lease.node.found()).collect();
    let count = nodes.len();
    let applied = pool.found(&Origin::Registered, nodes, now)?;
    Some(Followed { pool: Arc::clone(pool), nodes: count, applied })
}
