//! The nodes that the table is to have: who stays, who joins, who leaves.

use std::collections::HashMap;
use std::time::Instant;

use super::super::event::{Change, Event};
use super::super::health::Health;
use super::super::key::Key;
use super::Table;
use crate::config::{self, Origin};

/// The reason for a new list of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The config was read again: all nodes get their settings anew.
    Config,
    /// A source has found others. New ones join those that are at work, and begin with a small share.
    Found,
    /// A source has told for the first time with which nodes the pool begins.
    Begins,
}

impl Table {
    /// See [`super::super::Pool::configure`]. `nodes`: those of the config, and those that its sources have found.
    pub(crate) fn configure(
        &mut self,
        conf: &config::Pool,
        nodes: &[config::Node],
        now: Instant,
    ) -> Vec<Event> {
        self.balance = conf.balance;
        self.bound = conf.affinity.bound;
        self.weigh_if(conf.balance);
        self.policy = conf.health.clone();
        self.stall = conf.timeouts.stall;
        self.queue.shares = conf.queue.shares;
        self.candidates.set_reserve(conf.queue.reserve);
        self.retired = false;
        self.set_nodes(nodes, News::Config, now)
    }

    /// Takes a list of all nodes. Those that stay keep their state, and what is learned of those whose settings stay is not
    /// interrupted. One that leaves finishes its requests.
    pub(crate) fn set_nodes(&mut self, nodes: &[config::Node], news: News, now: Instant) -> Vec<Event> {
        if self.retired {
            return Vec::new();
        }
        self.has_backups = nodes.iter().any(|node| node.backup);
        let mut wanted: HashMap<&str, &config::Node> = nodes.iter().map(|node| (&*node.name, node)).collect();
        let mut events = Vec::new();
        for place in 0..self.nodes.len() {
            let Some(node) = &mut self.nodes[place] else { continue };
            let key = Key { place, serial: node.serial };
            let drained_before = node.drains();
            match wanted.get(&*node.id.name).filter(|conf| conf.address == node.id.address) {
                Some(conf) if news != News::Config && !node.removed && *node.conf == **conf => {
                    wanted.remove(&*conf.name);
                    continue;
                }
                Some(conf) => {
                    node.configure(conf);
                    wanted.remove(&*conf.name);
                }
                None => node.removed = true,
            }
            let drains = node.drains();
            if drained_before && !drains {
                node.health.undrained(now);
            }
            events.extend(self.note(key, (drains && !drained_before).then_some(Change::Draining), now));
            self.bury(place);
        }
        for conf in nodes.iter().filter(|node| wanted.contains_key(&*node.name)) {
            let (health, change) = match news {
                _ if conf.origin == Origin::Registered => (Health::unchecked(now), Change::Registered),
                News::Config | News::Found => (Health::joining(now), Change::Joined),
                News::Begins => (Health::up(now), Change::Joined),
            };
            let key = self.insert(conf, health, now);
            events.extend(self.note(key, Some(change), now));
        }
        let mut skips = std::mem::take(&mut self.skips);
        skips.retain(|key| self.is_member(key));
        self.skips = skips;
        events
    }
}
