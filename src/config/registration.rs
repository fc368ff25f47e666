//! `registration` among a pool's sources, and what a node says of itself when it registers (`POST /api/nodes`).

use std::time::Duration;

use super::address::NodeAddress;
use super::model::{MaxInFlight, Weight};
use super::nodes::{IN_FLIGHT_MAX, NODES_MAX};
use super::problems::{Collector, Problem, Problems};
use super::raw::{Raw, Value, parse_json};
use super::section::{Place, Section};
use super::source::Registration;
use super::values::{duration_in, integer, max_in_flight, name, network, node_address, switch, weight};

/// The shortest and the longest lease.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_hours(24);
const TTL_DEFAULT: Duration = Duration::from_secs(30);
const NETWORKS_MAX: usize = 64;
const MAX_DEFAULT: usize = 256;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// `None`: the one pool that takes nodes.
    pub pool: Option<String>,
    pub address: ClaimedAddress,
    /// `None`: the address is its name.
    pub name: Option<String>,
    /// `None`: that of the pool.
    pub weight: Option<Weight>,
    /// `None`: that of the pool.
    pub max_in_flight: Option<MaxInFlight>,
    /// The length of the lease; 1s to 24h, default 30s.
    pub ttl: Duration,
}

/// The address that a node says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimedAddress {
    Whole(NodeAddress),
    /// A port at the address from which it says so.
    Port(u16),
}

impl Claim {
    /// Reads a JSON object. The error is for people: all that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let raw = parse_json(text).map_err(|why| format!("the body is not JSON: {why}; {EXAMPLE}"))?;
        if !matches!(raw.value, Value::Mapping(_)) {
            return Err(format!("the body is not a JSON object; {EXAMPLE}"));
        }
        let problems = Collector::default();
        let claim = Place::root(&raw, &problems).section().and_then(|section| section.finish(claim));
        problems.finish(claim, "").map_err(|problems| in_one_line(&problems))
    }
}

const EXAMPLE: &str = r#"send something like {"address": "10.0.0.5:8000", "ttl": "30s"}"#;

fn in_one_line(problems: &Problems) -> String {
    let one = |Problem { path, message, .. }: &Problem| match path.as_str() {
        "" => message.clone(),
        path => format!("{path}: {message}"),
    };
    problems.list.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn claim(s: &mut Section) -> Option<Claim> {
    let pool = s.option("pool", name);
    let port = s.option("port", integer(1..=u16::MAX)).map(ClaimedAddress::Port);
    let whole = s.option("address", registered_address).map(ClaimedAddress::Whole);
    s.rule("address", &["port"], whole.is_some() || port.is_some(), || {
        "is missing; write host:port, or `port` alone for a node at the address from which this comes"
            .to_owned()
    });
    s.rule("port", &["address"], whole.is_none() || port.is_none(), || {
        "is in `address` already; leave one of them out".to_owned()
    });
    let name = s.option("name", name);
    let weight = s.option("weight", weight);
    let max_in_flight = s.option("max_in_flight", max_in_flight(IN_FLIGHT_MAX));
    let ttl = s.get("ttl", TTL_DEFAULT, duration_in(TTL_MIN..=TTL_MAX));
    Some(Claim { pool, address: whole.or(port)?, name, weight, max_in_flight, ttl })
}

/// A socket is a file of the gateway's machine: only its config names such a thing.
fn registered_address(raw: &Raw) -> Result<NodeAddress, String> {
    match node_address(raw)? {
        NodeAddress::Unix(_) => {
            Err("a node registers with host:port; a unix socket is for `nodes` in the config".to_owned())
        }
        address => Ok(address),
    }
}

/// The value of `registration`: `on`, or a mapping with limits.
pub(super) fn registration(place: &Place) -> Option<Registration> {
    let any = Registration { allow: Vec::new(), max: MAX_DEFAULT };
    match place.raw.value {
        Value::Mapping(_) => place.section()?.finish(|s| {
            let allow = s.list("allow", 1..=NETWORKS_MAX, network).unwrap_or_default();
            Some(Registration { allow, max: s.get("max", any.max, integer(1..=NODES_MAX)) })
        }),
        _ if place.read(switch)? => Some(any),
        _ => {
            place.problem("is off; leave the entry out, for a pool that takes no nodes");
            None
        }
    }
}
