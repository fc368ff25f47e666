//! Slots for waiting requests: who gets one, and on which node.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::super::key::{Key, Refusal, Slot};
use super::super::queue::Turn;
use super::super::want::{Or, Want};
use super::Table;
use crate::balance::Tier;

/// Different wants that are remembered in one pass, so that requests which want the same are not all looked at.
const WANTS_MAX: usize = 8;

impl Table {
    /// Hands out the slots that there are to waiting requests, in their order. Returns those to be woken.
    pub(crate) fn grant(&mut self, now: Instant) -> Vec<Waker> {
        let mut woken = Vec::new();
        if self.queue.is_empty() {
            self.queue.rest();
            return woken;
        }
        let mut unmet: Vec<Arc<Want>> = Vec::new();
        let mut at = None;
        while let Some((turn, want)) = self.queue.after(at) {
            at = Some(turn);
            if !self.queue.has_homes() && !self.has_any_room(now) {
                break;
            }
            if unmet.contains(&want) {
                continue;
            }
            match self.take_for(&want, now) {
                Some(Ok(slot)) => {
                    self.queue.granted(now);
                    woken.extend(self.hand_over(turn, slot));
                }
                Some(Err(_)) if unmet.len() < WANTS_MAX => unmet.push(want),
                Some(Err(_)) => {}
                None => woken.extend(self.queue.tell(turn)),
            }
        }
        woken
    }

    fn hand_over(&mut self, turn: Turn, slot: Slot) -> Option<Waker> {
        self.queue.remove(turn)?.cell.grant(slot)
    }

    /// There is a node that a request which has tried none could use now.
    fn has_any_room(&mut self, now: Instant) -> bool {
        if self.retired {
            return false;
        }
        if !self.restless.is_empty() {
            self.refresh_restless(now);
        }
        self.candidates.has_room(Tier::BusyLastResort)
    }

    /// Takes a slot that the request can use. `None`: the one node that it needs is no longer in the pool.
    pub(crate) fn take_for(&mut self, want: &Want, now: Instant) -> Option<Result<Slot, Refusal>> {
        match want {
            Want::Home { key, in_line, is_last_chance } => self.take_on(*key, *in_line, *is_last_chance, now),
            Want::Any { avoid, or } => Some(self.take_any(avoid, or, now)),
        }
    }

    fn take_any(&mut self, avoid: &[Vec<Key>], or: &Or, now: Instant) -> Result<Slot, Refusal> {
        let mut refusal = Refusal::AllTried;
        for avoid in avoid {
            match self.choose(avoid, now) {
                Ok(place) => return Ok(self.take(place, now)),
                Err(why) => refusal = why,
            }
        }
        match or {
            Or::Nothing => Err(refusal),
            Or::InLine { failed, skipped, lines } => self.take_in_line(failed, skipped, lines, now),
            Or::Tried { tried, skipped, is_last_chance } => {
                let found = self.take_again(tried, skipped, now);
                match found {
                    Err(_) if *is_last_chance => {
                        let place = self.choose(skipped, now)?;
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
        now: Instant,
    ) -> Result<Slot, Refusal> {
        let mut choose_without = |tried: &[Key]| self.choose(&[tried, skipped].concat(), now);
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
