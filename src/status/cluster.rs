//! The cluster of gateways that share their limits, as this one sees it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

/// What this gateway knows of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterState {
    pub name: Arc<str>,
    /// The address of Redis, without a credential.
    pub redis: Arc<str>,
    /// This gateway's own id.
    pub id: Arc<str>,
    pub standing: Standing,
    /// All members of this epoch are known: credits may move.
    pub is_settled: bool,
    /// This gateway is among them.
    pub members: Vec<Peer>,
    /// The last exchange that was answered well.
    pub last_exchange: Option<Instant>,
    /// Exchanges that were answered well, and that were not.
    pub exchanges: u64,
    pub failures: u64,
    /// Times that the ledger was found lost.
    pub lost_ledgers: u64,
}

/// The gateway's place in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not reached Redis since it started: it has no credits.
    NeverReached {
        since: Instant,
        why: Arc<str>,
    },
    Joined {
        since: Instant,
    },
    /// Its exchanges fail: it keeps the credits that it has. `why`: a reason in words, such as "Redis does not answer".
    Alone {
        since: Instant,
        why: Arc<str>,
    },
}

/// A gateway of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub id: Arc<str>,
    /// Where it answers those who ask if it is alive.
    pub address: Arc<str>,
    pub state: PeerState,
    /// Since its last exchange.
    pub silent: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// It takes part.
    Present,
    /// Redis does not hear of it, but it answers when asked: it keeps its credits.
    Alive,
    /// Nobody hears of it: its credits stay reserved for `cluster.forget_after`.
    Silent,
}

impl PeerState {
    pub const ALL: [Self; 3] = [Self::Present, Self::Alive, Self::Silent];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Alive => "alive",
            Self::Silent => "silent",
        }
    }
}

impl Standing {
    pub const NAMES: [&str; 3] = ["never_reached", "joined", "alone"];

    pub fn as_str(&self) -> &'static str {
        let [never_reached, joined, alone] = Self::NAMES;
        match self {
            Self::NeverReached { .. } => never_reached,
            Self::Joined { .. } => joined,
            Self::Alone { .. } => alone,
        }
    }

    pub fn since(&self) -> Instant {
        match self {
            Self::NeverReached { since, .. } | Self::Joined { since } | Self::Alone { since, .. } => *since,
        }
    }

    /// The reason for which it takes no part.
    pub fn why(&self) -> Option<&Arc<str>> {
        match self {
            Self::NeverReached { why, .. } | Self::Alone { why, .. } => Some(why),
            Self::Joined { .. } => None,
        }
    }
}

#[derive(Serialize)]
pub(super) struct ClusterStatus {
    name: String,
    redis: String,
    id: String,
    /// `joined`, `alone` or `never_reached`.
    state: &'static str,
    for_seconds: u64,
    /// In words, unless it has joined.
    reason: Option<String>,
    /// Credits may move.
    settled: bool,
    members: Vec<PeerStatus>,
    last_exchange_seconds_ago: Option<f64>,
    exchanges: u64,
    failed_exchanges: u64,
    lost_ledgers: u64,
}

#[derive(Serialize)]
struct PeerStatus {
    id: String,
    address: String,
    /// `present`, `alive` (answers when asked, but takes no part) or `silent`.
    state: &'static str,
    silent_seconds: f64,
}

impl ClusterStatus {
    pub(super) fn of(cluster: &ClusterState, now: Instant) -> Self {
        let ago = |at: Instant| now.saturating_duration_since(at);
        let tenths = |time: Duration| (time.as_secs_f64() * 10.0).round() / 10.0;
        let peer = |peer: &Peer| PeerStatus {
            id: peer.id.to_string(),
            address: peer.address.to_string(),
            state: peer.state.as_str(),
            silent_seconds: tenths(peer.silent),
        };
        Self {
            name: cluster.name.to_string(),
            redis: cluster.redis.to_string(),
            id: cluster.id.to_string(),
            state: cluster.standing.as_str(),
            for_seconds: ago(cluster.standing.since()).as_secs(),
            reason: cluster.standing.why().map(|why| why.to_string()),
            settled: cluster.is_settled,
            members: cluster.members.iter().map(peer).collect(),
            last_exchange_seconds_ago: cluster.last_exchange.map(|at| tenths(ago(at))),
            exchanges: cluster.exchanges,
            failed_exchanges: cluster.failures,
            lost_ledgers: cluster.lost_ledgers,
        }
    }
}
