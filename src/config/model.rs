//! The configuration as the rest of the program sees it: plain values, valid by construction.
//!
//! Defaults are filled in, and names are resolved to types.
//!
//! Where `off` means "no limit", a field is an `Option`; where it means "none" (no slow start, no waiting),
//! it is zero.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use super::address::{HostPort, NodeAddress};
use super::class::{Classes, Deadline};
use super::cluster::Cluster;
use super::edge::{Admin, Listening};
use super::link::{Https, Link, NodeKey};
use super::pattern::Pattern;
use super::source::{Origin, Registration, Source};

/// A whole configuration file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub server: Server,
    /// In the order of the file; 1 to 64, with distinct names.
    pub pools: Vec<Pool>,
    /// At most 1024, of distinct models; default none.
    pub splits: Vec<Split>,
    /// The gateways that share the limits of nodes and keys; `None`: this one is alone, the default.
    pub cluster: Option<Cluster>,
    /// Notices on what is valid, and yet does less than one may expect: a line of text each, with file, line and path.
    pub notices: Vec<String>,
}

/// Settings of the gateway itself and towards its clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// The addresses that clients connect to; at least one, none of them overlapping.
    pub listen: Vec<Listener>,
    pub admin: Admin,
    pub metrics: Metrics,
    /// The keys that clients must have; `None`: they need none, the default.
    pub api_keys: Option<ApiKeys>,
    /// Worker threads, 1 to 1024; `None`: one per core.
    pub threads: Option<usize>,
    pub access_log: AccessLog,
    /// `None`: switched off, the default.
    pub tracing: Option<Tracing>,
    pub client: Client,
    /// Peers whose `X-Forwarded-For` is believed; at most 1024, default none.
    pub trusted_proxies: Vec<IpNet>,
    /// The time after SIGTERM in which requests are still taken, while `/readyz` says no and responses close their connection;
    /// default zero: none.
    pub stop_delay: Duration,
    /// The time that streams have to finish after a stop was requested; default 15m, zero: none.
    pub drain_timeout: Duration,
    /// The name servers that sources are looked up at, in their order; at most 8, default those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// The folder of what is kept over a restart: leases of nodes that have registered themselves; default /var/lib/evenkeel, `None`: off.
    pub state: Option<PathBuf>,
    /// Responses carry `X-Evenkeel-Node` and `X-Evenkeel-Attempts`; default on.
    pub response_headers: bool,
}

/// An address that clients connect to.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// `localhost` in the file is 127.0.0.1 here.
    pub address: SocketAddr,
    /// `None`: without TLS, the default.
    pub tls: Option<Listening>,
}

/// The keys of clients, which are in a file of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeys {
    /// A relative path is relative to the folder of the config file.
    pub file: PathBuf,
}

/// Metrics that not everybody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metrics {
    /// Those of OpenTelemetry's conventions for generative AI too; default off.
    pub genai: bool,
}

/// The target and the format of the access log.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    pub target: LogTarget,
    pub format: LogFormat,
}

/// `access_log.path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// `-`, the default.
    Stdout,
    File(PathBuf),
}

/// `access_log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// nginx's `main` with the upstream fields; the default.
    Main,
    Json,
    Off,
}

/// The collector of spans, and the requests of which it gets some.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// The address of the collector.
    pub collector: HostPort,
    /// The URL to which spans are posted.
    pub url: String,
    /// The part of the requests without a `traceparent` that is traced; 0 to 1, default 1.
    pub sample: f64,
    /// `service.name`; default `evenkeel`.
    pub service_name: String,
    /// Further fields of each post; at most 32, default none. A credential may be among them: their values are marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Limits on what one client may do; sizes in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// The time within which the whole request header must arrive; default 60s.
    pub header_timeout: Duration,
    /// The longest silence while a request body is read; default 60s.
    pub body_timeout: Duration,
    /// The least rate of a request body after its first `body_timeout`, in bytes a second; 1B to 1GiB, default 1KiB.
    pub body_min_rate: Option<u64>,
    /// The longest time in which a client accepts no byte of the response; default 2m.
    pub send_timeout: Duration,
    /// The longest silence of a stream after which its client gets a comment; 1s to 1h, default off.
    pub sse_keepalive: Option<Duration>,
    /// The time that an idle connection is kept for its next request; default 65s, zero: closed at once.
    pub keepalive: Duration,
    /// The largest request header as a whole; 1KiB to 1MiB, default 32KiB.
    pub max_header: usize,
    /// The most header fields in a request; 1 to 256, default 100.
    pub max_headers: usize,
    /// The largest request body; 1B to 1TiB, default 64MiB.
    pub max_body: u64,
    /// The most client connections at one time; 1 to 1048576, default 16384.
    pub max_connections: usize,
}

/// A group of nodes that serve the same models.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    pub name: String,
    pub models: Models,
    /// Default: its models alone.
    pub chosen_by: ChosenBy,
    /// The pool to which a request goes that would wait here; default none.
    pub spill: Option<String>,
    pub engine: Engine,
    pub balance: Balance,
    pub affinity: Affinity,
    /// Those listed: at most 4096, with distinct names and distinct addresses; at least one, unless there are sources.
    pub nodes: Vec<Node>,
    /// The places where further ones are found; at most 16, all distinct, default none.
    pub sources: Vec<Source>,
    /// The settings of those.
    pub defaults: NodeDefaults,
    pub http_version: HttpVersion,
    pub health: Health,
    pub queue: Queue,
    /// Default: `X-Request-Timeout` and `X-Request-Deadline`.
    pub deadline: Deadline,
    pub retry: Retry,
    pub timeouts: Timeouts,
}

impl Pool {
    /// The rules for nodes that register themselves; `None`: it takes none, the default.
    pub fn registration(&self) -> Option<&Registration> {
        self.sources.iter().find_map(|source| match source {
            Source::Registered(registration) => Some(registration),
            Source::Dns(_) | Source::File(_) => None,
        })
    }
}

/// The ways to a pool besides the model of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChosenBy {
    /// The beginning of their paths, which the nodes do not get: 2 to 256 bytes, default none. No two overlap.
    pub path_prefix: Option<String>,
    /// A field of their headers; default none. No two are the same.
    pub header: Option<HeaderChoice>,
}

/// A field of the header with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderChoice {
    pub name: HeaderName,
    /// 1 to 256 visible characters of ASCII.
    pub value: String,
}

/// A model whose requests are shared between pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    pub model: String,
    /// Pools by their places, each with its percentage; they make 100.
    pub shares: Vec<(usize, u32)>,
}

/// The models that a pool serves. No name and no pattern is in two pools, and at most one pool has `any`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Models {
    /// `*` is listed: the pool takes any model that no other pool names. This is the default.
    pub any: bool,
    /// The names listed.
    pub names: BTreeSet<String>,
    /// The patterns listed besides `*`; at most 256 in all pools.
    pub patterns: Vec<Pattern>,
    /// Other names for models: the name that clients use, and the one that nodes get. At most 1024. They are names like the others,
    /// unless there are none.
    pub aliases: BTreeMap<String, String>,
}

impl Models {
    /// The client's name for a model and the nodes', both as they are written here: the pattern, where none is a name; `None` for
    /// one that `*` alone covers.
    pub fn as_written<'a>(&'a self, model: &str) -> Option<[&'a str; 2]> {
        if let Some((alias, model)) = self.aliases.get_key_value(model) {
            return Some([alias, model]);
        }
        let name = self.names.get(model).map(String::as_str);
        let pattern = || self.patterns.iter().find(|pattern| pattern.matches(model)).map(Pattern::as_str);
        name.or_else(pattern).map(|name| [name; 2])
    }

    /// Requests come here by their models.
    pub fn takes_some(&self) -> bool {
        self.any || !self.names.is_empty() || !self.patterns.is_empty()
    }

    /// The bodies of requests are read for their models: those decide the pool, or have other names here.
    pub fn reads_body(&self) -> bool {
        !self.names.is_empty() || !self.patterns.is_empty() || !self.aliases.is_empty()
    }
}

/// The inference engine on a pool's nodes: selects the active check, and the way a broken answer is
/// continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Any other engine, the default: no check of its own, and chats are not continued.
    Generic,
    /// vLLM and vLLM-Ascend.
    Vllm,
    Sglang,
    /// llama.cpp's `llama-server`.
    Llamacpp,
}

/// The policy by which a pool chooses among its eligible nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    LeastInFlight,
    /// The fewest tokens in flight.
    LeastWork,
    RoundRobin,
    Random,
    /// The node that has seen the request's session before.
    Affinity,
    /// The node that has seen the client's address before.
    IpHash,
}

/// Settings of [`Balance::Affinity`] and [`Balance::IpHash`].
#[derive(Debug, Clone, PartialEq)]
pub struct Affinity {
    /// The fields that name a request's session, the first that it has; 0 to 16, default `X-Session-Id`, `X-Correlation-ID`.
    pub headers: Vec<HeaderName>,
    /// The load, relative to the mean of the nodes, above which a node gets no further sessions; 1 to 100, default 1.2.
    pub bound: f64,
}

/// One inference server.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Default: the address as text, without the way it is reached.
    pub name: String,
    pub address: NodeAddress,
    pub link: Link,
    /// The node gets it in place of the client's; default none.
    pub authorization: Option<NodeKey>,
    /// The share of requests relative to the other nodes; default: the pool's `weight`, whose default is 1.
    pub weight: Weight,
    /// The most requests at one time; default: the pool's `max_in_flight`, whose default is off.
    pub max_in_flight: MaxInFlight,
    /// The node gets no new requests and finishes those it has.
    pub drain: bool,
    /// The node is used only while no other can be had.
    pub backup: bool,
    pub origin: Origin,
}

/// The settings of nodes that have none of their own, and the addresses that no node may have.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeDefaults {
    pub weight: Weight,
    pub max_in_flight: MaxInFlight,
    pub authorization: Option<NodeKey>,
    /// TLS to them, or the reason why there can be none.
    pub https: Result<Https, String>,
    /// The gateway's own.
    pub listen: Vec<Listener>,
}

/// The weight of a node: its share of the requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weight {
    /// 0.000001 to 1000000.
    Fixed(f64),
    /// Learned from the node's speed; only with [`Balance::LeastInFlight`] and [`Balance::LeastWork`].
    Auto,
}

/// The cap of a node: the most requests that it has at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MaxInFlight {
    #[default]
    Off,
    /// 1 to 1000000.
    Fixed(usize),
    /// Learned from the work that the node does.
    Auto,
}

/// The HTTP version between the gateway and the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1, the default.
    H1,
    /// HTTP/2: by prior knowledge, within TLS by ALPN.
    H2,
}

/// The rules for ejecting a node and for its return.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// Failures within `fail_timeout` that eject a node; 0 to 1000000, default 5, 0: never.
    pub max_fails: u32,
    /// The window of `max_fails`, and the length of the first ejection; default 30s.
    pub fail_timeout: Duration,
    /// The longest ejection, never below `fail_timeout`; default 10m, or `fail_timeout` if that is longer.
    pub max_eject: Duration,
    /// The time after which a probe that has not failed counts as good; default 5s.
    pub probe_pass: Duration,
    /// The longest time that a returned node's share takes to rise to its full weight, and its cap to its
    /// full `max_in_flight`; good answers shorten it. Default 10s, zero: at once.
    pub slow_start: Duration,
    /// The active check; `None`: none, the default of [`Engine::Generic`].
    pub check: Option<Check>,
}

/// An active health check: `GET path`, good when the answer is 200.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Starts with `/`; default: that of the engine, `/health` for all known engines.
    pub path: String,
    /// The time between two checks of a node, varied by a tenth; shorter while the node is out and fails
    /// them. Default 5s.
    pub interval: Duration,
    /// The time after which a check fails. A late answer, like a 503, is excused if the node showed that it
    /// was at work meanwhile. Default 2s.
    pub timeout: Duration,
    /// Consecutive passes that end an ejection; 1 to 1000, default 1.
    pub rise: u32,
    /// Consecutive failures that eject the node; 1 to 1000, default 3.
    pub fall: u32,
}

/// The rules for retrying a request on another node.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    pub on: RetryOn,
    /// The most times that one request is sent, including the first; 1 to 16, default 3.
    pub attempts: u32,
    /// The time that a request waits while no node can be reached; default 60s, zero: it does not wait.
    pub wait: Duration,
    /// The largest request body that is kept to be sent again, in bytes; default 32MiB, 0: none.
    pub body_limit: u64,
    /// The total of all kept bodies in the gateway, in bytes, never below `body_limit`; default 1GiB.
    pub body_total: u64,
    /// Methods that may be repeated on the generation paths, in capitals; default POST. Other paths
    /// follow HTTP's rule.
    pub methods: BTreeSet<String>,
    /// Endings of further paths on which those methods may be repeated; at most 64, default none.
    pub paths: Vec<String>,
    /// A stream that breaks after it has begun is continued on another node; default off.
    pub resume: bool,
    /// The most times that one stream is continued; 1 to 16, default 1.
    pub resume_max: u32,
    /// The most text of a stream that is kept in order to continue it, in bytes; 1KiB to 64MiB, default 1MiB.
    /// A stream that exceeds it cannot be continued.
    pub resume_text_max: usize,
}

/// The queue of requests that wait while all nodes are at their `max_in_flight`.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// The most requests that wait before one of their class; 0 to 1000000, default 4096.
    pub size: usize,
    /// The longest time that one waits; default 10 minutes, zero: it does not wait.
    pub timeout: Duration,
    /// The field and words of a request's class; default `X-Priority` with `high` and `low`.
    pub class: Classes,
    /// Default 0.1 for each.
    pub shares: Shares,
    /// The part of each `max_in_flight` that is kept for [`super::Class::Interactive`]; 0 to 0.9, default 0.
    pub reserve: f64,
    /// Default [`PassPriority::Off`].
    pub pass_priority: PassPriority,
}

/// The parts of all grants that the lower classes are sure of while they wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// 0.01 to 0.5, default 0.1.
    pub normal: f64,
    /// 0.01 to 0.5, default 0.1; both together at most 0.9.
    pub batch: f64,
}

/// The way in which an engine that orders by itself is told a request's class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassPriority {
    /// It is not, the default.
    Off,
    /// In the order that the engine has by default.
    On,
    /// The lower number goes first.
    LowFirst,
    /// The higher number goes first.
    HighFirst,
}

/// Failures that trigger a retry on another node; empty: `off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOn {
    /// The connection was refused, reset, or closed before the response head.
    pub error: bool,
    /// No connection or no response head in time.
    pub timeout: bool,
    /// Status codes, 400 to 599.
    pub statuses: BTreeSet<u16>,
}

impl RetryOn {
    /// A response with this status is retried on another node.
    pub fn status(&self, code: u16) -> bool {
        self.statuses.contains(&code)
    }
}

/// Time limits towards the nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeouts {
    /// The time to establish a connection; default 5s.
    pub connect: Duration,
    /// The longest time in which a node accepts no byte of the request; default 60s.
    pub send: Duration,
    /// The time from the request's last byte to the response head; `None`: no limit, the default.
    pub first_byte: Option<Duration>,
    /// The time that the head of a stream is held back for its first event, which may be an error; default
    /// 1s, zero: not held back.
    pub first_event: Duration,
    /// The longest silence of a node that has the request, before or within its response; default 24h.
    pub read: Duration,
    /// The longest silence of both sides of a connection that has switched protocols; default 1h.
    pub tunnel: Duration,
    /// The time that an idle connection is kept for the next request; default 4s.
    pub idle: Duration,
    /// The longest silence within a stream that has begun, and of a whole node at work while others of its
    /// pool are not silent; `None`: no limit, the default.
    pub stall: Option<Duration>,
}
