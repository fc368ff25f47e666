//! `weight: auto` and `max_in_flight: auto` in a pool: collects the work that the nodes have done, round by round, and updates
//! their weights and caps.

use std::time::{Duration, Instant};

use super::Table;
use crate::balance::learned::{Measured, learn};
use crate::config::Weight;

/// The shortest time between two rounds; calls in between do nothing.
const ROUND_MIN: Duration = Duration::from_millis(50);

impl Table {
    /// Updates weights and caps that are learned from the work of the nodes since the last round.
    pub(crate) fn learn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.learned);
        if passed < ROUND_MIN {
            return;
        }
        self.learned = now;
        self.learn_caps(passed, now);
        self.learn_weights(passed, now);
    }

    fn learn_caps(&mut self, passed: Duration, now: Instant) {
        for place in 0..self.nodes.len() {
            let Some(node) = self.nodes[place].as_mut().filter(|node| node.capped.is_some()) else {
                continue;
            };
            node.learn_cap(node.is_comparable(&self.policy, now), passed);
            self.refresh(place, now);
        }
    }

    fn learn_weights(&mut self, passed: Duration, now: Instant) {
        let in_flight: u32 = self.members().map(|(_, node)| node.in_flight).sum();
        let mut measured = Vec::new();
        for node in self.nodes.iter_mut().flatten().filter(|node| node.wanted == Weight::Auto) {
            // consumed in any case: work done during slow start says nothing about the speed after it
            let work = node.learned.catch_up(node.activity.done());
            if node.is_comparable(&self.policy, now) {
                measured.push(Measured { speed: &mut node.speed, work });
            }
        }
        let is_idle = measured.iter().all(|node| node.work.units <= 0.0);
        if measured.is_empty() || is_idle && in_flight == 0 {
            return;
        }
        learn(&mut measured, passed);
        for place in 0..self.nodes.len() {
            self.refresh(place, now);
        }
    }
}
