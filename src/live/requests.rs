//! The requests under way: how far each has come, for those who look at them; and an end for one that an operator wants to end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::under_way::{Cancelled, NotCancelled, UnderWay};
use crate::status::{Asked, OpenRequest};

/// Requests are kept in so many parts, so that threads seldom meet at one.
const PARTS: u64 = 16;

/// All requests under way.
#[derive(Debug, Default)]
pub struct Requests {
    /// The number of the last that came.
    last: AtomicU64,
    count: AtomicU64,
    parts: [Mutex<HashMap<u64, Arc<UnderWay>>>; PARTS as usize],
}

/// Counts a request as long as it lives.
#[derive(Debug)]
pub struct Registered {
    requests: Arc<Requests>,
    one: Arc<UnderWay>,
}

impl Requests {
    pub fn register(self: &Arc<Self>, asked: Asked, since: Instant) -> Registered {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let one = Arc::new(UnderWay::new(number, asked, since));
        self.count.fetch_add(1, Ordering::AcqRel);
        self.part(number).lock().insert(number, Arc::clone(&one));
        Registered { requests: Arc::clone(self), one }
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// In no order.
    pub fn list(&self, now: Instant) -> Vec<OpenRequest> {
        let mut list = Vec::new();
        for part in &self.parts {
            let part: Vec<_> = part.lock().values().cloned().collect();
            list.extend(part.iter().map(|one| one.at(now)));
        }
        list
    }

    /// Ends a request: its client is told that an operator did, and its node sees it leave.
    pub fn cancel(&self, number: u64) -> Result<Cancelled, NotCancelled> {
        let one = self.part(number).lock().get(&number).cloned().ok_or(NotCancelled::Unknown)?;
        one.cancel()
    }

    fn part(&self, number: u64) -> &Mutex<HashMap<u64, Arc<UnderWay>>> {
        &self.parts[(number % PARTS) as usize]
    }
}

impl Registered {
    pub fn shared(&self) -> &Arc<UnderWay> {
        &self.one
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let number = self.one.number;
        self.requests.part(number).lock().remove(&number);
        self.requests.count.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Class;

    fn asked(id: &str) -> Asked {
        Asked { id: id.to_owned(), method: "POST".to_owned(), path: "/v1/completions".to_owned() }
    }

    #[test]
    fn each_is_listed_from_its_arrival_to_its_end() {
        let (requests, now) = (Arc::new(Requests::default()), Instant::now());
        let all: Vec<_> = (0..100).map(|_| requests.register(asked("same"), now)).collect();
        let numbers = || {
            let mut numbers: Vec<_> = requests.list(now).iter().map(|one| one.number).collect();
            numbers.sort_unstable();
            numbers
        };
        assert_eq!((requests.count(), numbers()), (100, (1..=100).collect()));
        drop(all);
        assert_eq!((requests.count(), numbers()), (0, vec![]));
    }

    #[test]
    fn one_that_has_ended_cannot_be_cancelled() {
        let (requests, now) = (Arc::new(Requests::default()), Instant::now());
        let first = requests.register(asked("a"), now);
        let second = requests.register(asked("b"), now);
        second.shared().waits(&"p".into(), Class::Batch, now);
        drop(first);
        assert_eq!(requests.cancel(1), Err(NotCancelled::Unknown));
        assert_eq!(requests.cancel(2), Ok(Cancelled { pool: "p".into(), id: "b".to_owned() }));
        assert!(second.shared().is_cancelled());
        assert_eq!(requests.cancel(2), Err(NotCancelled::Already));
    }
}
