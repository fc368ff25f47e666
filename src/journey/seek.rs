//! The search for the next attempt's node: a lease now, or what to wait for.

use std::time::{Duration, Instant};

use event_listener::EventListener;

use super::attempt::Attempt;
use super::conversation::Home;
use super::ending::{Ending, Failure};
use super::state::Journey;
use crate::fleet::{Key, Lease, Refusal, Skipped};

/// `Retry-After` when no node came back in time, in seconds.
pub(super) const RETRY_AFTER: u64 = 10;

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
    /// that failed it before is better than none, but only as long as there is no answer. What a node says that is full is
    /// none: the request gets in line for it.
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
        let waits = self.search.waits;
        if !waits && let Some(until) = self.deaths.pause_ends(longest, now) {
            return Seek::Pause { until };
        }
        if let Home::Node(id, key) = self.home
            && let Some(found) = self.look_at_home(id, key, now)
        {
            return found;
        }
        if waits {
            return self.look_again(now);
        }
        let refusal = match self.lease_untried(&self.skipped(now).nodes, now) {
            Ok(lease) => return leased(lease),
            Err(refusal) => refusal,
        };
        let waits_on = refusal == Refusal::Full || self.is_in_line();
        if let Some(answer) = self.fallback_unless(waits_on).or_else(|| self.agreed_denial(now)) {
            return self.give(answer);
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
        let changed = self.member.pool.changed(&[&self.tried[..], &self.refusing(now)].concat());
        let skipped = self.skipped(now);
        let refusal = match self.lease_any(skipped.nodes, now, is_late) {
            Ok(lease) => return leased(lease),
            Err(refusal) => refusal,
        };
        let waits_on = !is_late && (refusal == Refusal::Full || self.is_in_line());
        if refusal == Refusal::Retired && (self.fallback.is_none() || waits_on) {
            return Seek::Reroute;
        }
        if let Some(answer) = self.fallback_unless(waits_on).or_else(|| self.agreed_denial(now)) {
            return self.give(answer);
        }
        if is_late {
            return self.give_up(refusal, since, now);
        }
        let wake = match refusal {
            Refusal::Unreachable { until } => until,
            // a node that refused a connection a moment ago may be taken again before a slot comes back
            Refusal::Full | Refusal::AllTried | Refusal::Retired => self.member.pool.hold_ends(now),
        };
        let line = if self.is_in_line() { self.member.pool.line_opens(&self.lines, now) } else { None };
        let until = [wake, line, skipped.ends].into_iter().flatten().fold(deadline, Instant::min);
        Seek::Wait { changed, until, why: refusal }
    }

    /// A node that the request has not tried, and that is not known to refuse its like.
    fn lease_untried(&self, skipped: &[Key], now: Instant) -> Result<Lease, Refusal> {
        let pool = &self.member.pool;
        if skipped.is_empty() {
            return pool.lease(&self.tried, now);
        }
        let found = pool.lease(&[&self.tried[..], skipped].concat(), now);
        if found.is_err() && self.asks_one_of_all(now) { pool.lease(&self.tried, now) } else { found }
    }

    /// A request in line asks a node that is full again when its turn has come. Else, with an answer at hand, only a node
    /// that it has not tried will do; without one any that does not refuse it, the one whose try is longest ago first.
    fn lease_any(&self, mut skipped: Vec<Key>, now: Instant, is_last_chance: bool) -> Result<Lease, Refusal> {
        let pool = &self.member.pool;
        let untried = self.lease_untried(&skipped, now);
        if untried.is_ok() {
            return untried;
        }
        if self.asks_one_of_all(now) {
            skipped.clear();
        }
        skipped.extend_from_slice(self.denied_by());
        if self.is_in_line() {
            return pool.lease_in_line(&self.failed_nodes(), &skipped, &self.lines, now);
        }
        if self.fallback.is_some() {
            return untried;
        }
        match pool.lease_again(&self.tried, &skipped, now) {
            // those that it has not tried are still full
            Err(_) if is_last_chance => pool.lease(&skipped, now),
            result => result,
        }
    }

    /// All nodes refuse its like, as far as is known: one of them says so to this request, too, or that it has changed.
    fn asks_one_of_all(&self, now: Instant) -> bool {
        !self.holds_denial() && self.all_agree(&[], now)
    }

    /// A node has said that it is full, and the request waits for it.
    pub(super) fn is_in_line(&self) -> bool {
        !self.told.is_empty()
    }

    /// Nodes that it was sent to, and that did not only say they are full.
    fn failed_nodes(&self) -> Vec<Key> {
        self.tried.iter().filter(|key| !self.lines.contains(key)).copied().collect()
    }

    fn skipped(&self, now: Instant) -> Skipped {
        let pool = &self.member.pool;
        let subject = self.subject.as_ref().filter(|_| pool.has_skips());
        subject.map(|subject| pool.skipped(subject, now)).unwrap_or_default()
    }

    pub(super) fn fallback_unless(&mut self, waits: bool) -> Option<H> {
        if waits { None } else { self.fallback.take() }
    }

    pub(super) fn give(&mut self, fallback: H) -> Seek<H> {
        self.denials.iter_mut().for_each(|denials| denials.doubts.withdraw());
        self.note = Some("no other node was left");
        Seek::Give(fallback)
    }

    fn give_up(&mut self, refusal: Refusal, since: Instant, now: Instant) -> Seek<H> {
        if let Some(fallback) = self.fallback.take() {
            return self.give(fallback);
        }
        Seek::Stop(self.unserved(refusal, now.saturating_duration_since(since), now))
    }

    /// `Retry-After` in seconds, where a node that is full did not name one: until it may be asked again.
    pub fn retry_after(&self, now: Instant) -> u64 {
        let opens = self.member.pool.line_opens(&self.lines, now);
        let time = opens.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        time.as_millis().div_ceil(1000).try_into().unwrap_or(1).max(1)
    }

    /// No pool can have the request any more.
    pub fn unrouted(&mut self, failure: Failure) -> Ending {
        self.broken("not resumed: no node was available").unwrap_or(Ending::Failed(failure))
    }

    fn unserved(&mut self, refusal: Refusal, waited: Duration, now: Instant) -> Ending {
        let pool = self.member.pool.name();
        let is_told = self.is_in_line() && refusal != Refusal::Retired;
        let why = match refusal {
            _ if is_told => "all nodes say that they are full",
            Refusal::Full => "all nodes are at their max_in_flight",
            Refusal::AllTried | Refusal::Unreachable { .. } => "no node can be reached",
            Refusal::Retired => "it is no longer in the configuration",
        };
        let others = if self.is_denied(now) { ", save those that refuse the request" } else { "" };
        let message =
            format!("pool {pool}: {why}{others}; waited {:.0} s (retry.wait)", waited.as_secs_f64());
        let seconds = if is_told { self.retry_after(now) } else { RETRY_AFTER };
        self.unrouted(Failure::new(503, message).retry_after(seconds))
    }
}

pub(super) fn leased<H>(lease: Lease) -> Seek<H> {
    Seek::Leased(Attempt::new(lease))
}
