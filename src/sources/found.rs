//! One source: the nodes that it found last, and whether it can be asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::merge::LeftOut;
use crate::config::{FoundNode, Origin};

/// What a source has found.
#[derive(Debug)]
pub(super) struct Found {
    pub origin: Origin,
    pub nodes: Vec<FoundNode>,
    /// The last good answer; `None`: there was none so far.
    heard: Option<Instant>,
    /// What is wrong since then.
    trouble: Option<(Trouble, Instant)>,
    failures: u64,
}

/// The reason why a source has nothing new, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble(pub Arc<str>);

/// What is new about a source that has been heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Its nodes are among those that the pool begins with: they do not join others that are at work.
    pub begins: bool,
    /// It names other nodes than before, or others of their settings.
    pub is_new: bool,
    /// It had failed.
    pub is_back: bool,
}

/// A source as status and metrics show it.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSnapshot {
    pub origin: Origin,
    /// The nodes that it named last, be they in use or left out.
    pub nodes: usize,
    /// Since its last good answer; `None`: there was none so far.
    pub heard: Option<Duration>,
    /// What is wrong since then, and for how long.
    pub trouble: Option<(Trouble, Duration)>,
    pub failures: u64,
    /// Its nodes that are not in use, each with the reason.
    pub left_out: Vec<LeftOut>,
}

impl Found {
    pub(super) fn new(origin: Origin) -> Self {
        Self { origin, nodes: Vec::new(), heard: None, trouble: None, failures: 0 }
    }

    pub(super) fn set(&mut self, nodes: Vec<FoundNode>, begins: bool, now: Instant) -> Heard {
        let heard = Heard {
            begins: begins && self.heard.is_none(),
            is_new: self.heard.is_none() || self.nodes != nodes,
            is_back: self.trouble.take().is_some(),
        };
        self.nodes = nodes;
        self.heard = Some(now);
        heard
    }

    /// `true`: it is another trouble than before.
    pub(super) fn fail(&mut self, trouble: Trouble, now: Instant) -> bool {
        self.failures += 1;
        let since = self.trouble.as_ref().map_or(now, |(_, since)| *since);
        let before = self.trouble.replace((trouble.clone(), since));
        before.is_none_or(|(before, _)| before != trouble)
    }

    pub(super) fn has_answered(&self) -> bool {
        self.heard.is_some()
    }

    pub(super) fn snapshot(&self, left_out: &[LeftOut], now: Instant) -> SourceSnapshot {
        let ago = |at: Instant| now.saturating_duration_since(at);
        SourceSnapshot {
            origin: self.origin.clone(),
            nodes: self.nodes.len(),
            heard: self.heard.map(ago),
            trouble: self.trouble.as_ref().map(|(trouble, since)| (trouble.clone(), ago(*since))),
            failures: self.failures,
            left_out: left_out.iter().filter(|one| one.origin == self.origin).cloned().collect(),
        }
    }
}
