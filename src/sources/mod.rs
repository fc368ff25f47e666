//! The nodes of a pool: those that its config lists, and those that its sources have found, as one list.
//!
//! A source that fails keeps what it found last, for as long as it takes: that one cannot ask says nothing about the nodes. A
//! reload of the config keeps it too, as long as the source stays.

mod found;
pub mod kept;
mod leases;
mod merge;
mod names;
#[cfg(test)]
mod tests;

pub use self::found::{Heard, SourceSnapshot, Trouble};
pub use self::leases::{Denied, Lease, LeaseCounts, Leases, Registered, Registrant};
pub use self::merge::{LeftOut, Merged};
pub use self::names::{Names, Reply, Target, Told, Verdict};

use std::collections::HashSet;
use std::time::{Duration, Instant};

use self::found::Found;
use crate::config::{self, FoundNode, Node, NodeDefaults, Origin};

/// The sources of a pool and what each has found, with the nodes that the config lists.
#[derive(Debug)]
pub struct Sources {
    fixed: Vec<Node>,
    defaults: NodeDefaults,
    /// In the order of the config.
    found: Vec<Found>,
    /// Of the present list.
    left_out: Vec<LeftOut>,
    /// Sources that answer for the first time until then are those that the pool begins with.
    begun: Instant,
}

/// Sources that answer for the first time within so long tell with which nodes the pool begins.
const BEGINNING: Duration = Duration::from_secs(30);

impl Sources {
    /// Those of a pool, before any has been heard of.
    pub fn of(conf: &config::Pool, now: Instant) -> Self {
        let (fixed, defaults) = (Vec::new(), NodeDefaults::default());
        let mut sources =
            Self { fixed, defaults, found: Vec::new(), left_out: Vec::new(), begun: now + BEGINNING };
        sources.configure(conf);
        sources
    }

    /// Takes the pool's new config: sources that stay keep what they have found.
    pub fn configure(&mut self, conf: &config::Pool) {
        self.fixed.clone_from(&conf.nodes);
        self.defaults = conf.defaults.clone();
        let mut before = std::mem::take(&mut self.found);
        for origin in conf.sources.iter().map(config::Source::origin) {
            let kept = before.iter().position(|found| found.origin == origin);
            self.found.push(kept.map_or_else(|| Found::new(origin), |place| before.swap_remove(place)));
        }
    }

    /// Takes all nodes that a source has now. `None`: the pool has no such source.
    pub fn set(&mut self, origin: &Origin, nodes: Vec<FoundNode>, now: Instant) -> Option<Heard> {
        let begins = now < self.begun;
        let found = self.found.iter_mut().find(|found| found.origin == *origin)?;
        Some(found.set(nodes, begins, now))
    }

    /// The source could not be asked, or what it says cannot be used: its last nodes stay. `None`: the pool has no such source. Else
    /// `true`: that is news.
    pub fn fail(&mut self, origin: &Origin, trouble: Trouble, now: Instant) -> Option<bool> {
        let found = self.found.iter_mut().find(|found| found.origin == *origin)?;
        Some(found.fail(trouble, now))
    }

    /// The nodes of all, and those that are left out and were not before.
    pub fn merge(&mut self) -> Merged {
        let found = self.found.iter().map(|found| (&found.origin, &*found.nodes));
        let merged = Merged::of(&self.fixed, &self.defaults, found);
        let before: HashSet<_> = std::mem::replace(&mut self.left_out, merged.left_out).into_iter().collect();
        let news = self.left_out.iter().filter(|one| !before.contains(one)).cloned().collect();
        Merged { nodes: merged.nodes, left_out: news }
    }

    /// The source has answered.
    pub fn has_heard(&self, origin: &Origin) -> bool {
        self.found.iter().any(|found| found.origin == *origin && found.has_answered())
    }

    /// All sources as they are now.
    pub fn snapshot(&self, now: Instant) -> Vec<SourceSnapshot> {
        self.found.iter().map(|found| found.snapshot(&self.left_out, now)).collect()
    }
}
