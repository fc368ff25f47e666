//! The queue of a pool's waiting requests: the highest class first, within it the flow that has had the least service, and first
//! come, first served within that, among those that can use a slot.
//!
//! A lower class is sure of its share: while it waits, each slot that is granted adds the share to what is due to it, and once that
//! is a whole slot, the next goes to it before all others. It may then use what is reserved, too.
//!
//! A slot that comes back is handed over: it is taken for the request whose turn it is under the same lock under which it was
//! given back. So the count of a node does not dip, nobody who has just come can take the slot, and only the one who has it
//! is woken.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::alike::{Alike, Rank, Turn};
use super::cell::Cell;
use super::fair::{Change, Done, Fair};
use super::want::{CLASSES, Flow, Profile, Want};
use crate::config::{Class, Shares};

/// The most that is due to a class: it gathers no more while it can use none of the slots.
const DUE_MAX: f64 = 2.0;

/// The waiting requests: those that want the same in the order of their turns, so that a pass looks at one of each kind only.
#[derive(Debug)]
pub(super) struct Queue {
    kinds: HashMap<Arc<Want>, Alike>,
    wants: HashMap<Turn, (Arc<Want>, Option<Flow>)>,
    flows: Flows,
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

/// The flows of those that wait.
#[derive(Debug)]
enum Flows {
    /// All are of this one: nothing is counted.
    One(Option<Flow>),
    /// There are several, or were a moment ago.
    Several(Box<Fair>),
}

impl Flows {
    fn served(&self, flow: Option<Flow>, class: Class) -> Option<u64> {
        match self {
            Self::One(_) => None,
            Self::Several(fair) => Some(fair.served(flow, class)),
        }
    }

    fn head(&self, alike: &Alike, class: Class) -> Option<Rank> {
        match self {
            Self::One(flow) => alike.first(*flow, class),
            Self::Several(_) => alike.least(class),
        }
    }
}

/// A request that waits no more.
#[derive(Debug)]
pub(super) struct Taken {
    pub cell: Arc<Cell>,
    /// The first one of the same class that wants the same.
    pub next: Option<Rank>,
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
            flows: Flows::One(None),
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

    /// The number of those of each class that want the same.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&Want, [usize; CLASSES])> {
        self.kinds.values().map(|alike| (&*alike.want, alike.by_class()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wants.is_empty()
    }

    /// Those of this class and those above it that have not been sent before.
    fn first_tries(&self, class: Class) -> usize {
        self.first_tries[..=class.place()].iter().sum()
    }

    /// As many requests wait as may, of this class and those above it. One of a flow that has less than its equal part of the
    /// places finds one all the same, or others could keep it out; twice as many is the most.
    pub(super) fn is_full(&self, profile: Profile, places: usize) -> bool {
        let waiting = self.first_tries(profile.class);
        let has_part = || match &self.flows {
            Flows::One(only) => *only != profile.flow,
            Flows::Several(fair) => fair.has_place(profile.flow, profile.class, places),
        };
        waiting >= places && (waiting >= places.saturating_mul(2) || !has_part())
    }

    pub(super) fn push(&mut self, is_repeated: bool, want: Want, profile: Profile) -> (Turn, Arc<Cell>) {
        self.last += 1;
        let turn = Turn::new(profile.class, !is_repeated, self.last);
        let cell = Arc::new(Cell::of(profile));
        self.join(profile.flow, profile.class);
        self.waiting[turn.class().place()] += 1;
        self.first_tries[turn.class().place()] += usize::from(turn.is_first_try());
        self.put(turn, profile.flow, want, Arc::clone(&cell));
        (turn, cell)
    }

    fn put(&mut self, turn: Turn, flow: Option<Flow>, want: Want, cell: Arc<Cell>) {
        let served = self.flows.served(flow, turn.class());
        let alike = match self.kinds.get_mut(&want) {
            Some(known) => known,
            None => {
                let want = Arc::new(want);
                self.kinds.entry(Arc::clone(&want)).or_insert_with(|| Alike::of(want))
            }
        };
        self.wants.insert(turn, (Arc::clone(&alike.want), flow));
        alike.insert(turn, flow, cell, served);
    }

    /// The request can use other nodes than before. Its turn stays.
    pub(super) fn change(&mut self, turn: Turn, want: Want) {
        if self.wants.get(&turn).is_none_or(|(before, _)| **before == want) {
            return;
        }
        if let Some((Taken { cell, .. }, flow)) = self.take(turn) {
            self.put(turn, flow, want, cell);
        }
    }

    pub(super) fn remove(&mut self, turn: Turn) -> Option<Taken> {
        let (taken, flow) = self.take(turn)?;
        if let Flows::Several(fair) = &mut self.flows {
            fair.leave(flow, turn.class());
        }
        let class = turn.class().place();
        self.waiting[class] -= 1;
        self.first_tries[class] -= usize::from(turn.is_first_try());
        if self.waiting[class] == 0 {
            self.due[class] = 0.0;
        }
        Some(taken)
    }

    fn take(&mut self, turn: Turn) -> Option<(Taken, Option<Flow>)> {
        let (want, flow) = self.wants.remove(&turn)?;
        let served = self.flows.served(flow, turn.class());
        let alike = self.kinds.get_mut(&want)?;
        let cell = alike.remove(turn, flow, served)?;
        let next = self.flows.head(alike, turn.class());
        if alike.is_empty() {
            self.kinds.remove(&want);
        }
        Some((Taken { cell, next }, flow))
    }

    /// A request of this flow is to wait. Of a second one it makes the service count from now on.
    fn join(&mut self, flow: Option<Flow>, class: Class) {
        match &mut self.flows {
            Flows::One(only) if *only == flow => {}
            Flows::One(only) if self.wants.is_empty() => *only = flow,
            Flows::One(only) => {
                let mut fair = Fair::of(*only, self.waiting);
                fair.join(flow, class);
                self.kinds.values_mut().for_each(|alike| alike.begin_ranks(*only));
                self.flows = Flows::Several(Box::new(fair));
            }
            Flows::Several(fair) => fair.join(flow, class),
        }
    }

    /// Nothing is counted any more where no more than one flow is left.
    pub(super) fn forget_flows(&mut self) {
        if let Flows::Several(fair) = &self.flows
            && fair.is_over()
        {
            let only = self.wants.values().next().and_then(|(_, flow)| *flow);
            self.flows = Flows::One(only);
            self.kinds.values_mut().for_each(Alike::end_ranks);
        }
    }

    /// An attempt begins: its flow is charged, if others wait. Returns the tokens of its answer that are charged;
    /// `u32::MAX`: none are.
    pub(super) fn charge(&mut self, ticket: u64, profile: Profile) -> u32 {
        let Flows::Several(fair) = &mut self.flows else { return u32::MAX };
        if self.wants.is_empty() {
            return u32::MAX;
        }
        let (change, paid) = fair.begin(ticket, profile.flow, profile.class, profile.size);
        self.rank_again(&change);
        paid
    }

    /// The answer of an attempt has more tokens than are charged. Returns those charged, as above.
    pub(super) fn charge_more(&mut self, ticket: u64, answer: u32) -> u32 {
        let Flows::Several(fair) = &mut self.flows else { return u32::MAX };
        let Some((change, paid)) = fair.outgrows(ticket, answer) else { return u32::MAX };
        self.rank_again(&change);
        paid
    }

    /// An attempt has ended.
    pub(super) fn settle(&mut self, ticket: u64, done: impl FnOnce() -> Done) {
        let Flows::Several(fair) = &mut self.flows else { return };
        if let Some(change) = fair.end(ticket, done()) {
            self.rank_again(&change);
        }
    }

    fn rank_again(&mut self, change: &Change) {
        if change.before != change.after {
            self.kinds.values_mut().for_each(|alike| alike.rank_again(change));
        }
    }

    /// Flows of which something is remembered.
    #[cfg(test)]
    pub(super) fn flows(&self) -> usize {
        match &self.flows {
            Flows::One(_) => 0,
            Flows::Several(fair) => fair.flows(),
        }
    }

    /// The first request of each kind, by class, the one whose turn is last first.
    pub(super) fn heads(&self) -> [Vec<(Rank, Arc<Want>)>; CLASSES] {
        let mut heads = [const { Vec::new() }; CLASSES];
        for class in Class::ALL.into_iter().filter(|class| self.waiting[class.place()] > 0) {
            let firsts =
                self.kinds.iter().filter_map(|(want, alike)| Some((self.flows.head(alike, class)?, want)));
            let of_class = &mut heads[class.place()];
            of_class.extend(firsts.map(|(rank, want)| (rank, Arc::clone(want))));
            of_class.sort_unstable_by_key(|(rank, _)| Reverse(*rank));
        }
        heads
    }

    /// A request of this flow has a slot. Others of its class may now be before those of the same flow.
    pub(super) fn order_again(&self, heads: &mut [(Rank, Arc<Want>)], flow: Option<Flow>) {
        if matches!(self.flows, Flows::One(_)) {
            return;
        }
        for (rank, want) in heads.iter_mut().filter(|(rank, _)| rank.flow == flow) {
            *rank = self.next(want, rank.class()).unwrap_or(*rank);
        }
        heads.sort_unstable_by_key(|(rank, _)| Reverse(*rank));
    }

    /// The first one of this class that wants this.
    fn next(&self, want: &Want, class: Class) -> Option<Rank> {
        self.flows.head(self.kinds.get(want)?, class)
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

    /// The request with this rank, which wants this.
    pub(super) fn profile(&self, want: &Want, rank: &Rank) -> Profile {
        self.kinds.get(want).and_then(|alike| alike.get(rank)).map(|cell| cell.profile).unwrap_or_default()
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
        self.kinds.values().flat_map(Alike::cells).filter_map(|cell| cell.tell()).collect()
    }

    /// Those that want this are to look again.
    pub(super) fn tell(&self, want: &Want) -> Vec<Waker> {
        let alike = self.kinds.get(want).into_iter().flat_map(Alike::cells);
        alike.filter_map(|cell| cell.tell()).collect()
    }
}
