//! Counts of a pool that belong to no single node.

use std::collections::BTreeMap;

use crate::retry::RetryReason;

/// Since the process started; they go on over reloads.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Requests answered, by status code. Bounded: a status code is 100 to 599, anything else counts as 0.
    pub requests: BTreeMap<u16, u64>,
    /// Attempts after the first, by what went wrong with the one before.
    pub retries: [u64; RetryReason::ALL.len()],
    /// Requests forwarded once because their body could not be kept.
    pub unkept_bodies: u64,
    /// Streams that broke where `retry.resume` is on, by what became of them.
    pub resumes: [u64; Resumed::ALL.len()],
}

/// What became of a broken stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// Another node was asked to go on.
    Asked,
    /// Nothing but the end was missing.
    Finished,
    /// It could not be continued, and ended visibly.
    Refused,
}

impl Resumed {
    pub const ALL: [Self; 3] = [Self::Asked, Self::Finished, Self::Refused];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Finished => "finished",
            Self::Refused => "refused",
        }
    }
}

impl Counters {
    pub fn count_request(&mut self, status: u16) {
        let code = if (100..600).contains(&status) { status } else { 0 };
        *self.requests.entry(code).or_default() += 1;
    }

    pub fn count_resume(&mut self, resumed: Resumed) {
        self.resumes[resumed as usize] += 1;
    }

    pub fn count_retry(&mut self, why: RetryReason) {
        let place = RetryReason::ALL.iter().position(|a| *a == why);
        if let Some(count) = place.and_then(|place| self.retries.get_mut(place)) {
            *count += 1;
        }
    }
}
