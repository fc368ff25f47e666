//! Causes that lie with the cluster of gateways.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::words::time;
use crate::status::{Cause, ClusterState, PeerState, Severity, Standing};

/// A ledger that has not settled for so long waits for a gateway that does not come.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);
/// A gateway that misses a few exchanges is not told of.
const MISSES: Duration = Duration::from_secs(5);

/// The gateway's cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterScene {
    pub standing: Standing,
    /// Since then it has been so.
    pub lasts: Duration,
    pub is_settled: bool,
    /// Those that take no part: the name, the state, and the time since it was heard of.
    pub away: Vec<(Arc<str>, PeerState, Duration)>,
}

impl ClusterScene {
    pub(super) fn of(cluster: &ClusterState, now: Instant) -> Self {
        let away = cluster.members.iter().filter(|peer| peer.state != PeerState::Present);
        Self {
            lasts: now.saturating_duration_since(cluster.standing.since()),
            standing: cluster.standing.clone(),
            is_settled: cluster.is_settled,
            away: away.map(|peer| (Arc::clone(&peer.id), peer.state, peer.silent)).collect(),
        }
    }
}

pub(super) fn causes(cluster: &ClusterScene) -> Vec<Cause> {
    let mut all = Vec::new();
    let mut say = |severity, text| all.push(Cause { severity, pool: None, node: None, text });
    let lasts = time(cluster.lasts);
    match &cluster.standing {
        Standing::NeverReached { why, .. } => say(
            Severity::Bad,
            format!(
                "has not reached its cluster since it started {lasts} ago: {why}; it has no credits, so requests for nodes with \
                 max_in_flight wait, and keys with limits are refused"
            ),
        ),
        Standing::Alone { why, .. } => {
            say(Severity::Warn, format!("alone for {lasts}: {why}; it goes on with the credits that it has"))
        }
        Standing::Joined { .. } if !cluster.is_settled && cluster.lasts >= SETTLES_WITHIN => say(
            Severity::Warn,
            format!(
                "no credits have moved for {lasts}: the ledger is new, and not all gateways that may hold some have registered"
            ),
        ),
        Standing::Joined { .. } => {}
    }
    let away = cluster.away.iter().filter(|(.., silent)| *silent >= MISSES);
    for (name, state, silent) in away {
        let silent = time(*silent);
        let text = match state {
            PeerState::Alive => {
                format!(
                    "gateway {name} does not reach Redis for {silent}: it goes on with the credits that it has"
                )
            }
            PeerState::Silent | PeerState::Present => format!(
                "gateway {name} has been silent for {silent}: its credits stay reserved, since its requests may still be under way \
                 (cluster.forget_after)"
            ),
        };
        say(Severity::Warn, text);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_in_trouble_is_told() {
        let since = Instant::now();
        let why: Arc<str> = "Redis does not answer".into();
        let never = Standing::NeverReached { since, why: Arc::clone(&why) };
        let (joined, alone) = (Standing::Joined { since }, Standing::Alone { since, why });
        let away = |state, silent| vec![("gw-2".into(), state, Duration::from_secs(silent))];
        for (standing, lasts, is_settled, away, told) in [
            (joined.clone(), 900, true, Vec::new(), vec![]),
            (joined.clone(), 3, false, Vec::new(), vec![]),
            (
                joined.clone(),
                60,
                false,
                Vec::new(),
                vec![(Severity::Warn, "no credits have moved for 60 s: the ledger is new")],
            ),
            (
                alone,
                40,
                true,
                Vec::new(),
                vec![(Severity::Warn, "alone for 40 s: Redis does not answer; it goes on with")],
            ),
            (
                never,
                12,
                false,
                Vec::new(),
                vec![(Severity::Bad, "started 12 s ago: Redis does not answer; it has no credits")],
            ),
            (joined.clone(), 900, true, away(PeerState::Silent, 3), vec![]),
            (
                joined.clone(),
                900,
                true,
                away(PeerState::Silent, 200),
                vec![(Severity::Warn, "gw-2 has been silent for 3 min")],
            ),
            (
                joined,
                900,
                true,
                away(PeerState::Alive, 30),
                vec![(Severity::Warn, "gw-2 does not reach Redis for 30 s")],
            ),
        ] {
            let scene = ClusterScene { standing, lasts: Duration::from_secs(lasts), is_settled, away };
            let causes = causes(&scene);
            assert_eq!(causes.len(), told.len(), "{causes:?}");
            for (cause, (severity, text)) in causes.iter().zip(told) {
                assert!(cause.severity == severity && cause.text.contains(text), "{cause:?}");
            }
        }
    }
}
