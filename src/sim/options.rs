//! What a simulated node is like: its speed, its limits, its manners.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::config::Engine;

/// How long one engine step takes: `base + per_seq x running`, divided by the node's speed.
///
/// This is the shape of a decode step on an accelerator: a fixed cost for reading the weights, and
/// a smaller one for every sequence in the batch. It is what makes a fuller node a slower node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTimes {
    /// The part that does not depend on the load.
    pub base: Duration,
    /// The part that each running sequence adds.
    pub per_seq: Duration,
}

impl StepTimes {
    /// The length of a step with `running` sequences on a node `speed` times as fast as normal.
    pub fn step(&self, running: usize, speed: f64) -> Duration {
        let seconds = self.base.as_secs_f64() + self.per_seq.as_secs_f64() * running as f64;
        Duration::try_from_secs_f64(seconds / speed).unwrap_or(Duration::MAX)
    }

    /// True if steps take no time, so that an answer need not wait for one.
    pub fn is_instant(&self) -> bool {
        self.base.is_zero() && self.per_seq.is_zero()
    }
}

/// How a node that is starting up meets its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loading {
    /// Nothing listens: connections are refused, as with vLLM.
    #[default]
    Refuse,
    /// It listens and answers 503 until the model is loaded, as llama.cpp does.
    Answer503,
}

/// Everything that can be chosen about a node. `Options::default()` is an instant node on a free
/// port of the loopback interface.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Told in the `x-sim-node` response header and in the ids of completions.
    pub name: String,
    /// The model that `/v1/models` lists; requests may name any.
    pub model: String,
    /// Whose manners its events have.
    pub engine: Engine,
    /// How long a step takes. All zero: requests are answered at once.
    pub step: StepTimes,
    /// 1.0 is normal, 0.5 takes twice as long. Can be changed later with `Node::set_speed`.
    pub speed: f64,
    /// How many sequences run at once (vLLM's `--max-num-seqs`).
    pub max_seqs: usize,
    /// How many may wait in line; beyond, 503 (vLLM's `--max-num-queued-reqs`).
    pub max_queued: Option<usize>,
    /// Idle connections are closed after this time (uvicorn: 5 s).
    pub keepalive: Option<Duration>,
    /// How long the node is away after a crash that came from a fault.
    pub startup: Duration,
    /// What clients see during that time.
    pub loading: Loading,
    /// Keep the last 1000 requests for `Node::requests`.
    pub record: bool,
    /// Each token's event says when it was sent: `"sent_ns"`, its first key.
    pub stamp: bool,
    /// Obey the `x-sim-fault` request header.
    pub allow_header_faults: bool,
    /// Largest request body in bytes; beyond, 413.
    pub max_body: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            name: "sim".to_owned(),
            model: "sim".to_owned(),
            engine: Engine::Vllm,
            step: StepTimes::default(),
            speed: 1.0,
            max_seqs: 256,
            max_queued: None,
            keepalive: None,
            startup: Duration::from_secs(5),
            loading: Loading::Refuse,
            record: false,
            stamp: false,
            allow_header_faults: false,
            max_body: 256 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_longer_with_more_sequences_and_less_speed() {
        let step = StepTimes { base: Duration::from_millis(20), per_seq: Duration::from_micros(100) };
        assert_eq!(step.step(0, 1.0), Duration::from_millis(20));
        assert_eq!(step.step(100, 1.0), Duration::from_millis(30));
        assert_eq!(step.step(100, 0.5), Duration::from_millis(60));
        assert!(!step.is_instant());
        assert!(StepTimes::default().is_instant());
    }
}
