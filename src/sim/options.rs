//! The options of a simulated node: its speed, limits and engine.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::batch::{Limits, Step};
use crate::config::Engine;

/// The length of an engine step: `base + per_seq x running + per_prompt_token x tokens`, divided by the node's speed.
///
/// This is the shape of a step on an accelerator: a fixed cost for reading the weights, a smaller one for every
/// sequence in the batch, and one for every token of a prompt. This makes a fuller node slower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTimes {
    /// The fixed part.
    pub base: Duration,
    /// The part added by each running sequence.
    pub per_seq: Duration,
    /// The part added by each token of a prompt.
    pub per_prompt_token: Duration,
}

impl StepTimes {
    /// The length of a step on a node `speed` times as fast as normal.
    pub fn step(&self, step: Step, speed: f64) -> Duration {
        let sequences = self.per_seq.as_secs_f64() * step.sequences as f64;
        let prompts = self.per_prompt_token.as_secs_f64() * f64::from(step.prompt_tokens);
        let seconds = self.base.as_secs_f64() + sequences + prompts;
        Duration::try_from_secs_f64(seconds / speed).unwrap_or(Duration::MAX)
    }

    /// True if steps take no time, so that an answer need not wait for one.
    pub fn is_instant(&self) -> bool {
        self.base.is_zero() && self.per_seq.is_zero() && self.per_prompt_token.is_zero()
    }
}

/// The behaviour of a node while it starts up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loading {
    /// Nothing listens: connections are refused, as with vLLM.
    #[default]
    Refuse,
    /// The node answers 503 until the model is loaded, as llama.cpp does.
    Answer503,
}

/// All options of a node. `Options::default()` is an instant node on a free port of the loopback interface.
#[derive(Clone, Debug)]
pub struct Options {
    /// Listening address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Name shown in the `x-sim-node` response header and in the ids of completions.
    pub name: String,
    /// The model that `/v1/models` lists; requests may name any.
    pub model: String,
    /// Engine whose events the node imitates.
    pub engine: Engine,
    /// Length of a step. All zero: requests are answered at once.
    pub step: StepTimes,
    /// Speed: 1.0 is normal, 0.5 takes twice as long. Can be changed later with `Node::set_speed`.
    pub speed: f64,
    /// Sequences, memory, tokens of a step, order. Requests above `max_queued` get 503, streams as an event after 200.
    pub limits: Limits,
    /// Tokens in an event, save the last. vLLM puts several into one whenever its API server is behind.
    pub tokens_per_event: u32,
    /// Time after which idle connections are closed (uvicorn: 5 s).
    pub keepalive: Option<Duration>,
    /// Time until the node is back after a crash caused by a fault.
    pub startup: Duration,
    /// Behaviour during that time.
    pub loading: Loading,
    /// Keep the last 1000 requests for `Node::requests`.
    pub record: bool,
    /// Put the send time into each token's event: `"sent_ns"`, its first key.
    pub stamp: bool,
    /// Obey the `x-sim-fault` request header.
    pub allow_header_faults: bool,
    /// Largest request body in bytes; larger ones get 413.
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
            limits: Limits::default(),
            tokens_per_event: 1,
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
        let micros = Duration::from_micros;
        let times = StepTimes { base: micros(20_000), per_seq: micros(100), per_prompt_token: micros(10) };
        let of = |sequences, prompt_tokens, speed| times.step(Step { sequences, prompt_tokens }, speed);
        assert_eq!(of(0, 0, 1.0), Duration::from_millis(20));
        assert_eq!(of(100, 0, 1.0), Duration::from_millis(30));
        assert_eq!(of(100, 500, 0.5), Duration::from_millis(70));
        assert!(!times.is_instant());
        assert!(StepTimes::default().is_instant());
    }
}
