//! The end of a request, as its pool counts it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Class, NodeAddress};
use crate::outcome::Outcome;

/// The end of a request.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    pub at: Instant,
    /// 499: its client left before there was one.
    pub status: u16,
    pub class: Class,
    pub duration: Duration,
    pub queued: Duration,
    /// Of a stream.
    pub first_token: Option<Duration>,
    pub inter_token: Option<Duration>,
    /// The tokens of streams that have come after their first ones.
    pub gaps: u64,
    pub prompt_tokens: u64,
    pub answer_tokens: u64,
    /// The id of the trace that it belongs to, if that is sampled.
    pub trace: Option<u128>,
    pub request_id: &'a str,
    /// The address of the last node that it was sent to, and how that ended.
    pub server: Option<&'a NodeAddress>,
    pub last: Option<Outcome>,
    /// `None`: the conventions for generative AI are not asked for, or do not know the operation.
    pub call: Option<&'a Call>,
}

/// A request, as the conventions name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `gen_ai.operation.name`
    pub operation: &'static str,
    /// `gen_ai.provider.name`: the maker of the API that is spoken.
    pub provider: &'static str,
    /// `gen_ai.request.model` and `gen_ai.response.model`, as the config writes them: an alias and what it stands for, a name, or
    /// the pattern that covers it.
    pub models: Option<[Arc<str>; 2]>,
}
