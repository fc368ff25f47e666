//! Continuing a broken stream on another node, so that the client sees one unbroken answer.
//!
//! A [`Transcript`] accompanies each stream. It records the text delivered to the client, builds the request that asks
//! another node for the rest, and rewrites that node's events to look like the first node's: one `id`, one `role`, one
//! `[DONE]`, and `usage` summed. It never guesses: an answer that cannot be continued word for word is refused, and the
//! stream then ends with an error, as it would without `retry.resume`.
//!
//! Tokens are counted by id if the request asked for ids (`return_token_ids`), by `usage` if every event carries it,
//! and otherwise as one per event. In that last case an engine that packs several tokens into one event is asked for
//! slightly too many.

mod deliver;
mod event;
mod json;
mod kind;
mod not_resumable;
mod request;
#[cfg(test)]
mod tests;

pub use event::Splitter;
pub use kind::Kind;
pub use not_resumable::NotResumable;

use bytes::Bytes;

use crate::config::{Engine, Retry};
use event::{Chunk, Data, data};
use request::{OriginalRequest, Spoken};

/// The next step for a broken stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Continuation {
    /// Send this request body to another node.
    Ask(Bytes),
    /// The answer was complete; send these final bytes to the client.
    Finish(Bytes),
}

/// One client's stream: what it has received, and how another node would continue it.
#[derive(Debug)]
pub struct Transcript {
    original: OriginalRequest,
    request: Bytes,
    text_max: usize,
    continuations_left: u32,
    not_resumable: Option<NotResumable>,
    delivered: Delivered,
    segment: Segment,
}

/// The answer as the client has received it.
#[derive(Debug, Default)]
struct Delivered {
    text: String,
    tokens: u64,
    /// Trailing tokens that are only whitespace.
    blank_tokens: u64,
    /// Ids of all tokens so far; `None` if any is unknown.
    ids: Option<Vec<u32>>,
    /// Ids received whose text has not arrived yet.
    pending_ids: Vec<u32>,
    /// Ids of the prompt, as a JSON array.
    prompt_ids: Option<String>,
    prompt_tokens: Option<u64>,
    /// `id`, `created` and `model` as JSON, each from the first event that has it.
    identity: [Option<String>; 3],
    role: bool,
    finished: bool,
    /// The engine sets `finish_reason` in every event, as `null` until the last.
    reports_finish: bool,
    usage: bool,
    done: bool,
}

/// The part of the stream that comes from the current node; all zero for the first node.
#[derive(Debug, Default)]
struct Segment {
    /// 0 for the first node.
    number: u32,
    /// Tokens delivered by earlier segments.
    tokens_before: u64,
    /// Trailing whitespace already delivered, which this node may repeat.
    blanks: String,
    /// Tokens of that whitespace.
    blank_tokens: u64,
    /// All text has been delivered; this node only supplies the usage and the end.
    is_text_complete: bool,
}

impl Transcript {
    /// Starts the transcript of the stream that answers this request.
    pub fn begin(kind: Kind, engine: Engine, request: &Bytes, conf: &Retry) -> Result<Self, NotResumable> {
        let original = OriginalRequest::of(kind, engine, request)?;
        let delivered = Delivered { ids: original.continues_by_ids().then(Vec::new), ..Delivered::default() };
        Ok(Self {
            original,
            request: request.clone(),
            text_max: conf.resume_text_max,
            continuations_left: conf.resume_max,
            not_resumable: None,
            delivered,
            segment: Segment::default(),
        })
    }

    /// The reason why the stream can no longer be continued, if there is one.
    pub fn not_resumable(&self) -> Option<NotResumable> {
        self.not_resumable
    }

    /// True once a second node has taken over.
    pub fn is_continued(&self) -> bool {
        self.segment.number > 0
    }

    /// True if a continuation that ended now would lack the finish reason that this engine always sends.
    pub fn is_cut_short(&self) -> bool {
        self.not_resumable.is_none()
            && self.is_continued()
            && self.delivered.reports_finish
            && !self.delivered.finished
    }

    /// Stops recording and frees what was kept. A continuation already under way is still rewritten to its end.
    pub fn give_up(&mut self, why: NotResumable) {
        self.not_resumable.get_or_insert(why);
        self.request = Bytes::new();
        self.delivered.text = String::new();
        self.delivered.ids = None;
        self.delivered.pending_ids = Vec::new();
        self.delivered.prompt_ids = None;
    }

    /// Decides how to continue after the stream broke off.
    pub fn continuation(&mut self) -> Result<Continuation, NotResumable> {
        if let Some(why) = self.not_resumable {
            return Err(why);
        }
        if self.delivered.done {
            return Ok(Continuation::Finish(Bytes::new()));
        }
        let is_full = self.original.limit.is_some_and(|limit| self.delivered.tokens >= limit);
        let is_text_complete = self.delivered.finished || is_full;
        if is_text_complete && (self.delivered.usage || !self.original.wants_usage) {
            return Ok(Continuation::Finish(self.final_events()));
        }
        if self.continuations_left == 0 {
            return Err(NotResumable::UsedUp);
        }
        let delivered = &self.delivered;
        let is_chat = self.original.kind == Kind::Chat;
        // chat templates cut trailing whitespace, so the next node generates it again
        let tokens = delivered.tokens.saturating_sub(if is_chat { delivered.blank_tokens } else { 0 });
        let said = Spoken {
            text: &delivered.text,
            tokens,
            ids: delivered
                .prompt_ids
                .as_deref()
                .zip(delivered.ids.as_deref())
                .filter(|(_, ids)| !ids.is_empty()),
            is_text_complete,
        };
        let body = self.original.continuation_body(&self.request, said)?;
        let text = if is_chat { delivered.text.as_str() } else { "" };
        self.segment = Segment {
            number: self.segment.number + 1,
            tokens_before: tokens,
            blanks: text[text.trim_end().len()..].to_owned(),
            blank_tokens: delivered.tokens - tokens,
            is_text_complete,
        };
        if !is_text_complete {
            self.delivered.tokens = tokens;
            self.delivered.blank_tokens = 0;
        }
        self.continuations_left -= 1;
        Ok(Continuation::Ask(body.into()))
    }

    /// Records one complete event and returns the bytes for the client, if any.
    pub fn deliver(&mut self, event: Bytes) -> Option<Bytes> {
        let data = match data(&event) {
            Data::None => return Some(event),
            Data::One(data) => data,
            Data::Several => {
                self.give_up(NotResumable::NotUnderstood);
                return Some(event);
            }
        };
        if data == b"[DONE]" {
            self.delivered.done = true;
            return Some(event);
        }
        let Some(chunk) = Chunk::parse(self.original.kind, data) else {
            self.give_up(NotResumable::NotUnderstood);
            return Some(event);
        };
        let for_client = if self.is_continued() {
            self.rewrite(chunk)
        } else {
            Some(self.record_first(&chunk, event.clone()))
        };
        let delivered = &self.delivered;
        let ids = delivered.ids.as_ref().map_or(0, Vec::len) + delivered.pending_ids.len();
        if delivered.text.len() + ids * size_of::<u32>() > self.text_max {
            self.give_up(NotResumable::TooLong);
        }
        for_client
    }
}
