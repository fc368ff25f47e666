#![doc = include_str!("ARCHITECTURE.md")]

pub mod cli;

pub mod server;

pub mod acme;
pub mod admin;
pub mod check;
pub mod discovery;
pub mod journal;
pub mod live;
pub mod proxy;
pub mod registration;
pub mod reload;
pub mod sampler;
pub mod tracer;

pub mod access_log;
pub mod causes;
pub mod metrics;
pub mod spans;
pub mod status;

pub mod material;
pub mod tls;
pub mod tokens;

pub mod balance;
pub mod classify;
pub mod fleet;
pub mod forwarded;
pub mod history;
pub mod http1;
pub mod journey;
pub mod keys;
pub mod resume;
pub mod retry;
pub mod route;
pub mod sources;
pub mod trace;

pub mod config;
mod mix;
pub mod outcome;

pub mod sim;
