//! Marks: what happened to a node or to the gateway, and when.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::fleet::{Change, Event};

/// The most marks; older ones give way.
const MARKS_MAX: usize = 2000;
/// The longest text of a mark, in bytes: problems of a config may be many.
const TEXT_MAX: usize = 4096;

/// The kind of a mark, as a page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ejected,
    /// Ejected still, and a last resort.
    Accepts,
    Probing,
    Back,
    Joined,
    /// It has registered itself, and has not passed a check yet.
    Registered,
    Drained,
    Undrained,
    Skipped,
    Reloaded,
    ReloadRefused,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ejected => "ejected",
            Self::Accepts => "accepts",
            Self::Probing => "probing",
            Self::Back => "back",
            Self::Joined => "joined",
            Self::Registered => "registered",
            Self::Drained => "drained",
            Self::Undrained => "undrained",
            Self::Skipped => "skipped",
            Self::Reloaded => "reloaded",
            Self::ReloadRefused => "reload_refused",
        }
    }

    fn of(change: &Change) -> Self {
        match change {
            Change::Ejected { .. } => Self::Ejected,
            Change::Accepts => Self::Accepts,
            Change::Probing => Self::Probing,
            Change::Back { .. } => Self::Back,
            Change::Joined => Self::Joined,
            Change::Registered => Self::Registered,
            Change::Draining | Change::DrainedByOperator => Self::Drained,
            Change::UndrainedByOperator { .. } => Self::Undrained,
            Change::Skipped { .. } => Self::Skipped,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Mark {
    /// From 1, in the order in which they were noted; 0 before that.
    pub number: u64,
    /// Since the start of the gateway.
    pub at: Duration,
    pub kind: Kind,
    /// Pool and node; `None`: it concerns the gateway.
    pub node: Option<(Arc<str>, Arc<str>)>,
    pub text: String,
    /// Requests that the node had in flight.
    pub in_flight: u32,
}

impl Mark {
    /// A change of a node's state. `at`: since the start of the gateway.
    pub fn of(event: &Event, at: Duration) -> Self {
        Self {
            number: 0,
            at,
            kind: Kind::of(&event.change),
            node: Some((Arc::clone(&event.pool), Arc::clone(&event.node))),
            text: event.change.to_string(),
            in_flight: event.in_flight,
        }
    }

    /// A reload that was taken over, or the problems for which it was refused.
    pub fn reload(result: Result<u64, &str>, at: Duration) -> Self {
        let (kind, text) = match result {
            Ok(generation) => (Kind::Reloaded, format!("config reloaded: generation {generation}")),
            Err(problems) => {
                (Kind::ReloadRefused, format!("reload refused, the config before it stays: {problems}"))
            }
        };
        Self { number: 0, at, kind, node: None, text: cut(text), in_flight: 0 }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The last marks, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    last: u64,
    list: VecDeque<Mark>,
}

impl Marks {
    pub(super) fn push(&mut self, mark: Mark) {
        if self.list.len() == MARKS_MAX {
            self.list.pop_front();
        }
        self.last += 1;
        self.list.push_back(Mark { number: self.last, ..mark });
    }

    pub(super) fn age(&mut self, oldest: Duration) {
        while self.list.front().is_some_and(|mark| mark.at < oldest) {
            self.list.pop_front();
        }
    }

    /// The number of the last mark; 0: there was none.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The marks that came after the one of this number.
    pub fn after(&self, number: u64) -> impl DoubleEndedIterator<Item = &Mark> {
        let first = self.list.partition_point(|mark| mark.number <= number);
        self.list.range(first..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_numbered_bounded_and_age() {
        let mut marks = Marks::default();
        for second in 0..MARKS_MAX as u64 + 5 {
            marks.push(Mark::reload(Ok(second), Duration::from_secs(second)));
        }
        assert_eq!(marks.after(0).count(), MARKS_MAX);
        let last: Vec<_> = marks.after(marks.last() - 2).map(|mark| mark.number).collect();
        assert_eq!(last, [marks.last() - 1, marks.last()]);
        marks.age(Duration::from_secs(MARKS_MAX as u64));
        assert_eq!(marks.after(0).count(), 5);
    }

    #[test]
    fn the_text_of_a_refusal_is_bounded() {
        let mark = Mark::reload(Err(&"ü".repeat(10_000)), Duration::ZERO);
        assert!(mark.text.len() <= TEXT_MAX + '…'.len_utf8() && mark.text.ends_with("ü…"));
    }
}
