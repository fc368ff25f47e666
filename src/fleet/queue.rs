//! The queue of a pool's waiting requests: the highest class first, and first come, first served within it, among those that can
//! use a slot.
//!
//! A lower class is sure of its share: while it waits, each slot that is granted adds the share to what is due to it, and once that
//! is a whole slot, the next goes to it before all others. It may then use what is reserved, too.
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
use crate::config::{Class, Shares};

pub(super) const CLASSES: usize = Class::ALL.len();
/// The most that is due to a class: it gathers no more while it can use none of the slots.
const DUE_MAX: f64 = 2.0;

/// A request's place: by class, then those that have been sent before, then by number. In one word, because a long queue compares
/// many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Turn(u64);

impl Turn {
    const NUMBER_BITS: u32 = 60;

    fn new(class: Class, is_first_try: bool, number: u64) -> Self {
        let above = (class.place() as u64) << 1 | u64::from(is_first_try);
        Self(above << Self::NUMBER_BITS | number)
    }

    pub(super) fn class(self) -> Class {
        let place = usize::try_from(self.0 >> (Self::NUMBER_BITS + 1)).unwrap_or(0);
        Class::ALL.get(place).copied().unwrap_or_default()
    }

    fn is_first_try(self) -> bool {
        self.0 >> Self::NUMBER_BITS & 1 == 1
    }
}

/// The waiting requests: those that want the same in the order of their turns, so that a pass looks at one of each kind only.
#[derive(Debug)]
pub(super) struct Queue {
    kinds: HashMap<Arc<Want>, BTreeMap<Turn, Arc<Cell>>>,
    wants: HashMap<Turn, Arc<Want>>,
    last: u64,
    /// Those of each class.
    waiting: [usize; CLASSES],
    /// Those of them that have not been sent before.
    first_tries: [usize; CLASSES],
    /// The parts of the grants that the lower classes are sure of.
    pub shares: Shares,
    /// Grants that are due to each class: below 2.
    due: [f64; CLASSES],
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
    pub(super) fn new(shares: Shares) -> Self {
        Self {
            kinds: HashMap::new(),
            wants: HashMap::new(),
            last: 0,
            waiting: [0; CLASSES],
            first_tries: [0; CLASSES],
            shares,
            due: [0.0; CLASSES],
            news: 0,
            pace: Pace::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.wants.len()
    }

    pub(super) fn by_class(&self) -> [usize; CLASSES] {
        self.waiting
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wants.is_empty()
    }

    /// Those of this class and those above it that have not been sent before.
    pub(super) fn first_tries(&self, class: Class) -> usize {
        self.first_tries[..=class.place()].iter().sum()
    }

    pub(super) fn push(&mut self, is_repeated: bool, want: Want, profile: Profile) -> (Turn, Arc<Cell>) {
        self.last += 1;
        let turn = Turn::new(profile.class, !is_repeated, self.last);
        let cell = Arc::new(Cell { profile, ..Cell::default() });
        self.waiting[turn.class().place()] += 1;
        self.first_tries[turn.class().place()] += usize::from(turn.is_first_try());
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
        let class = turn.class().place();
        self.waiting[class] -= 1;
        self.first_tries[class] -= usize::from(turn.is_first_try());
        if self.waiting[class] == 0 {
            self.due[class] = 0.0;
        }
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

    /// The first request of each kind, by class, the one whose turn is last first.
    pub(super) fn heads(&self) -> [Vec<(Turn, Arc<Want>)>; CLASSES] {
        let mut heads = [const { Vec::new() }; CLASSES];
        for class in Class::ALL.into_iter().filter(|class| self.waiting[class.place()] > 0) {
            let firsts = self.kinds.iter().filter_map(|(want, alike)| Some((first(alike, class)?, want)));
            let of_class = &mut heads[class.place()];
            of_class.extend(firsts.map(|(turn, want)| (turn, Arc::clone(want))));
            of_class.sort_unstable_by_key(|(turn, _)| Reverse(*turn));
        }
        heads
    }

    /// The first one of the same class that wants this.
    pub(super) fn next(&self, want: &Want, turn: Turn) -> Option<Turn> {
        first(self.kinds.get(want)?, turn.class())
    }

    /// The class whose share is due: the next slot is its own, if it can use that.
    pub(super) fn due(&self) -> Option<Class> {
        if self.is_empty() {
            return None;
        }
        // a sum of tenths is a little less than 1
        const WHOLE: f64 = 1.0 - 1e-9;
        let due = |class: &Class| self.due[class.place()];
        let most = Class::ALL.into_iter().max_by(|one, other| due(one).total_cmp(&due(other)));
        most.filter(|class| due(class) >= WHOLE)
    }

    /// A request of this class has a slot; it waits still, if it does.
    pub(super) fn passed(&mut self, class: Class) {
        if self.is_empty() {
            return;
        }
        for (lower, share) in [(Class::Normal, self.shares.normal), (Class::Batch, self.shares.batch)] {
            let (is_it, place) = (lower == class, lower.place());
            if self.waiting[place] > 0 {
                let due = self.due[place] + share - f64::from(is_it);
                self.due[place] = due.clamp(0.0, DUE_MAX);
            }
        }
    }

    /// The request with this turn, which wants this.
    pub(super) fn profile(&self, want: &Want, turn: Turn) -> Profile {
        self.kinds.get(want).and_then(|alike| alike.get(&turn)).map(|cell| cell.profile).unwrap_or_default()
    }

    /// A number that changes with everything that may change what they can use.
    pub(super) fn news(&self) -> u64 {
        self.news
    }

    /// A slot is handed over.
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

/// The first request of a class among those that want the same.
fn first(alike: &BTreeMap<Turn, Arc<Cell>>, class: Class) -> Option<Turn> {
    let least = Turn::new(class, false, 0);
    alike.range(least..).next().map(|(turn, _)| *turn).filter(|turn| turn.class() == class)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn turns_are_in_the_order_of_their_parts(
            one in (0..CLASSES, any::<bool>(), 0..1_u64 << Turn::NUMBER_BITS),
            other in (0..CLASSES, any::<bool>(), 0..1_u64 << Turn::NUMBER_BITS),
        ) {
            let turn = |(class, is_first_try, number)| Turn::new(Class::ALL[class], is_first_try, number);
            prop_assert_eq!(turn(one).cmp(&turn(other)), one.cmp(&other));
            prop_assert_eq!((turn(one).class(), turn(one).is_first_try()), (Class::ALL[one.0], one.1));
        }
    }
}
