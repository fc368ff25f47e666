//! The cluster as this gateway sees it, for all who look: the log at each change, page, status and metrics at any time.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::config::Cluster;
use crate::credits::{Member, MemberId, Standing as Place};
use crate::status::{ClusterState, Peer, PeerState, Standing};

/// Keeps the state that is shown.
pub(super) struct View<'a> {
    shown: &'a Mutex<Option<ClusterState>>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        shown: &'a Mutex<Option<ClusterState>>,
        conf: &Cluster,
        id: MemberId,
        now: Instant,
    ) -> Self {
        *shown.lock() = Some(ClusterState {
            name: conf.name.as_str().into(),
            redis: conf.redis.to_string().into(),
            id: text(id),
            standing: Standing::NeverReached { since: now, why: "Redis has not been asked yet".into() },
            is_settled: false,
            members: Vec::new(),
            last_exchange: None,
            exchanges: 0,
            failures: 0,
            lost_ledgers: 0,
        });
        Self { shown }
    }

    /// The gateway uses another config.
    pub(super) fn configured(&self, conf: &Cluster) {
        self.change(|state| {
            state.name = conf.name.as_str().into();
            state.redis = conf.redis.to_string().into();
        });
    }

    fn change(&self, change: impl FnOnce(&mut ClusterState)) {
        if let Some(state) = self.shown.lock().as_mut() {
            change(state);
        }
    }

    /// A call was answered well.
    pub(super) fn answered(&self, member: &Member, now: Instant) {
        let is_in = matches!(member.standing(), Place::Joined | Place::Settling);
        let is_settled = member.standing() == Place::Joined;
        let peers = member.watch.seen(now);
        self.change(|state| {
            state.exchanges += 1;
            state.last_exchange = Some(now);
            if is_in && !matches!(state.standing, Standing::Joined { .. }) {
                log::info!("cluster {}: joined, with {} other gateways", state.name, peers.len());
                state.standing = Standing::Joined { since: now };
            }
            if is_settled && !state.is_settled {
                log::info!(
                    "cluster {}: settled, credits move between {} gateways",
                    state.name,
                    peers.len() + 1
                );
            }
            state.is_settled = is_settled;
            let own = Peer {
                id: Arc::clone(&state.id),
                address: member.address().into(),
                state: PeerState::Present,
                silent: std::time::Duration::ZERO,
            };
            let peers = peers.into_iter().map(|seen| Peer {
                id: text(seen.id),
                address: seen.address.into(),
                state: match (seen.is_silent, seen.answers) {
                    (false, _) => PeerState::Present,
                    (true, true) => PeerState::Alive,
                    (true, false) => PeerState::Silent,
                },
                silent: seen.silent,
            });
            state.members = std::iter::once(own).chain(peers).collect();
        });
    }

    /// The ledger is not what it was.
    pub(super) fn lost(&self) {
        self.change(|state| {
            state.lost_ledgers += 1;
            log::warn!(
                "cluster {}: Redis has lost the ledger, or begun anew; all gateways keep their credits, and none move until all have entered the next one",
                state.name
            );
        });
    }

    /// A call failed.
    pub(super) fn failed(&self, why: &str, has_been_in: bool, now: Instant) {
        self.change(|state| {
            state.failures += 1;
            let (since, is_news) = match &state.standing {
                Standing::NeverReached { since, why: before } => (*since, **before != *why),
                Standing::Alone { since, why: before } => (*since, **before != *why),
                Standing::Joined { .. } => (now, true),
            };
            if !is_news {
                return;
            }
            let why: Arc<str> = why.into();
            if has_been_in {
                log::warn!("cluster {}: {why}; this gateway goes on with the credits it holds", state.name);
                state.standing = Standing::Alone { since, why };
            } else {
                log::warn!(
                    "cluster {}: {why}; until it is reached this gateway holds no credits: requests to nodes with max_in_flight wait",
                    state.name
                );
                state.standing = Standing::NeverReached { since, why };
            }
        });
    }

    pub(super) fn buried(&self, id: MemberId, verdict: &str) {
        self.change(|state| {
            log::warn!("cluster {}: gateway {} {verdict}; its credits are free", state.name, text(id));
        });
    }
}

fn text(id: MemberId) -> Arc<str> {
    format!("{:016x}", id.0).into()
}
