//! `weight: auto` in a pool: collects what the nodes have done, round by round, and updates their weights.

use std::time::{Duration, Instant};

use super::Table;
use crate::balance::learned::{Measured, learn};
use crate::config::Weight;

/// The shortest time between two rounds; calls in between do nothing.
const ROUND_MIN: Duration = Duration::from_millis(50);

impl Table {
    /// Updates the weights of nodes with `weight: auto` from their work since the last round.
    pub(crate) fn learn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.learned);
        if passed < ROUND_MIN {
            return;
        }
        self.learned = now;
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
