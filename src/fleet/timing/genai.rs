//! OpenTelemetry's metrics of generative AI (semantic conventions 1.41.1, `docs/gen-ai/gen-ai-metrics.md`), by operation, model and
//! node. Kept only where the config asks for them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::finished::{Call, Finished};
use super::histogram::Counts;
use crate::config::NodeAddress;
use crate::outcome::Outcome;

/// The boundaries of the convention, in seconds.
const SECONDS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// The same in tokens.
const TOKENS: [f64; 14] = [
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0,
    16777216.0, 67108864.0,
];
/// Most sets of labels of a pool: beyond them model and node are left out.
const SERIES_MAX: usize = 512;
/// Most values of `error.type` of one set of labels: beyond them it is [`CallError::Other`].
const ERRORS_MAX: usize = 16;

/// The labels of a series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallKey {
    pub operation: &'static str,
    pub provider: &'static str,
    pub models: Option<[Arc<str>; 2]>,
    /// That of the last node that it was sent to.
    pub server: Option<NodeAddress>,
}

/// `error.type`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallError {
    /// The status that the client got.
    Status(u16),
    /// An answer that had begun broke off so.
    Broken(&'static str),
    /// One more than there is room for.
    Other,
}

/// The histograms of one set of labels.
#[derive(Clone, Debug)]
pub struct Calls {
    /// `gen_ai.client.operation.duration`
    pub duration: BTreeMap<Option<CallError>, Counts>,
    /// `gen_ai.client.operation.time_to_first_chunk`
    pub first_chunk: Counts,
    /// `gen_ai.client.operation.time_per_output_chunk`: the mean of a stream, once for each of its tokens but the first.
    pub per_chunk: Counts,
    /// `gen_ai.client.token.usage`, of type `input`
    pub input: Counts,
    /// The same, `output`.
    pub output: Counts,
}

/// All calls of a pool.
#[derive(Clone, Debug, Default)]
pub struct GenAi {
    pub series: BTreeMap<CallKey, Calls>,
}

impl CallError {
    /// Of a request that ended with this status. `last`: the outcome of its last attempt.
    pub fn of(status: u16, last: Option<Outcome>) -> Option<Self> {
        match last {
            _ if status >= 400 => Some(Self::Status(status)),
            None | Some(Outcome::Ok) => None,
            Some(outcome) => Some(Self::Broken(outcome.as_str())),
        }
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            duration: BTreeMap::new(),
            first_chunk: Counts::new(&SECONDS),
            per_chunk: Counts::new(&SECONDS),
            input: Counts::new(&TOKENS),
            output: Counts::new(&TOKENS),
        }
    }
}

impl GenAi {
    pub(crate) fn count(&mut self, call: &Call, ended: &Finished<'_>) {
        let Call { operation, provider, ref models } = *call;
        let server = ended.server.cloned();
        let mut key = CallKey { operation, provider, models: models.clone(), server };
        if self.series.len() >= SERIES_MAX && !self.series.contains_key(&key) {
            (key.models, key.server) = (None, None);
        }
        let calls = self.series.entry(key).or_default();
        let mut error = CallError::of(ended.status, ended.last);
        let kinds = || calls.duration.keys().flatten().count();
        if error.is_some() && !calls.duration.contains_key(&error) && kinds() >= ERRORS_MAX {
            error = Some(CallError::Other);
        }
        let duration = calls.duration.entry(error).or_insert_with(|| Counts::new(&SECONDS));
        duration.observe(ended.duration.as_secs_f64(), 1);
        if let Some(time) = ended.first_token {
            calls.first_chunk.observe(time.as_secs_f64(), 1);
        }
        if let Some(time) = ended.inter_token {
            calls.per_chunk.observe(time.as_secs_f64(), ended.gaps);
        }
        for (tokens, counts) in
            [(ended.prompt_tokens, &mut calls.input), (ended.answer_tokens, &mut calls.output)]
        {
            if tokens > 0 {
                counts.observe(tokens as f64, 1);
            }
        }
    }
    /// Forgets the series of all nodes but these.
    pub(crate) fn keep(&mut self, nodes: &HashSet<NodeAddress>) {
        self.series.retain(|key, _| key.server.as_ref().is_none_or(|server| nodes.contains(server)));
    }
}
