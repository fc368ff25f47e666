//! The simulated clients: a closed loop of so many requests at a time, which demo, tests and benchmarks put on a
//! gateway or straight on nodes.
//!
//! It is raw HTTP/1.1 on tokio and not a client library, because in a benchmark the client shares the machine with
//! what it measures: a request is one write, and a response is read in place. Each client keeps one connection per
//! target and never asks a second time by itself, so that every failure that a client could see is counted.
//!
//! A closed loop waits for an answer before it asks again. Its latencies are therefore those of a batch job; they say
//! nothing of requests that would have come while the server was slow.

mod client;
mod conn;
mod framing;
mod handle;
mod options;
mod progress;
mod record;
mod report;
mod sizes;
mod sse;
mod tally;
#[cfg(test)]
mod tests;

pub use handle::LoadHandle;
pub use options::{Ask, Load, Target};
pub use progress::Counts;
pub use record::{Failure, Record};
pub use report::{Percentiles, Report};
pub use sizes::Sizes;
pub use tally::Tally;
