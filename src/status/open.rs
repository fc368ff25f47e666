//! A request under way, as plain values.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Class;
use crate::fleet::NodeId;

/// The request as its client sent it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `X-Request-Id`, which clients may use twice.
    pub id: String,
    pub method: String,
    /// Without its query.
    pub path: String,
}

/// The longest path that is shown, in bytes.
const PATH_MAX: usize = 256;

impl Asked {
    pub fn new(id: &str, method: &str, path: &str) -> Self {
        let path = &path[..path.floor_char_boundary(PATH_MAX)];
        Self { id: id.to_owned(), method: method.to_owned(), path: path.to_owned() }
    }
}

/// The stage that a request has reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Its body is read.
    #[default]
    Arriving,
    /// It has no node.
    Waiting,
    /// A node has it, and has sent nothing of an answer.
    Asked,
    /// The answer has begun.
    Answering,
}

/// A request under way at one moment.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    pub number: u64,
    pub asked: Asked,
    pub stage: Stage,
    pub pool: Option<Arc<str>>,
    pub node: Option<Arc<NodeId>>,
    pub class: Class,
    /// Nodes asked, with the one under way.
    pub attempts: u32,
    pub age: Duration,
    /// The time in its stage.
    pub in_stage: Duration,
    pub is_resumed: bool,
    /// From its arrival to the first byte of its answer.
    pub ttft: Option<Duration>,
    /// Since a node last sent something for it, while an answer is under way.
    pub silent: Option<Duration>,
    pub tokens: u32,
}

/// All words of [`OpenRequest::state`].
pub(super) const STATES: [&str; 6] = ["arriving", "waiting", "prefill", "streaming", "retrying", "resumed"];

impl OpenRequest {
    /// The stage in one word, as the API, the page and the terminal show it.
    pub fn state(&self) -> &'static str {
        match self.stage {
            Stage::Arriving => "arriving",
            Stage::Waiting if self.attempts == 0 => "waiting",
            Stage::Asked if self.attempts <= 1 => "prefill",
            Stage::Waiting | Stage::Asked => "retrying",
            Stage::Answering if self.is_resumed => "resumed",
            Stage::Answering => "streaming",
        }
    }
}
