//! The search for the next attempt's node: a lease now, or what to wait for.

use std::time::{Duration, Instant};

use event_listener::EventListener;

use super::attempt::Attempt;
use super::ending::{Ending, Failure};
use super::state::Journey;
use crate::fleet::{Lease, Refusal};

/// `Retry-After` when no node came back in time, in seconds.
const RETRY_AFTER: u64 = 10;

/// The result of a search.
#[derive(Debug)]
#[must_use]
pub enum Seek<H> {
    Leased(Attempt),
    /// Nodes died one after the other: the next may be dying too. Seek again then.
    Pause {
        until: Instant,
    },
    /// No node can be had. Seek again when the pool has changed, or then at the latest.
    Wait {
        changed: EventListener,
        until: Instant,
        why: Refusal,
    },
    /// A reload took the pool out of the config: the newest generation may have another for the request.
    Reroute,
    /// The fallback: no better response will come.
    Give(H),
    Stop(Ending),
}

impl<H> Journey<H> {
    /// Leases the best node that this request has not tried. Where there is none, and the request has no answer yet or the
    /// others are only full, it waits, up to `retry.wait` from when it was first stranded until it reaches a node. A node
    /// that failed it before is better than none, but only as long as there is no answer.
    pub fn seek(&mut self, now: Instant) -> Seek<H> {
        let found = self.look(now);
        if matches!(found, Seek::Pause { .. } | Seek::Wait { .. }) {
            self.search.began.get_or_insert(now);
        } else {
            self.stop_seeking(now);
        }
        found
    }

    /// The client has left while no attempt was under way.
    pub fn leave(&mut self, now: Instant) -> Ending {
        self.stop_seeking(now);
        Ending::Left
    }

    fn stop_seeking(&mut self, now: Instant) {
        self.search.waits = false;
        let began = self.search.began.take();
        self.search.queued += began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
    }

    fn look(&mut self, now: Instant) -> Seek<H> {
        let longest = self.member.conf.retry.wait;
        if self.search.waits {
            return self.look_again(now);
        }
        if let Some(until) = self.deaths.pause_ends(longest, now) {
            return Seek::Pause { until };
        }
        let refusal = match self.member.pool.lease(&self.tried, now) {
            Ok(lease) => return leased(lease),
            Err(refusal) => refusal,
        };
        if let Some(fallback) = self.fallback_unless(refusal == Refusal::Full) {
            return self.give(fallback);
        }
        let since = *self.search.stranded.get_or_insert(now);
        // nodes that take their time to refuse would otherwise keep it for ever, without its ever waiting here
        if now > since + longest {
            return self.give_up(refusal, since, now);
        }
        if refusal == Refusal::Retired {
            return Seek::Reroute;
        }
        self.search.waits = true;
        self.look_again(now)
    }

    fn look_again(&mut self, now: Instant) -> Seek<H> {
        let since = *self.search.stranded.get_or_insert(now);
        let deadline = since + self.member.conf.retry.wait;
        let is_late = now >= deadline;
        // before the look, or a change in between would be missed
        let changed = self.member.pool.changed(&self.tried);
        let refusal = match self.lease_any(now, is_late) {
            Ok(lease) => return leased(lease),
            Err(refusal) => refusal,
        };
        if refusal == Refusal::Retired && self.fallback.is_none() {
            return Seek::Reroute;
        }
        if let Some(fallback) = self.fallback_unless(refusal == Refusal::Full && !is_late) {
            return self.give(fallback);
        }
        if is_late {
            return self.give_up(refusal, since, now);
        }
        let wake = match refusal {
            Refusal::Unreachable { until } => until,
            // a node that refused a connection a moment ago may be taken again before a slot comes back
            Refusal::Full | Refusal::AllTried | Refusal::Retired => self.member.pool.hold_ends(now),
        };
        let until = wake.map_or(deadline, |at| at.min(deadline));
        Seek::Wait { changed, until, why: refusal }
    }

    /// With an answer at hand only a node that it has not tried; else any, the one whose try is longest ago first.
    fn lease_any(&self, now: Instant, is_last_chance: bool) -> Result<Lease, Refusal> {
        let pool = &self.member.pool;
        if self.fallback.is_some() {
            return pool.lease(&self.tried, now);
        }
        match pool.lease_again(&self.tried, now) {
            // those that it has not tried are still full
            Err(_) if is_last_chance => pool.lease(&[], now),
            result => result,
        }
    }

    fn fallback_unless(&mut self, waits: bool) -> Option<H> {
        if waits { None } else { self.fallback.take() }
    }

    fn give(&mut self, fallback: H) -> Seek<H> {
        self.note = Some("no other node was left");
        Seek::Give(fallback)
    }

    fn give_up(&mut self, refusal: Refusal, since: Instant, now: Instant) -> Seek<H> {
        if let Some(fallback) = self.fallback.take() {
            return self.give(fallback);
        }
        Seek::Stop(self.unserved(refusal, now.saturating_duration_since(since)))
    }

    /// No pool can have the request any more.
    pub fn unrouted(&mut self, failure: Failure) -> Ending {
        self.broken("not resumed: no node was available").unwrap_or(Ending::Failed(failure))
    }

    fn unserved(&mut self, refusal: Refusal, waited: Duration) -> Ending {
        let pool = self.member.pool.name();
        let why = match refusal {
            Refusal::Full => "all nodes are at their max_in_flight",
            Refusal::AllTried | Refusal::Unreachable { .. } => "no node can be reached",
            Refusal::Retired => "it is no longer in the configuration",
        };
        let message = format!("pool {pool}: {why}; waited {:.0} s (retry.wait)", waited.as_secs_f64());
        self.unrouted(Failure::new(503, message).retry_after(RETRY_AFTER))
    }
}

fn leased<H>(lease: Lease) -> Seek<H> {
    Seek::Leased(Attempt::new(lease))
}
