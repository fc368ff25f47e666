//! The demo's clients, and the number of requests that the nodes take at a time.

use crate::config::Class;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cast {
    /// So many clients, all alike, and nodes without a limit.
    Alike(usize),
    /// People and a batch who together ask for more than the nodes take.
    Classes { people: usize, batch: usize, line: Line },
}

/// The limits that make requests wait in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The `max_in_flight` of each node.
    pub slots: u32,
    /// The `reserve` of the pool's queue, in percent of those.
    pub reserve: u32,
}

/// Clients that ask alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowd {
    /// The class that they say; `None`: they say none.
    pub class: Option<Class>,
    pub clients: usize,
}

impl Cast {
    /// The crowds, the highest class first.
    pub(super) fn crowds(self) -> Vec<Crowd> {
        match self {
            Self::Alike(clients) => vec![Crowd { class: None, clients }],
            Self::Classes { people, batch, .. } => vec![
                Crowd { class: Some(Class::Interactive), clients: people },
                Crowd { class: Some(Class::Batch), clients: batch },
            ],
        }
    }

    pub(super) fn line(self) -> Option<Line> {
        match self {
            Self::Alike(_) => None,
            Self::Classes { line, .. } => Some(line),
        }
    }

    /// Requests in flight on a node for which its bar and its curve are full.
    pub(super) fn full(self) -> u64 {
        match self {
            Self::Alike(clients) => clients as u64,
            Self::Classes { line, .. } => line.slots.into(),
        }
    }

    pub(super) fn describe(self) -> String {
        match self {
            Self::Alike(clients) => format!("{clients} clients"),
            Self::Classes { people, batch, .. } => format!("{people} people and a batch of {batch}"),
        }
    }

    /// The limits, as the rest of a sentence that starts with "the demo"; `None`: there are none.
    pub(super) fn rules(self) -> Option<String> {
        let Line { slots, reserve } = self.line()?;
        let kept = (u64::from(slots) * u64::from(reserve)).div_ceil(100);
        Some(format!("lets nodes take {slots} at a time, the last {kept} only from people"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_in_words() {
        let line = Line { slots: 8, reserve: 20 };
        let classes = Cast::Classes { people: 3, batch: 40, line };
        assert_eq!(classes.describe(), "3 people and a batch of 40");
        let rules = "lets nodes take 8 at a time, the last 2 only from people";
        assert_eq!(classes.rules().as_deref(), Some(rules));
        assert_eq!(classes.crowds().iter().map(|crowd| crowd.clients).sum::<usize>(), 43);
        assert_eq!((Cast::Alike(24).describe().as_str(), Cast::Alike(24).rules()), ("24 clients", None));
    }
}
