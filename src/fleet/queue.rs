//! The queue of a pool's waiting requests: first come, first served among those that can use a slot.
//!
//! A slot that comes back is handed over: it is taken for the request whose turn it is under the same lock under which it was
//! given back. So the count of a node does not dip, nobody who has just come can take the slot, and only the one who has it
//! is woken.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::key::Slot;
use super::want::{Profile, Want};

/// A request's place: a repeated one has waited before, and goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Turn {
    is_first_try: bool,
    number: u64,
}

/// The waiting requests: those that want the same in the order of their turns, so that a pass looks at one of each kind only.
#[derive(Debug, Default)]
pub(super) struct Queue {
    kinds: HashMap<Arc<Want>, BTreeMap<Turn, Arc<Cell>>>,
    wants: HashMap<Turn, Arc<Want>>,
    last: u64,
    /// Those that have not been sent before.
    first_tries: usize,
    /// Times that what they can use may have changed.
    news: u64,
    pace: Pace,
}

/// The pace at which slots come back while requests wait for them.
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

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.wants.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wants.is_empty()
    }

    pub(super) fn first_tries(&self) -> usize {
        self.first_tries
    }

    pub(super) fn push(&mut self, is_repeated: bool, want: Want, profile: Profile) -> (Turn, Arc<Cell>) {
        self.last += 1;
        let turn = Turn { is_first_try: !is_repeated, number: self.last };
        let cell = Arc::new(Cell { profile, ..Cell::default() });
        self.first_tries += usize::from(turn.is_first_try);
        self.put(turn, want, Arc::clone(&cell));
        (turn, cell)
    }

    fn put(&mut self, turn: Turn, want: Want, cell: Arc<Cell>) {
        let known = self.kinds.get_key_value(&want).map(|(known, _)| Arc::clone(known));
        let want = known.unwrap_or_else(|| Arc::new(want));
        self.kinds.entry(Arc::clone(&want)).or_default().insert(turn, cell);
        self.wants.insert(turn, want);
    }

    /// The request can use other nodes than before. Its turn stays.
    pub(super) fn change(&mut self, turn: Turn, want: Want) {
        if self.wants.get(&turn).is_none_or(|before| **before == want) {
            return;
        }
        if let Some(cell) = self.take(turn) {
            self.put(turn, want, cell);
        }
    }

    pub(super) fn remove(&mut self, turn: Turn) -> Option<Arc<Cell>> {
        let cell = self.take(turn)?;
        self.first_tries -= usize::from(turn.is_first_try);
        Some(cell)
    }

    fn take(&mut self, turn: Turn) -> Option<Arc<Cell>> {
        let want = self.wants.remove(&turn)?;
        let alike = self.kinds.get_mut(&want)?;
        let cell = alike.remove(&turn);
        if alike.is_empty() {
            self.kinds.remove(&want);
        }
        cell
    }

    /// The first request of each kind, the one whose turn is last first.
    pub(super) fn heads(&self) -> Vec<(Turn, Arc<Want>)> {
        let first = |(want, alike): (&Arc<Want>, &BTreeMap<Turn, _>)| {
            alike.first_key_value().map(|(turn, _)| (*turn, Arc::clone(want)))
        };
        let mut heads: Vec<_> = self.kinds.iter().filter_map(first).collect();
        heads.sort_unstable_by_key(|(turn, _)| Reverse(*turn));
        heads
    }

    /// The first one that wants this.
    pub(super) fn first(&self, want: &Want) -> Option<Turn> {
        self.kinds.get(want)?.first_key_value().map(|(turn, _)| *turn)
    }

    /// The request with this turn, which wants this.
    pub(super) fn profile(&self, want: &Want, turn: Turn) -> Profile {
        self.kinds.get(want).and_then(|alike| alike.get(&turn)).map(|cell| cell.profile).unwrap_or_default()
    }

    /// A number that changes with everything that may change what they can use.
    pub(super) fn news(&self) -> u64 {
        self.news
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
    pub(super) fn tell_all(&mut self) -> Vec<Waker> {
        self.news += 1;
        self.kinds.values().flat_map(BTreeMap::values).filter_map(|cell| cell.tell()).collect()
    }

    /// Those that want this are to look again.
    pub(super) fn tell(&self, want: &Want) -> Vec<Waker> {
        let alike = self.kinds.get(want).into_iter().flat_map(BTreeMap::values);
        alike.filter_map(|cell| cell.tell()).collect()
    }
}

/// The place in which a waiting request finds its slot.
#[derive(Debug, Default)]
pub(super) struct Cell {
    profile: Profile,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slot: Option<Slot>,
    has_news: bool,
    waker: Option<Waker>,
}

impl Cell {
    /// Hands the slot over. Returns whom to wake.
    pub(super) fn grant(&self, slot: Slot) -> Option<Waker> {
        let mut state = self.state.lock();
        state.slot = Some(slot);
        state.waker.take()
    }

    /// It is to look again.
    pub(super) fn tell(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        state.has_news = true;
        state.waker.take()
    }

    /// The slot, if it was granted. The news are old from now on.
    pub(super) fn take(&self) -> Option<Slot> {
        let mut state = self.state.lock();
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
        let mut state = self.0.state.lock();
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
