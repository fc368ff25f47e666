//! One request under way, as it is shown and may be cancelled.
//!
//! It holds no part of a body, and of the header no more than method, path and request id. The request's own task writes it a few
//! times, and once an event to count the tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;

use crate::config::Class;
use crate::fleet::NodeId;
use crate::status::{Asked, OpenRequest, Stage};

/// One request under way.
#[derive(Debug)]
pub struct UnderWay {
    /// From 1, in the order in which they came; no other request of this process has it.
    pub(super) number: u64,
    since: Instant,
    asked: Asked,
    way: Mutex<Way>,
    /// Tokens of the answer so far, as its nodes tell them, else one an event; a later word of a node may correct them.
    tokens: AtomicU32,
    /// Microseconds from `since` to the last word of a node; 0: none.
    heard: AtomicU64,
    is_cancelled: AtomicBool,
    waker: AtomicWaker,
}

/// A node that a request goes to.
#[derive(Clone, Copy, Debug)]
pub struct Goes<'a> {
    pub pool: &'a Arc<str>,
    pub node: &'a Arc<NodeId>,
    pub class: Class,
}

#[derive(Clone, Debug, Default)]
struct Way {
    stage: Stage,
    /// `None`: since it came.
    stage_since: Option<Instant>,
    pool: Option<Arc<str>>,
    node: Option<Arc<NodeId>>,
    class: Class,
    attempts: u32,
    first_byte: Option<Instant>,
    /// The node under way goes on with an answer that another has begun.
    is_resumed: bool,
}

impl Way {
    fn enter(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        self.stage_since = Some(now);
    }
}

/// A request that an operator has ended, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    pub pool: Arc<str>,
    pub id: String,
}

/// The reason that a request is not cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCancelled {
    /// There is none with this number, or no more.
    Unknown,
    /// Its body is still read: `client.body_timeout` and `client.body_min_rate` limit that.
    Arriving,
    /// It has been before, and is about to end.
    Already,
}

impl UnderWay {
    pub(super) fn new(number: u64, asked: Asked, since: Instant) -> Self {
        Self {
            number,
            since,
            asked,
            way: Mutex::default(),
            tokens: AtomicU32::new(0),
            heard: AtomicU64::new(0),
            is_cancelled: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// It is without a node.
    pub fn waits(&self, pool: &Arc<str>, class: Class, now: Instant) {
        let mut way = self.way.lock();
        way.enter(Stage::Waiting, now);
        (way.node, way.class) = (None, class);
        way.pool = Some(Arc::clone(pool));
    }

    /// It goes to a node.
    pub fn asks(&self, goes: Goes<'_>, now: Instant) {
        let Goes { pool, node, class } = goes;
        let mut way = self.way.lock();
        way.enter(Stage::Asked, now);
        way.class = class;
        way.is_resumed = way.first_byte.is_some();
        way.pool = Some(Arc::clone(pool));
        way.node = Some(Arc::clone(node));
        way.attempts = way.attempts.saturating_add(1);
    }

    /// The answer begins, or goes on from another node.
    pub fn answers(&self, now: Instant) {
        let mut way = self.way.lock();
        way.enter(Stage::Answering, now);
        way.first_byte.get_or_insert(now);
    }

    /// Its nodes have said so many tokens so far. Its own task alone calls this, for every event.
    pub fn said(&self, tokens: u64, now: Instant) {
        self.tokens.store(u32::try_from(tokens).unwrap_or(u32::MAX), Ordering::Relaxed);
        let after = now.saturating_duration_since(self.since).as_micros();
        self.heard.store(u64::try_from(after).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// Ready once an operator has cancelled the request. One task at a time may ask.
    pub fn poll_cancelled(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The flag is set under the lock of the stage: who goes to a node from now on sees it.
    pub(super) fn cancel(&self) -> Result<Cancelled, NotCancelled> {
        let way = self.way.lock();
        if self.is_cancelled() {
            return Err(NotCancelled::Already);
        }
        match way.stage {
            Stage::Arriving => return Err(NotCancelled::Arriving),
            Stage::Waiting | Stage::Asked | Stage::Answering => {
                self.is_cancelled.store(true, Ordering::Release);
            }
        }
        let pool = way.pool.clone().unwrap_or_default();
        drop(way);
        self.waker.wake();
        Ok(Cancelled { pool, id: self.asked.id.clone() })
    }

    pub(super) fn at(&self, now: Instant) -> OpenRequest {
        let way = self.way.lock().clone();
        let Way { stage, stage_since, pool, node, class, attempts, first_byte, is_resumed, .. } = way;
        let age = now.saturating_duration_since(self.since);
        let heard = Duration::from_micros(self.heard.load(Ordering::Relaxed));
        let is_heard = stage == Stage::Answering && !heard.is_zero();
        OpenRequest {
            number: self.number,
            asked: self.asked.clone(),
            stage,
            pool,
            node,
            class,
            attempts,
            age,
            in_stage: stage_since.map_or(age, |since| now.saturating_duration_since(since)),
            is_resumed,
            ttft: first_byte.map(|first| first.saturating_duration_since(self.since)),
            silent: is_heard.then(|| age.saturating_sub(heard)),
            tokens: self.tokens.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Access, Addresses};

    const STEP: Duration = Duration::from_secs(10);

    fn one(now: Instant) -> UnderWay {
        UnderWay::new(7, Asked::default(), now)
    }

    fn node(name: &str) -> Arc<NodeId> {
        let address = "127.0.0.1:1".parse().expect("an address");
        Arc::new(NodeId {
            pool: "p".into(),
            name: name.into(),
            address,
            addresses: Addresses::default(),
            access: Access::default(),
        })
    }

    fn asks(one: &UnderWay, name: &str, now: Instant) {
        one.asks(Goes { pool: &"p".into(), node: &node(name), class: Class::Batch }, now);
    }

    #[test]
    fn its_state_is_said_in_one_word() {
        let start = Instant::now();
        let (one, pool) = (one(start), "p".into());
        let mut now = start;
        let mut seen = Vec::new();
        let mut look = |one: &UnderWay, now: Instant| {
            let at = one.at(now);
            seen.push((at.state(), at.node.map(|node| node.name.to_string()), at.attempts));
        };
        look(&one, now);
        one.waits(&pool, Class::Batch, now);
        look(&one, now);
        asks(&one, "a", now);
        look(&one, now);
        one.waits(&pool, Class::Batch, now);
        look(&one, now);
        asks(&one, "b", now);
        look(&one, now);
        now += STEP;
        one.answers(now);
        look(&one, now);
        one.waits(&pool, Class::Batch, now);
        look(&one, now);
        asks(&one, "a", now);
        one.answers(now + STEP);
        look(&one, now);
        let node = |name: &str| Some(name.to_owned());
        let want = [
            ("arriving", None, 0),
            ("waiting", None, 0),
            ("prefill", node("a"), 1),
            ("retrying", None, 1),
            ("retrying", node("b"), 2),
            ("streaming", node("b"), 2),
            ("retrying", None, 2),
            ("resumed", node("a"), 3),
        ];
        assert_eq!(seen, want);
        assert_eq!(one.at(now).ttft, Some(STEP), "the first byte of all");
    }

    #[test]
    fn times_and_tokens_are_those_of_its_answer() {
        let start = Instant::now();
        let one = one(start);
        asks(&one, "a", start);
        one.answers(start + STEP);
        one.said(3, start + STEP);
        one.said(u64::MAX, start + 2 * STEP);
        let at = one.at(start + 5 * STEP);
        assert_eq!((at.age, at.in_stage, at.silent), (5 * STEP, 4 * STEP, Some(3 * STEP)));
        assert_eq!(at.tokens, u32::MAX, "it does not run over");
        one.said(2, start + 3 * STEP);
        assert_eq!(one.at(start + 5 * STEP).tokens, 2, "its node has told that it were fewer");
    }

    #[test]
    fn only_what_is_listened_for_is_cancelled() {
        let now = Instant::now();
        let arriving = one(now);
        assert_eq!(arriving.cancel(), Err(NotCancelled::Arriving));
        assert!(!arriving.is_cancelled());
        let waiting = one(now);
        waiting.waits(&"p".into(), Class::Normal, now);
        assert_eq!(waiting.cancel().map(|cancelled| cancelled.pool), Ok("p".into()));
        assert!(waiting.is_cancelled());
    }
}
