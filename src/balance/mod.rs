//! Which of the candidates gets the next request.
//!
//! The choice depends on nothing but [`Candidates`], which the pool keeps up to date as leases come and go, and the turn.
//! What it costs does not grow with the requests in flight, and for the default policy only with the logarithm of the number
//! of nodes.

mod candidates;
pub mod learned;
mod policy;
mod tournament;

pub use candidates::Candidates;
pub use policy::{Turn, choose};

/// When a candidate may be taken: a lower tier always goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Probing with its one permit free: the next request tries it. By its load alone a light node in a quiet fleet, or one
    /// with old requests that hang, would wait for ever to be found well.
    Probe,
    /// Up.
    Usable,
    /// Usable, but it said a moment ago that it is full.
    Busy,
    /// Ejected, but it accepts connections: better than nothing when no node is up.
    LastResort,
    /// The same, but it said a moment ago that it is full.
    BusyLastResort,
    /// Not to be taken.
    Never,
}

/// What the choice needs to know of one node.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Requests that it has now.
    pub in_flight: u32,
    /// Most requests that it may have.
    pub limit: u32,
    /// `1 / (weight x slow-start share)`, above 0.
    pub inverse_rate: f64,
    pub tier: Tier,
    /// Virtual time of its last turn, for `round_robin` only.
    pub turn: f64,
}

impl Candidate {
    /// The load that it would have with one more request, in relation to its rate. The smallest wins.
    pub fn score(&self) -> f64 {
        (f64::from(self.in_flight) + 1.0) * self.inverse_rate
    }

    /// Of one that has not had a turn yet.
    pub const NO_TURN: f64 = f64::NEG_INFINITY;

    /// Virtual time of its next turn: by the rate that it has now, for a node that had its last turn at the start of its
    /// slow start does not owe a hundred turns for it.
    pub fn next_turn(&self, now: f64) -> f64 {
        (self.turn + self.inverse_rate).max(now)
    }

    pub fn has_room(&self) -> bool {
        self.in_flight < self.limit
    }
}
