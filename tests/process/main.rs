//! Tests of the real binary as a process under load: reload, stop, upgrade, errors at start, kill -9.
//!
//! All traffic is on loopback. Every wait for a condition has a deadline that only a failing test reaches.

mod acme;
mod cluster;
mod edge;
mod files;
mod guarded;
mod import;
mod imported;
mod keys;
mod kill;
mod large;
mod logs;
mod no_io;
mod orders;
mod registration;
mod reload;
mod rolling;
mod shell;
mod sources;
mod start;
mod stop;
mod support;
mod systemd;
mod terminal;
mod top;
mod upgrade;
mod watch;
