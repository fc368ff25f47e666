//! The end of an attempt: it is settled, and what follows is decided.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::attempt::{Attempt, Stage};
use super::continuity::Continuity;
use super::ending::{Ending, FINISHED, Failure};
use super::state::{Again, Journey};
use crate::fleet::{self, Key, Resumed};
use crate::outcome::Outcome;
use crate::resume::{Continuation, NextRequest, NotResumable, Transcript};
use crate::retry::{DEATHS_MAX, Repeat, RetryReason, STALE_WITHIN, StopReason, Verdict};

/// The end of an attempt.
#[derive(Debug)]
pub enum How<H> {
    /// The client has the response to its end.
    Whole,
    /// The client left.
    Left,
    /// The response is not for the client, see [`super::Answered`]; held back if it could be read.
    Declined { fallback: Option<H> },
    /// It failed before the client had anything of it. [`Outcome::Stale`]: on a connection that had been used before.
    Failed { outcome: Outcome, fallback: Option<H> },
    /// It broke off after the client had a part of it, which would end with this event of the gateway's own.
    Broken { outcome: Outcome, closing_event: Bytes },
    /// The node says that it has not taken the request, whose connection had been used before.
    NotTaken,
    /// A kept connection had been closed, and the same node cannot be asked again.
    Missed,
    /// The deadline of the request has passed before its node answered.
    Late,
    /// It cannot be sent to such a node: the client gets this.
    Unsayable(Failure),
}

/// The next step.
#[derive(Debug)]
#[must_use]
pub enum Step<H> {
    /// Seek another node.
    Node(RetryReason),
    /// The same node, on a fresh connection.
    Fresh(Attempt),
    /// Seek another node, which goes on with the client's stream when it is sent this body.
    Continue(NextRequest),
    /// Nothing but these last bytes of the client's stream was missing.
    Finish(Bytes),
    /// The fallback: no better response will come.
    Give(H),
    Stop(Ending),
}

/// The remains of an attempt that has been settled.
struct Ended {
    node: Arc<str>,
    status: Option<u16>,
}

impl<H> Journey<H> {
    /// Settles the attempt, and says what is next.
    pub fn end(&mut self, attempt: Attempt, how: How<H>, now: Instant) -> Step<H> {
        match how {
            How::Whole => {
                let outcome = attempt.judged_by_head();
                self.settle(attempt, outcome, now);
                Step::Stop(Ending::Whole)
            }
            How::Left => {
                self.settle(attempt, Outcome::ClientGone, now);
                Step::Stop(Ending::Left)
            }
            How::Declined { fallback } => {
                let outcome = attempt.judged_by_head();
                self.declined(attempt, outcome, fallback, now)
            }
            How::Failed { outcome, fallback } => self.failed(attempt, outcome, fallback, now),
            How::Broken { outcome, closing_event } => self.broke_off(attempt, outcome, closing_event, now),
            How::NotTaken => self.stale(attempt, false, now),
            How::Missed => {
                self.settle(attempt, Outcome::Stale, now);
                self.again(RetryReason::Stale)
            }
            How::Late => {
                // the node is as little to blame as for a client that leaves
                self.settle(attempt, Outcome::ClientGone, now);
                self.too_late().map_or_else(Step::Stop, Step::Give)
            }
            How::Unsayable(failure) => {
                self.settle(attempt, Outcome::ClientGone, now);
                let ending = self.broken("not resumed: the next node cannot be sent the continuation");
                Step::Stop(ending.unwrap_or(Ending::Failed(failure)))
            }
        }
    }

    fn declined(&mut self, attempt: Attempt, outcome: Outcome, fallback: Option<H>, now: Instant) -> Step<H> {
        let denied_by = attempt.is_denied.then(|| attempt.lease.key());
        let Ended { node, status } = self.settle(attempt, outcome, now);
        let verdict = self.decide(outcome, status);
        if let Some(key) = denied_by {
            self.denied(key, fallback);
            return self.again(if let Verdict::Retry(why) = verdict { why } else { RetryReason::Denied });
        }
        if fallback.is_some() {
            self.fallback = fallback;
        }
        match verdict {
            Verdict::Retry(why) => self.again(why),
            Verdict::Fresh | Verdict::Stop(_) => {
                let is_refused = status.is_some_and(|status| (400..500).contains(&status));
                if is_refused && let Some(next) = self.transcript_mut().and_then(Transcript::refused) {
                    return self.go_on(next);
                }
                let note = "not resumed: the next node refused the continuation";
                if let Some(ending) = self.broken(note) {
                    return Step::Stop(ending);
                }
                // under a head that is out it is told as an error
                match self.fallback.take() {
                    Some(fallback) => Step::Give(fallback),
                    None => Step::Stop(Ending::Failed(Failure::new(
                        502,
                        format!("node {node} did not answer with a stream"),
                    ))),
                }
            }
        }
    }

    fn failed(
        &mut self,
        attempt: Attempt,
        mut outcome: Outcome,
        fallback: Option<H>,
        now: Instant,
    ) -> Step<H> {
        if outcome == Outcome::Stale {
            if self.is_stale(&attempt, now) {
                return self.stale(attempt, true, now);
            }
            outcome = Outcome::Reset;
        }
        let judged = attempt.reconsider(outcome);
        if judged != outcome {
            self.sent += 1;
        }
        if fallback.is_some() {
            self.fallback = fallback;
        }
        let Ended { node, status } = self.settle(attempt, outcome, now);
        match self.decide(judged, status) {
            Verdict::Retry(why) => self.again(why),
            Verdict::Stop(StopReason::ClientGone) => Step::Stop(Ending::Left),
            Verdict::Stop(why) => match self.fallback.take().filter(|_| why != StopReason::KillsNodes) {
                Some(fallback) => {
                    self.note = Some(why.as_str());
                    Step::Give(fallback)
                }
                None => Step::Stop(self.stopped(&node, outcome, why)),
            },
            Verdict::Fresh => Step::Stop(self.stopped(&node, outcome, StopReason::NotListed)),
        }
    }

    /// A connection that was closed as soon as the request came had been closed before; if later, its node has seen the
    /// request.
    fn is_stale(&self, attempt: &Attempt, now: Instant) -> bool {
        let sent_at = attempt.sent_at().unwrap_or(now);
        let is_early = now.saturating_duration_since(sent_at) < STALE_WITHIN;
        is_early && self.decide(Outcome::Stale, None) == Verdict::Fresh
    }

    /// Nobody took it, and it does not count as sent. `may_have_died`: nobody says so, and the node may have died of it.
    fn stale(&mut self, mut attempt: Attempt, may_have_died: bool, now: Instant) -> Step<H> {
        self.sent = self.sent.saturating_sub(1);
        attempt.lease.count(Outcome::Stale);
        self.record(&attempt.lease, None, Outcome::Stale, now);
        attempt.stage = Stage::Leased;
        attempt.was_stale = may_have_died;
        self.member.pool.count_retry(RetryReason::Stale);
        Step::Fresh(attempt)
    }

    /// The response broke off after it had begun: another node goes on, or the client sees that it is not whole.
    fn broke_off(
        &mut self,
        mut attempt: Attempt,
        outcome: Outcome,
        closing_event: Bytes,
        now: Instant,
    ) -> Step<H> {
        if outcome == Outcome::Busy {
            attempt.lease.busy(None, now);
        }
        // that it is slow alone proves little: another node would take as long for a long prompt
        let is_slow = outcome == Outcome::Stalled && !attempt.is_given_up() && !self.may_continue();
        if !self.has_begun() && !is_slow {
            attempt.says(outcome);
            return self.broke_off_silently(attempt, outcome, closing_event, now);
        }
        self.settle(attempt, outcome, now);
        let why = match self.client.continuity_mut() {
            None | Some(Continuity::Never) => None,
            Some(Continuity::No(why)) => Some(*why),
            Some(Continuity::Possible(_)) if self.deaths.count() >= DEATHS_MAX => {
                Some(NotResumable::KillsNodes)
            }
            Some(Continuity::Possible(continued)) => match continued.transcript.continuation() {
                Ok(Continuation::Ask(next)) => {
                    continued.closing_event = closing_event;
                    return self.go_on(next);
                }
                Ok(Continuation::Finish(rest)) => {
                    self.member.pool.count_resume(Resumed::Finished);
                    self.note = Some(FINISHED);
                    return Step::Finish(rest);
                }
                Err(why) => Some(why),
            },
        };
        if why.is_some() {
            self.member.pool.count_resume(Resumed::Refused);
        }
        self.note = Some(why.map_or("the node broke off the response", NotResumable::as_str));
        Step::Stop(Ending::Broken { closing_event })
    }

    /// The stream has said nothing that another node's could contradict: the whole request goes there.
    fn broke_off_silently(
        &mut self,
        attempt: Attempt,
        outcome: Outcome,
        closing_event: Bytes,
        now: Instant,
    ) -> Step<H> {
        let Ended { status, .. } = self.settle(attempt, outcome, now);
        match self.decide(outcome, status) {
            Verdict::Retry(why) => {
                self.note = Some("begun again on another node: nothing had been said");
                self.again(why)
            }
            Verdict::Fresh => Step::Stop(Ending::Broken { closing_event }),
            Verdict::Stop(why) => {
                self.note = Some(why.as_str());
                Step::Stop(Ending::Broken { closing_event })
            }
        }
    }

    /// Each part of a stream is a request of its own: its attempts are counted anew.
    fn go_on(&mut self, next: NextRequest) -> Step<H> {
        self.again = Some(Again::Resumed);
        self.note = Some("resumed");
        self.sent = 0;
        Step::Continue(next)
    }

    fn again(&mut self, why: RetryReason) -> Step<H> {
        self.again = Some(Again::Retried(why));
        Step::Node(why)
    }

    /// The end of a request that no node has answered.
    fn stopped(&mut self, node: &str, outcome: Outcome, why: StopReason) -> Ending {
        if let Some(ending) = self.broken(why.as_str()) {
            return ending;
        }
        self.note = Some(why.as_str());
        if outcome == Outcome::Gateway {
            return Ending::Failed(
                Failure::new(503, "the gateway cannot open another connection").retry_after(1),
            );
        }
        if outcome == Outcome::Busy {
            let message = format!("node {node} is full; not tried again: {}", why.as_str());
            return Ending::Failed(Failure::new(503, message).retry_after(1));
        }
        let (status, what) = match outcome {
            Outcome::Timeout | Outcome::Stalled => (504, "did not answer in time"),
            Outcome::Connect => (502, "could not be reached"),
            _ => (502, "broke the connection"),
        };
        let asked = self.records.len();
        let message = format!("node {node} {what} (attempt {asked}); not tried again: {}", why.as_str());
        Ending::Failed(Failure::new(status, message))
    }

    /// A node that took no connection, or said it is full, has not had the request: it may be asked again, and no attempt
    /// is used up. Since when it waits for one is not forgotten either, nor by way of one that refuses it.
    fn note_line(&mut self, key: Key, outcome: Outcome, is_denied: bool) {
        let is_full = outcome == Outcome::Busy && self.is_work && self.repeat == Repeat::Allowed;
        self.lines.retain(|other| *other != key);
        self.told.retain(|other| *other != key);
        if is_full {
            self.sent = self.sent.saturating_sub(1);
            self.told.push(key);
        }
        if is_full || outcome == Outcome::Connect {
            self.lines.push(key);
        } else if !is_denied {
            self.search.stranded = None;
        }
    }

    /// The outcome goes to the node's health and into the log, and the slot goes back.
    fn settle(&mut self, attempt: Attempt, outcome: Outcome, now: Instant) -> Ended {
        let (status, sent_at) = (attempt.status(), attempt.sent_at());
        let is_death = outcome.is_death() || attempt.reconsider(outcome).is_death();
        let Attempt { mut lease, is_denied, .. } = attempt;
        let is_good = outcome == Outcome::Ok && status.is_some_and(|code| (200..300).contains(&code));
        if is_good && self.is_work {
            lease.answered(now);
        }
        let node = Arc::clone(&lease.node().name);
        self.record(&lease, status, outcome, now);
        self.tried.retain(|key| *key != lease.key());
        self.tried.push(lease.key());
        self.note_line(lease.key(), outcome, is_denied);
        self.tally.add(lease.spoken());
        let fleet::Settled { died_at, event, charge } = lease.settle(outcome, now);
        if is_death {
            let at_work = sent_at.map(|at| died_at.saturating_duration_since(at)).unwrap_or_default();
            self.deaths = self.deaths.with(at_work, died_at, now);
        }
        self.events.extend(event);
        // before the first event an error is as good as a 5xx
        let says_broken = outcome == Outcome::Http5xx || outcome == Outcome::EngineError && !self.has_begun();
        if says_broken {
            self.suspect(charge, now);
        }
        Ended { node, status }
    }
}

impl Attempt {
    /// A node that says it is full means 503, whatever its status was.
    pub(super) fn says(&mut self, outcome: Outcome) {
        if let (Stage::Headed(headed), Outcome::Busy) = (&mut self.stage, outcome) {
            headed.status = 503;
        }
    }

    /// The outcome of its head; without one its client has left before it came.
    fn judged_by_head(&self) -> Outcome {
        match self.stage {
            Stage::Headed(headed) => headed.outcome,
            Stage::Leased | Stage::Sent { .. } => Outcome::ClientGone,
        }
    }

    /// A connection that was only stale is followed by one that works: a node that then refuses has died with the
    /// request in its hands, and perhaps of it. Without this, one request that kills its node at once would go from node
    /// to node until none is left.
    fn reconsider(&self, outcome: Outcome) -> Outcome {
        let died_at_once = self.was_stale && outcome == Outcome::Connect;
        if died_at_once { Outcome::Reset } else { outcome }
    }
}
