//! The histograms of a pool's requests of one class, and their tokens.

use std::time::Duration;

use super::finished::Finished;
use super::histogram::{BUCKETS, Histogram, Trail};

// An answer may take a day. The steps are those of the numbers that people ask for, not of a formula.
const FIRST_TOKEN: [f64; BUCKETS - 1] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86400.0];
const INTER_TOKEN: [f64; BUCKETS - 1] =
    [0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 5.0];
const DURATION: [f64; BUCKETS - 1] =
    [0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0];
const QUEUE_WAIT: [f64; BUCKETS - 1] =
    [0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0, 86400.0];

/// The requests of one class that have ended.
#[derive(Clone, Debug)]
pub struct Timings {
    /// From the request's head to the first words of its answer; of streams, for another answer comes as a whole.
    pub first_token: Histogram,
    /// The mean time from one token to the next, once for each stream.
    pub inter_token: Histogram,
    pub duration: Histogram,
    /// Time without a node; 0 for those that did not wait.
    pub queue_wait: Histogram,
    /// Tokens of prompts, as far as nodes have told them.
    pub prompt_tokens: u64,
    /// Tokens of answers: as nodes have told them, else an event of a stream counts as one.
    pub answer_tokens: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            first_token: Histogram::new(&FIRST_TOKEN),
            inter_token: Histogram::new(&INTER_TOKEN),
            duration: Histogram::new(&DURATION),
            queue_wait: Histogram::new(&QUEUE_WAIT),
            prompt_tokens: 0,
            answer_tokens: 0,
        }
    }
}

impl Timings {
    pub(crate) fn count(&mut self, ended: &Finished<'_>) {
        let trail = || Trail::of(ended.trace, ended.request_id);
        self.duration.observe(ended.duration, ended.at, trail);
        self.queue_wait.observe(ended.queued, ended.at, trail);
        if let Some(time) = ended.first_token {
            self.first_token.observe(time, ended.at, trail);
        }
        if let Some(time) = ended.inter_token {
            self.inter_token.observe(time, ended.at, trail);
        }
        self.prompt_tokens = self.prompt_tokens.saturating_add(ended.prompt_tokens);
        self.answer_tokens = self.answer_tokens.saturating_add(ended.answer_tokens);
    }
}

/// The mean time between two of so many tokens, the first of which came at the beginning of `span`.
pub fn inter_token(span: Duration, gaps: u64) -> Option<Duration> {
    (gaps > 0).then(|| span.div_f64(gaps as f64))
}
