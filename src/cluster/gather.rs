//! The fleet as the credits see it, and their changes as the fleet gets them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::credits::{Allowance, Member, Name, Need};
use crate::fleet::{Allow, Fleet, Key, Pool, Shared};

/// All resources at one instant.
pub(super) struct Gathered {
    pub needs: Vec<Need>,
    pools: Vec<Arc<Pool>>,
    places: HashMap<Name, Place>,
}

#[derive(Clone, Copy)]
struct Place {
    pool: usize,
    key: Key,
    held: u32,
}

impl Gathered {
    pub(super) fn of(fleet: &Fleet, now: Instant) -> Self {
        let pools: Vec<_> = fleet.live().cloned().collect();
        let (mut needs, mut places) = (Vec::new(), HashMap::new());
        for (pool, shares) in pools.iter().map(|pool| pool.shares(now)).enumerate() {
            for shared in shares {
                let name = Name(shared.node);
                if places.insert(name, Place { pool, key: shared.key, held: shared.held }).is_none() {
                    needs.push(need(name, &shared));
                }
            }
        }
        Self { needs, pools, places }
    }

    /// Lowers the limit of one resource. Returns the units that may be in use from then on.
    pub(super) fn credit(&self, allowance: Allowance, now: Instant) -> u32 {
        let Allowance { name, limit, elsewhere } = allowance;
        let Some(Place { pool, key, .. }) = self.places.get(&name).copied() else { return 0 };
        let held = self.pools[pool].credit(&[(key, Allow { held: limit, elsewhere })], now);
        held.first().copied().unwrap_or(0)
    }

    /// Limits that the fleet does not have any more: a node was taken out and came back, and begins without.
    pub(super) fn forgotten(&self, member: &Member) -> Vec<Allowance> {
        let is_forgotten =
            |(name, place): &(&Name, &Place)| member.limit(**name).is_some_and(|limit| place.held < limit);
        let forgotten = self.places.iter().filter(is_forgotten);
        forgotten.filter_map(|(name, _)| member.allowance(*name)).filter(|one| one.limit.is_some()).collect()
    }

    /// Makes the changes that an answer has brought.
    pub(super) fn allow(&self, allowances: &[Allowance], now: Instant) {
        let mut by_pool: Vec<Vec<(Key, Allow)>> = vec![Vec::new(); self.pools.len()];
        for Allowance { name, limit, elsewhere } in allowances {
            if let Some(Place { pool, key, .. }) = self.places.get(name).copied() {
                by_pool[pool].push((key, Allow { held: *limit, elsewhere: *elsewhere }));
            }
        }
        for (pool, changes) in self.pools.iter().zip(by_pool).filter(|(_, changes)| !changes.is_empty()) {
            pool.credit(&changes, now);
        }
    }
}

fn need(name: Name, shared: &Shared) -> Need {
    let [interactive, normal, batch] = shared.waiting;
    // no more than the node would get now
    let room = shared.usable.saturating_sub(shared.in_flight);
    let urgent = interactive.min(room);
    let waiting = normal.saturating_add(batch).min(room - urgent);
    let usable = shared.usable.max(shared.in_flight);
    Need { name, cap: shared.cap, in_use: shared.in_flight, urgent, waiting, usable, is_node: true }
}
