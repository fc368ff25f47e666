//! The pools and their nodes: who is up, who has how much, who gets the next request.
//!
//! A [`Fleet`] is one generation of the configuration with the live pools that belong to it. A reload makes the
//! next one out of the old one and the new config: pools that stay are shared between both, so that counts and
//! health go on, and a request keeps the settings of the generation that it started with.

mod activity;
mod checks;
mod counters;
mod event;
mod health;
mod key;
mod lease;
mod node;
mod pool;
mod snapshot;
mod suspects;
mod table;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

pub use checks::CheckAnswer;
pub use counters::{Counters, Resumed};
pub use event::{Change, Event, Reason};
pub use key::{Charge, Key, Question, QuestionKind, Refusal};
pub use lease::Lease;
pub use node::NodeId;
pub use pool::{Pool, Settled};
pub use snapshot::{NodeSnapshot, NodeState, PoolSnapshot, WeightFrom};
pub use suspects::Suspects;

use crate::config::{self, Config};

/// One generation.
#[derive(Debug)]
pub struct Fleet {
    /// From 1, one more with each reload that succeeded.
    pub generation: u64,
    pub config: Arc<Config>,
    /// In the order of the file.
    pub pools: Vec<Member>,
    /// Removed from the config.
    leaving: Vec<Arc<Pool>>,
    by_model: HashMap<String, usize>,
    any_model: Option<usize>,
}

/// A live pool with this generation's settings for it.
#[derive(Clone, Debug)]
pub struct Member {
    pub conf: Arc<config::Pool>,
    pub pool: Arc<Pool>,
}

/// A generation that is yet to be put in place.
#[derive(Debug)]
#[must_use = "the pools that stay are configured for it already"]
pub struct Next {
    pub fleet: Fleet,
    /// The changes that it has brought so far.
    pub events: Vec<Event>,
    /// Pools that it no longer has. To be retired when it is in place: a request that a retired pool refuses looks for a
    /// newer generation.
    pub removed: Vec<Arc<Pool>>,
}

impl Fleet {
    /// The first generation, when the process starts.
    pub fn first(config: Config, now: Instant) -> Self {
        let pools = config.pools.iter().map(|conf| Arc::new(Pool::new(conf, now))).collect();
        Self::assemble(1, config, pools, Vec::new())
    }

    /// The generation after this one.
    pub fn next(&self, config: Config, now: Instant) -> Next {
        let mut events = Vec::new();
        let mut pools = Vec::new();
        for conf in &config.pools {
            // a pool that was removed and is back before its last request has ended goes on, too
            let pool = match self.live().find(|pool| **pool.name() == *conf.name) {
                Some(pool) => {
                    events.extend(pool.configure(conf, now));
                    Arc::clone(pool)
                }
                None => Arc::new(Pool::new(conf, now)),
            };
            pools.push(pool);
        }
        let gone = |pool: &&Arc<Pool>| !config.pools.iter().any(|conf| *conf.name == **pool.name());
        let removed: Vec<_> = self.pools.iter().map(|member| &member.pool).filter(gone).cloned().collect();
        let leaving = self.leaving.iter().filter(gone).filter(|pool| !pool.is_idle());
        let leaving = leaving.chain(&removed).cloned().collect();
        let fleet = Self::assemble(self.generation + 1, config, pools, leaving);
        Next { fleet, events, removed }
    }

    fn assemble(generation: u64, config: Config, pools: Vec<Arc<Pool>>, leaving: Vec<Arc<Pool>>) -> Self {
        let mut by_model = HashMap::new();
        for (place, conf) in config.pools.iter().enumerate() {
            by_model.extend(conf.models.names.iter().map(|model| (model.clone(), place)));
        }
        let any_model = config.pools.iter().position(|conf| conf.models.any);
        let member = |(conf, pool): (&config::Pool, Arc<Pool>)| Member { conf: Arc::new(conf.clone()), pool };
        let pools = config.pools.iter().zip(pools).map(member).collect();
        Self { generation, config: Arc::new(config), pools, leaving, by_model, any_model }
    }

    /// Whether the pool depends on the model that a request names.
    pub fn routes_by_model(&self) -> bool {
        !self.by_model.is_empty()
    }

    /// The pool for a request that names this model, or none.
    pub fn route(&self, model: Option<&str>) -> Option<&Member> {
        let named = model.and_then(|model| self.by_model.get(model)).copied();
        self.pools.get(named.or(self.any_model)?)
    }

    /// Pools that were removed from the config with requests in flight, until the next reload finds them idle.
    pub fn leaving(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.leaving.iter().filter(|pool| !pool.has_left())
    }

    /// All live pools, those that are leaving too.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.iter().map(|member| &member.pool).chain(self.leaving())
    }
}
