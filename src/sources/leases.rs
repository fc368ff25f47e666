//! The leases of nodes that have registered themselves: who holds one, until when, and who may have one.
//!
//! A node that has no lease any more leaves its pool as one that a reload removes: it gets no new requests, and is gone once it has
//! finished those it has. One that registers again before that is a member again, with its counts and its health.

mod denied;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use self::denied::Denied;
use crate::config::{Balance, FoundNode, MaxInFlight, Node, NodeAddress, Pool, Weight};

/// A node's own wish to be a member of a pool, for a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Registrant {
    pub name: String,
    pub address: NodeAddress,
    /// `None`: that of the pool.
    pub weight: Option<Weight>,
    /// `None`: that of the pool.
    pub max_in_flight: Option<MaxInFlight>,
    /// The length of the lease from each registration on; 1s to 24h.
    pub ttl: Duration,
}

impl Registrant {
    /// The node as a source finds it.
    pub fn found(&self) -> FoundNode {
        FoundNode {
            name: Some(self.name.clone()),
            weight: self.weight,
            max_in_flight: self.max_in_flight,
            ..FoundNode::at(self.address.clone())
        }
    }
}

/// A node that has registered itself, and the end of its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    pub node: Registrant,
    pub until: Instant,
}

/// The result of a registration.
#[derive(Clone, Debug, PartialEq)]
pub enum Registered {
    /// It had no lease.
    New,
    /// Its lease goes on.
    Renewed,
    /// Its lease goes on, and something else about it is new.
    Changed,
    /// A lease of its address goes on under another name.
    Renamed { from: String },
}

impl Registered {
    /// The pool's nodes are not what they were.
    pub fn is_change(&self) -> bool {
        *self != Self::Renewed
    }
}

/// Numbers of one pool since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseCounts {
    pub registered: u64,
    pub renewed: u64,
    pub refused: u64,
    pub expired: u64,
    pub deregistered: u64,
}

/// All leases, by pool.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    pools: BTreeMap<String, BTreeMap<String, Lease>>,
    counts: BTreeMap<String, LeaseCounts>,
    revision: u64,
}

impl Leases {
    /// Gives the node a lease, or renews the one that it has. A registration that is refused changes nothing.
    pub fn register(&mut self, pool: &Pool, node: Registrant, now: Instant) -> Result<Registered, Denied> {
        if let Err(why) = self.judge(pool, &node, now) {
            self.counts.entry(pool.name.clone()).or_default().refused += 1;
            return Err(why);
        }
        let leases = self.pools.entry(pool.name.clone()).or_default();
        // the process that listens there now is the newest to say so
        let same = |(name, lease): (&String, &Lease)| {
            (is_same(&lease.node.address, &node.address) && *name != node.name).then(|| name.clone())
        };
        let from = leases.iter().find_map(same);
        if let Some(from) = &from {
            leases.remove(from);
        }
        let lease = Lease { until: now + node.ttl, node };
        let name = lease.node.name.clone();
        let is_equal = |old: &Lease| Registrant { ttl: lease.node.ttl, ..old.node.clone() } == lease.node;
        let result = match (leases.get(&name), from) {
            (_, Some(from)) => Registered::Renamed { from },
            (None, None) => Registered::New,
            (Some(old), None) if is_equal(old) => Registered::Renewed,
            (Some(_), None) => Registered::Changed,
        };
        leases.insert(name, lease);
        self.revision += u64::from(result.is_change());
        let counts = self.counts.entry(pool.name.clone()).or_default();
        match result {
            Registered::New => counts.registered += 1,
            _ => counts.renewed += 1,
        }
        Ok(result)
    }

    fn judge(&self, pool: &Pool, node: &Registrant, now: Instant) -> Result<(), Denied> {
        let rules = pool.registration().ok_or(Denied::Off)?;
        if !rules.allows(&node.address) {
            return Err(Denied::Elsewhere);
        }
        if node.weight == Some(Weight::Auto)
            && !matches!(pool.balance, Balance::LeastInFlight | Balance::LeastWork)
        {
            return Err(Denied::NothingToLearn);
        }
        let is_fixed = |fixed: &&Node| is_same(&fixed.address, &node.address) || fixed.name == node.name;
        if let Some(fixed) = pool.nodes.iter().find(is_fixed) {
            return Err(Denied::Fixed { node: fixed.name.clone() });
        }
        let Some(leases) = self.pools.get(&pool.name) else { return Ok(()) };
        if let Some(other) =
            leases.get(&node.name).filter(|other| !is_same(&other.node.address, &node.address))
        {
            let left = other.until.saturating_duration_since(now);
            return Err(Denied::Taken { address: other.node.address.clone(), left });
        }
        let is_known = leases.values().any(|lease| is_same(&lease.node.address, &node.address));
        if !is_known && leases.len() >= rules.max {
            return Err(Denied::Full { max: rules.max });
        }
        Ok(())
    }

    /// Ends the lease of the node with this name; `None`: there is none.
    pub fn deregister(&mut self, pool: &str, name: &str) -> Option<Lease> {
        let lease = self.pools.get_mut(pool)?.remove(name)?;
        self.counts.entry(pool.to_owned()).or_default().deregistered += 1;
        self.revision += 1;
        Some(lease)
    }

    /// Ends all leases whose time is over; they are returned with their pools.
    pub fn expire(&mut self, now: Instant) -> Vec<(String, Lease)> {
        let mut ended = Vec::new();
        for (pool, leases) in &mut self.pools {
            for (_, lease) in leases.extract_if(.., |_, lease| lease.until <= now) {
                self.counts.entry(pool.clone()).or_default().expired += 1;
                ended.push((pool.clone(), lease));
            }
        }
        self.revision += ended.len() as u64;
        ended
    }

    /// Ends the leases that these pools would not give; they are returned with the reasons. `pools`: all that there are.
    pub fn follow(&mut self, pools: &[Pool]) -> Vec<(String, Lease, Denied)> {
        let mut ended = Vec::new();
        for (name, leases) in std::mem::take(&mut self.pools) {
            let Some(pool) = pools.iter().find(|pool| pool.name == name) else {
                ended.extend(leases.into_values().map(|lease| (name.clone(), lease, Denied::Off)));
                continue;
            };
            for (_, lease) in leases {
                // one after the other, so that a lower limit leaves as many as it may
                match self.judge(pool, &lease.node, lease.until) {
                    Ok(()) => self.put(&name, lease),
                    Err(why) => ended.push((name.clone(), lease, why)),
                }
            }
        }
        self.counts.retain(|name, _| pools.iter().any(|pool| pool.name == *name));
        self.revision += ended.len() as u64;
        ended
    }

    fn put(&mut self, pool: &str, lease: Lease) {
        self.pools.entry(pool.to_owned()).or_default().insert(lease.node.name.clone(), lease);
    }

    /// Takes a lease over from an earlier process. A gateway that was down could not be told that the node is still there, so it has a
    /// whole `ttl` from now on.
    pub fn restore(&mut self, pool: &Pool, node: Registrant, now: Instant) -> Result<(), Denied> {
        self.judge(pool, &node, now)?;
        self.put(&pool.name, Lease { until: now + node.ttl, node });
        Ok(())
    }

    /// The leases of a pool, by the names of their nodes.
    pub fn of(&self, pool: &str) -> impl Iterator<Item = &Lease> {
        self.pools.get(pool).into_iter().flat_map(BTreeMap::values)
    }

    /// The lease of the node at this address.
    pub fn at(&self, pool: &str, address: &NodeAddress) -> Option<&Lease> {
        self.of(pool).find(|lease| is_same(&lease.node.address, address))
    }

    /// The end of the lease of the node with this name.
    pub fn until(&self, pool: &str, name: &str) -> Option<Instant> {
        self.pools.get(pool)?.get(name).map(|lease| lease.until)
    }

    /// All leases with their pools.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Lease)> {
        self.pools.iter().flat_map(|(pool, leases)| leases.values().map(|lease| (pool.as_str(), lease)))
    }

    /// Changes with all but the ends of leases.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn counts(&self, pool: &str) -> LeaseCounts {
        self.counts.get(pool).copied().unwrap_or_default()
    }
}

/// Two addresses lead to one port, with TLS or without.
fn is_same(a: &NodeAddress, b: &NodeAddress) -> bool {
    match (a.host_port(), b.host_port()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}
