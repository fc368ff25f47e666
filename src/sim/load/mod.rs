//! The simulated clients: a closed loop with a fixed number of requests in flight, used by demo, tests and benchmarks
//! against a gateway or directly against nodes.
//!
//! It is raw HTTP/1.1 on tokio rather than a client library, because in a benchmark the client shares the machine with
//! the server it measures: a request is one write, and a response is read in place. Each client keeps one connection
//! per target and never retries by itself, so that every failure visible to a client is counted.
//!
//! A closed loop waits for an answer before it sends the next request. Its latencies are therefore those of a batch
//! job; they say nothing about requests that would have arrived while the server was slow.

mod client;
mod conn;
mod framing;
mod handle;
mod latencies;
mod options;
mod progress;
mod record;
mod report;
mod secure;
mod sizes;
mod sse;
mod tally;
#[cfg(test)]
mod tests;

pub use handle::LoadHandle;
pub use latencies::Latencies;
pub use options::{Ask, Connections, Load, Target};
pub use progress::Counts;
pub use record::{Failure, Record};
pub use report::{Percentiles, Report};
pub use secure::{Agreed, Cipher, Tls};
pub use sizes::Sizes;
pub use tally::Tally;
