//! Timings of requests and of nodes: histograms of a pool, by class, and what each node has done lately.

mod finished;
mod genai;
mod histogram;
mod quantiles;
mod recent;
mod timings;

pub use finished::{Call, Finished};
pub use genai::{CallError, CallKey, Calls, GenAi};
pub use histogram::{Counts, Exemplar, Histogram, Trail};
pub use recent::Lately;
pub(super) use recent::Recent;
pub use timings::{Timings, inter_token};
