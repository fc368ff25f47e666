//! TLS from files: what the config names, loaded and checked before anything uses it.
//!
//! Files are read at the start, at a reload and when one of them has changed; never while a request waits.

mod accept;
mod certificate;
mod listening;
mod names;

pub use accept::{NoTls, accept, cut};
pub use certificate::Certificate;
pub use listening::Listeners;
