//! The demo's journal: the gateway's events and the demo's own, as lines with a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Zoned};

use super::words;
use crate::fleet::PoolSnapshot;

const ENTRIES_MAX: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub time: String,
    pub who: Who,
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The demo itself, which crashes the nodes.
    Demo,
    Gateway,
}

#[derive(Debug)]
pub(super) struct Journal {
    entries: VecDeque<Entry>,
    /// Number of entries ever made.
    made: u64,
    seen: u64,
    slow_start: Duration,
}

impl Journal {
    pub(super) fn new(slow_start: Duration) -> Self {
        Self { entries: VecDeque::new(), made: 0, seen: 0, slow_start }
    }

    /// Adds the gateway's events since the last call.
    pub(super) fn follow(&mut self, pool: &PoolSnapshot, now: Instant) {
        let seen = self.seen;
        for event in pool.events.iter().filter(|event| event.number > seen) {
            let what = words::event(event, self.slow_start);
            self.push(Who::Gateway, what, now.saturating_duration_since(event.at));
        }
        self.seen = pool.events.last().map_or(self.seen, |event| event.number);
    }

    pub(super) fn say(&mut self, what: String) {
        self.push(Who::Demo, what, Duration::ZERO);
    }

    fn push(&mut self, who: Who, what: String, ago: Duration) {
        let ago = SignedDuration::try_from(ago).unwrap_or_default();
        let time = Zoned::now().saturating_sub(ago).strftime("%H:%M:%S").to_string();
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { time, who, what });
        self.made += 1;
    }

    /// The last entries, oldest first.
    pub(super) fn last(&self, count: usize) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(self.entries.len().saturating_sub(count))
    }

    /// The entries after the first `shown`, and the number of all entries.
    pub(super) fn since(&self, shown: u64) -> (impl Iterator<Item = &Entry>, u64) {
        let count = usize::try_from(self.made - shown).unwrap_or(usize::MAX);
        (self.last(count), self.made)
    }
}

impl Who {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Gateway => "gateway",
        }
    }
}
