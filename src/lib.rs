#![doc = include_str!("ARCHITECTURE.md")]

pub mod balance;
pub mod classify;
pub mod config;
pub mod fleet;
pub mod outcome;
pub mod retry;

pub mod access_log;
pub mod journal;
pub mod live;
pub mod proxy;
