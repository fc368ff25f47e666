//! The way of a request to another pool, where it would have to wait in its own.

use std::time::Instant;

use super::conversation::Home;
use super::overflow::Overflow;
use super::state::Journey;
use crate::fleet::{Lease, Member};
use crate::retry::Repeat;

impl<H> Journey<H> {
    /// The request goes to this pool if it would have to wait in its own. Call it before the first search.
    pub fn may_spill_to(&mut self, to: Option<(Member, Repeat)>) {
        self.spill = to.map(|(member, repeat)| Box::new(Overflow::To(member, repeat)));
    }

    /// It is in another pool than its own.
    pub fn has_spilled(&self) -> bool {
        matches!(self.spill.as_deref(), Some(Overflow::Done))
    }

    /// A node of the other pool, if nothing of its own is up but the last resort.
    pub(super) fn spill_from_ruins(&mut self, now: Instant) -> Option<Lease> {
        let is_gone = matches!(self.spill.as_deref(), Some(Overflow::To(..))) && !self.member.pool.is_up(now);
        if is_gone { self.spill(now) } else { None }
    }

    /// A node of the other pool, if that has one at once. What a stored response or a begun stream binds stays.
    pub(super) fn spill(&mut self, now: Instant) -> Option<Lease> {
        let Some(Overflow::To(to, repeat)) = self.spill.as_deref() else { return None };
        if self.has_begun() || self.conversation.named.is_some() || !matches!(self.home, Home::Anywhere) {
            return None;
        }
        let (pool, repeat) = (&to.pool, *repeat);
        if !pool.is_up(now) {
            return None;
        }
        let subject = self.subject.as_ref().filter(|_| pool.has_skips());
        let skipped = subject.map(|subject| pool.skipped(subject, now)).unwrap_or_default();
        let lease = pool.lease_by(self.profile, &skipped.nodes, now).ok()?;
        let member = to.clone();
        self.member.pool.count_spill();
        self.reroute(member, repeat);
        self.spill = Some(Box::new(Overflow::Done));
        Some(lease)
    }
}
