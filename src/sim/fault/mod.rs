//! Faults that a simulated node produces on demand. Each is one way in which real engines fail, named
//! after the client's view of it on the wire.

mod board;
mod parse;

pub(super) use board::FaultBoard;

use serde::{Deserialize, Serialize};

/// One way to fail. `after` counts the tokens generated for this request.
///
/// For a request that does not stream: `die` and `crash` cut the connection before the head, once
/// that many tokens are generated; `truncate` and `cut` send a head and half of the body; `error_event` is an
/// error status; `full` and `queue_timeout` are 503; `no_done` changes nothing. Engines that have no word for being told
/// to stop, for being full or for a dead engine end as these do: with a cut, or a status.
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
    /// FIN on an idle connection just as a request arrives; the request counts as not received. Strikes only
    /// connections that have served a request before.
    Stale,
    /// The head comes late; everything else is normal.
    SlowHead { delay_ms: u64 },
    /// A full queue (vLLM, SGLang): 200, and the stream's first event is an error with code 503.
    Full,
    /// SGLang's queue that takes too long: the head comes at once, after this time an error event with code 503.
    QueueTimeout {
        #[serde(default)]
        delay_ms: u64,
    },
    /// vLLM that drains: 500 to all that is new, while what runs goes on and `/health` is 200.
    Draining,
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
    /// The same after so many events, those before and after the tokens among them; `within`: in the middle of the next.
    Cut {
        #[serde(default)]
        events: u32,
        #[serde(default)]
        within: bool,
    },
    /// An error event: 429 and 503 are a full engine's, other codes below 500 the client's mistake, all else is a dead
    /// engine's. vLLM sends `[DONE]` behind it as usual.
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
    /// A clean end of the body without its last event, such as `[DONE]`; with `after`, without all that follows those tokens.
    NoDone {
        #[serde(default)]
        after: Option<u32>,
    },
    /// The whole node dies, as by kill -9, and comes back after its start-up time. Without `after` this
    /// happens before the response head.
    Crash {
        #[serde(default)]
        after: Option<u32>,
    },
}

/// The format of an error body.
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

/// A fault with its conditions. It strikes every `every`th eligible request, with the given
/// probability, at most `times` times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    #[serde(flatten)]
    pub kind: FaultKind,
    /// None: no limit until the fault is cleared.
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
    /// Limits the fault to the next `times` requests.
    pub fn times(self, times: u64) -> Self {
        Fault { times: Some(times), ..self }
    }

    /// Limits the fault to every `every`th request.
    pub fn every(self, every: u64) -> Self {
        Fault { every, ..self }
    }

    /// Limits the fault to this share of requests, chosen by a generator with a fixed seed.
    pub fn probability(self, probability: f64) -> Self {
        Fault { probability, ..self }
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Fault { kind, times: None, every: always_every(), probability: always_probability() }
    }
}

/// The answer of `/health` while the node is up.
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
