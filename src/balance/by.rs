//! The reason for which a node was chosen.

use crate::config::Balance;

/// See [`By::as_str`] for the words of log, header and metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// The fewest in flight; also for a request without a key under affinity or ip_hash.
    #[default]
    LeastInFlight,
    LeastWork,
    RoundRobin,
    Random,
    /// The first node in the key's order of those that may be chosen.
    Affinity,
    /// That one is above its bound, or has no slot.
    AffinityOverflow,
    IpHash,
    IpHashOverflow,
    /// It has the stored response that the request names.
    Stored,
    /// Its pool has the request because another would have made it wait.
    Spill,
    /// A split drew another pool, none of whose nodes was up.
    Split,
}

impl By {
    pub const ALL: [Self; 11] = [
        Self::LeastInFlight,
        Self::LeastWork,
        Self::RoundRobin,
        Self::Random,
        Self::Affinity,
        Self::AffinityOverflow,
        Self::IpHash,
        Self::IpHashOverflow,
        Self::Stored,
        Self::Spill,
        Self::Split,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeastInFlight => "least_in_flight",
            Self::LeastWork => "least_work",
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::Affinity => "affinity",
            Self::AffinityOverflow => "affinity_overflow",
            Self::IpHash => "ip_hash",
            Self::IpHashOverflow => "ip_hash_overflow",
            Self::Stored => "stored",
            Self::Spill => "spill",
            Self::Split => "split",
        }
    }

    /// A choice without a key.
    pub fn load(balance: Balance) -> Self {
        match balance {
            Balance::LeastInFlight | Balance::Affinity | Balance::IpHash => Self::LeastInFlight,
            Balance::LeastWork => Self::LeastWork,
            Balance::RoundRobin => Self::RoundRobin,
            Balance::Random => Self::Random,
        }
    }

    /// A choice by a key. `is_home`: it is the key's own node.
    pub fn key(balance: Balance, is_home: bool) -> Self {
        match (balance, is_home) {
            (Balance::IpHash, true) => Self::IpHash,
            (Balance::IpHash, false) => Self::IpHashOverflow,
            (_, true) => Self::Affinity,
            (_, false) => Self::AffinityOverflow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counters are kept by it.
    #[test]
    fn each_has_its_place() {
        assert!(By::ALL.iter().enumerate().all(|(place, by)| *by as usize == place));
    }
}
