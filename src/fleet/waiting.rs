//! Queues of the requests that wait for a node, and the rules for waking them.

use event_listener::{Event, EventListener, IntoNotification};

use super::key::Key;

/// The two queues of a pool's waiting requests.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Requests that have tried no node and can use any slot.
    unbound: Event,
    /// Requests that have tried nodes, and may be unable to use a slot on those.
    choosy: Event,
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self { unbound: Event::new(), choosy: Event::new() }
    }

    /// Resolves when this request is woken. Requests that have `tried` nodes wait in a separate queue: they
    /// could consume the wake-up for a slot they cannot take, while a request that could take it sleeps on.
    pub(super) fn changed(&self, tried: &[Key]) -> EventListener {
        if tried.is_empty() { self.unbound.listen() } else { self.choosy.listen() }
    }

    /// Wakes one unbound request for each free slot, and all choosy requests.
    pub(super) fn wake(&self, slots: usize) {
        // plain `notify(1)` has no effect while an earlier notification is still on its way to its waiter
        self.unbound.notify(slots.additional());
        self.choosy.notify(usize::MAX);
    }

    /// Wakes all requests: a node has changed, which may concern any of them.
    pub(super) fn wake_all(&self) {
        self.unbound.notify(usize::MAX);
        self.choosy.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use event_listener::Listener;

    use super::*;

    /// Each row: the waiting requests of each kind, the slots given back, and the requests woken of each
    /// kind.
    #[test]
    fn slots_wake_as_many_as_can_use_any_and_all_that_may() {
        let tried = [Key { place: 0, serial: 1 }];
        type Row = ([usize; 2], usize, [usize; 2]);
        let table: [Row; 4] =
            [([3, 3], 1, [1, 3]), ([3, 3], 2, [2, 3]), ([1, 0], 2, [1, 0]), ([0, 2], 1, [0, 2])];
        for (waiting, slots, want) in table {
            let queues = Waiting::new();
            let unbound: Vec<_> = (0..waiting[0]).map(|_| queues.changed(&[])).collect();
            let choosy: Vec<_> = (0..waiting[1]).map(|_| queues.changed(&tried)).collect();
            queues.wake(slots);
            let woken = [unbound, choosy].map(|listeners| {
                let is_woken = |listener: EventListener| listener.wait_timeout(Duration::ZERO).is_some();
                listeners.into_iter().filter_map(|listener| is_woken(listener).then_some(())).count()
            });
            assert_eq!(woken, want, "{waiting:?} wait, {slots} slots");
        }
    }
}
