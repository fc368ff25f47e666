//! The search of a request that names a stored response: only the node that has it will do.

use std::sync::Arc;
use std::time::Instant;

use super::attempt::Attempt;
use super::conversation::{Conversation, Home, Recorder};
use super::ending::Ending;
use super::seek::{RETRY_AFTER, Seek, leased};
use super::state::Journey;
use crate::fleet::{Key, Refusal, StoredId, Want};

impl<H> Journey<H> {
    /// Says what the request has to do with stored responses. Call it before the first search.
    pub fn converse(&mut self, conversation: Conversation) {
        self.home = Home::of(conversation.named, &self.member.pool);
        self.conversation = conversation;
    }

    /// For an answer that is to be remembered.
    pub fn recorder(&self, attempt: &Attempt) -> Option<Recorder> {
        let is_stored = self.conversation.is_stored && attempt.status() == Some(200);
        is_stored.then(|| Recorder::new(Arc::clone(&self.member.pool), attempt.lease.key()))
    }

    /// The node serves the request, so it has the stored response that no node was known to have.
    pub(super) fn found_home(&mut self, attempt: &Attempt) {
        if let Home::Unknown(id) = self.home {
            self.member.pool.store(id, attempt.lease.key());
        }
    }

    /// Searches as if the pool had no other node. `None`: the node has left the pool, and any may say that the response is gone.
    pub(super) fn look_at_home(&mut self, id: StoredId, key: Key, now: Instant) -> Option<Seek<H>> {
        let pool = Arc::clone(&self.member.pool);
        let is_in_line = self.is_in_line();
        if let Some(fallback) = self.fallback_unless(is_in_line) {
            return Some(self.give(fallback));
        }
        let is_late = self.is_late(now);
        // a node that takes its time to refuse would otherwise keep it for ever, without its ever waiting here
        let was_last_chance = is_late && self.search.stranded.is_some() && !self.search.waits;
        let refusal = if was_last_chance {
            Refusal::Unreachable { until: None }
        } else {
            let news = pool.news();
            match self.wait_for(Want::Home { key, in_line: is_in_line, is_last_chance: is_late }, news, now) {
                Some(Ok(lease)) => return Some(leased(lease)),
                Some(Err(refusal)) => refusal,
                None => {
                    self.home = Home::Unknown(id);
                    return None;
                }
            }
        };
        if refusal == Refusal::Retired {
            return Some(Seek::Reroute);
        }
        if refusal == Refusal::QueueFull {
            return Some(Seek::Stop(self.queue_is_full()));
        }
        let deadline = self.deadline(refusal, now);
        if is_late || now >= deadline {
            return Some(match self.fallback.take() {
                Some(fallback) => self.give(fallback),
                None => Seek::Stop(self.unserved_at_home(key, refusal, now)),
            });
        }
        self.search.waits = true;
        let line = if is_in_line { pool.line_opens(&[key], now) } else { None };
        let wake = if let Refusal::Unreachable { until } = refusal { until } else { None };
        let until = [line, wake].into_iter().flatten().fold(deadline, Instant::min);
        Some(self.wait_until(until, refusal))
    }

    fn unserved_at_home(&mut self, key: Key, refusal: Refusal, now: Instant) -> Ending {
        let pool = &self.member.pool;
        let (name, node) = (pool.name(), pool.node_name(key).unwrap_or_default());
        let why = match refusal {
            _ if self.is_in_line() => "says that it is full",
            Refusal::Full | Refusal::QueueFull => "is at its max_in_flight",
            Refusal::AllTried | Refusal::Unreachable { .. } | Refusal::Retired => "cannot be reached",
        };
        let why =
            format!("pool {name}: node {node}, which alone has the response that the request names, {why}");
        self.late(why, RETRY_AFTER, refusal, now)
    }
}
