//! What the task of an HTTP/1 connection and the request on it tell each other. HTTP/2 serves requests in tasks of their own.

use std::cell::Cell;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::relay::Rest;
use super::wire::{Slot, Wire};

tokio::task_local! {
    static CONNECTION: Connection;
}

struct Connection {
    slot: Slot,
    /// The first request's header must be complete by then; `None` once that request is under way.
    first_header_by: Cell<Option<Instant>>,
    /// The header of the present request has been read.
    header_complete: Cell<bool>,
    rest: Cell<Option<Box<Rest>>>,
}

/// Serves a connection whose first header must be complete by then. Not `async`: such a future keeps what it is given twice.
pub fn scope(slot: Slot, header_by: Instant, requests: impl Future<Output = ()>) -> impl Future<Output = ()> {
    let connection = Connection {
        slot,
        first_header_by: Cell::new(Some(header_by)),
        header_complete: Cell::new(false),
        rest: Cell::default(),
    };
    CONNECTION.scope(connection, requests)
}

/// The next request begins. For the first one: by when its header must be complete.
pub fn begin_request() -> Option<Instant> {
    let first = CONNECTION.try_with(|connection| {
        connection.header_complete.set(false);
        connection.first_header_by.take()
    });
    first.ok().flatten()
}

/// The header of the request that this task serves has been read.
pub fn complete_header() {
    let _ = CONNECTION.try_with(|connection| connection.header_complete.set(true));
}

pub fn header_is_complete() -> bool {
    CONNECTION.try_with(|connection| connection.header_complete.get()).unwrap_or(true)
}

/// The connection of the request that this task serves; `None` over HTTP/2, where others share it. Whoever takes it puts
/// it back, leaves a [`Rest`] or ends it; what the session writes meanwhile goes nowhere.
pub fn take_wire() -> Option<Wire> {
    CONNECTION.try_with(|connection| connection.slot.take()).ok()?
}

/// Whether the client has left; `None` over HTTP/2, where the session has to be asked.
pub fn poll_gone(cx: &mut Context<'_>) -> Option<Poll<()>> {
    CONNECTION.try_with(|connection| connection.slot.poll_gone(cx)).ok()
}

/// Gives it back: the session may go on.
pub fn put_wire(wire: Wire) {
    let _ = CONNECTION.try_with(|connection| connection.slot.put(wire));
}

/// To go on when the session has ended.
pub fn leave(rest: Box<Rest>) {
    let _ = CONNECTION.try_with(|connection| connection.rest.set(Some(rest)));
}

/// What the request that has just ended has left.
pub fn rest() -> Option<Box<Rest>> {
    CONNECTION.try_with(|connection| connection.rest.take()).ok()?
}
