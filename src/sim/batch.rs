//! Continuous batching as pure arithmetic: the sequences that run, those that wait, and the tokens of each step.
//!
//! There is no clock and no task here; `engine` drives it. A sequence that joins during a step gets its
//! first token in the next one, as in a real engine, so a busy node's time to first token is
//! between one and two steps.

use std::collections::BTreeMap;

/// The queue is full: the caller answers 503.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

struct Entry<T> {
    item: T,
    /// Tokens still to generate.
    left: u32,
    /// Keep the slot after the last token, as a stalled sequence does.
    hold: bool,
}

/// The sequences of one engine. Ids grow in order of arrival, and admission is first in first out,
/// so both maps are ordered by arrival, and every running sequence has a smaller id than any waiting one.
pub struct Batch<T> {
    max_seqs: usize,
    max_queued: usize,
    running: BTreeMap<u64, Entry<T>>,
    waiting: BTreeMap<u64, Entry<T>>,
    next_id: u64,
    /// Sequences with an id below this one take part in the step under way.
    horizon: u64,
    finished: Vec<u64>,
}

impl<T> Batch<T> {
    pub fn new(max_seqs: usize, max_queued: Option<usize>) -> Self {
        Batch {
            max_seqs: max_seqs.max(1),
            max_queued: max_queued.unwrap_or(usize::MAX),
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_id: 0,
            horizon: 0,
            finished: Vec::new(),
        }
    }

    pub fn running(&self) -> usize {
        self.running.len()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// True if a new sequence would run at once.
    pub fn has_room(&self) -> bool {
        self.running.len() < self.max_seqs && self.waiting.is_empty()
    }

    /// True if a step would produce a token.
    pub fn has_work(&self) -> bool {
        self.running.values().any(|entry| entry.left > 0)
    }

    /// Adds a sequence of `tokens` tokens; with `hold` it keeps its slot after them.
    pub fn submit(&mut self, item: T, tokens: u32, hold: bool) -> Result<u64, Full> {
        let room = self.has_room();
        if !room && self.waiting.len() >= self.max_queued {
            return Err(Full);
        }
        let id = self.next_id;
        self.next_id += 1;
        let line = if room { &mut self.running } else { &mut self.waiting };
        line.insert(id, Entry { item, left: tokens, hold });
        Ok(id)
    }

    /// Removes a running or waiting sequence. Unknown ids, such as those of finished sequences, are ignored.
    pub fn remove(&mut self, id: u64) {
        if self.running.remove(&id).is_some() {
            self.admit();
        } else {
            self.waiting.remove(&id);
        }
    }

    /// Starts a step and returns the number of sequences in it.
    pub fn begin_step(&mut self) -> usize {
        self.horizon = self.running.last_key_value().map_or(0, |(id, _)| id + 1);
        self.running.values().filter(|entry| entry.left > 0).count()
    }

    /// Ends the step: `emit(item, last)` for each token. Finished sequences make room.
    pub fn end_step(&mut self, mut emit: impl FnMut(&T, bool)) {
        for (id, entry) in self.running.range_mut(..self.horizon) {
            if entry.left == 0 {
                continue;
            }
            entry.left -= 1;
            let last = entry.left == 0 && !entry.hold;
            emit(&entry.item, last);
            if last {
                self.finished.push(*id);
            }
        }
        for id in self.finished.drain(..) {
            self.running.remove(&id);
        }
        self.admit();
    }

    /// Empties the batch, as a crash does.
    pub fn drain(&mut self) -> Vec<T> {
        let running = std::mem::take(&mut self.running);
        let waiting = std::mem::take(&mut self.waiting);
        running.into_values().chain(waiting.into_values()).map(|entry| entry.item).collect()
    }

    fn admit(&mut self) {
        while self.running.len() < self.max_seqs
            && let Some((id, entry)) = self.waiting.pop_first()
        {
            self.running.insert(id, entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(batch: &mut Batch<char>) -> String {
        batch.begin_step();
        let mut out = String::new();
        batch.end_step(|item, last| out.push(if last { item.to_ascii_uppercase() } else { *item }));
        out
    }

    #[test]
    fn one_token_a_step_and_a_freed_slot_goes_to_the_oldest_waiter() {
        let mut batch = Batch::new(2, None);
        for (item, tokens) in [('a', 1), ('b', 3), ('c', 2), ('d', 1)] {
            batch.submit(item, tokens, false).unwrap();
        }
        assert_eq!((batch.running(), batch.waiting()), (2, 2));
        assert_eq!(step(&mut batch), "Ab");
        assert_eq!(step(&mut batch), "bc");
        assert_eq!(step(&mut batch), "BC");
        assert_eq!(step(&mut batch), "D");
        assert!(!batch.has_work());
    }

    #[test]
    fn a_sequence_that_joins_during_a_step_gets_its_token_in_the_next() {
        let mut batch = Batch::new(8, None);
        batch.submit('a', 2, false).unwrap();
        assert_eq!(batch.begin_step(), 1);
        batch.submit('b', 1, false).unwrap();
        let mut out = String::new();
        batch.end_step(|item, _| out.push(*item));
        assert_eq!(out, "a");
        assert_eq!(step(&mut batch), "AB");
    }

    #[test]
    fn a_full_queue_refuses() {
        let mut batch = Batch::new(1, Some(1));
        assert_eq!(batch.submit('a', 1, false), Ok(0));
        assert_eq!(batch.submit('b', 1, false), Ok(1));
        assert_eq!(batch.submit('c', 1, false), Err(Full));
    }

    #[test]
    fn removing_frees_the_slot_or_the_place_in_the_queue() {
        let mut batch = Batch::new(1, None);
        let a = batch.submit('a', 9, false).unwrap();
        let b = batch.submit('b', 9, false).unwrap();
        batch.submit('c', 1, false).unwrap();
        batch.remove(b);
        assert_eq!((batch.running(), batch.waiting()), (1, 1));
        batch.remove(a);
        batch.remove(a);
        assert_eq!((batch.running(), batch.waiting()), (1, 0));
        assert_eq!(step(&mut batch), "C");
    }

    #[test]
    fn a_held_sequence_keeps_its_slot_but_makes_no_work() {
        let mut batch = Batch::new(1, None);
        batch.submit('a', 1, true).unwrap();
        assert_eq!(step(&mut batch), "a");
        assert!(!batch.has_work());
        assert_eq!((batch.begin_step(), batch.running()), (0, 1));
        assert_eq!(batch.drain(), vec!['a']);
    }
}
