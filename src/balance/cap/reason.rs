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
    /// Streams have shown no sign of too many.
    Free,
    /// So many streams have paused of late.
    Paused { count: u32 },
    /// Requests waited in the node's own line.
    Waited,
}

const PAUSED: &str = "as many as its memory holds: with more,";

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
            Self::Free => write!(f, "no sign of too many: twice the most that were in flight"),
            Self::Paused { count: 1 } => write!(f, "{PAUSED} 1 stream paused while others went on"),
            Self::Paused { count } => write!(f, "{PAUSED} {count} streams paused while others went on"),
            Self::Waited => write!(f, "as many as answer, and some: others waited in the node's own line"),
        }
    }
}
