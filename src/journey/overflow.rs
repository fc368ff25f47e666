//! The other pool of a request that would have to wait in its own.

use crate::fleet::Member;
use crate::retry::Repeat;

/// The pool that takes what spills over.
#[derive(Debug)]
pub(super) enum Overflow {
    To(Member, Repeat),
    /// It has done so. It does not go on from there: one step is all.
    Done,
}
