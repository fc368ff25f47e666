//! The reason for a cap, in words.

use std::fmt;

/// The side of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Above,
    Below,
}

/// The reason for the present cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is known yet.
    Start,
    /// Another cap than the best one known is tried.
    Trial { base: u32, side: Side },
    /// The best one known.
    Best,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => write!(f, "the start: nothing is known yet"),
            Self::Trial { base, side: Side::Above } => {
                write!(f, "a trial: do more than {base} do more work?")
            }
            Self::Trial { base, side: Side::Below } => {
                write!(f, "a trial: do fewer than {base} do as much work?")
            }
            Self::Best => write!(f, "the best one known: others did no more work"),
        }
    }
}
