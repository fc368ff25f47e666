//! Connections by TLS and without, as adapters share them.

pub mod nodes;
