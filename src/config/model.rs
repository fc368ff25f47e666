//! What the rest of the program sees of the configuration: plain values that are valid by
//! construction, with defaults filled in and names resolved to types.
//!
//! Where `off` means "no limit" a field is an `Option`; where it means "none of it" (no slow start, no
//! waiting) it is zero.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::NodeAddress;

/// A whole configuration file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub server: Server,
    /// In the order of the file; 1 to 64, with distinct names.
    pub pools: Vec<Pool>,
}

/// What concerns the gateway itself and its clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Where clients connect; at least one, none of them overlapping.
    pub listen: Vec<Listener>,
    /// The page, metrics and API; always a loopback address. `None`: switched off.
    pub admin: Option<SocketAddr>,
    /// Worker threads, 1 to 1024; `None`: one a core.
    pub threads: Option<usize>,
    pub access_log: AccessLog,
    pub client: Client,
    /// Peers whose `X-Forwarded-For` is believed; at most 1024, default none.
    pub trusted_proxies: Vec<IpNet>,
    /// How long streams may go on after a stop was asked for; default 15m, zero: not at all.
    pub drain_timeout: Duration,
    /// Whether responses carry `X-Evenkeel-Node` and `X-Evenkeel-Attempts`; default on.
    pub response_headers: bool,
}

/// One address that clients connect to.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// `localhost` in the file is 127.0.0.1 here.
    pub address: SocketAddr,
}

/// Where the access log goes and what a line looks like.
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

/// Limits on what one client may do; sizes in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// The whole request header must have come within this; default 60s.
    pub header_timeout: Duration,
    /// Longest silence while a request body is read; default 60s.
    pub body_timeout: Duration,
    /// Longest time in which a client takes no byte of the response; default 2m.
    pub send_timeout: Duration,
    /// How long an idle connection is kept for its next request; default 65s, zero: closed at once.
    pub keepalive: Duration,
    /// Largest request header as a whole; 1KiB to 1MiB, default 32KiB.
    pub max_header: usize,
    /// Most header fields in a request; 1 to 256, default 100.
    pub max_headers: usize,
    /// Largest request body; 1B to 1TiB, default 64MiB.
    pub max_body: u64,
    /// Most client connections at one time; 1 to 1048576, default 16384.
    pub max_connections: usize,
}

/// A group of nodes that serve the same models.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    pub name: String,
    pub models: Models,
    pub engine: Engine,
    pub balance: Balance,
    /// 1 to 4096, with distinct names and distinct addresses.
    pub nodes: Vec<Node>,
    pub http_version: HttpVersion,
    pub health: Health,
    pub retry: Retry,
    pub timeouts: Timeouts,
}

/// The models that a pool serves. No model is in two pools, and at most one pool has `any`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Models {
    /// `*` is listed: the pool takes what no other pool names; the default.
    pub any: bool,
    /// The names listed beside it.
    pub names: BTreeSet<String>,
}

/// What runs on a pool's nodes: sets the active check, and how a broken answer is continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Anything else, the default: no check of its own, and chats are not continued.
    Generic,
    /// vLLM and vLLM-Ascend.
    Vllm,
    Sglang,
    /// llama.cpp's `llama-server`.
    Llamacpp,
}

/// How a pool chooses among its eligible nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    LeastInFlight,
    RoundRobin,
    Random,
}

/// One inference server.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Default: the address as text.
    pub name: String,
    pub address: NodeAddress,
    /// Share of the requests relative to the other nodes; default: the pool's `weight`, and that is 1.
    pub weight: Weight,
    /// Most requests at one time; 1 to 1000000, `None`: no limit, the default.
    pub max_in_flight: Option<usize>,
    /// Gets no new requests and finishes those it has.
    pub drain: bool,
}

/// How much of the requests a node gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weight {
    /// 0.000001 to 1000000.
    Fixed(f64),
    /// Learned from what the node delivers; only with [`Balance::LeastInFlight`].
    Auto,
}

/// What the gateway speaks to the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1, the default.
    H1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2,
}

/// When a node is taken out, and how it comes back.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// Failures within `fail_timeout` that eject a node; 0 to 1000000, default 5, 0: never.
    pub max_fails: u32,
    /// The window of `max_fails`, and how long the first ejection lasts; default 30s.
    pub fail_timeout: Duration,
    /// Longest ejection, never below `fail_timeout`; default 10m, or `fail_timeout` if that is longer.
    pub max_eject: Duration,
    /// A probe that has been at work this long without failing counts as good; default 5s.
    pub probe_pass: Duration,
    /// How long the share of a node that came back takes at most to rise to its weight, and what it may have of its
    /// `max_in_flight` to all of it; its answers make that sooner. Default 10s, zero: at once.
    pub slow_start: Duration,
    /// The active check; `None`: none, the default of [`Engine::Generic`].
    pub check: Option<Check>,
}

/// An active health check: `GET path`, good when the answer is 200.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Starts with `/`; default: the engine's, `/health` for all that are known.
    pub path: String,
    /// Time between two checks of a node, a tenth more or less; less while it is out and fails them. Default 5s.
    pub interval: Duration,
    /// An answer later than this is a failure, as 503 is, unless the node was seen at work meanwhile; default 2s.
    pub timeout: Duration,
    /// Good checks in a row that end an ejection; 1 to 1000, default 1.
    pub rise: u32,
    /// Failed checks in a row that eject; 1 to 1000, default 3.
    pub fall: u32,
}

/// When a request goes to another node.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    pub on: RetryOn,
    /// Most times that one request is sent, the first included; 1 to 16, default 3.
    pub attempts: u32,
    /// How long a request waits while no node can be reached; default 60s, zero: not at all.
    pub wait: Duration,
    /// Largest request body that is kept to be sent again, in bytes; default 32MiB, 0: none.
    pub body_limit: u64,
    /// All kept bodies of the gateway together, in bytes, never below `body_limit`; default 1GiB.
    pub body_total: u64,
    /// Methods that may be repeated on the generation paths, in capitals; default POST. Other paths
    /// follow HTTP's rule.
    pub methods: BTreeSet<String>,
    /// Endings of further paths on which those methods may be repeated; at most 64, default none.
    pub paths: Vec<String>,
    /// Whether a stream that broke after it had begun goes on at another node; default off.
    pub resume: bool,
    /// Most times that one stream is continued; 1 to 16, default 1.
    pub resume_max: u32,
    /// Most of a stream's text that is kept to continue it, in bytes; 1KiB to 64MiB, default 1MiB. One that says more
    /// cannot be continued from there on.
    pub resume_text_max: usize,
}

/// The failures after which another node is tried; empty: `off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOn {
    /// The connection was refused, reset, or closed before the response head.
    pub error: bool,
    /// No connection or no response head in time.
    pub timeout: bool,
    /// Status codes, out of 403, 404, 429, 500, 502, 503, 504.
    pub statuses: BTreeSet<u16>,
}

impl RetryOn {
    /// Whether a response with this status is tried again on another node.
    pub fn status(&self, code: u16) -> bool {
        self.statuses.contains(&code)
    }
}

/// Time limits towards the nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeouts {
    /// To establish a connection; default 5s.
    pub connect: Duration,
    /// Longest time in which a node takes no byte of the request; default 60s.
    pub send: Duration,
    /// From the request's last byte to the response head; `None`: no limit, the default.
    pub first_byte: Option<Duration>,
    /// How long the head of a stream is held back for its first event, which may be an error; default 1s, zero: not.
    pub first_event: Duration,
    /// Longest silence of a node that has the request, before its response or within; default 24h.
    pub read: Duration,
    /// How long an idle connection is kept for the next request; default 4s.
    pub idle: Duration,
    /// Longest silence within a stream that has begun, and of a whole node at work while others of its pool are not
    /// silent; `None`: no limit, the default.
    pub stall: Option<Duration>,
}
