//! Members and the ledger in any order of events: units are never in use twice, and they get where they are needed.

mod anything;
mod entering;
mod fair;
mod silence;
mod world;
