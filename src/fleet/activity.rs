//! A node's activity, shared with its attempts without the pool's lock.
//!
//! It holds the last sign of life, the attempts that have been given up, and the work done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use event_listener::Event;

use super::streams::Streams;
use crate::balance::learned::Work;

/// The activity of one node. The node and all of its leases hold it.
#[derive(Debug)]
pub(super) struct Activity {
    base: Instant,
    /// The [`mark`](Self::mark) of the last sign of life; 0 if there has been none.
    last: AtomicU64,
    /// The highest number of an attempt that has been given up; all below it have been given up, too.
    given_up: AtomicU64,
    /// The same for attempts that may leave if they have no answer yet: the check has lost the node.
    lost: AtomicU64,
    gave_up: Event,
    /// Totals since the start: units, nanoseconds, pieces.
    work: [AtomicU64; 3],
    /// Tokens of prompts whose cached part was told, and that part.
    prompts: [AtomicU64; 2],
    pub streams: Streams,
    /// Tokens of answers, as they come.
    tokens: AtomicU64,
}

/// The total work of a node at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done([u64; 3]);

impl Done {
    /// Since the start.
    pub(super) fn total(self) -> Work {
        Self::default().catch_up(self)
    }

    /// The work done since the previous call (or since the start).
    pub(super) fn catch_up(&mut self, now: Self) -> Work {
        let then = std::mem::replace(self, now);
        let [units, nanos, pieces] = [0, 1, 2].map(|i: usize| now.0[i].wrapping_sub(then.0[i]) as f64);
        Work { units, seconds: nanos / 1e9, pieces }
    }
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            base: now,
            last: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            gave_up: Event::new(),
            work: [const { AtomicU64::new(0) }; 3],
            prompts: [const { AtomicU64::new(0) }; 2],
            streams: Streams::default(),
            tokens: AtomicU64::new(0),
        }
    }

    /// Records a sign of life. Every chunk of every stream gets here, so it is one plain store: a race
    /// between two threads can set the time back only by microseconds, and seconds matter here.
    pub(super) fn beat(&self, now: Instant) {
        self.last.store(self.mark(now), Ordering::Relaxed);
    }

    /// A time in 8 bytes, which is never 0.
    pub(super) fn mark(&self, at: Instant) -> u64 {
        let after = at.saturating_duration_since(self.base);
        // in 64 bits: they last for 584 years
        after.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(after.subsec_nanos()) + 1)
    }

    /// The time of a mark.
    pub(super) fn at(&self, mark: u64) -> Instant {
        self.base + Duration::from_nanos(mark.saturating_sub(1))
    }

    /// Adds work done for one request: its units, and the time it took, in nanoseconds. A reader may see the three sums out of
    /// step by one piece, which is one among hundreds.
    pub(super) fn worked(&self, units: u64, nanos: u64) {
        for (sum, more) in self.work.iter().zip([units, nanos, 1]) {
            sum.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// So many tokens of an answer have come.
    pub(super) fn said(&self, tokens: u64) {
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    /// Tokens of all answers.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    pub(super) fn read_prompt(&self, tokens: u64, cached: u64) {
        self.prompts[0].fetch_add(tokens, Ordering::Relaxed);
        self.prompts[1].fetch_add(cached, Ordering::Relaxed);
    }

    /// Tokens of prompts whose cached part was told, and that part.
    pub(super) fn prompts(&self) -> [u64; 2] {
        [0, 1].map(|i: usize| self.prompts[i].load(Ordering::Relaxed))
    }

    pub(super) fn done(&self) -> Done {
        Done([0, 1, 2].map(|i: usize| self.work[i].load(Ordering::Relaxed)))
    }

    pub(super) fn last(&self) -> Option<Instant> {
        let mark = self.last.load(Ordering::Relaxed);
        (mark > 0).then(|| self.at(mark))
    }

    /// Gives up all attempts with a number up to this one, and wakes those that wait to be told.
    pub(super) fn give_up(&self, ticket: u64) {
        self.given_up.fetch_max(ticket, Ordering::AcqRel);
        self.gave_up.notify(usize::MAX);
    }

    pub(super) fn is_given_up(&self, ticket: u64) -> bool {
        ticket <= self.given_up.load(Ordering::Acquire)
    }

    /// Lets attempts with a number up to this one leave, as long as they have no answer.
    pub(super) fn lose(&self, ticket: u64) {
        self.lost.fetch_max(ticket, Ordering::AcqRel);
        self.gave_up.notify(usize::MAX);
    }

    pub(super) fn is_lost(&self, ticket: u64) -> bool {
        ticket <= self.lost.load(Ordering::Acquire)
    }

    /// Resolves when this attempt is given up, or at once if it has been.
    pub(super) async fn until_given_up(self: Arc<Self>, ticket: u64) {
        self.until(|activity| activity.is_given_up(ticket)).await;
    }

    /// The same, also when its node is lost.
    pub(super) async fn until_lost(self: Arc<Self>, ticket: u64) {
        self.until(|activity| activity.is_given_up(ticket) || activity.is_lost(ticket)).await;
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            // listen before checking, so that no notification is missed
            let listener = self.gave_up.listen();
            if is_so(self) {
                return;
            }
            listener.await;
        }
    }
}
