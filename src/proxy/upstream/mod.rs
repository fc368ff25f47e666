//! The nodes' side: connections to them, and what they answer.

pub mod connections;
pub mod exchange;
pub mod switch;
