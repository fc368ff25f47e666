//! The node on the wire.

mod api;
mod connections;
mod faults;
mod h2c;
mod lifecycle;
