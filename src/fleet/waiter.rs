//! A request's place in the queue of its pool, as a guard: one that leaves is gone at once, and gives back what it was granted.

use std::sync::Arc;
use std::time::Instant;

use super::key::Refusal;
use super::lease::Lease;
use super::pool::Pool;
use super::queue::{Cell, Changed, Turn};
use super::want::Ask;

/// One waiting request.
#[derive(Debug)]
pub struct Waiter {
    pool: Arc<Pool>,
    cell: Arc<Cell>,
    turn: Turn,
}

impl Waiter {
    /// Resolves when the request has a slot, or is to look again.
    pub fn changed(&self) -> Changed {
        Changed(Arc::clone(&self.cell))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.pool.leave_queue(self.turn, &self.cell);
    }
}

impl Pool {
    /// Leases what the request wants when its turn has come; until then it has a place in the queue, unless that is full.
    /// `None`: the one node that it needs is no longer in the pool.
    pub fn wait(
        self: &Arc<Self>,
        waiter: &mut Option<Box<Waiter>>,
        ask: Ask,
        now: Instant,
    ) -> Option<Result<Lease, Refusal>> {
        let found = match waiter {
            Some(waiting) if Arc::ptr_eq(&waiting.pool, self) => {
                self.look_from_queue(waiting.turn, &waiting.cell, ask, now)
            }
            _ => {
                *waiter = None;
                let joined = self.join_queue(ask, now);
                let place = joined.place;
                *waiter = place.map(|(turn, cell)| Box::new(Waiter { pool: Arc::clone(self), cell, turn }));
                joined.found
            }
        };
        if matches!(found, Some(Ok(_))) {
            *waiter = None;
        }
        found.map(|found| found.map(|slot| self.guard(slot, now)))
    }
}
