//! The way of a request to another pool, where it would have to wait in its own.

use std::time::Instant;

use super::conversation::Home;
use super::overflow::{Other, Overflow};
use super::state::Journey;
use crate::balance::By;
use crate::fleet::Lease;

impl<H> Journey<H> {
    /// The request goes to this pool if it would have to wait in its own. Call it before the first search.
    pub fn may_spill_to(&mut self, to: Option<Other>) {
        self.spill = to.map(|to| Box::new(Overflow::To(to)));
    }

    /// The reason for which it is in another pool than its own, if it is.
    pub fn spilled(&self) -> Option<By> {
        match self.spill.as_deref()? {
            Overflow::To(_) => None,
            Overflow::Done(why) => Some(*why),
        }
    }

    /// A node of the other pool, if nothing of its own is up but the last resort.
    pub(super) fn spill_from_ruins(&mut self, now: Instant) -> Option<Lease> {
        let is_gone = matches!(self.spill.as_deref(), Some(Overflow::To(_))) && !self.member.pool.is_up(now);
        if is_gone { self.spill(false, now) } else { None }
    }

    /// A node of the other pool, if that has one at once. `is_full`: in its own it waits for a slot. What a stored response or a
    /// begun stream binds stays.
    pub(super) fn spill(&mut self, is_full: bool, now: Instant) -> Option<Lease> {
        let Some(Overflow::To(Other { member, repeat, why, profile })) = self.spill.as_deref() else {
            return None;
        };
        if self.has_begun() || self.conversation.named.is_some() || !matches!(self.home, Home::Anywhere) {
            return None;
        }
        let (pool, repeat, why) = (&member.pool, *repeat, *why);
        let profile = profile.unwrap_or(self.profile);
        if is_full && why == By::Split || !pool.is_up(now) {
            return None;
        }
        let subject = self.subject.as_ref().filter(|_| pool.has_skips());
        let skipped = subject.map(|subject| pool.skipped(subject, now)).unwrap_or_default();
        let lease = pool.lease_by(profile, &skipped.nodes, now).ok()?;
        let member = member.clone();
        if why == By::Spill {
            self.member.pool.count_spill();
        }
        self.reroute(member, repeat);
        self.profile = profile;
        self.spill = Some(Box::new(Overflow::Done(why)));
        Some(lease)
    }
}
