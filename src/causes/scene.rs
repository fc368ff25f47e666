//! The facts that causes are read from: a snapshot, an earlier one for what has happened since, and the open requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::past::{Chosen, Happened, Past};
use crate::config::{Class, Origin};
use crate::fleet::{Drain, NodeSnapshot, NodeState, PoolSnapshot, Reason};
use crate::sources::SourceSnapshot;
use crate::status::{OpenRequest, Snapshot, Stage};
use crate::tls::Certificate;

/// A stream that has begun and was silent for so long has paused: engines send a token every few milliseconds.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Default)]
pub struct Scene {
    pub(super) gateway: GatewayScene,
    pub(super) pools: Vec<PoolScene>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct GatewayScene {
    /// The problems of the file that the last reload refused.
    pub reload_error: Option<String>,
    pub generation: u64,
    /// The problems of the file of keys, if the last reading of it was refused.
    pub keys_error: Option<String>,
    pub stopping: bool,
    pub requests: u64,
    /// Those that the gateway gets by itself.
    pub certificates: Vec<CertificateScene>,
    /// Of the time since the earlier snapshot.
    pub lost_log_lines: u64,
    pub refused_connections: u64,
}

#[derive(Clone, Debug)]
pub(super) struct CertificateScene {
    pub name: String,
    /// `None`: it has expired.
    pub days_left: Option<u64>,
    pub is_pending: bool,
    /// Of the last attempt.
    pub error: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct PoolScene {
    pub name: Arc<str>,
    pub nodes: Vec<NodeScene>,
    pub queue: usize,
    /// The longest wait of those in the queue, and their classes.
    pub oldest: Duration,
    pub waiting: [usize; Class::ALL.len()],
    /// Choices since the earlier snapshot.
    pub chosen: Chosen,
    /// Of nodes that get requests; `None`: too few have told.
    pub pace: Option<Pace>,
    pub sources: Vec<SourceScene>,
}

/// A place where nodes come from.
#[derive(Clone, Debug)]
pub(super) struct SourceScene {
    pub name: String,
    /// Those that it named last.
    pub nodes: usize,
    /// What is wrong, and for how long.
    pub trouble: Option<(Arc<str>, Duration)>,
    /// One node of it that is not in use, and the reason.
    pub left_out: Option<(String, Arc<str>)>,
    pub left_out_count: usize,
}

impl SourceScene {
    fn of(source: &SourceSnapshot) -> Self {
        Self {
            name: source.origin.to_string(),
            nodes: source.nodes,
            trouble: source.trouble.as_ref().map(|(trouble, since)| (Arc::clone(&trouble.0), *since)),
            left_out: source.left_out.first().map(|one| (one.address.to_string(), Arc::clone(&one.why))),
            left_out_count: source.left_out.len(),
        }
    }
}

/// The speeds of a pool's nodes, in tokens per second of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    pub median: f64,
    /// Half of the nodes are no further from it.
    pub spread: f64,
}

impl Pace {
    pub(super) fn of(speeds: impl Iterator<Item = f64>) -> Option<Self> {
        let mut speeds: Vec<_> = speeds.collect();
        speeds.sort_by(f64::total_cmp);
        // of two the upper, so that each is measured by the faster
        let median = *speeds.get(speeds.len() / 2).filter(|_| speeds.len() > 1)?;
        let mut distances: Vec<_> = speeds.iter().map(|speed| (speed - median).abs()).collect();
        distances.sort_by(f64::total_cmp);
        Some(Self { median, spread: distances[(distances.len() - 1) / 2] })
    }
}

#[derive(Clone, Debug)]
pub(super) struct NodeScene {
    pub name: Arc<str>,
    pub state: NodeState,
    pub reason: Option<Reason>,
    pub ejected_for: Option<Duration>,
    pub drain: Drain,
    pub is_removed: bool,
    pub origin: Origin,
    pub in_flight: u32,
    pub cap: Option<u32>,
    pub weight: f64,
    /// 0 to 1.
    pub share: f64,
    /// Since the node sent anything for a request, while it has had some; `None`: it has none.
    pub silent: Option<Duration>,
    /// The last check has passed; `None`: there is none, or it is not known yet.
    pub check: Option<bool>,
    /// Models that it refuses and another node serves, each with the status of its answers.
    pub refuses: Vec<(Arc<str>, u16)>,
    pub happened: Happened,
    pub open: OpenAt,
}

/// The open requests of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OpenAt {
    /// Answers that have begun, and have told tokens.
    pub streams: u32,
    /// Those of them that have paused.
    pub paused: u32,
    /// Since any of the node's streams said something; `None`: it has none.
    pub streams_silent: Option<Duration>,
    /// The longest that a request has been in its stage there.
    pub oldest: Option<Duration>,
}

impl Scene {
    pub fn of(now: &Snapshot, then: Option<&Past>, open: &[OpenRequest]) -> Self {
        let (nodes, waits) = (at_nodes(open), longest_waits(open));
        let pools = now.pools.iter().map(|pool| PoolScene::of(pool, now, then, &waits, &nodes)).collect();
        let since = |now: u64, then: Option<u64>| then.map_or(0, |then| now.saturating_sub(then));
        let gateway = GatewayScene {
            reload_error: now.reload.error.clone(),
            keys_error: now.keys_file.as_ref().and_then(|file| file.error.clone()),
            generation: now.generation,
            stopping: now.stopping,
            requests: now.requests,
            certificates: now
                .tls
                .certificates
                .iter()
                .filter_map(|one| CertificateScene::of(one, now.wall))
                .collect(),
            lost_log_lines: since(now.lost_log_lines, then.map(|then| then.lost_log_lines)),
            refused_connections: since(now.refused_connections, then.map(|then| then.refused_connections)),
        };
        Self { gateway, pools }
    }
}

type Place<'a> = (&'a str, &'a str);

fn at_nodes(open: &[OpenRequest]) -> HashMap<Place<'_>, OpenAt> {
    let mut nodes: HashMap<Place<'_>, OpenAt> = HashMap::new();
    for one in open {
        if let (Some(pool), Some(node)) = (&one.pool, &one.node) {
            nodes.entry((pool, &node.name)).or_default().add(one);
        }
    }
    nodes
}

/// The longest wait in each pool.
fn longest_waits(open: &[OpenRequest]) -> HashMap<&str, Duration> {
    let mut longest = HashMap::new();
    for one in open.iter().filter(|one| one.stage == Stage::Waiting) {
        if let Some(pool) = &one.pool {
            let wait = longest.entry(&**pool).or_insert(one.in_stage);
            *wait = one.in_stage.max(*wait);
        }
    }
    longest
}

impl CertificateScene {
    fn of(certificate: &Certificate, now: SystemTime) -> Option<Self> {
        let renewal = certificate.renewal.as_ref()?;
        let left = certificate.not_after.duration_since(now).ok().filter(|left| !left.is_zero());
        Some(Self {
            name: certificate.names.first().cloned().unwrap_or_default(),
            days_left: left.map(|left| left.as_secs() / 86_400),
            is_pending: renewal.is_pending,
            error: renewal.last_error.clone(),
        })
    }
}

impl OpenAt {
    /// An answer that tells no tokens may be a tunnel or a download: silence means nothing there.
    fn add(&mut self, one: &OpenRequest) {
        let is_answering = one.stage == Stage::Answering;
        if is_answering && one.tokens == 0 {
            return;
        }
        self.oldest = self.oldest.max(Some(one.in_stage));
        if let Some(silent) = one.silent.filter(|_| is_answering && one.tokens > 1) {
            self.streams += 1;
            self.paused += u32::from(silent >= PAUSE);
            let least = self.streams_silent.map_or(silent, |least| least.min(silent));
            self.streams_silent = Some(least);
        }
    }
}

impl PoolScene {
    fn of(
        pool: &PoolSnapshot,
        now: &Snapshot,
        then: Option<&Past>,
        waits: &HashMap<&str, Duration>,
        nodes: &HashMap<Place<'_>, OpenAt>,
    ) -> Self {
        let happened = |node: &NodeSnapshot| then.map(|then| then.since(node, now.at)).unwrap_or_default();
        let node = |node: &NodeSnapshot| {
            let open = nodes.get(&(&*pool.name, &*node.id.name)).copied().unwrap_or_default();
            NodeScene::of(node, happened(node), open)
        };
        let chosen = then.map(|then| then.choices_since(pool)).unwrap_or_default();
        let nodes: Vec<_> = pool.nodes.iter().map(node).collect();
        let speeds = nodes.iter().filter(|node| node.is_usable()).filter_map(|node| node.happened.speed());
        Self {
            name: Arc::clone(&pool.name),
            pace: Pace::of(speeds),
            nodes,
            queue: pool.queue,
            oldest: waits.get(&*pool.name).copied().unwrap_or_default(),
            waiting: pool.queue_by_class,
            chosen,
            sources: pool.sources.iter().map(SourceScene::of).collect(),
        }
    }

    /// Those that get new requests.
    pub(super) fn usable(&self) -> impl Iterator<Item = &NodeScene> {
        self.nodes.iter().filter(|node| node.is_usable())
    }
}

impl NodeScene {
    fn of(node: &NodeSnapshot, happened: Happened, open: OpenAt) -> Self {
        let told = node.skips.iter().filter(|skip| skip.confirmed && skip.credentials.is_none());
        Self {
            name: Arc::clone(&node.id.name),
            state: node.state,
            reason: node.reason,
            ejected_for: node.ejected_for,
            drain: node.drain,
            is_removed: node.is_removed,
            origin: node.origin.clone(),
            in_flight: node.in_flight,
            cap: node.max_in_flight,
            weight: node.weight,
            share: node.share,
            silent: open.oldest.map(|oldest| oldest.min(node.silent.unwrap_or(Duration::MAX))),
            check: node.check,
            refuses: told.map(|skip| (skip.model.to_string().into(), skip.status)).collect(),
            happened,
            open,
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        matches!(self.state, NodeState::Up | NodeState::Probing) && !self.is_removed
    }
}
