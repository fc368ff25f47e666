//! Continuous batching as pure arithmetic: the sequences that run, those that wait, and the tokens of each step.
//!
//! There is no clock and no task here; `engine` drives it. A sequence that joins during a step gets its
//! first token in the next one, as in a real engine, so a busy node's time to first token is
//! between one and two steps. Prompts, memory and priorities follow vLLM's scheduler (0.32, `v1/core/sched/scheduler.py`),
//! but for this: a sequence is let in once there is room for all of its prompt.

mod kv;
#[cfg(test)]
mod tests;
mod work;

use std::collections::BTreeMap;

use kv::{Kv, blocks_of};
use work::Entry;
pub use work::{Prompt, Work};

/// The limits of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most sequences that run at once.
    pub max_seqs: usize,
    /// Most sequences that wait.
    pub max_queued: Option<usize>,
    /// Tokens whose keys and values fit into memory. When it is full, the newest sequence is put back in line and computed
    /// anew later.
    pub kv_tokens: Option<u32>,
    /// Most tokens that a step computes: prompts beyond it are spread over several steps.
    pub step_tokens: Option<u32>,
    /// Keep the prompts' prefixes, as far as `kv_tokens` has room.
    pub prefix_cache: bool,
    /// Order by priority, then by arrival.
    pub by_priority: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_seqs: 256,
            max_queued: None,
            kv_tokens: None,
            step_tokens: None,
            prefix_cache: false,
            by_priority: false,
        }
    }
}

/// The reason why a sequence is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The queue is full: the caller answers 503.
    Full,
    /// It would never fit into memory: the caller answers 400.
    TooLong,
}

/// A sequence's place in the order of its engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    priority: i64,
    id: u64,
}

/// The work of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Sequences that compute a token of their answer.
    pub sequences: usize,
    /// Tokens of prompts.
    pub prompt_tokens: u32,
}

/// A token of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub last: bool,
    /// Tokens of its prompt that were there when it came.
    pub cached: u32,
}

/// The sequences of one engine, in the order in which they are served.
pub struct Batch<T> {
    limits: Limits,
    running: BTreeMap<Place, Entry<T>>,
    waiting: BTreeMap<Place, Entry<T>>,
    kv: Kv,
    next_id: u64,
    preemptions: u64,
    /// Kept from step to step.
    places: Vec<Place>,
}

impl<T> Batch<T> {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Limits { max_seqs: limits.max_seqs.max(1), ..limits },
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            kv: Kv::new(limits.kv_tokens, limits.prefix_cache),
            next_id: 0,
            preemptions: 0,
            places: Vec::new(),
        }
    }

    pub fn running(&self) -> usize {
        self.running.len()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Sequences that were put back in line because memory was full.
    pub fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// The part of the memory for keys and values that is in use, from 0 to 1.
    pub fn kv_usage(&self) -> f64 {
        self.kv.usage()
    }

    /// True if a new sequence would run at once, as far as its prompt has room.
    pub fn has_room(&self) -> bool {
        self.running.len() < self.limits.max_seqs && self.waiting.is_empty()
    }

    /// True if a step would produce a token.
    pub fn has_work(&self) -> bool {
        self.running.values().any(|entry| entry.left > 0)
    }

    pub fn submit(&mut self, item: T, work: Work) -> Result<Place, Refused> {
        if !self.kv.can_ever_hold(work.prompt.tokens().saturating_add(work.tokens)) {
            return Err(Refused::TooLong);
        }
        if !self.has_room() && self.limits.max_queued.is_some_and(|max| self.waiting.len() >= max) {
            return Err(Refused::Full);
        }
        let priority = if self.limits.by_priority { work.priority } else { 0 };
        let place = Place { priority, id: self.next_id };
        self.next_id += 1;
        self.waiting.insert(place, Entry::new(item, work));
        self.admit();
        Ok(place)
    }

    /// Removes a running or waiting sequence. Unknown ones, such as those that have finished, are ignored.
    pub fn remove(&mut self, place: Place) {
        if let Some(mut entry) = self.running.remove(&place) {
            self.kv.give_back(&mut entry.held);
            self.admit();
        } else if self.waiting.remove(&place).is_some() {
            self.admit();
        }
    }

    /// Starts a step. Running sequences come first, the oldest first; what is left of the step's tokens goes to prompts.
    pub fn begin_step(&mut self) -> Step {
        if self.kv.is_limited() {
            self.make_room();
        }
        let mut step = Step::default();
        let mut left = self.limits.step_tokens.unwrap_or(u32::MAX);
        for entry in self.running.values_mut().filter(|entry| entry.left > 0) {
            let todo = entry.todo();
            entry.planned = todo.min(left);
            left -= entry.planned;
            if entry.planned == todo {
                step.sequences += 1;
            }
            if todo > 1 {
                step.prompt_tokens += entry.planned;
            }
        }
        step
    }

    /// Ends the step: `emit` for each token. Finished sequences make room.
    pub fn end_step(&mut self, mut emit: impl FnMut(&T, Token)) {
        for (place, entry) in self.running.iter_mut().filter(|(_, entry)| entry.planned > 0) {
            entry.computed = (entry.computed + entry.planned).min(entry.length());
            entry.planned = 0;
            if entry.computed < entry.length() {
                continue;
            }
            entry.said += 1;
            entry.left -= 1;
            let last = entry.left == 0 && !entry.hold;
            emit(&entry.item, Token { last, cached: entry.cached.unwrap_or(0) });
            if last {
                self.places.push(*place);
            }
        }
        for place in self.places.drain(..) {
            if let Some(mut entry) = self.running.remove(&place) {
                self.kv.give_back(&mut entry.held);
            }
        }
        self.admit();
    }

    /// Empties the batch, as a crash does.
    pub fn drain(&mut self) -> Vec<T> {
        self.kv = Kv::new(self.limits.kv_tokens, self.limits.prefix_cache);
        let running = std::mem::take(&mut self.running);
        let waiting = std::mem::take(&mut self.waiting);
        running.into_values().chain(waiting.into_values()).map(|entry| entry.item).collect()
    }

    fn admit(&mut self) {
        while self.running.len() < self.limits.max_seqs
            && let Some(first) = self.waiting.first_entry()
        {
            let entry = first.get();
            let Some((held, cached)) = self.kv.take(entry.length(), entry.prompt.blocks()) else { return };
            let (place, mut entry) = first.remove_entry();
            (entry.held, entry.computed) = (held, cached);
            entry.cached.get_or_insert(cached);
            self.running.insert(place, entry);
        }
    }

    /// A block for each sequence whose last one is full; where there is none, the last in order gives all of its own.
    fn make_room(&mut self) {
        let is_full = |entry: &Entry<T>| blocks_of(entry.length()) > entry.held.blocks();
        self.places.extend(self.running.iter().filter(|(_, entry)| is_full(entry)).map(|(place, _)| *place));
        for place in std::mem::take(&mut self.places) {
            while let Some(entry) = self.running.get_mut(&place)
                && !self.kv.grow(&mut entry.held)
            {
                self.preempt_last();
            }
        }
    }

    fn preempt_last(&mut self) {
        let Some((place, mut entry)) = self.running.pop_last() else { return };
        self.kv.give_back(&mut entry.held);
        (entry.computed, entry.planned) = (0, 0);
        self.preemptions += 1;
        self.waiting.insert(place, entry);
    }
}
