//! The search for the next attempt's node: a lease now, or what to wait for.

use std::time::{Duration, Instant};

use super::attempt::Attempt;
use super::conversation::Home;
use super::ending::{Ending, Failure};
use super::state::{Again, Journey};
use crate::fleet::{Admission, Ask, Changed, Key, Lease, Or, Refusal, Resumed, Skipped, Want};

/// `Retry-After` when no node came back in time, in seconds.
pub(super) const RETRY_AFTER: u64 = 10;

/// The longest `Retry-After` of a queue, in seconds.
const RETRY_AFTER_MAX: u64 = 600;

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
        changed: Changed,
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
    /// others are only full, it waits: for a slot up to `queue.timeout` in all, for a node up to `retry.wait` from when it was
    /// first stranded until it reaches one. A node that failed it before is better than none, but only as long as there is no
    /// answer. What a node says that is full is none: the request gets in line for it. Once its deadline has passed, it goes to no
    /// node.
    pub fn seek(&mut self, now: Instant) -> Seek<H> {
        let found = if self.is_overdue(now) {
            self.too_late().map_or_else(Seek::Stop, Seek::Give)
        } else {
            self.look(now).until(self.due)
        };
        if matches!(found, Seek::Pause { .. } | Seek::Wait { .. }) {
            self.search.began.get_or_insert(now);
        } else {
            self.stop_seeking(now);
        }
        if let Seek::Leased(_) = &found {
            self.count_again();
        }
        found
    }

    /// Another attempt is one only once there is a node for it.
    fn count_again(&mut self) {
        match self.again.take() {
            Some(Again::Retried(why)) => self.member.pool.count_retry(why),
            Some(Again::Resumed) => self.member.pool.count_resume(Resumed::Asked),
            None => {}
        }
    }

    /// The client has left while no attempt was under way.
    pub fn leave(&mut self, now: Instant) -> Ending {
        self.stop_seeking(now);
        Ending::Left
    }

    fn stop_seeking(&mut self, now: Instant) {
        self.search.waits = false;
        self.search.waiter = None;
        self.search.ended = Some(now);
        self.search.pause_queue(now);
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
        if let Some(lease) = self.spill_from_ruins(now) {
            return leased(lease);
        }
        let refusal = match self.lease_untried(&self.skipped(now).nodes, now) {
            Ok(lease) => return leased(lease),
            Err(refusal) => refusal,
        };
        let waits_on = refusal == Refusal::Full || self.is_in_line();
        if let Some(answer) = self.fallback_unless(waits_on).or_else(|| self.agreed_denial(now)) {
            return self.give(answer);
        }
        if let Some(lease) = self.spill(waits_on, now) {
            return leased(lease);
        }
        // nodes that take their time to refuse would otherwise keep it for ever, without its ever waiting here
        if now > self.deadline(refusal, now) {
            return self.give_up(refusal, now);
        }
        if refusal == Refusal::Retired {
            return Seek::Reroute;
        }
        self.search.waits = true;
        self.look_again(now)
    }

    fn look_again(&mut self, now: Instant) -> Seek<H> {
        let is_late = self.is_late(now);
        // before the look at what it can use, or a change in between would be missed
        let news = self.member.pool.news();
        let skipped = self.skipped(now);
        let want = self.want(&skipped.nodes, now, is_late);
        let refusal = match self.wait_for(want, news, now) {
            Some(Ok(lease)) => return leased(lease),
            Some(Err(refusal)) => refusal,
            None => Refusal::AllTried,
        };
        let waits_on = !is_late && (refusal == Refusal::Full || self.is_in_line());
        if refusal == Refusal::Retired && (self.fallback.is_none() || waits_on) {
            return Seek::Reroute;
        }
        if let Some(answer) = self.fallback_unless(waits_on).or_else(|| self.agreed_denial(now)) {
            return self.give(answer);
        }
        if refusal == Refusal::QueueFull {
            return Seek::Stop(self.queue_is_full());
        }
        // it waited for a slot, and now there is no node
        if matches!(refusal, Refusal::Unreachable { .. })
            && let Some(lease) = self.spill(false, now)
        {
            return leased(lease);
        }
        let deadline = self.deadline(refusal, now);
        if is_late || now >= deadline {
            return self.give_up(refusal, now);
        }
        let wake = match refusal {
            Refusal::Unreachable { until } => until,
            // a node that refused a connection a moment ago may be taken again before a slot comes back
            Refusal::Full | Refusal::QueueFull | Refusal::AllTried | Refusal::Retired => {
                self.member.pool.hold_ends(now)
            }
        };
        let line = if self.is_in_line() { self.member.pool.line_opens(&self.lines, now) } else { None };
        let until = [wake, line, skipped.ends].into_iter().flatten().fold(deadline, Instant::min);
        self.wait_until(until, refusal)
    }

    /// The lease that it waits for, if its turn has come.
    pub(super) fn wait_for(&mut self, want: Want, news: u64, now: Instant) -> Option<Result<Lease, Refusal>> {
        // one that a reload has moved has waited in another pool
        let has_waited = !self.tried.is_empty() || self.search.queued > Duration::ZERO;
        let admission =
            if has_waited { Admission::Repeated } else { Admission::Below(self.member.conf.queue.size) };
        let ask = Ask { want: want.sorted(), admission, profile: self.profile, news };
        self.member.pool.wait(&mut self.search.waiter, ask, now)
    }

    pub(super) fn wait_until(&self, until: Instant, why: Refusal) -> Seek<H> {
        match &self.search.waiter {
            Some(waiter) => Seek::Wait { changed: waiter.changed(), until, why },
            None => Seek::Pause { until },
        }
    }

    /// A node that the request has not tried, and that is not known to refuse its like.
    fn lease_untried(&self, skipped: &[Key], now: Instant) -> Result<Lease, Refusal> {
        let pool = &self.member.pool;
        if skipped.is_empty() {
            return pool.lease_by(self.profile, &self.tried, now);
        }
        let found = pool.lease_by(self.profile, &[&self.tried[..], skipped].concat(), now);
        if found.is_err() && self.asks_one_of_all(now) {
            pool.lease_by(self.profile, &self.tried, now)
        } else {
            found
        }
    }

    /// A request in line asks a node that is full again when its turn has come. Else, with an answer at hand, only a node
    /// that it has not tried will do; without one any that does not refuse it, the one whose try is longest ago first.
    fn want(&self, skipped: &[Key], now: Instant, is_last_chance: bool) -> Want {
        let asks_one_of_all = self.asks_one_of_all(now);
        let mut avoid = vec![[&self.tried[..], skipped].concat()];
        if asks_one_of_all && !skipped.is_empty() {
            avoid.push(self.tried.clone());
        }
        let skipped = [if asks_one_of_all { &[] } else { skipped }, self.denied_by()].concat();
        let or = if self.is_in_line() {
            Or::InLine { failed: self.failed_nodes(), skipped, lines: self.lines.clone() }
        } else if self.fallback.is_some() {
            Or::Nothing
        } else {
            Or::Tried { tried: self.tried.clone(), skipped, is_last_chance }
        };
        Want::Any { avoid, or }
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

    fn give_up(&mut self, refusal: Refusal, now: Instant) -> Seek<H> {
        if let Some(fallback) = self.fallback.take() {
            return self.give(fallback);
        }
        Seek::Stop(self.unserved(refusal, now))
    }

    /// `Retry-After` in seconds, where a node that is full did not name one: until it may be asked again.
    pub fn retry_after(&self, now: Instant) -> u64 {
        let opens = self.member.pool.line_opens(&self.lines, now);
        let time = opens.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        time.as_millis().div_ceil(1000).try_into().unwrap_or(1).max(1)
    }

    /// It waits for a slot, not for a node.
    pub(super) fn waits_for_slot(&self, refusal: Refusal, now: Instant) -> bool {
        refusal == Refusal::Full && !self.is_in_line() && self.fallback.is_none() && !self.is_denied(now)
    }

    /// The time up to which it waits: in the queue for a slot up to `queue.timeout`, else for a node up to `retry.wait`.
    pub(super) fn deadline(&mut self, refusal: Refusal, now: Instant) -> Instant {
        if self.waits_for_slot(refusal, now) {
            self.search.stranded = None;
            self.search.queue_since(now) + self.member.conf.queue.timeout
        } else {
            self.search.pause_queue(now);
            *self.search.stranded.get_or_insert(now) + self.member.conf.retry.wait
        }
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        let conf = &self.member.conf;
        let is_over = |since: Option<Instant>, most: Duration| since.is_some_and(|since| now >= since + most);
        // one of the two clocks runs
        is_over(self.search.stranded, conf.retry.wait)
            || is_over(self.search.queued_since, conf.queue.timeout)
    }

    pub(super) fn queue_is_full(&mut self) -> Ending {
        let (pool, size) = (self.member.pool.name(), self.member.conf.queue.size);
        let message = format!(
            "pool {pool}: all nodes are at their max_in_flight, and {size} requests wait (queue.size)"
        );
        let seconds = self.queue_seconds();
        self.unrouted(Failure::new(429, message).retry_after(seconds))
    }

    /// `Retry-After`: the time that the queue takes, as far as is known.
    fn queue_seconds(&self) -> u64 {
        self.member.pool.queue_time().as_secs().clamp(1, RETRY_AFTER_MAX)
    }

    /// No pool can have the request any more.
    pub fn unrouted(&mut self, failure: Failure) -> Ending {
        self.broken("not resumed: no node was available").unwrap_or(Ending::Failed(failure))
    }

    fn unserved(&mut self, refusal: Refusal, now: Instant) -> Ending {
        let pool = self.member.pool.name();
        let is_told = self.is_in_line() && refusal != Refusal::Retired;
        let why = match refusal {
            _ if is_told => "all nodes say that they are full",
            Refusal::Full | Refusal::QueueFull => "all nodes are at their max_in_flight",
            Refusal::AllTried | Refusal::Unreachable { .. } => "no node can be reached",
            Refusal::Retired => "it is no longer in the configuration",
        };
        let others = if self.is_denied(now) { ", save those that refuse the request" } else { "" };
        let seconds = if is_told { self.retry_after(now) } else { RETRY_AFTER };
        self.late(format!("pool {pool}: {why}{others}"), seconds, refusal, now)
    }

    /// The end of a wait in which nothing came: 504 after one for a slot, 503 after one for a node. `seconds`: after which that
    /// may be back.
    pub(super) fn late(&mut self, why: String, seconds: u64, refusal: Refusal, now: Instant) -> Ending {
        let (status, since, rule, seconds) = if self.waits_for_slot(refusal, now) {
            (504, self.search.queued_since, "queue.timeout", self.queue_seconds())
        } else {
            (503, self.search.stranded, "retry.wait", seconds)
        };
        let waited = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let message = format!("{why}; waited {:.0} s ({rule})", waited.as_secs_f64());
        self.unrouted(Failure::new(status, message).retry_after(seconds))
    }
}

pub(super) fn leased<H>(lease: Lease) -> Seek<H> {
    Seek::Leased(Attempt::new(lease))
}
