//! Request counters of a pool, as opposed to those of its nodes.

use std::collections::BTreeMap;

use super::timing::{Finished, GenAi, Timings};
use crate::balance::By;
use crate::config::Class;
use crate::retry::RetryReason;

/// Counts since the process started; a reload does not reset them.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Requests answered, by status code. Any code outside 100 to 599 counts as 0, so the map is bounded.
    pub requests: BTreeMap<u16, u64>,
    /// Attempts after the first, by the failure of the attempt before.
    pub retries: [u64; RetryReason::ALL.len()],
    /// Requests that were sent only once because their body was too large to keep.
    pub unkept_bodies: u64,
    /// Attempts by the reason for their node, in the order of [`By::ALL`].
    pub choices: [u64; By::ALL.len()],
    /// Requests that went to another pool because they would have had to wait (`spill`).
    pub spills: u64,
    /// Broken streams in pools with `retry.resume`, by result.
    pub resumes: [u64; Resumed::ALL.len()],
    /// In the order of [`Class::ALL`]. `None`: none of this class has ended.
    pub timings: [Option<Box<Timings>>; Class::ALL.len()],
    /// `None`: nothing has been counted by OpenTelemetry's names.
    pub genai: Option<Box<GenAi>>,
}

/// The result of trying to resume a broken stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// Another node was asked to continue the stream.
    Asked,
    /// Only the end was missing, and the gateway wrote it.
    Finished,
    /// The stream could not be continued: the client sees that it is broken.
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

    /// Counts a request that had a pool.
    pub fn count_finished(&mut self, ended: &Finished<'_>) {
        self.count_request(ended.status);
        self.timings[ended.class.place()].get_or_insert_default().count(ended);
        if let Some(call) = ended.call {
            self.genai.get_or_insert_default().count(call, ended);
        }
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
