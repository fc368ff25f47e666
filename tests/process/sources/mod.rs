//! Tests of nodes that come and go by a source: names at a real name server (dnsmasq), and files.

mod dns;
mod dnsmasq;
mod files;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use evenkeel::sim::Node;
use serde_json::Value;

use crate::support::load::{Connection, Plan};
use crate::support::nodes::node_at;
use crate::support::ports;

/// Requests that last as long as it takes to change a list a few times, streams and others.
const LOAD: Plan = Plan {
    clients: 64,
    tokens: 40,
    pause: Duration::from_millis(20),
    stream: None,
    connection: Connection::Kept,
};

/// Simulated nodes at one port, each at a loopback address of its own, by the last number of that.
struct Fleet {
    port: u16,
    nodes: BTreeMap<u8, Node>,
}

impl Fleet {
    fn new(numbers: &[u8]) -> Self {
        let port = ports::free().port();
        let node = |number: &u8| {
            (*number, node_at(address(*number, port), &number.to_string(), Duration::from_millis(10)))
        };
        Self { port, nodes: numbers.iter().map(node).collect() }
    }

    fn address(&self, number: u8) -> SocketAddr {
        address(number, self.port)
    }
}

fn address(number: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, number), port))
}

/// The numbers of the nodes that a pool has, without those that are about to leave, in order.
fn members(status: &Value) -> Vec<u8> {
    let nodes = status["pools"][0]["nodes"].as_array().into_iter().flatten();
    let stay = nodes.filter(|node| node["state"] != "draining");
    let number = |node: &Value| node["address"].as_str()?.split(':').next()?.rsplit('.').next()?.parse().ok();
    let mut numbers: Vec<_> = stay.filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// The node of this number.
fn member(status: &Value, number: u8) -> Value {
    let nodes = status["pools"][0]["nodes"].as_array().into_iter().flatten();
    let address = format!("127.0.0.{number}:");
    let is_it = |node: &&Value| node["address"].as_str().is_some_and(|at| at.starts_with(&address));
    nodes.into_iter().find(is_it).cloned().unwrap_or_default()
}

/// The source of a pool that has one.
fn source(status: &Value) -> &Value {
    &status["pools"][0]["sources"][0]
}

/// The causes that are told.
fn causes(status: &Value) -> Vec<&str> {
    status["causes"].as_array().into_iter().flatten().filter_map(|cause| cause["text"].as_str()).collect()
}
