//! What can go wrong with a node, on demand: each fault is one way in which a real engine fails,
//! named by what the client sees on the wire.

mod board;
mod parse;

pub(super) use board::FaultBoard;

use serde::{Deserialize, Serialize};

/// One way to fail. `after` counts tokens of the answer (those of this request only).
///
/// For a request that does not stream: `die` and `crash` cut the connection before the head, when
/// that many tokens were made; `truncate` sends a head and half of the body; `error_event` is an
/// error status; `full` is 503; `no_done` changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// An error status with a JSON body.
    Status {
        code: u16,
        /// Seconds, for the `Retry-After` header.
        #[serde(default)]
        retry_after: Option<u32>,
        #[serde(default)]
        shape: Shape,
    },
    /// Takes the request and never answers.
    Hang,
    /// RST before the response head.
    Reset,
    /// FIN before the response head.
    Close,
    /// The connection was idle and is closed just as the request arrives, which counts as not
    /// received. Only requests on a connection that has served one before are struck.
    Stale,
    /// The head comes late, then all is well.
    SlowHead { delay_ms: u64 },
    /// SGLang's full queue: a stream's first event is an error with code 503.
    Full,
    /// The stream stops and stays open; the sequence keeps its slot.
    Stall {
        #[serde(default)]
        after: u32,
    },
    /// RST in the middle of the stream.
    Die {
        #[serde(default)]
        after: u32,
    },
    /// FIN without the last chunk.
    Truncate {
        #[serde(default)]
        after: u32,
    },
    /// vLLM's dead engine: an error event, and then `[DONE]` all the same.
    ErrorEvent {
        #[serde(default)]
        after: u32,
        #[serde(default = "internal_error")]
        code: u16,
    },
    /// `finish_reason: "abort"` and `[DONE]`.
    Abort {
        #[serde(default)]
        after: u32,
    },
    /// A clean end of the body without `[DONE]`; without `after`, the whole answer comes first.
    NoDone {
        #[serde(default)]
        after: Option<u32>,
    },
    /// The whole node dies as by kill -9 and comes back after its start-up time. Without `after`,
    /// before the response head.
    Crash {
        #[serde(default)]
        after: Option<u32>,
    },
}

/// The body of an error status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `{"error": {"message", "type", "param", "code"}}`: OpenAI, newer vLLM, SGLang.
    #[default]
    Openai,
    /// `{"object": "error", "message", "type", "param", "code"}`: older vLLM.
    Vllm,
    /// One line of text.
    Text,
}

fn internal_error() -> u16 {
    500
}

/// A fault and when it strikes. Of the requests that it could strike, every `every`th does, with
/// the given probability, at most `times` times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    #[serde(flatten)]
    pub kind: FaultKind,
    /// None: until it is cleared.
    #[serde(default)]
    pub times: Option<u64>,
    #[serde(default = "always_every")]
    pub every: u64,
    #[serde(default = "always_probability")]
    pub probability: f64,
}

fn always_every() -> u64 {
    1
}

fn always_probability() -> f64 {
    1.0
}

impl Fault {
    /// Only the next `times` requests.
    pub fn times(self, times: u64) -> Self {
        Fault { times: Some(times), ..self }
    }

    /// Only every `every`th request.
    pub fn every(self, every: u64) -> Self {
        Fault { every, ..self }
    }

    /// Each request with this probability, from a generator with a fixed seed.
    pub fn probability(self, probability: f64) -> Self {
        Fault { probability, ..self }
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Fault { kind, times: None, every: always_every(), probability: always_probability() }
    }
}

/// What `/health` says while the node is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Health {
    /// 200.
    #[default]
    Ok,
    /// This status (503: a dead engine).
    Status { code: u16 },
    /// Takes the request and never answers.
    Hang,
}
