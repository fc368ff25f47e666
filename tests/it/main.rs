//! Integration tests: the gateway in this process, between clients and simulated nodes, over loopback.
//!
//! Every test has a deadline and waits for conditions, never for time to pass.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

mod aliases;
mod bodies;
mod classes;
mod crash;
mod crowd;
mod denied;
mod events;
mod framing;
mod guarded;
mod headers;
mod health;
mod hung;
mod keys;
mod leases;
mod leaving;
mod limits;
mod line;
mod links;
mod live;
mod logs;
mod models;
mod multiplexed;
mod numbers;
mod open;
mod orders;
mod persistence;
mod pools;
mod prefill;
mod probing;
mod queue;
mod refusals;
mod registration;
mod resume;
mod retry;
mod routing;
mod selection;
mod stored;
mod streams;
mod tls;
mod traces;
mod unkept;
mod upgrade;
mod uploads;
mod weights;
mod wire;
