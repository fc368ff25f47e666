//! The real binary as a process, under load: reload, stop, upgrade, errors at start, kill -9.
//!
//! Everything is on loopback. Conditions are waited for with a deadline that only a failing test reaches.

mod edge;
mod files;
mod kill;
mod reload;
mod start;
mod stop;
mod support;
mod upgrade;
