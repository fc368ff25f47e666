//! A simulated inference node: what `evenkeel node` and `evenkeel demo` run, and what the tests and
//! the benchmarks stand behind the gateway.
//!
//! It is one simulator for all of them, so that what the demo shows is what the tests check. It
//! batches continuously as real engines do (a fuller node is a slower node), speaks the OpenAI API
//! with vLLM's manners over HTTP/1.1 and h2c, says the same words to the same prompt wherever it
//! runs, and fails on demand in every way that engines are known to fail.
//!
//! `batch`, `text` and the fault list are pure; `engine` is the clock; `listen`, `wire` and
//! `service` are the network; `Node` holds them together. `load` is the other side: the simulated clients.

mod answer;
mod batch;
mod body;
mod control;
mod echo;
mod engine;
mod fault;
mod flight;
mod listen;
pub mod load;
mod node;
mod openai;
mod options;
mod port;
mod record;
mod service;
mod shared;
mod stamp;
mod stats;
mod text;
mod wire;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use batch::{Batch, Full};
pub use engine::{End, Engine, Next, Sequence};
pub use fault::{Fault, FaultKind, Health, Shape};
pub use node::Node;
pub use options::{Loading, Options, StepTimes};
pub use record::{RecordedRequest, body_hash};
pub use shared::State;
pub use stats::Stats;
