//! TLS from files: what the config names, loaded and checked before anything uses it.
//!
//! Files are read at the start, at a reload and when one of them has changed; never while a request waits.

mod accept;
mod auto;
mod certificate;
mod challenges;
pub mod folder;
mod listening;
mod names;
pub mod nodes;
mod renewal;

pub use accept::{NoTls, accept, cut};
pub use auto::{Auto, Renewed, Validity};
pub use certificate::{Certificate, chain, names_of};
pub use challenges::Challenges;
pub use listening::Listeners;
pub use renewal::{NEAR_DAYS, Renewal};
