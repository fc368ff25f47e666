//! The other pool of a request that would have to wait in its own.

use crate::balance::By;
use crate::fleet::{Member, Profile};
use crate::retry::Repeat;

/// The pool that takes what spills over.
#[derive(Debug)]
pub(super) enum Overflow {
    To(Other),
    /// It has done so. It does not go on from there: one step is all.
    Done(By),
}

/// Another pool for a request, and its rules there.
#[derive(Clone, Debug)]
pub struct Other {
    pub member: Member,
    pub repeat: Repeat,
    /// [`By::Spill`], or [`By::Split`]: then it takes over when no node of the request's own pool can be had, but not for a slot.
    pub why: By,
    /// The request as that pool is to place it; `None`: as its own does.
    pub profile: Option<Profile>,
}

impl Other {
    /// The pool places requests by the same rules as this one.
    pub fn places_like(&self, own: &Member) -> bool {
        let (other, own) = (&self.member.conf, &own.conf);
        other.balance == own.balance && other.affinity == own.affinity && other.queue.class == own.queue.class
    }
}
