//! Slots for waiting requests: who gets one, and on which node.

use std::task::Waker;
use std::time::Instant;

use super::super::key::{Key, Refusal, Slot};
use super::super::want::{Or, Want};
use super::Table;

impl Table {
    /// Hands out the slots that there are to waiting requests, in their order. Returns those to be woken. The cost depends on
    /// the kinds of what they want, and not on their number.
    pub(crate) fn grant(&mut self, now: Instant) -> Vec<Waker> {
        let mut woken = Vec::new();
        if self.queue.is_empty() {
            self.queue.rest();
            return woken;
        }
        let mut heads = self.queue.heads();
        let mut has_room = self.has_any_room(now);
        while let Some((turn, want)) = heads.pop() {
            if !has_room && want.is_for_any() {
                continue;
            }
            let affinity = self.queue.affinity(&want, turn);
            match self.take_for(&want, affinity, now) {
                Some(Ok(slot)) => {
                    self.queue.granted(now);
                    woken.extend(self.queue.remove(turn).and_then(|cell| cell.grant(slot)));
                    has_room = self.has_any_room(now);
                    if let Some(next) = self.queue.first(&want) {
                        let place = heads.partition_point(|(other, _)| *other > next);
                        heads.insert(place, (next, want));
                    }
                }
                Some(Err(_)) => {}
                None => woken.extend(self.queue.tell(&want)),
            }
        }
        woken
    }

    /// There is a node that a request which has tried none could use now.
    fn has_any_room(&mut self, now: Instant) -> bool {
        self.refresh_restless(now);
        let last = self.widest_tier();
        !self.retired && self.candidates.has_room(last)
    }

    /// Takes a slot that the request can use. `None`: the one node that it needs is no longer in the pool.
    pub(crate) fn take_for(
        &mut self,
        want: &Want,
        affinity: Option<u64>,
        now: Instant,
    ) -> Option<Result<Slot, Refusal>> {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        match want {
            Want::Home { key, in_line, is_last_chance } => self.take_on(*key, *in_line, *is_last_chance, now),
            Want::Any { avoid, or } => Some(self.take_any(avoid, or, affinity, now)),
        }
    }

    fn take_any(
        &mut self,
        avoid: &[Vec<Key>],
        or: &Or,
        affinity: Option<u64>,
        now: Instant,
    ) -> Result<Slot, Refusal> {
        let mut refusal = Refusal::AllTried;
        for avoid in avoid {
            match self.choose(avoid, affinity, now) {
                Ok(place) => return Ok(self.take(place, now)),
                Err(why) => refusal = why,
            }
        }
        match or {
            Or::Nothing => Err(refusal),
            Or::InLine { failed, skipped, lines } => self.take_in_line(failed, skipped, lines, affinity, now),
            Or::Tried { tried, skipped, is_last_chance } => {
                let found = self.take_again(tried, skipped, affinity, now);
                match found {
                    Err(_) if *is_last_chance => {
                        let place = self.choose(skipped, affinity, now)?;
                        Ok(self.take(place, now))
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
        affinity: Option<u64>,
        now: Instant,
    ) -> Result<Slot, Refusal> {
        let mut choose_without = |tried: &[Key]| self.choose(&[tried, skipped].concat(), affinity, now);
        let place = match choose_without(tried) {
            Err(Refusal::AllTried) => {
                let mut from_oldest = (1..tried.len()).map(|from| choose_without(&tried[from..]));
                match from_oldest.find_map(Result::ok) {
                    Some(place) => place,
                    None => choose_without(&[])?,
                }
            }
            found => found?,
        };
        Ok(self.take(place, now))
    }
}
