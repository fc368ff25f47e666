#![doc = include_str!("ARCHITECTURE.md")]

pub mod balance;
pub mod classify;
pub mod config;
pub mod fleet;
pub mod outcome;
pub mod retry;
