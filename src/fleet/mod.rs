//! The live state of all pools and nodes: who is up, the requests in flight, the node for the next request.
//!
//! A [`Fleet`] is one generation of the configuration together with its live pools. A reload builds the next
//! fleet from the current one and the new config. Pools that remain are shared by both, so counts and health
//! carry over; a request keeps the settings of the generation it started with.

mod activity;
mod addresses;
mod alike;
mod bell;
mod cell;
mod checks;
mod choice;
mod counters;
mod credit;
mod digest;
mod doubts;
mod event;
mod fair;
mod health;
mod key;
mod lease;
mod line;
mod listed;
mod models;
mod node;
mod order;
mod pending;
mod pool;
mod queue;
mod routes;
mod shared;
mod shares;
mod skips;
mod snapshot;
mod stored;
mod streams;
mod suspects;
mod table;
#[cfg(test)]
mod tests;
mod timing;
mod trouble;
mod views;
mod waiter;
mod want;

use std::sync::Arc;
use std::time::Instant;

pub use addresses::Addresses;
pub use bell::{Bell, Rung};
pub use cell::Changed;
pub use checks::CheckAnswer;
pub use choice::Choice;
pub use counters::{Counters, Resumed};
pub use credit::Allow;
pub use doubts::Doubts;
pub use event::{Change, Event, Reason};
pub use key::{Charge, Key, ListQuestion, Question, QuestionKind, Refusal};
pub use lease::{Lease, Spoken};
pub use listed::Listed;
pub use node::{Access, NodeId};
pub use order::{Drain, Order, Refused};
pub use pool::{Pool, Settled};
pub use shared::Shared;
pub use skips::{Credential, SkipSnapshot, Skipped, Subject};
pub use snapshot::{LimitFrom, Load, NodeSnapshot, NodeState, PoolSnapshot, WeightFrom};
pub use stored::StoredId;
pub use suspects::Suspects;
pub use timing::{
    Call, CallError, CallKey, Calls, Counts, Ended, Exemplar, Finished, GenAi, Histogram, Lately, Timings,
    Trail, inter_token,
};
pub use waiter::Waiter;
pub use want::{Admission, Ask, Flow, Or, Profile, Want};

use http::HeaderMap;

use crate::config::{self, Config};
use choice::Choices;
use routes::Routes;

/// One generation of the configuration, with its live pools.
#[derive(Debug)]
pub struct Fleet {
    /// Starts at 1; each successful reload adds one.
    pub generation: u64,
    pub config: Arc<Config>,
    /// In the order of the file.
    pub pools: Vec<Member>,
    /// Pools removed from the config that may still have requests.
    leaving: Vec<Arc<Pool>>,
    routes: Routes,
    choices: Choices,
    /// Of its cluster; `None`: nodes need no credits.
    bell: Option<Arc<Bell>>,
}

/// A live pool with this generation's settings for it.
#[derive(Clone, Debug)]
pub struct Member {
    pub conf: Arc<config::Pool>,
    pub pool: Arc<Pool>,
}

/// A generation that is built but not yet in use.
#[derive(Debug)]
#[must_use = "the pools that stay are configured for it already"]
pub struct Next {
    pub fleet: Fleet,
    /// The node changes made so far.
    pub events: Vec<Event>,
    /// Pools that are no longer configured. Retire them only once this generation is in use: a request
    /// refused by a retired pool looks for a newer generation.
    pub removed: Vec<Arc<Pool>>,
}

impl Fleet {
    /// The first generation, when the process starts.
    pub fn first(config: Config, now: Instant) -> Self {
        Self::first_in(None, config, now)
    }

    /// The same in a cluster: its capped nodes have no credits until they get some.
    pub fn first_in(cluster: Option<Arc<Bell>>, config: Config, now: Instant) -> Self {
        let pools = config.pools.iter().map(|conf| Self::pool(cluster.as_ref(), conf, now)).collect();
        Self::assemble(1, config, pools, Vec::new(), cluster)
    }

    fn pool(cluster: Option<&Arc<Bell>>, conf: &config::Pool, now: Instant) -> Arc<Pool> {
        let pool = Pool::new(conf, now);
        pool.join(cluster, now);
        Arc::new(pool)
    }

    /// The bell of its cluster; `None`: nodes need no credits.
    pub fn bell(&self) -> Option<&Arc<Bell>> {
        self.bell.as_ref()
    }

    /// The generation after this one.
    pub fn next(&self, config: Config, now: Instant) -> Next {
        self.next_in(self.bell.clone(), config, now)
    }

    /// The same where the generation after this one belongs to this cluster, or to none.
    pub fn next_in(&self, cluster: Option<Arc<Bell>>, config: Config, now: Instant) -> Next {
        self.live().for_each(|pool| pool.join(cluster.as_ref(), now));
        let mut events = Vec::new();
        let mut pools = Vec::new();
        for conf in &config.pools {
            // a pool that returns to the config before its last request has ended keeps its state
            let pool = match self.live().find(|pool| **pool.name() == *conf.name) {
                Some(pool) => {
                    events.extend(pool.configure(conf, now));
                    Arc::clone(pool)
                }
                None => Self::pool(cluster.as_ref(), conf, now),
            };
            pools.push(pool);
        }
        let gone = |pool: &&Arc<Pool>| !config.pools.iter().any(|conf| *conf.name == **pool.name());
        let removed: Vec<_> = self.pools.iter().map(|member| &member.pool).filter(gone).cloned().collect();
        let leaving = self.leaving.iter().filter(gone).filter(|pool| !pool.is_idle());
        let leaving = leaving.chain(&removed).cloned().collect();
        let fleet = Self::assemble(self.generation + 1, config, pools, leaving, cluster);
        Next { fleet, events, removed }
    }

    fn assemble(
        generation: u64,
        config: Config,
        pools: Vec<Arc<Pool>>,
        leaving: Vec<Arc<Pool>>,
        bell: Option<Arc<Bell>>,
    ) -> Self {
        let (routes, choices) = (Routes::of(&config), Choices::of(&config));
        let member = |(conf, pool): (&config::Pool, Arc<Pool>)| Member { conf: Arc::new(conf.clone()), pool };
        let pools = config.pools.iter().zip(pools).map(member).collect();
        Self { generation, config: Arc::new(config), pools, leaving, routes, choices, bell }
    }

    /// The pool of a request depends on the model that it names.
    pub fn routes_by_model(&self) -> bool {
        self.routes.depend_on_model()
    }

    /// The pool that a path or a header chooses, if it does.
    pub fn chosen(&self, path: &str, headers: &HeaderMap) -> Option<(Choice, &Member)> {
        let (choice, place) = self.choices.find(path, headers)?;
        Some((choice.clone(), self.pools.get(place)?))
    }

    /// The pool that the same chooses in this generation.
    pub fn chosen_by(&self, choice: &Choice) -> Option<&Member> {
        self.pools.get(self.choices.pool(choice)?)
    }

    /// The pools between which requests for this model are shared, each with its percentage.
    pub fn split(&self, model: &str) -> Option<&[(usize, u32)]> {
        self.routes.split(model)
    }

    /// The gateway lists models itself: no node knows of the others, of other names, or of what a key is for.
    pub fn lists_models(&self) -> bool {
        self.config.server.api_keys.is_some()
            || self.pools.len() > 1
            || self.pools.iter().any(|member| !member.conf.models.aliases.is_empty())
    }

    /// The pool for a request that names this model, if any.
    pub fn route(&self, model: Option<&str>) -> Option<&Member> {
        self.pools.get(self.routes.by_model(model)?)
    }

    /// Pools that were removed from the config with requests in flight. They are listed until a reload finds
    /// them idle.
    pub fn leaving(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.leaving.iter().filter(|pool| !pool.has_left())
    }

    /// All live pools, including those that are leaving.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.iter().map(|member| &member.pool).chain(self.leaving())
    }
}
