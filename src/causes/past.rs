//! An earlier snapshot, reduced to the counters whose rise is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::balance::By;
use crate::balance::learned::Work;
use crate::fleet::{NodeSnapshot, PoolSnapshot};
use crate::outcome::Outcome;
use crate::status::Snapshot;

/// The counters at one time; some 200 bytes a node.
#[derive(Clone, Debug)]
pub struct Past {
    pub at: Instant,
    pub(super) lost_log_lines: u64,
    pub(super) refused_connections: u64,
    nodes: HashMap<Place, Counted>,
    pools: HashMap<Arc<str>, Chosen>,
}

/// Pool and node.
type Place = (Arc<str>, Arc<str>);

#[derive(Clone, Debug)]
struct Counted {
    attempts: [u64; Outcome::ALL.len()],
    work: Work,
}

/// Choices of a pool.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chosen {
    /// The node of the request's key.
    pub own: u64,
    /// Another one, because that had its share.
    pub elsewhere: u64,
    /// Another pool.
    pub spills: u64,
}

/// The events at a node since then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Happened {
    pub within: Duration,
    /// Attempts that have ended, in the order of [`Outcome::ALL`].
    pub attempts: [u64; Outcome::ALL.len()],
    pub work: Work,
}

impl Past {
    pub fn of(snapshot: &Snapshot) -> Self {
        let nodes = snapshot.pools.iter().flat_map(|pool| &pool.nodes).map(|node| {
            let counted = Counted { attempts: node.attempts, work: node.work_done };
            (place(node), counted)
        });
        Self {
            at: snapshot.at,
            lost_log_lines: snapshot.lost_log_lines,
            refused_connections: snapshot.refused_connections,
            nodes: nodes.collect(),
            pools: snapshot.pools.iter().map(|pool| (Arc::clone(&pool.name), chosen(pool))).collect(),
        }
    }

    /// Nothing, of a node that was not there.
    pub(super) fn since(&self, node: &NodeSnapshot, now: Instant) -> Happened {
        let Some(then) = self.nodes.get(&place(node)) else { return Happened::default() };
        let mut attempts = node.attempts;
        for (count, then) in attempts.iter_mut().zip(then.attempts) {
            *count = count.saturating_sub(then);
        }
        let work = Work {
            units: (node.work_done.units - then.work.units).max(0.0),
            seconds: (node.work_done.seconds - then.work.seconds).max(0.0),
            pieces: (node.work_done.pieces - then.work.pieces).max(0.0),
        };
        Happened { within: now.saturating_duration_since(self.at), attempts, work }
    }

    pub(super) fn choices_since(&self, pool: &PoolSnapshot) -> Chosen {
        let now = chosen(pool);
        let then = self.pools.get(&pool.name).copied().unwrap_or(now);
        Chosen {
            own: now.own.saturating_sub(then.own),
            elsewhere: now.elsewhere.saturating_sub(then.elsewhere),
            spills: now.spills.saturating_sub(then.spills),
        }
    }
}

fn place(node: &NodeSnapshot) -> Place {
    (Arc::clone(&node.id.pool), Arc::clone(&node.id.name))
}

fn chosen(pool: &PoolSnapshot) -> Chosen {
    let count = |by: By| {
        let place = By::ALL.iter().position(|one| *one == by);
        place.map_or(0, |place| pool.counters.choices[place])
    };
    Chosen {
        own: count(By::Affinity) + count(By::IpHash),
        elsewhere: count(By::AffinityOverflow) + count(By::IpHashOverflow),
        spills: pool.counters.spills,
    }
}

impl Happened {
    pub(super) fn with(&self, outcome: Outcome) -> u64 {
        let place = Outcome::ALL.iter().position(|one| *one == outcome);
        place.map_or(0, |place| self.attempts[place])
    }

    /// Attempts that say something of the node.
    pub(super) fn told(&self) -> u64 {
        let all: u64 = self.attempts.iter().sum();
        all - self.with(Outcome::ClientGone) - self.with(Outcome::Gateway) - self.with(Outcome::Stale)
    }

    /// The failures, and the outcome that most of them had.
    pub(super) fn failures(&self) -> (u64, Option<Outcome>) {
        let failures = || Outcome::ALL.into_iter().zip(self.attempts).filter(|(o, _)| o.is_failure());
        let most = failures().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 0);
        (failures().map(|(_, count)| count).sum(), most.map(|(outcome, _)| outcome))
    }

    /// Tokens per second of a request, once enough were seen.
    pub(super) fn speed(&self) -> Option<f64> {
        const ENOUGH: f64 = 200.0;
        let Work { units, seconds, .. } = self.work;
        (units >= ENOUGH && seconds > 0.0).then(|| units / seconds)
    }
}
