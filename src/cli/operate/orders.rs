//! Orders about one node, and what the gateway answers.

use serde::Deserialize;

use crate::cli::admin::{Admin, Trouble};
use crate::route::percent_encoded;

/// The gateway's answer about a node.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Node {
    pub name: String,
    pub pool: String,
    pub state: String,
    pub drained_by: Vec<String>,
    pub in_flight: u64,
    pub ejected_for_seconds: Option<f64>,
    pub warning: Option<String>,
    /// It has left the config, and has no request any more.
    #[serde(skip)]
    pub is_gone: bool,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Node {
    /// Its state in one line.
    pub(super) fn describe(&self) -> String {
        let Self { pool, name, state, in_flight, .. } = self;
        let left = self.ejected_for_seconds.filter(|_| state == "ejected");
        let left = left.map_or_else(String::new, |seconds| format!(" for {seconds:.0} s"));
        format!("pool {pool}, node {name}: {state}{left}, {in_flight} in flight")
    }
}

/// Has the gateway do this with a node.
pub(super) fn order(admin: &Admin, pool: &str, node: &str, verb: &str) -> Result<Node, Trouble> {
    let path = format!("{}/{verb}", path_of(pool, node));
    let (status, body) = admin.ask("POST", &path)?;
    read(admin, status, &body)
}

/// The node's state. One that is not there is gone, with all its requests.
pub(super) fn look(admin: &Admin, pool: &str, node: &str) -> Result<Node, Trouble> {
    let (status, body) = admin.ask("GET", &path_of(pool, node))?;
    if status == 404 {
        return Ok(Node { name: node.to_owned(), is_gone: true, ..Node::default() });
    }
    read(admin, status, &body)
}

fn read(admin: &Admin, status: u16, body: &[u8]) -> Result<Node, Trouble> {
    if status == 200
        && let Ok(node) = serde_json::from_slice(body)
    {
        return Ok(node);
    }
    let why = serde_json::from_slice(body).map(|Refused { error }| error);
    let why = why.unwrap_or_else(|_| "this is no answer of an evenkeel that knows such orders".to_owned());
    Err(Trouble::Failed(format!("http://{}: {status}: {why}", admin.name())))
}

fn path_of(pool: &str, node: &str) -> String {
    format!("/api/nodes/{}/{}", percent_encoded(pool), percent_encoded(node))
}
