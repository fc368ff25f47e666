//! Nodes that come and go while the config stays: a source of a pool has found others.

use std::time::Instant;

use super::event::Event;
use super::pool::Pool;
use super::table::News;
use crate::config::{FoundNode, Origin};
use crate::sources::{Heard, LeftOut, Merged, Trouble};

/// The effect of what a source has found.
#[derive(Debug)]
pub struct Applied {
    pub heard: Heard,
    /// Nodes that join, and such that leave.
    pub events: Vec<Event>,
    /// Nodes of it that are left out, and were not before.
    pub left_out: Vec<LeftOut>,
}

impl Pool {
    /// Puts in use what a source has found: all its nodes, in any order that stays. Nodes that stay keep their state, new ones
    /// join with slow start, those that are gone finish their requests. It is no reload: the generation stays, and so do
    /// requests under way. `None`: the pool has no such source (any longer).
    pub fn found(&self, origin: &Origin, nodes: Vec<FoundNode>, now: Instant) -> Option<Applied> {
        let (heard, left_out, events) = {
            // one list after the other
            let mut sources = self.sources.lock();
            let heard = sources.set(origin, nodes, now)?;
            if !heard.is_new {
                return Some(Applied { heard, events: Vec::new(), left_out: Vec::new() });
            }
            let Merged { nodes, left_out } = sources.merge();
            let news = if heard.begins { News::Begins } else { News::Found };
            (heard, left_out, self.change_all(now, |table| table.set_nodes(&nodes, news, now)))
        };
        self.forget_gone();
        Some(Applied { heard, events, left_out })
    }

    /// A source could not be asked, or what it says cannot be used: the nodes that it found last stay. `None`: the pool has no
    /// such source (any longer). Else `true`: that is news.
    pub fn not_found(&self, origin: &Origin, trouble: Trouble, now: Instant) -> Option<bool> {
        self.sources.lock().fail(origin, trouble, now)
    }

    /// The source has answered since the pool is there.
    pub fn has_heard(&self, origin: &Origin) -> bool {
        self.sources.lock().has_heard(origin)
    }
}
