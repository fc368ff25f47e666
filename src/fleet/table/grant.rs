//! Slots for waiting requests: who gets one, and on which node.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::super::alike::Rank;
use super::super::key::{Key, Refusal, Slot};
use super::super::views::Reach;
use super::super::want::{CLASSES, Or, Profile, Want};
use super::Table;

/// A waiting request that may be the next to get a slot.
struct Head {
    rank: Rank,
    want: Arc<Want>,
    is_due: bool,
}

struct Room {
    open: bool,
    whole: bool,
}

impl Room {
    fn has(&self, reach: Reach) -> bool {
        match reach {
            Reach::Open => self.open,
            Reach::Whole => self.whole,
        }
    }
}

impl Table {
    /// Hands out the slots that there are to waiting requests, in their order, but first to a class whose share is due. Returns
    /// those to be woken. The cost depends on the kinds of what they want, and not on their number.
    pub(crate) fn grant(&mut self, now: Instant) -> Vec<Waker> {
        let mut woken = Vec::new();
        if self.queue.is_empty() {
            self.queue.rest();
            return woken;
        }
        self.queue.forget_flows();
        let mut heads = self.queue.heads();
        let mut room = self.room(now);
        while let Some(Head { rank, want, is_due }) = self.next_head(&mut heads) {
            let profile = Profile { is_due, ..self.queue.profile(&want, &rank) };
            if !room.has(Reach::of(profile)) && want.is_for_any() {
                continue;
            }
            match self.take_for(&want, profile, now) {
                Some(Ok(slot)) => {
                    self.queue.granted(now);
                    let taken = self.queue.remove(rank.turn);
                    woken.extend(taken.as_ref().and_then(|taken| taken.cell.grant(slot)));
                    room = self.room(now);
                    let of_class = &mut heads[rank.class().place()];
                    self.queue.order_again(of_class, rank.flow);
                    if let Some(next) = taken.and_then(|taken| taken.next) {
                        let place = of_class.partition_point(|(other, _)| *other > next);
                        of_class.insert(place, (next, want));
                    }
                }
                Some(Err(_)) => {}
                None => woken.extend(self.queue.tell(&want)),
            }
        }
        woken
    }

    /// The request whose turn is next: the first of a class whose share is due, else the first of all. `heads`: the first of each
    /// kind, by class, the one whose turn is last first.
    fn next_head(&self, heads: &mut [Vec<(Rank, Arc<Want>)>; CLASSES]) -> Option<Head> {
        let due = self.queue.due().and_then(|class| heads[class.place()].pop());
        let is_due = due.is_some();
        let (rank, want) = due.or_else(|| heads.iter_mut().find_map(Vec::pop))?;
        Some(Head { rank, want, is_due })
    }

    /// The room that a request which has tried no node would find now.
    fn room(&mut self, now: Instant) -> Room {
        self.refresh_restless(now);
        let last = self.widest_tier();
        let has = |reach| !self.retired && self.candidates.has_room(reach, last);
        Room { open: has(Reach::Open), whole: has(Reach::Whole) }
    }

    /// Takes a slot that the request can use. `None`: the one node that it needs is no longer in the pool.
    pub(crate) fn take_for(
        &mut self,
        want: &Want,
        profile: Profile,
        now: Instant,
    ) -> Option<Result<Slot, Refusal>> {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        match want {
            Want::Home { key, in_line, is_last_chance } => {
                self.take_on(*key, *in_line, *is_last_chance, profile, now)
            }
            Want::Any { avoid, or } => Some(self.take_any(avoid, or, profile, now)),
        }
    }

    fn take_any(
        &mut self,
        avoid: &[Vec<Key>],
        or: &Or,
        profile: Profile,
        now: Instant,
    ) -> Result<Slot, Refusal> {
        let mut refusal = Refusal::AllTried;
        for avoid in avoid {
            match self.choose(avoid, profile, now) {
                Ok(chosen) => return Ok(self.take(chosen, profile, now)),
                Err(why) => refusal = why,
            }
        }
        match or {
            Or::Nothing => Err(refusal),
            Or::InLine { failed, skipped, lines } => self.take_in_line(failed, skipped, lines, profile, now),
            Or::Tried { tried, skipped, is_last_chance } => {
                let found = self.take_again(tried, skipped, profile, now);
                match found {
                    Err(_) if *is_last_chance => {
                        let chosen = self.choose(skipped, profile, now)?;
                        Ok(self.take(chosen, profile, now))
                    }
                    found => found,
                }
            }
        }
    }

    /// Prefers a node that the request has not tried. Failing that, of the nodes with room it takes the one tried longest ago,
    /// because a node that failed the request is better than none. `tried` is in the order of the last tries.
    pub(crate) fn take_again(
        &mut self,
        tried: &[Key],
        skipped: &[Key],
        profile: Profile,
        now: Instant,
    ) -> Result<Slot, Refusal> {
        let mut choose_without = |tried: &[Key]| self.choose(&[tried, skipped].concat(), profile, now);
        let chosen = match choose_without(tried) {
            Err(Refusal::AllTried) => {
                let mut from_oldest = (1..tried.len()).map(|from| choose_without(&tried[from..]));
                match from_oldest.find_map(Result::ok) {
                    Some(chosen) => chosen,
                    None => choose_without(&[])?,
                }
            }
            found => found?,
        };
        Ok(self.take(chosen, profile, now))
    }
}
