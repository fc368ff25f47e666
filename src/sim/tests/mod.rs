//! Tests of the simulated node over real connections.

mod api;
mod connections;
mod dialects;
mod faults;
mod h2c;
mod lifecycle;
mod traces;
