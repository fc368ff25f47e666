//! The statistics of a simulated node, for tests and `/sim/stats`.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// A snapshot. Requests to `/health`, `/metrics` and `/sim/...`, and a gateway's own for the models, are not counted; when nothing is in flight,
/// `received = completed + aborted + lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Sequences running in the engine.
    pub running: u64,
    /// Sequences waiting in the engine's queue.
    pub waiting: u64,
    /// The most of both at one time so far.
    pub most: u64,
    /// Requests received whose answer has not ended.
    pub in_flight: u64,
    /// Requests received.
    pub received: u64,
    /// Requests answered to the end, whatever the status.
    pub completed: u64,
    /// Generations delivered as asked, with a normal end.
    pub succeeded: u64,
    /// Requests whose client left before the end.
    pub aborted: u64,
    /// Requests cut off by the node itself: a fault, a crash.
    pub lost: u64,
    /// Generations refused because the queue was full.
    pub rejected: u64,
    /// Requests struck by an armed fault.
    pub struck: u64,
    /// Tokens generated.
    pub tokens: u64,
    /// Sequences that were put back in line because memory was full.
    pub preemptions: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Those of them that were in the prefix cache.
    pub cached_tokens: u64,
    /// `GET /health` requests.
    pub health_checks: u64,
    /// `GET /v1/models` requests of a gateway's own.
    pub lists: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Bytes read from connections.
    pub bytes_in: u64,
    /// Bytes written to connections.
    pub bytes_out: u64,
}

/// The counters of the snapshot, except those of the engine and the faults.
#[derive(Default)]
pub(super) struct Counters {
    pub in_flight: AtomicU64,
    pub received: AtomicU64,
    pub completed: AtomicU64,
    pub succeeded: AtomicU64,
    pub aborted: AtomicU64,
    pub lost: AtomicU64,
    pub rejected: AtomicU64,
    pub prompt_tokens: AtomicU64,
    pub cached_tokens: AtomicU64,
    pub health_checks: AtomicU64,
    pub lists: AtomicU64,
    pub accepted: AtomicU64,
    pub open: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
}

impl Counters {
    /// The snapshot without the engine's and the faults' part.
    pub(super) fn snapshot(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        Stats {
            in_flight: read(&self.in_flight),
            received: read(&self.received),
            completed: read(&self.completed),
            succeeded: read(&self.succeeded),
            aborted: read(&self.aborted),
            lost: read(&self.lost),
            rejected: read(&self.rejected),
            prompt_tokens: read(&self.prompt_tokens),
            cached_tokens: read(&self.cached_tokens),
            health_checks: read(&self.health_checks),
            lists: read(&self.lists),
            accepted: read(&self.accepted),
            open: read(&self.open),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            ..Stats::default()
        }
    }
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::AcqRel);
}

pub(super) fn subtract(counter: &AtomicU64, amount: u64) {
    counter.fetch_sub(amount, Ordering::AcqRel);
}
