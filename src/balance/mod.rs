//! Balancing: chooses the node that gets the next request.
//!
//! The choice depends only on [`Candidates`], which the pool updates as leases come and go, and on the
//! [`Turn`]. Its cost does not grow with the requests in flight, and only with the logarithm of the number of nodes, but for
//! the policies that hash: they look at each node.

mod affinity;
mod by;
mod candidates;
pub mod cap;
pub mod learned;
mod policy;
pub mod tokens;
mod tournament;

pub use affinity::{Preference, Preferred, name_hash};
pub use by::By;
pub use candidates::Candidates;
pub use policy::{Turn, choose};

/// The precedence of a candidate: a lower tier always goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Probing, and its one permit is free: the next request is the probe. If load decided, a light node in a
    /// quiet fleet, or one with old requests that hang, would wait for ever to be found healthy.
    Probe,
    /// Up.
    Usable,
    /// Usable, but it said recently that it is full.
    Busy,
    /// A backup that is up: it stands in while no other node can be had.
    Backup,
    /// A backup that said recently that it is full.
    BusyBackup,
    /// Ejected, but accepting connections: better than nothing while no node is up.
    LastResort,
    /// A last resort that said recently that it is full.
    BusyLastResort,
    /// Never chosen.
    Never,
}

/// The facts about one node that the choice depends on.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Requests in flight.
    pub in_flight: u32,
    /// Those of other gateways.
    pub elsewhere: u32,
    /// The most requests that the node may have.
    pub limit: u32,
    /// The estimated work of those and of one more, in tokens of a prompt, where the policy counts that: `least_work`.
    pub work: Option<f64>,
    /// `1 / (weight x slow-start share)`, above 0.
    pub inverse_rate: f64,
    pub tier: Tier,
    /// Virtual time of its last turn, for `round_robin` only.
    pub turn: f64,
    /// [`name_hash`] of the node, for `affinity` and `ip_hash` only.
    pub name: u64,
}

impl Candidate {
    /// The load that the node would have with one more request, relative to its rate. The smallest score
    /// wins.
    pub fn score(&self) -> f64 {
        self.work.unwrap_or_else(|| self.load() + 1.0) * self.inverse_rate
    }

    /// Requests in flight, whoever has sent them.
    pub(crate) fn load(&self) -> f64 {
        f64::from(self.in_flight.saturating_add(self.elsewhere))
    }

    /// The value of `turn` before the first turn.
    pub const NO_TURN: f64 = f64::NEG_INFINITY;

    /// Virtual time of the next turn. It uses the current rate, so that a node that last had a turn at the
    /// beginning of its slow start need not sit out a hundred turns.
    pub fn next_turn(&self, now: f64) -> f64 {
        (self.turn + self.inverse_rate).max(now)
    }

    pub fn has_room(&self) -> bool {
        self.in_flight < self.limit
    }
}
