//! How long requests take and how fast answers come: histograms of a pool, by class, and what each node has done lately.

mod histogram;
mod quantiles;
mod recent;
mod timings;

pub use histogram::{Exemplar, Histogram, Trail};
pub use recent::Lately;
pub(super) use recent::Recent;
pub use timings::{Finished, Timings, inter_token};
