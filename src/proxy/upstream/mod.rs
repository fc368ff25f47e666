//! The nodes' side: connections to them, and what they answer.

pub(super) mod connections;
pub(super) mod exchange;
pub(super) mod switch;
pub(crate) mod target;
