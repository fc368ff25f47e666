//! `GET /api/status`: a snapshot of the gateway as JSON, for people and programs.

mod cause;
mod certificates;
mod cluster;
mod csv;
mod document;
mod edge;
mod error;
mod history;
mod keys;
mod open;
mod reload;
pub mod requests;
mod sources;
mod tables;
mod time;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

pub use self::cause::{Cause, Severity};
use self::cluster::ClusterStatus;
pub use self::cluster::{ClusterState, Peer, PeerState, Standing};
pub use self::document::Document;
use self::edge::EdgeStatus;
pub use self::edge::{Edge, Files};
pub use self::error::error_json;
pub use self::history::{events_json, history_json};
use self::keys::KeyStatus;
pub use self::open::{Asked, OpenRequest, Stage};
use self::reload::LastReload;
pub use self::reload::Reload;
use self::sources::SourceStatus;
pub use self::tables::{events_csv, nodes_csv};
pub use self::time::Moment;
use self::time::text;
use crate::config::Class;
use crate::fleet::{Counters, Event, NodeSnapshot, PoolSnapshot, Resumed, SkipSnapshot};
use crate::keys::Usage;
use crate::outcome::Outcome;
use crate::sources::LeaseCounts;

/// A snapshot: all values that the status and the metrics show.
#[derive(Debug)]
pub struct Snapshot {
    pub at: Instant,
    pub wall: SystemTime,
    pub uptime: Duration,
    pub generation: u64,
    pub reload: Reload,
    pub requests: u64,
    pub connections: u64,
    pub refused_connections: u64,
    pub kept_bytes: u64,
    pub lost_log_lines: u64,
    pub lost_own_log_lines: u64,
    pub lost_spans: u64,
    pub tls: Edge,
    pub stopping: bool,
    /// Refused before they had a pool.
    pub unrouted: Counters,
    /// The result of the last reading of the file of keys, if there is one.
    pub keys_file: Option<Reload>,
    /// At most 1001: the last may be the sum of the others.
    pub keys: Vec<Usage>,
    /// `None`: there is none.
    pub cluster: Option<ClusterState>,
    /// Of the pools that take nodes which register themselves.
    pub leases: Vec<PoolLeases>,
    pub pools: Vec<PoolSnapshot>,
    /// The worst first; only in snapshots that are to be looked at.
    pub causes: Vec<Cause>,
}

/// The leases of a pool.
#[derive(Clone, Debug)]
pub struct PoolLeases {
    pub pool: String,
    /// Nodes that have one now.
    pub held: usize,
    pub counts: LeaseCounts,
}

impl Snapshot {
    /// The instant at which it was taken.
    pub fn moment(&self) -> Moment {
        Moment { at: self.at, wall: self.wall }
    }

    /// The body of `GET /api/status`.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&Status::of(self)).unwrap_or_else(|e| format!("{{\"error\":\"{e}\"}}"))
    }
}

/// One node alone, as `/api/nodes/{pool}/{node}` shows it.
pub fn node_json(node: &NodeSnapshot, warning: Option<String>, moment: Moment) -> String {
    #[derive(Serialize)]
    struct Answer<'a> {
        pool: &'a str,
        #[serde(flatten)]
        node: NodeStatus,
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    }
    let answer = Answer { pool: &node.id.pool, node: NodeStatus::of(node, moment), warning };
    serde_json::to_string_pretty(&answer).unwrap_or_else(|e| error_json(&e.to_string()))
}

#[derive(Serialize)]
struct Status {
    version: &'static str,
    /// Shows which process answers during a hand-over.
    pid: u32,
    time: String,
    uptime_seconds: u64,
    config_generation: u64,
    last_reload: LastReload,
    stopping: bool,
    refused_by_code: BTreeMap<u16, u64>,
    requests: u64,
    connections: u64,
    refused_connections: u64,
    kept_body_bytes: u64,
    /// Of the access log.
    lost_log_lines: u64,
    /// Of the gateway's own log.
    lost_own_log_lines: u64,
    lost_spans: u64,
    /// Only where there is TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<EdgeStatus>,
    /// The gateways that share their limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterStatus>,
    /// Causes of trouble in words, the worst first; empty in a calm fleet.
    causes: Vec<Cause>,
    /// The last reading of the file of clients' keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys_file: Option<LastReload>,
    /// In the order of that file; further ones than 1000 are summed up in the last entry, `(other)`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<KeyStatus>,
    pools: Vec<PoolStatus>,
}

#[derive(Serialize)]
struct PoolStatus {
    name: String,
    nodes: Vec<NodeStatus>,
    /// Requests that wait for a slot or a node.
    queue: usize,
    queue_by_class: serde_json::Map<String, serde_json::Value>,
    requests_by_code: BTreeMap<u16, u64>,
    retries: serde_json::Map<String, serde_json::Value>,
    unkept_bodies: u64,
    /// Requests that went to another pool because they would have had to wait.
    spills: u64,
    resumes: serde_json::Map<String, serde_json::Value>,
    /// Where nodes come from besides the config, in its order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<SourceStatus>,
    events: Vec<EventStatus>,
}

#[derive(Serialize)]
struct NodeStatus {
    name: String,
    address: String,
    /// Where it comes from: `config`, or one of the pool's `sources`.
    origin: String,
    state: &'static str,
    /// It stands in while no other node can be had.
    backup: bool,
    /// `config`, `operator` or both; empty if the node is not drained.
    drained_by: Vec<&'static str>,
    /// The end of its lease, if it has registered itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_ends: Option<String>,
    reason: Option<String>,
    ejected_for_seconds: Option<f64>,
    in_flight: u32,
    /// The part of `max_in_flight` that this gateway may use now; only in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<u32>,
    /// Requests that the other gateways of the cluster have in flight there.
    #[serde(skip_serializing_if = "Option::is_none")]
    elsewhere: Option<u32>,
    /// Estimated work in flight, in tokens of a prompt; a token of an answer counts as 4. With `balance: least_work`.
    #[serde(skip_serializing_if = "Option::is_none")]
    work_in_flight: Option<u64>,
    /// The part of the prompts' tokens that the node had in its cache, where it tells that.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_hit_rate: Option<f64>,
    max_in_flight: Option<u32>,
    max_in_flight_from: String,
    weight: f64,
    weight_from: String,
    slow_start_share: f64,
    recent_failures: usize,
    ejections: u64,
    /// The last attempt that counted against the node.
    last_failure: Option<LastFailure>,
    attempts: serde_json::Map<String, serde_json::Value>,
    /// Tokens of its answers, as they come: an event of a stream counts as one, until the node tells more.
    answer_tokens: u64,
    /// Of all its answers together, within the last 5 to 10 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_per_second: Option<f64>,
    /// From sending a stream's request to its first words, within the last 3 to 6 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttft: Option<Times>,
    /// The mean time from one token of a stream to the next, within the last 3 to 6 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    inter_token: Option<Times>,
    /// Models for which the node is skipped, because it refuses them and another node serves them.
    skips: Vec<SkipStatus>,
}

/// In seconds: half of the values, and 99 of 100, are no greater. Off by up to a half of themselves.
#[derive(Serialize)]
struct Times {
    p50: f64,
    p99: f64,
}

#[derive(Serialize)]
struct LastFailure {
    outcome: &'static str,
    /// To the second.
    time: String,
}

impl LastFailure {
    fn of(outcome: Outcome, at: Instant, moment: Moment) -> Self {
        let ago = moment.at.saturating_duration_since(at);
        let time = time::to_the_second(moment.wall.checked_sub(ago).unwrap_or(moment.wall));
        Self { outcome: outcome.as_str(), time }
    }
}

#[derive(Serialize)]
struct SkipStatus {
    /// The model, or the path of requests that name none.
    model: String,
    status: u16,
    seconds_left: f64,
    /// `false`: another node is being asked.
    confirmed: bool,
    /// The clients whose requests they are, in words.
    applies_to: String,
}

#[derive(Serialize)]
struct EventStatus {
    time: String,
    node: String,
    what: String,
    in_flight: u32,
}

impl Status {
    fn of(s: &Snapshot) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            time: text(s.wall),
            uptime_seconds: s.uptime.as_secs(),
            config_generation: s.generation,
            last_reload: LastReload::of(&s.reload),
            stopping: s.stopping,
            refused_by_code: s
                .unrouted
                .requests
                .clone()
                .into_iter()
                .filter(|(code, _)| *code >= 400)
                .collect(),
            requests: s.requests,
            connections: s.connections,
            refused_connections: s.refused_connections,
            kept_body_bytes: s.kept_bytes,
            lost_log_lines: s.lost_log_lines,
            lost_own_log_lines: s.lost_own_log_lines,
            lost_spans: s.lost_spans,
            tls: EdgeStatus::of(&s.tls, s.wall),
            cluster: s.cluster.as_ref().map(|cluster| ClusterStatus::of(cluster, s.at)),
            causes: s.causes.clone(),
            keys_file: s.keys_file.as_ref().map(LastReload::of),
            keys: s.keys.iter().map(KeyStatus::of).collect(),
            pools: s.pools.iter().map(|pool| PoolStatus::of(pool, s)).collect(),
        }
    }
}

impl PoolStatus {
    fn of(pool: &PoolSnapshot, s: &Snapshot) -> Self {
        let retries = crate::retry::RetryReason::ALL.iter().zip(pool.counters.retries);
        let resumes = Resumed::ALL.iter().zip(pool.counters.resumes);
        Self {
            name: pool.name.to_string(),
            nodes: pool.nodes.iter().map(|node| NodeStatus::of(node, s.moment())).collect(),
            queue: pool.queue,
            queue_by_class: by_class(pool),
            requests_by_code: pool.counters.requests.clone(),
            retries: retries.map(|(why, count)| (why.as_str().to_owned(), count.into())).collect(),
            unkept_bodies: pool.counters.unkept_bodies,
            spills: pool.counters.spills,
            resumes: resumes.map(|(what, count)| (what.as_str().to_owned(), count.into())).collect(),
            sources: pool.sources.iter().map(|source| SourceStatus::of(source, s.moment())).collect(),
            events: pool.events.iter().map(|event| EventStatus::of(event, s)).collect(),
        }
    }
}

fn by_class(pool: &PoolSnapshot) -> serde_json::Map<String, serde_json::Value> {
    let classes = Class::ALL.iter().zip(pool.queue_by_class);
    classes.map(|(class, waiting)| (class.as_str().to_owned(), waiting.into())).collect()
}

impl NodeStatus {
    fn of(node: &NodeSnapshot, moment: Moment) -> Self {
        let attempts = Outcome::ALL.iter().zip(node.attempts);
        Self {
            name: node.id.name.to_string(),
            address: node.id.address.to_string(),
            origin: node.origin.to_string(),
            state: node.state.as_str(),
            backup: node.is_backup,
            drained_by: node.drain.names(),
            lease_ends: node.lease.map(|until| time::in_future(until, moment)),
            reason: node.reason.map(|reason| reason.to_string()),
            ejected_for_seconds: node.ejected_for.map(|time| time.as_secs_f64()),
            in_flight: node.in_flight,
            held: node.held,
            elsewhere: node.elsewhere,
            work_in_flight: node.work,
            cache_hit_rate: hit_rate(node.prompts),
            max_in_flight: node.max_in_flight,
            max_in_flight_from: node.max_in_flight_from.to_string(),
            weight: node.weight,
            weight_from: node.weight_from.to_string(),
            slow_start_share: node.share,
            recent_failures: node.recent_failures,
            ejections: node.ejections,
            last_failure: node.last_failure.map(|(outcome, at)| LastFailure::of(outcome, at, moment)),
            attempts: attempts.map(|(outcome, count)| (outcome.as_str().to_owned(), count.into())).collect(),
            answer_tokens: node.answer_tokens,
            tokens_per_second: node.lately.tokens_per_second.map(|rate| (rate * 10.0).round() / 10.0),
            ttft: node.lately.first_token.map(Times::of),
            inter_token: node.lately.inter_token.map(Times::of),
            skips: node.skips.iter().map(SkipStatus::of).collect(),
        }
    }
}

impl Times {
    fn of(times: [Duration; 2]) -> Self {
        let [p50, p99] = times.map(|time| (time.as_secs_f64() * 1e4).round() / 1e4);
        Self { p50, p99 }
    }
}

impl SkipStatus {
    fn of(skip: &SkipSnapshot) -> Self {
        Self {
            model: skip.model.to_string(),
            status: skip.status,
            seconds_left: skip.left.as_secs_f64(),
            confirmed: skip.confirmed,
            applies_to: match skip.credentials {
                None => "every client".to_owned(),
                Some(1) => "one client's credential".to_owned(),
                Some(count) => format!("{count} clients' credentials"),
            },
        }
    }
}

fn hit_rate([tokens, cached]: [u64; 2]) -> Option<f64> {
    (tokens > 0).then(|| (cached as f64 / tokens as f64 * 1000.0).round() / 1000.0)
}

impl EventStatus {
    fn of(event: &Event, s: &Snapshot) -> Self {
        let ago = s.at.saturating_duration_since(event.at);
        Self {
            time: text(s.wall.checked_sub(ago).unwrap_or(s.wall)),
            node: event.node.to_string(),
            what: event.change.to_string(),
            in_flight: event.in_flight,
        }
    }
}
