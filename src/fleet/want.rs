//! The nodes that a waiting request can use, as the pool must know them to hand it a slot.

use std::num::NonZeroU64;

use super::key::Key;
use crate::balance::tokens::Size;
use crate::config::Class;

pub(super) const CLASSES: usize = Class::ALL.len();

/// The nodes that a request can use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    Any {
        /// Nodes to avoid. If no other can be had, those of the next list are avoided instead.
        avoid: Vec<Vec<Key>>,
        or: Or,
    },
    /// One node and no other, because it alone has what the request names.
    Home {
        key: Key,
        /// It has told the request that it is full: it is asked in its turn.
        in_line: bool,
        /// It will do even if it is ejected.
        is_last_chance: bool,
    },
}

/// The nodes that will do where none can be had that the request has not tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Or {
    Nothing,
    /// A node that said it is full, once its turn has come; none of those that failed the request, unless they are to be
    /// probed, and none that it skips.
    InLine {
        failed: Vec<Key>,
        skipped: Vec<Key>,
        lines: Vec<Key>,
    },
    /// The one tried longest ago, if it has tried all that can be used. `is_last_chance`: any.
    Tried {
        tried: Vec<Key>,
        skipped: Vec<Key>,
        is_last_chance: bool,
    },
}

impl Want {
    /// A node that is not among these.
    pub fn other_than(avoid: Vec<Key>) -> Self {
        Self::Any { avoid: vec![avoid], or: Or::Nothing }
    }

    /// The same for requests that have met the same nodes in another order, where that makes no difference.
    pub fn sorted(mut self) -> Self {
        if let Self::Any { avoid, or } = &mut self {
            avoid.iter_mut().for_each(|keys| keys.sort_unstable());
            match or {
                Or::Nothing => {}
                Or::InLine { failed, skipped, lines } => {
                    [failed, skipped, lines].into_iter().for_each(|keys| keys.sort_unstable());
                }
                Or::Tried { skipped, .. } => skipped.sort_unstable(),
            }
        }
        self
    }

    /// A pool's candidates tell whether there is room for it.
    pub(super) fn is_for_any(&self) -> bool {
        matches!(self, Self::Any { .. })
    }
}

/// A request as the choice among nodes depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Profile {
    /// The key by which its pool chooses, if it does.
    pub affinity: Option<u64>,
    /// Zero where its pool does not choose by it, and no flow is charged for it.
    pub size: Size,
    /// The order in which it gets a slot, and the part of a cap that it may use.
    pub class: Class,
    /// Those with whom it shares its turns. `None`: all others that have none.
    pub flow: Option<Flow>,
    /// The share of its class is due: it may use what is reserved.
    pub is_due: bool,
}

/// The requests of one key: while several flows wait, each gets as much service as the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow(NonZeroU64);

impl Flow {
    /// The flow with this number, such as the hash of a name. 0 and 1 are the same.
    pub fn new(number: u64) -> Self {
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }
}

/// The rule by which a request is let into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Only while fewer than these of its class and those above it wait for a slot.
    Below(usize),
    /// In any case, and before those of its class: it has been sent before.
    Repeated,
}

/// A request's wish for a slot.
#[derive(Clone, Debug)]
pub struct Ask {
    pub want: Want,
    pub admission: Admission,
    pub profile: Profile,
    /// [`super::Pool::news`] from before the want was made: if there are news since, it is to look again at once.
    pub news: u64,
}
