//! A request's place in the queue of its pool, as a guard: one that leaves is gone at once, and gives back what it was granted.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::alike::Turn;
use super::cell::{Cell, Changed};
use super::key::{Refusal, Slot};
use super::lease::Lease;
use super::pool::Pool;
use super::want::{Admission, Ask};

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

    /// A slot for the request if it can have one now, else a place in the queue.
    fn join_queue(&self, ask: Ask, now: Instant) -> Joined {
        self.in_turn(now, |table| {
            let found = table.take_for(&ask.want, ask.profile, now);
            let is_full =
                matches!(ask.admission, Admission::Below(limit) if table.queue.is_full(ask.profile, limit));
            match found {
                Some(Err(Refusal::Full)) if is_full => {
                    Joined { found: Some(Err(Refusal::QueueFull)), place: None }
                }
                Some(Err(_)) => {
                    let is_repeated = ask.admission == Admission::Repeated;
                    let place = table.queue.push(is_repeated, ask.want, ask.profile);
                    table.has_waiting();
                    if table.queue.news() != ask.news {
                        // nobody sleeps on it yet
                        let _ = place.1.tell();
                    }
                    Joined { found, place: Some(place) }
                }
                found => Joined { found, place: None },
            }
        })
    }

    /// The slot that was granted to the request, or could be now. Else it waits on for what it wants.
    fn look_from_queue(
        &self,
        turn: Turn,
        cell: &Cell,
        ask: Ask,
        now: Instant,
    ) -> Option<Result<Slot, Refusal>> {
        let mut table = self.table.lock();
        if let Some(slot) = cell.take() {
            return Some(Ok(slot));
        }
        table.queue.change(turn, ask.want.clone());
        let mut woken = table.grant(now);
        let found = match cell.take() {
            Some(slot) => Some(Ok(slot)),
            None => table.take_for(&ask.want, ask.profile, now),
        };
        if matches!(found, Some(Ok(_))) {
            table.queue.remove(turn);
        } else if table.queue.news() != ask.news {
            woken.extend(cell.tell());
        }
        drop(table);
        woken.into_iter().for_each(Waker::wake);
        found
    }

    /// The request waits no more. What it was granted meanwhile goes to the next.
    fn leave_queue(&self, turn: Turn, cell: &Cell) {
        let mut table = self.table.lock();
        if table.queue.remove(turn).is_some() {
            return;
        }
        let Some(slot) = cell.take() else { return };
        table.abandon_unused(slot.key, slot.ticket);
        let now = table.now();
        Self::hand_over(table, false, now);
    }
}

/// The result of joining the queue.
#[derive(Debug)]
struct Joined {
    found: Option<Result<Slot, Refusal>>,
    place: Option<(Turn, Arc<Cell>)>,
}
