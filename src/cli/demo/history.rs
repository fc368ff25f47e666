//! The history behind the demo's curves: each node's requests in flight, second by second.

use std::collections::VecDeque;
use std::time::Duration;

use super::picture::{Mood, Row};

const EVERY: Duration = Duration::from_secs(1);
/// Samples kept: more than any terminal has columns.
const SAMPLES_MAX: usize = 512;

/// A node at one second. Its mood is kept so that a curve shows the past in the colours of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub in_flight: u64,
    pub mood: Mood,
}

#[derive(Debug, Default)]
pub(super) struct History {
    next: Duration,
    nodes: Vec<VecDeque<Sample>>,
}

impl History {
    /// Records a sample; may be called often, keeps one per second.
    pub(super) fn note(&mut self, elapsed: Duration, rows: &[Row]) {
        if elapsed < self.next {
            return;
        }
        self.next = elapsed + EVERY;
        self.nodes.resize(rows.len(), VecDeque::new());
        for (samples, row) in self.nodes.iter_mut().zip(rows) {
            if samples.len() == SAMPLES_MAX {
                samples.pop_front();
            }
            samples.push_back(Sample { in_flight: row.in_flight.into(), mood: row.mood });
        }
    }

    /// The last `width` samples of a node, oldest first.
    pub(super) fn last(&self, place: usize, width: usize) -> Vec<Sample> {
        let Some(samples) = self.nodes.get(place) else { return Vec::new() };
        samples.iter().skip(samples.len().saturating_sub(width)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_a_second_and_the_last_ones_are_kept() {
        let mut history = History::default();
        for tick in 0..6000_u32 {
            let row = Row {
                name: "a".to_owned(),
                running: true,
                state: String::new(),
                mood: Mood::Well,
                in_flight: tick / 10,
                max_in_flight: None,
                done: 0,
                failed: 0,
            };
            history.note(Duration::from_millis(u64::from(tick) * 100), &[row]);
        }
        let last: Vec<_> = history.last(0, 3).iter().map(|sample| sample.in_flight).collect();
        assert_eq!(last, [597, 598, 599]);
        assert_eq!(history.last(0, 9999).len(), SAMPLES_MAX);
        assert!(history.last(1, 3).is_empty());
    }
}
