//! The other pool of a request that would have to wait in its own.

use crate::fleet::Member;
use crate::retry::Repeat;

/// The pool that takes what spills over.
#[derive(Debug)]
pub(super) enum Overflow {
    To(Other),
    /// It has done so. It does not go on from there: one step is all.
    Done(Why),
}

/// Another pool for a request, and its rules there.
#[derive(Clone, Debug)]
pub struct Other {
    pub member: Member,
    pub repeat: Repeat,
    pub why: Why,
}

/// The reason for which a request may go to another pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its own spills over: when it would have to wait.
    Spill,
    /// Its model is shared between both: when no node of its own can be had, but not for a slot.
    Split,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spill => "spill",
            Self::Split => "split",
        }
    }
}
