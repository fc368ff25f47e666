//! Nodes and keys as the credits see them, and their changes as nodes and keys get them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::credits::{Allowance, Member, Name, Need};
use crate::fleet::{Allow, Key, Pool, Shared};
use crate::keys::{KeyShare, Part};
use crate::live::Live;

/// All resources at one instant.
pub(super) struct Gathered {
    pub needs: Vec<Need>,
    pools: Vec<Arc<Pool>>,
    places: HashMap<Name, Place>,
}

enum Place {
    Node { pool: usize, key: Key, held: u32 },
    Key(KeyShare),
}

impl Place {
    fn held(&self) -> u32 {
        match self {
            Self::Node { held, .. } => *held,
            Self::Key(share) => share.part.held,
        }
    }
}

impl Gathered {
    pub(super) fn of(live: &Live, now: Instant) -> Self {
        let pools: Vec<_> = live.fleet().live().cloned().collect();
        let mut gathered = Self { needs: Vec::new(), pools: Vec::new(), places: HashMap::new() };
        for (pool, shares) in pools.iter().map(|pool| pool.shares(now)).enumerate() {
            for shared in shares {
                let place = Place::Node { pool, key: shared.key, held: shared.held };
                gathered.add(of_node(&shared), place);
            }
        }
        for share in live.keys().shares(now) {
            gathered.add(of_key(&share), Place::Key(share));
        }
        gathered.pools = pools;
        gathered
    }

    fn add(&mut self, need: Need, place: Place) {
        if self.places.insert(need.name, place).is_none() {
            self.needs.push(need);
        }
    }

    /// Sets the limit of one resource. Returns the units that may be in use from then on.
    pub(super) fn credit(&self, allowance: Allowance, now: Instant) -> u32 {
        let Allowance { name, limit, elsewhere } = allowance;
        match self.places.get(&name) {
            Some(Place::Node { pool, key, .. }) => {
                let held = self.pools[*pool].credit(&[(*key, Allow { held: limit, elsewhere })], now);
                held.first().copied().unwrap_or(0)
            }
            Some(Place::Key(share)) => {
                let part = Part { held: limit.unwrap_or(0), level: None };
                share.account.credit(share.limit, part, now).held
            }
            None => 0,
        }
    }

    /// Limits that nodes and keys do not have any more: one was taken out of the config and came back, and begins without.
    pub(super) fn forgotten(&self, member: &Member) -> Vec<Allowance> {
        let is_forgotten =
            |(name, place): &(&Name, &Place)| member.limit(**name).is_some_and(|limit| place.held() < limit);
        let forgotten = self.places.iter().filter(is_forgotten);
        forgotten.filter_map(|(name, _)| member.allowance(*name)).filter(|one| one.limit.is_some()).collect()
    }

    /// Makes the changes that an answer has brought.
    pub(super) fn allow(&self, allowances: &[Allowance], now: Instant) {
        let mut by_pool: Vec<Vec<(Key, Allow)>> = vec![Vec::new(); self.pools.len()];
        for allowance in allowances {
            match self.places.get(&allowance.name) {
                Some(Place::Node { pool, key, .. }) => {
                    let Allowance { limit, elsewhere, .. } = *allowance;
                    by_pool[*pool].push((*key, Allow { held: limit, elsewhere }));
                }
                Some(Place::Key(_)) => {
                    self.credit(*allowance, now);
                }
                None => {}
            }
        }
        for (pool, changes) in self.pools.iter().zip(by_pool).filter(|(_, changes)| !changes.is_empty()) {
            pool.credit(&changes, now);
        }
    }
}

fn of_node(shared: &Shared) -> Need {
    let [interactive, normal, batch] = shared.waiting;
    // no more than the node would get now
    let room = shared.usable.saturating_sub(shared.in_flight);
    let urgent = interactive.min(room);
    let waiting = normal.saturating_add(batch).min(room - urgent);
    Need {
        name: Name(shared.node),
        cap: shared.cap,
        in_use: shared.in_flight,
        urgent,
        waiting,
        usable: shared.usable.max(shared.in_flight),
        is_node: true,
    }
}

fn of_key(share: &KeyShare) -> Need {
    Need {
        name: Name(share.name),
        cap: Some(share.part.cap),
        in_use: share.part.in_use,
        urgent: 0,
        waiting: share.part.waiting,
        usable: share.part.cap,
        is_node: false,
    }
}
