//! What the regular rounds over all nodes bring about: time passes, questions are due.

use std::sync::Arc;
use std::time::Instant;

use super::super::event::{Change, Event};
use super::super::lease::Key;
use super::super::pool::{Question, QuestionKind};
use super::Table;

impl Table {
    pub fn tick(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        for place in self.restless.clone() {
            let Some(node) = &mut self.nodes[place] else { continue };
            let key = Key { place, serial: node.serial };
            let change = node.health.tick(&self.policy, now);
            events.extend(self.note(key, change, now));
        }
        events
    }

    pub fn questions(&mut self, now: Instant) -> Vec<Question> {
        let none_up = self.serving() == 0;
        let count = self.nodes.len().max(1);
        let mut questions = Vec::new();
        for (place, node) in self.nodes.iter_mut().enumerate() {
            let Some(node) = node.as_mut().filter(|n| !n.removed) else { continue };
            let Some(address) = node.resolved else { continue };
            let epoch = node.health.epoch();
            let mut put = |kind| {
                let key = Key { place, serial: node.serial };
                questions.push(Question { key, node: Arc::clone(&node.id), address, kind, epoch });
            };
            if node.health.ask(none_up, now) {
                put(QuestionKind::Back);
            }
            let phase = place as f64 / count as f64;
            if self.policy.check.as_ref().is_some_and(|check| node.health.checks().is_due(check, phase, now))
            {
                put(QuestionKind::Check);
            }
        }
        questions
    }

    /// See [`Health::checked`].
    pub fn checked(&mut self, key: Key, passed: bool, now: Instant) -> Option<Change> {
        let last_up = self.is_last_up(key);
        let policy = self.policy.clone();
        self.node(key)?.health.checked(passed, &policy, last_up, now)
    }
}
