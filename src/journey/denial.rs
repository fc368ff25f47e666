//! The refusals that a request has met.

use crate::fleet::{Doubts, Key};

/// After so many refusals the next is the answer. They use up no attempts, because nodes refuse at once.
pub(super) const DENIALS_MAX: usize = 64;

/// The refusals of one request.
#[derive(Debug)]
pub(super) struct Denials<H> {
    /// The nodes that refused it.
    pub by: Vec<Key>,
    pub doubts: Doubts,
    /// The last refusal, in case that all agree.
    pub answer: Option<H>,
}

impl<H> Default for Denials<H> {
    fn default() -> Self {
        Self { by: Vec::new(), doubts: Doubts::default(), answer: None }
    }
}

/// A node that lacks the model says so, and one that does not know the key.
pub(super) fn is_denial(status: u16) -> bool {
    matches!(status, 401 | 403 | 404)
}
