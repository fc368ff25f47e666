//! The facts that causes are read from: a snapshot, an earlier one for what has happened since, and the open requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::past::{Happened, Past};
use crate::config::Class;
use crate::fleet::{Drain, NodeSnapshot, NodeState, PoolSnapshot, Reason};
use crate::status::{OpenRequest, Snapshot, Stage};

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
    pub stopping: bool,
    pub requests: u64,
    /// Of the time since the earlier snapshot.
    pub lost_log_lines: u64,
    pub refused_connections: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct PoolScene {
    pub name: Arc<str>,
    pub nodes: Vec<NodeScene>,
    pub queue: usize,
    /// The longest wait of those in the queue, and their classes.
    pub oldest: Duration,
    pub waiting: [usize; Class::ALL.len()],
    /// Choices by the key of an affinity, and those that went elsewhere because that node had its share.
    pub by_key: [u64; 2],
    pub spills: u64,
}

#[derive(Clone, Debug)]
pub(super) struct NodeScene {
    pub name: Arc<str>,
    pub state: NodeState,
    pub reason: Option<Reason>,
    pub ejected_for: Option<Duration>,
    pub drain: Drain,
    pub is_removed: bool,
    pub in_flight: u32,
    pub cap: Option<u32>,
    pub weight: f64,
    /// 0 to 1.
    pub share: f64,
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
    /// Since the node last sent anything for a request that it has now.
    pub silent: Option<Duration>,
}

impl Scene {
    pub fn of(now: &Snapshot, then: Option<&Past>, open: &[OpenRequest]) -> Self {
        let nodes = at_nodes(open);
        let pools = now.pools.iter().map(|pool| PoolScene::of(pool, now, then, open, &nodes)).collect();
        let since = |now: u64, then: Option<u64>| then.map_or(0, |then| now.saturating_sub(then));
        let gateway = GatewayScene {
            reload_error: now.reload.error.clone(),
            generation: now.generation,
            stopping: now.stopping,
            requests: now.requests,
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

impl OpenAt {
    fn add(&mut self, one: &OpenRequest) {
        let least =
            |so_far: Option<Duration>, time: Duration| Some(so_far.map_or(time, |least| least.min(time)));
        let is_answering = one.stage == Stage::Answering;
        let silent = one.silent.filter(|_| is_answering);
        self.silent = least(self.silent, silent.unwrap_or(one.in_stage));
        if let Some(silent) = silent.filter(|_| one.tokens > 1) {
            self.streams += 1;
            self.paused += u32::from(silent >= PAUSE);
            self.streams_silent = least(self.streams_silent, silent);
        }
    }
}

impl PoolScene {
    fn of(
        pool: &PoolSnapshot,
        now: &Snapshot,
        then: Option<&Past>,
        open: &[OpenRequest],
        nodes: &HashMap<Place<'_>, OpenAt>,
    ) -> Self {
        let waits = |one: &&OpenRequest| {
            one.stage == Stage::Waiting && one.pool.as_deref().is_some_and(|name| *name == *pool.name)
        };
        let happened = |node: &NodeSnapshot| then.map(|then| then.since(node, now.at)).unwrap_or_default();
        let node = |node: &NodeSnapshot| {
            let open = nodes.get(&(&*pool.name, &*node.id.name)).copied().unwrap_or_default();
            NodeScene::of(node, happened(node), open)
        };
        let [by_key, spills] = then.map(|then| then.choices_since(pool)).unwrap_or_default();
        Self {
            name: Arc::clone(&pool.name),
            nodes: pool.nodes.iter().map(node).collect(),
            queue: pool.queue,
            oldest: open.iter().filter(waits).map(|one| one.in_stage).max().unwrap_or_default(),
            waiting: pool.queue_by_class,
            by_key,
            spills: spills[0],
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
            in_flight: node.in_flight,
            cap: node.max_in_flight,
            weight: node.weight,
            share: node.share,
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
