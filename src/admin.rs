//! The admin address: the page, `/livez`, `/readyz`, `/api/status` and its history in JSON, live data for open pages, `/metrics`
//! for Prometheus, orders about nodes, and their registration; and the address of the probes, which may be reached from outside and has neither the
//! status nor the orders.

mod access;
mod answer;
mod app;
mod feed;
mod nodes;
mod origin;
mod page;
mod register;
mod requests;
mod serve;
mod views;

pub use self::app::Admin;
