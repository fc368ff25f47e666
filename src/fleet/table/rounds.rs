//! Regular rounds over all nodes: what time alone changes, stalled nodes, and the questions that are due.

use std::sync::Arc;
use std::time::Instant;

use super::super::checks::{CheckAnswer, Checked};
use super::super::event::{Change, Event};
use super::super::key::{Key, ListQuestion, Question, QuestionKind, Slot};
use super::super::node::Node;
use super::Table;
use crate::config::Check;

impl Table {
    /// Returns the events of this round.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Event> {
        self.now = self.now.max(now);
        let mut events = self.find_stalled(now);
        for node in self.nodes.iter_mut().flatten() {
            node.show_events(&self.policy, now);
            node.recent.note_tokens(node.activity.tokens(), now);
        }
        for place in self.restless.clone() {
            let Some(node) = &mut self.nodes[place] else { continue };
            let key = Key { place, serial: node.serial };
            let change = node.health.tick(&self.policy, now);
            events.extend(self.note(key, change, now));
        }
        self.learn(now);
        self.weigh();
        events
    }

    /// Counts an attempt's silence again, unless it has been given up.
    pub(crate) fn resume_stall(&mut self, slot: &Slot, now: Instant) {
        let has_limit = self.stall.is_some() && !slot.activity.is_given_up(slot.ticket);
        if let Some(node) = self.node(slot.key).filter(|_| has_limit) {
            node.at_work.insert(slot.ticket, now);
        }
    }

    /// Finds nodes that have had requests for `timeouts.stall` without a sign of life, while another node
    /// that is up has shown one. A passing `/health` check does not matter. If all nodes are silent, none is
    /// singled out; and the last node that is up has nothing to be compared with. In any state of the node,
    /// attempts that have waited there that long are given up and go elsewhere.
    fn find_stalled(&mut self, now: Instant) -> Vec<Event> {
        let Some(stall) = self.stall else { return Vec::new() };
        let is_recent = |at: Instant| now.saturating_duration_since(at) < stall;
        // the node that is heard cannot be a silent one
        if !self.members().any(|(_, node)| node.serves() && node.activity.last().is_some_and(is_recent)) {
            return Vec::new();
        }
        let is_silent = |since: Option<Instant>| since.is_some_and(|since| !is_recent(since));
        let silent = self.members().filter(|(_, node)| is_silent(node.silent_since(0)));
        let silent: Vec<_> = silent.map(|(key, _)| key).collect();
        let (policy, last_ticket) = (self.policy.clone(), self.last_ticket);
        let mut events = Vec::new();
        for key in silent {
            let Some(node) = self.node(key) else { continue };
            let mut change = None;
            let mut given_up = node.last_before;
            if is_silent(node.silent_since(node.last_before)) {
                change = node.health.stalled(&policy, now);
                given_up = last_ticket;
            }
            node.at_work = node.at_work.split_off(&(given_up + 1));
            node.activity.give_up(given_up);
            events.extend(self.note(key, change, now));
        }
        events
    }

    pub(crate) fn questions(&mut self, now: Instant) -> Vec<Question> {
        let none_up = self.serving() == 0;
        let count = self.nodes.len().max(1);
        let mut questions = Vec::new();
        for (place, node) in self.nodes.iter_mut().enumerate() {
            let Some(node) = node.as_mut().filter(|n| !n.removed) else { continue };
            let Some(address) = node.resolved else { continue };
            let (key, id) = (Key { place, serial: node.serial }, &node.id);
            let (epoch, has_work) = (node.health.epoch(), node.in_flight > 0);
            let mut put = |kind| {
                let node = Arc::clone(id);
                questions.push(Question { key, node, address, kind, has_work, epoch, sent: now });
            };
            if node.health.ask(none_up, now) {
                put(QuestionKind::Back);
            }
            let (phase, random) = (place as f64 / count as f64, self.random.f64());
            let is_due = |check: &Check| node.health.checks().is_due(check, phase, random, now);
            if self.policy.check.as_ref().is_some_and(is_due) {
                put(QuestionKind::Check);
            }
        }
        questions
    }

    /// The nodes that the config has and that can be asked.
    pub(crate) fn list_questions(&self) -> Vec<ListQuestion> {
        let question = |(key, node): (Key, &Node)| {
            let address = node.resolved.filter(|_| !node.removed)?;
            Some(ListQuestion { key, node: Arc::clone(&node.id), address })
        };
        self.members().filter_map(question).collect()
    }

    /// See [`super::super::health::Health::checked`]. What waits without an answer at a node that is out and lost goes
    /// elsewhere, as long as there is a node to go to.
    pub(crate) fn checked(
        &mut self,
        key: Key,
        answer: CheckAnswer,
        sent: Instant,
        now: Instant,
    ) -> Option<Change> {
        let last_up = self.is_last_up(key);
        let (policy, last_ticket) = (self.policy.clone(), self.last_ticket);
        let node = self.node(key)?;
        let checked = Checked { answer, sent, alive: node.activity.last() };
        let change = node.health.checked(checked, &policy, last_up, now);
        if !last_up && node.health.is_lost(&policy) {
            node.activity.lose(last_ticket);
        }
        change
    }

    pub(crate) fn is_lost(&mut self, key: Key) -> bool {
        let policy = self.policy.clone();
        self.node(key).is_some_and(|node| node.health.is_lost(&policy))
    }
}
