//! Counting a simulated node's requests in flight, each until its answer ends.

use std::sync::Arc;

use super::shared::Shared;
use super::stats::{add, subtract};
use super::wire::Conn;

/// A request under way, from its head to the last byte of its answer. However it ends, dropping
/// this counts it once.
pub(super) struct Flight {
    pub shared: Arc<Shared>,
    pub conn: Arc<Conn>,
    counted: bool,
    answered: bool,
}

impl Flight {
    /// `counted` includes the request in the statistics; it is false for health checks and the like.
    pub(super) fn new(shared: Arc<Shared>, conn: Arc<Conn>, counted: bool) -> Self {
        conn.request_began();
        if counted {
            add(&shared.counters.in_flight, 1);
            add(&shared.counters.received, 1);
        }
        Flight { shared, conn, counted, answered: false }
    }

    /// Marks the request as completed: its whole answer has been written.
    pub(super) fn note_answered(&mut self) {
        self.answered = true;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.conn.request_ended();
        if !self.counted {
            return;
        }
        let counters = &self.shared.counters;
        let ending = if self.answered {
            &counters.completed
        } else if self.conn.is_cut() {
            &counters.lost
        } else {
            &counters.aborted
        };
        add(ending, 1);
        subtract(&counters.in_flight, 1);
    }
}
