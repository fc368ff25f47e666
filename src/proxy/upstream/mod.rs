//! The nodes' side: connections to them, and what they answer.

pub(super) mod connections;
pub(super) mod ended;
pub(super) mod exchange;
pub(super) mod http1;
pub(super) mod http2;
mod multiplexed;
pub(super) mod outlet;
pub(super) mod switch;
pub(crate) mod target;
mod translate;
