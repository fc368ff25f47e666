//! A simulated inference node and its simulated clients, used by `evenkeel node`, `evenkeel demo`, the
//! tests and the benchmarks.
//!
//! All of them share one simulator, so that the demo shows the behaviour that the tests check. The node
//! batches continuously like real engines (a fuller node is slower), implements the OpenAI API over
//! HTTP/1.1 and h2c with the quirks of vLLM or another engine, gives the same answer to the same prompt
//! on every node, and fails on demand in every way that engines are known to fail.
//!
//! `batch`, `text` and the fault list are pure; `engine` is the clock; `listen`, `wire` and `service`
//! are the network; `Node` holds them together. `load` contains the clients.

mod answer;
mod api;
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

pub use batch::{Batch, Limits, Prompt, Refused, Step, Token, Work};
pub use engine::{End, Engine, Sequence};
pub use fault::{Fault, FaultKind, Health, Shape};
pub use node::Node;
pub use options::{Loading, Options, StepTimes};
pub use record::{RecordedRequest, body_hash};
pub use shared::State;
pub use stats::Stats;
