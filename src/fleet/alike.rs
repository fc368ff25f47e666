//! The waiting requests that want the same, in the order in which they are served.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cell::Cell;
use super::fair::Change;
use super::want::{CLASSES, Flow, Want};
use crate::config::Class;

/// A request's place: by class, then those that have been sent before, then by number. In one word, because a long queue compares
/// many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Turn(u64);

impl Turn {
    const NUMBER_BITS: u32 = 60;

    pub(super) fn new(class: Class, is_first_try: bool, number: u64) -> Self {
        let above = (class.place() as u64) << 1 | u64::from(is_first_try);
        Self(above << Self::NUMBER_BITS | number)
    }

    pub(super) fn class(self) -> Class {
        let place = usize::try_from(self.0 >> (Self::NUMBER_BITS + 1)).unwrap_or(0);
        Class::ALL.get(place).copied().unwrap_or_default()
    }

    pub(super) fn is_first_try(self) -> bool {
        self.0 >> Self::NUMBER_BITS & 1 == 1
    }

    /// The first one that there can be with the class and the tries of this.
    fn band(self) -> Self {
        Self::new(self.class(), self.is_first_try(), 0)
    }
}

/// The place of the first request of a flow among those of others: by class, then those that have been sent before, then by the
/// service that its flow has had, then by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    band: Turn,
    /// 0 where there is one flow only.
    served: u64,
    pub turn: Turn,
    pub flow: Option<Flow>,
}

impl Rank {
    fn new(turn: Turn, flow: Option<Flow>, served: u64) -> Self {
        Self { band: turn.band(), served, turn, flow }
    }

    /// Before all of this class.
    fn least(class: Class) -> Self {
        Self::new(Turn::new(class, false, 0), None, 0)
    }

    pub(super) fn class(&self) -> Class {
        self.turn.class()
    }
}

/// Each flow's in the order of their turns, so that a pass looks at one of them only.
#[derive(Debug)]
pub(super) struct Alike {
    pub want: Arc<Want>,
    lines: BTreeMap<Option<Flow>, Line>,
    /// The first request of each flow, class and tries; empty where all that wait are of one flow.
    ranks: BTreeSet<Rank>,
}

/// Those of one flow.
type Line = BTreeMap<Turn, Arc<Cell>>;

impl Alike {
    pub(super) fn of(want: Arc<Want>) -> Self {
        Self { want, lines: BTreeMap::new(), ranks: BTreeSet::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn get(&self, rank: &Rank) -> Option<&Arc<Cell>> {
        self.lines.get(&rank.flow)?.get(&rank.turn)
    }

    pub(super) fn by_class(&self) -> [usize; CLASSES] {
        let mut count = [0; CLASSES];
        let turns = self.lines.values().flat_map(BTreeMap::keys);
        turns.for_each(|turn| count[turn.class().place()] += 1);
        count
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = &Arc<Cell>> {
        self.lines.values().flat_map(BTreeMap::values)
    }

    /// `served`: by its flow, if there are several.
    pub(super) fn insert(&mut self, turn: Turn, flow: Option<Flow>, cell: Arc<Cell>, served: Option<u64>) {
        let line = self.lines.entry(flow).or_default();
        let is_before = |first: Option<Turn>| first.is_none_or(|first| turn < first);
        if let Some(served) = served
            && let first = first_in(line, turn.band())
            && is_before(first)
        {
            first.iter().for_each(|first| _ = self.ranks.remove(&Rank::new(*first, flow, served)));
            self.ranks.insert(Rank::new(turn, flow, served));
        }
        line.insert(turn, cell);
    }

    pub(super) fn remove(
        &mut self,
        turn: Turn,
        flow: Option<Flow>,
        served: Option<u64>,
    ) -> Option<Arc<Cell>> {
        let line = self.lines.get_mut(&flow)?;
        let cell = line.remove(&turn)?;
        if let Some(served) = served
            && self.ranks.remove(&Rank::new(turn, flow, served))
        {
            self.ranks.extend(first_in(line, turn.band()).map(|turn| Rank::new(turn, flow, served)));
        }
        if line.is_empty() {
            self.lines.remove(&flow);
        }
        Some(cell)
    }

    /// All are of this flow: its first request of a class.
    pub(super) fn first(&self, flow: Option<Flow>, class: Class) -> Option<Rank> {
        let (turn, _) = self.lines.get(&flow)?.range(Turn::new(class, false, 0)..).next()?;
        (turn.class() == class).then(|| Rank::new(*turn, flow, 0))
    }

    /// The first request of a class, of the flow that has had least.
    pub(super) fn least(&self, class: Class) -> Option<Rank> {
        self.ranks.range(Rank::least(class)..).next().filter(|rank| rank.class() == class).copied()
    }

    /// A second flow has come, or will: those that are here are of this one, and have had nothing.
    pub(super) fn begin_ranks(&mut self, flow: Option<Flow>) {
        let Some(line) = self.lines.get(&flow) else { return };
        for class in Class::ALL {
            let firsts = [false, true].map(|tries| first_in(line, Turn::new(class, tries, 0)));
            self.ranks.extend(firsts.into_iter().flatten().map(|turn| Rank::new(turn, flow, 0)));
        }
    }

    pub(super) fn end_ranks(&mut self) {
        self.ranks.clear();
    }

    /// The service of a flow has changed.
    pub(super) fn rank_again(&mut self, change: &Change) {
        let Some(line) = self.lines.get(&change.flow) else { return };
        let firsts = [false, true].map(|tries| first_in(line, Turn::new(change.class, tries, 0)));
        for turn in firsts.into_iter().flatten() {
            self.ranks.remove(&Rank::new(turn, change.flow, change.before));
            self.ranks.insert(Rank::new(turn, change.flow, change.after));
        }
    }
}

/// The first one with this class and tries.
fn first_in(line: &Line, band: Turn) -> Option<Turn> {
    line.range(band..).next().map(|(turn, _)| *turn).filter(|turn| turn.band() == band)
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
