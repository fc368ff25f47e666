//! What nodes have told requests: "full", so that others wait in line, or "not this model", so that others skip it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::event::{Change, Event};
use super::super::key::{Key, Refusal, Slot};
use super::super::line::Line;
use super::super::node::Node;
use super::super::skips::Subject;
use super::super::views::Reach;
use super::super::want::Profile;
use super::Table;
use crate::balance::Tier;

impl Table {
    /// The node said it is full, and perhaps for how long.
    pub(crate) fn busy(&mut self, key: Key, retry_after: Option<Duration>, now: Instant) {
        let last_ticket = self.last_ticket;
        let Some(node) = self.node(key) else { return };
        node.health.busy(retry_after, now);
        node.line = Some(Line::new(last_ticket, retry_after, now));
    }

    /// The node has answered an attempt: one in its line may now ask it.
    pub(crate) fn has_answered(&mut self, key: Key, ticket: u64) {
        if let Some(line) = self.node(key).and_then(|node| node.line.as_mut()) {
            line.answered(ticket);
        }
    }

    /// Chooses a node for a request that waits in the lines of `lines`, and takes a slot on it. A node that failed it is
    /// asked if it is to be probed: it is another one by then, and may otherwise wait long for a request.
    pub(crate) fn take_in_line(
        &mut self,
        failed: &[Key],
        skipped: &[Key],
        lines: &[Key],
        profile: Profile,
        now: Instant,
    ) -> Result<Slot, Refusal> {
        let mut avoid = skipped.to_vec();
        avoid.extend(failed.iter().filter(|key| !self.is_to_be_probed(**key, now)));
        avoid.extend(lines.iter().filter(|key| self.opens(**key, now).is_some()));
        let chosen = self.choose(&avoid, profile, now)?;
        let slot = self.take(chosen, profile, now);
        if let Some(node) = self.node(slot.key).filter(|_| lines.contains(&slot.key)) {
            node.line = node.line.and_then(|line| line.ask(now));
        }
        Ok(slot)
    }

    fn is_to_be_probed(&mut self, key: Key, now: Instant) -> bool {
        self.node(key).is_some_and(|node| node.is_to_be_probed(now))
    }

    fn opens(&mut self, key: Key, now: Instant) -> Option<Instant> {
        self.node(key)?.line?.opens(now)
    }

    /// The earliest time at which one of these lines opens by itself.
    pub(crate) fn line_opens(&mut self, lines: &[Key], now: Instant) -> Option<Instant> {
        lines.iter().filter_map(|key| self.opens(*key, now)).min()
    }

    /// A node that a request has not tried could be leased now.
    pub(crate) fn has_room(&mut self, tried: &[Key], profile: Profile, now: Instant) -> bool {
        let limit = |node: &Node| self.candidates.limit(Reach::of(profile), node.cap(&self.policy, now));
        let skip = self.places(tried);
        let last = self.last_tier(&skip, now).min(Tier::BusyBackup);
        let mut usable = self.members().filter(|(_, node)| node.is_usable(last, now));
        usable.any(|(key, node)| node.in_flight < limit(node) && !tried.contains(&key))
    }

    /// A node that is not among these is there or may come back. A retired pool's successor may have any.
    pub(crate) fn has_others(&self, than: &[Key]) -> bool {
        let is_other = |(key, node): (Key, &Node)| !node.drains() && !than.contains(&key);
        self.retired || self.members().any(is_other)
    }

    pub(crate) fn confirm(
        &mut self,
        key: Key,
        subject: &Subject,
        status: u16,
        now: Instant,
    ) -> Option<Event> {
        self.node(key)?;
        let time = self.policy.fail_timeout;
        let is_news = self.skips.confirm(key, subject, status, time, now);
        let change = Change::Skipped { model: Arc::clone(&subject.model), status, time };
        is_news.then(|| self.note(key, Some(change), now)).flatten()
    }
}
