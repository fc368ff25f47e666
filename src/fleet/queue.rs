//! The queue of a pool's waiting requests: first come, first served among those that can use a slot.
//!
//! A slot that comes back is handed over: it is taken for the request whose turn it is under the same lock under which it was
//! given back. So the count of a node does not dip, nobody who has just come can take the slot, and only the one who has it
//! is woken.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::key::Slot;
use super::want::Want;

/// A request's place: a repeated one has waited before, and goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    is_first_try: bool,
    number: u64,
}

/// The waiting requests, in the order of their turns.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<Turn, Entry>,
    last: u64,
    /// Those that only one node will do for.
    homes: usize,
    pace: Pace,
}

/// How fast slots come back while requests wait for them.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    /// Mean time between two, in seconds; newer ones count for more.
    interval: f64,
}

impl Pace {
    /// The part that the newest interval has in the mean.
    const NEWEST: f64 = 0.05;

    fn note(&mut self, now: Instant) {
        let Some(last) = self.last.replace(now) else { return };
        let newest = now.saturating_duration_since(last).as_secs_f64();
        let is_first = self.interval == 0.0;
        let part = if is_first { 1.0 } else { Self::NEWEST };
        self.interval += part * (newest - self.interval);
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub want: Arc<Want>,
    pub cell: Arc<Cell>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Requests that the pool's candidates say nothing about.
    pub(super) fn has_homes(&self) -> bool {
        self.homes > 0
    }

    pub(super) fn push(&mut self, is_repeated: bool, want: Want) -> (Turn, Arc<Cell>) {
        self.last += 1;
        let turn = Turn { is_first_try: !is_repeated, number: self.last };
        let cell = Arc::new(Cell::default());
        self.homes += usize::from(!want.is_for_any());
        self.waiting.insert(turn, Entry { want: Arc::new(want), cell: Arc::clone(&cell) });
        (turn, cell)
    }

    /// The request can use other nodes than before. Its turn stays.
    pub(super) fn change(&mut self, turn: Turn, want: Want) {
        if let Some(entry) = self.waiting.get_mut(&turn)
            && *entry.want != want
        {
            self.homes += usize::from(!want.is_for_any());
            self.homes -= usize::from(!entry.want.is_for_any());
            entry.want = Arc::new(want);
        }
    }

    pub(super) fn remove(&mut self, turn: Turn) -> Option<Entry> {
        let entry = self.waiting.remove(&turn)?;
        self.homes -= usize::from(!entry.want.is_for_any());
        Some(entry)
    }

    /// The first one after this turn.
    pub(super) fn after(&self, turn: Option<Turn>) -> Option<(Turn, Arc<Want>)> {
        let from = turn.map_or(Unbounded, Excluded);
        self.waiting.range((from, Unbounded)).next().map(|(turn, entry)| (*turn, Arc::clone(&entry.want)))
    }

    /// A slot was handed over.
    pub(super) fn granted(&mut self, now: Instant) {
        self.pace.note(now);
    }

    /// Nobody waits: the time until the next one does says nothing.
    pub(super) fn rest(&mut self) {
        self.pace.last = None;
    }

    /// The time in which as many slots come back as there are requests that wait.
    pub(super) fn time(&self) -> Duration {
        let seconds = self.pace.interval * self.len() as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// All are to look again: what they can use may have changed. Returns those to be woken.
    pub(super) fn tell_all(&self) -> Vec<Waker> {
        self.waiting.values().filter_map(|entry| entry.cell.tell()).collect()
    }

    /// The request is to look again.
    pub(super) fn tell(&self, turn: Turn) -> Option<Waker> {
        self.waiting.get(&turn)?.cell.tell()
    }
}

/// Where a waiting request finds its slot.
#[derive(Debug, Default)]
pub(super) struct Cell(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    slot: Option<Slot>,
    has_news: bool,
    waker: Option<Waker>,
}

impl Cell {
    /// Hands the slot over. Returns whom to wake.
    pub(super) fn grant(&self, slot: Slot) -> Option<Waker> {
        let mut state = self.0.lock();
        state.slot = Some(slot);
        state.waker.take()
    }

    fn tell(&self) -> Option<Waker> {
        let mut state = self.0.lock();
        state.has_news = true;
        state.waker.take()
    }

    /// The slot, if it was granted. The news are old from now on.
    pub(super) fn take(&self) -> Option<Slot> {
        let mut state = self.0.lock();
        state.has_news = false;
        state.slot.take()
    }
}

/// Resolves when the request has a slot, or is to look again.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Changed(pub(super) Arc<Cell>);

impl Future for Changed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.0.lock();
        if state.slot.is_some() || state.has_news {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}
