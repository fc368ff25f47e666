//! One attempt: a lease, and how far the exchange with its node has come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::conversation::Home;
use super::denial::is_denial;
use super::state::Journey;
use crate::balance::By;
use crate::classify::{self, Usage};
use crate::fleet::{Key, Lease, NodeId};
use crate::outcome::Outcome;
use crate::retry::Verdict;

/// One try on one node. Moved into [`Journey::end`], so that it cannot be settled twice.
#[derive(Debug)]
#[must_use = "an attempt that is dropped counts as left by its client"]
pub struct Attempt {
    pub(super) lease: Lease,
    pub(super) stage: Stage,
    /// The node had closed a kept connection on which the request had just been sent.
    pub(super) was_stale: bool,
    /// Its answer is held back though it is none of the failures to be retried: another node may serve the request.
    pub(super) is_denied: bool,
}

/// The stage of an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    Leased,
    Sent { at: Instant },
    Headed(Headed),
}

/// The facts of its head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Headed {
    pub sent_at: Instant,
    pub status: u16,
    pub outcome: Outcome,
    /// The head of a stream alone says little: the server in front of an engine that hangs sends that too. The first event
    /// that follows counts as its good head.
    pub is_alone: bool,
}

/// The head of a node's response.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub status: u16,
    /// Its body is a stream of events that is looked into.
    pub is_stream: bool,
    pub retry_after: Option<Duration>,
}

/// The fate of a response whose head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The client gets it.
    Pass,
    /// Another node is asked; it is held back in case that none does better. End it with [`super::How::Declined`].
    HoldBack,
    /// Nobody wants it: the client has a part of another one.
    Drop,
}

impl Attempt {
    pub(super) fn new(lease: Lease) -> Self {
        Self { lease, stage: Stage::Leased, was_stale: false, is_denied: false }
    }

    pub fn node(&self) -> &Arc<NodeId> {
        self.lease.node()
    }

    /// The reason for this node.
    pub fn by(&self) -> By {
        self.lease.by()
    }

    /// The address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.lease.address()
    }

    pub fn status(&self) -> Option<u16> {
        match self.stage {
            Stage::Headed(Headed { status, .. }) => Some(status),
            Stage::Leased | Stage::Sent { .. } => None,
        }
    }

    pub(super) fn sent_at(&self) -> Option<Instant> {
        match self.stage {
            Stage::Leased => None,
            Stage::Sent { at } | Stage::Headed(Headed { sent_at: at, .. }) => Some(at),
        }
    }

    /// A stream has begun with nothing but its head.
    pub fn has_head_alone(&self) -> bool {
        matches!(self.stage, Stage::Headed(Headed { is_alone: true, .. }))
    }

    /// Resolves when the node is found stalled. A request whose client has seen nothing yet then goes to another.
    pub fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        self.lease.given_up()
    }

    pub fn is_given_up(&self) -> bool {
        self.lease.is_given_up()
    }

    /// Resolves when the request may have to leave its node: ask [`Journey::leaves`] then.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        self.lease.lost()
    }

    /// The node has made so many tokens more of a good answer.
    pub fn worked(&mut self, tokens: u64, now: Instant) {
        if tokens > 0 {
            self.lease.worked(tokens, now);
        }
    }

    /// The first words of a stream are there, behind so many events without any. To be called whenever some are.
    pub fn spoke(&mut self, silent: u32, now: Instant) {
        if !self.lease.has_spoken() {
            let sent_at = self.sent_at().unwrap_or(now);
            self.lease.spoke(now.saturating_duration_since(sent_at), silent, now);
        }
    }

    /// From now on its silence means nothing: it waits for its client.
    pub fn pause_stall(&self) {
        self.lease.pause_stall();
    }

    /// From now on it means something again.
    pub fn resume_stall(&self, now: Instant) {
        self.lease.resume_stall(now);
    }

    /// The client has not read for a while: until the next event, this stream's silence says nothing about the node.
    pub fn excuse_silence(&mut self) {
        self.lease.excuse_silence();
    }
}

impl<H> Journey<H> {
    /// The node has counted tokens.
    pub fn read_usage(&mut self, attempt: &mut Attempt, usage: Option<Usage>) {
        let Some(Usage { prompt, cached, answer }) = usage else { return };
        self.tally.read_prompt(prompt.unwrap_or(0));
        if let Some(tokens) = answer {
            attempt.lease.told(tokens);
        }
        if let Some(tokens) = prompt {
            attempt.lease.read_prompt(tokens, cached);
        }
    }

    /// The tokens of its stream so far, with those of earlier nodes: none before the first words.
    pub fn said(&self, attempt: &Attempt) -> u64 {
        let said = attempt.lease.has_spoken().then(|| attempt.lease.spoken().answer_tokens);
        self.tally.answer_tokens.saturating_add(said.unwrap_or(0))
    }

    /// True if the request leaves its node, which has not answered, for another: a stalled one always, one that its check has
    /// lost only if that is not worse than to wait on. Ends as [`Outcome::Stalled`].
    pub fn leaves(&self, attempt: &Attempt, now: Instant) -> bool {
        if attempt.is_given_up() {
            return true;
        }
        let waits = matches!(attempt.stage, Stage::Sent { .. }) && attempt.lease.is_lost();
        let may_leave = || matches!(self.decide(Outcome::Stalled, None), Verdict::Retry(_));
        // where there is no room, it would give up its place for a wait that may be shorter
        let has_room = || self.member.pool.has_room(&self.tried_with(attempt), self.profile, now);
        waits && may_leave() && self.is_free() && has_room()
    }

    /// Other nodes may serve it.
    fn is_free(&self) -> bool {
        !matches!(self.home, Home::Node(..))
    }

    /// The nodes that have failed it, with the present one. One that has said no more than that it is full has not.
    fn tried_with(&self, attempt: &Attempt) -> Vec<Key> {
        let key = attempt.lease.key();
        let mut tried = self.tried.clone();
        tried.push(key);
        tried.retain(|other| *other == key || !self.lines.contains(other));
        tried
    }

    /// The request goes out to the node.
    pub fn send(&mut self, attempt: &mut Attempt, now: Instant) {
        attempt.stage = Stage::Sent { at: now };
        self.sent += 1;
    }

    /// The node's response has begun.
    pub fn head(&mut self, attempt: &mut Attempt, head: Head, now: Instant) -> Answered {
        let Head { status, is_stream, retry_after } = head;
        let outcome = classify::status(status, self.member.conf.retry.on.status(status));
        let sent_at = attempt.sent_at().unwrap_or(now);
        // the head of a stream says nothing yet: its first event does
        let is_alone = outcome == Outcome::Ok && is_stream;
        attempt.stage = Stage::Headed(Headed { sent_at, status, outcome, is_alone });
        match outcome {
            Outcome::Ok if !is_stream => self.good_head(attempt, status, now),
            Outcome::Busy => attempt.lease.busy(retry_after, now),
            _ => {}
        }
        let verdict = self.decide(outcome, attempt.status());
        if is_denial(status) && self.doubts_denial(attempt, now) {
            attempt.is_denied = true;
            return Answered::HoldBack;
        }
        match verdict {
            Verdict::Retry(_) if self.is_continuing() => Answered::Drop,
            Verdict::Retry(_) => Answered::HoldBack,
            Verdict::Fresh | Verdict::Stop(_) if self.is_continuing() && !is_stream => Answered::Drop,
            // nothing but a stream fits under the head that is out
            Verdict::Fresh | Verdict::Stop(_) if self.has_head() && !is_stream => Answered::HoldBack,
            Verdict::Fresh | Verdict::Stop(_) => Answered::Pass,
        }
    }

    /// The first event of a stream is an error, with this code.
    pub fn first_event_failed(
        &mut self,
        attempt: &mut Attempt,
        outcome: Outcome,
        code: Option<u16>,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        attempt.says(outcome);
        if let (Stage::Headed(headed), Some(code)) = (&mut attempt.stage, code) {
            headed.status = code;
        }
        if outcome == Outcome::Busy {
            attempt.lease.busy(retry_after, now);
        }
    }

    /// The node has sent something of its response.
    pub fn progress(&mut self, attempt: &mut Attempt, now: Instant) {
        attempt.lease.progress(now);
        if let Stage::Headed(headed) = &mut attempt.stage
            && std::mem::take(&mut headed.is_alone)
        {
            let status = headed.status;
            self.good_head(attempt, status, now);
        }
    }

    fn good_head(&mut self, attempt: &Attempt, status: u16, now: Instant) {
        self.events.extend(attempt.lease.good_head(now));
        // a 4xx acquits nobody: the node may have looked at the request sooner than the others
        if status < 400 {
            self.served(attempt.lease.key(), now);
            self.found_home(attempt);
        }
    }
}
