//! The gateway's answers, as far as they are shown. Fields that another version does not send are empty.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::outcome::Outcome;

/// `GET /api/status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub version: String,
    pub pid: u32,
    pub uptime_seconds: u64,
    pub config_generation: u64,
    pub stopping: bool,
    pub refused_by_code: BTreeMap<String, u64>,
    pub causes: Vec<Cause>,
    pub pools: Vec<Pool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cause {
    /// `bad`, `warn` or `info`.
    pub severity: String,
    pub pool: Option<String>,
    pub text: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pool {
    pub name: String,
    pub nodes: Vec<Node>,
    pub queue: u64,
    pub requests_by_code: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub name: String,
    pub state: String,
    pub drained_by: Vec<String>,
    pub reason: Option<String>,
    pub ejected_for_seconds: Option<f64>,
    pub in_flight: u64,
    pub max_in_flight: Option<u64>,
    /// Of a gateway in a cluster.
    pub held: Option<u64>,
    pub weight: f64,
    pub slow_start_share: f64,
    pub last_failure: Option<LastFailure>,
    pub attempts: BTreeMap<String, u64>,
    pub tokens_per_second: Option<f64>,
    pub ttft: Option<Times>,
    pub inter_token: Option<Times>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LastFailure {
    pub outcome: String,
    pub time: String,
}

/// In seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Times {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
}

/// `GET /api/requests`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Open {
    pub open: u64,
    pub requests: Vec<Request>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Request {
    pub number: u64,
    pub id: String,
    pub pool: Option<String>,
    pub node: Option<String>,
    pub class: String,
    pub state: String,
    pub method: String,
    pub path: String,
    pub attempts: u64,
    pub age_seconds: f64,
    pub state_seconds: f64,
    pub ttft_seconds: Option<f64>,
    pub silent_seconds: Option<f64>,
    pub tokens: u64,
    pub tokens_per_second: Option<f64>,
}

impl Status {
    /// Requests that have come to their end, since the gateway's start.
    pub(super) fn ended(&self) -> u64 {
        let pools = self.pools.iter().flat_map(|pool| pool.requests_by_code.values());
        pools.chain(self.refused_by_code.values()).sum()
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.pools.iter().flat_map(|pool| &pool.nodes).map(|node| node.in_flight).sum()
    }

    pub(super) fn waiting(&self) -> u64 {
        self.pools.iter().map(|pool| pool.queue).sum()
    }
}

impl Node {
    pub(super) fn succeeded(&self) -> u64 {
        self.attempts.get(Outcome::Ok.as_str()).copied().unwrap_or_default()
    }

    /// Attempts that count against the node.
    pub(super) fn failed(&self) -> u64 {
        let failures = Outcome::ALL.into_iter().filter(|outcome| outcome.is_failure());
        failures.filter_map(|outcome| self.attempts.get(outcome.as_str())).sum()
    }
}
