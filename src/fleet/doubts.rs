//! A request's doubts about nodes that refused its model, as a guard: they do not outlive the request.

use std::sync::Arc;
use std::time::Instant;

use super::event::Event;
use super::key::Key;
use super::pool::Pool;
use super::skips::Subject;

/// The nodes that one request was refused by with 401, 403 or 404, until another node serves it or all agree.
#[derive(Debug, Default)]
pub struct Doubts {
    list: Vec<Doubt>,
}

#[derive(Debug)]
struct Doubt {
    pool: Arc<Pool>,
    key: Key,
    subject: Subject,
    status: u16,
}

impl Doubts {
    /// A node has refused the request.
    pub fn add(&mut self, pool: &Arc<Pool>, key: Key, subject: &Subject, status: u16, now: Instant) {
        pool.doubt(key, subject, status, now);
        self.list.push(Doubt { pool: Arc::clone(pool), key, subject: subject.clone(), status });
    }

    /// Another node serves the request: from now on those that refused it are skipped.
    pub fn confirm(&mut self, now: Instant) -> impl Iterator<Item = Event> {
        let doubts = std::mem::take(&mut self.list).into_iter();
        doubts.filter_map(move |doubt| doubt.pool.confirm(doubt.key, &doubt.subject, doubt.status, now))
    }

    /// All nodes refuse the request.
    pub fn agree(&mut self, now: Instant) {
        for doubt in std::mem::take(&mut self.list) {
            doubt.pool.agree(doubt.key, &doubt.subject, doubt.status, now);
        }
    }

    /// Nobody will know.
    pub fn withdraw(&mut self) {
        for doubt in std::mem::take(&mut self.list) {
            doubt.pool.withdraw_doubt(doubt.key, &doubt.subject, doubt.status);
        }
    }
}

impl Drop for Doubts {
    fn drop(&mut self) {
        self.withdraw();
    }
}
