//! Continuing a broken stream on another node, so that the client sees one unbroken answer.
//!
//! A [`Transcript`] accompanies each stream. It records the text delivered to the client, builds the request that asks
//! another node for the rest, and rewrites that node's events to look like the first node's: one `id`, one `role`, one
//! `[DONE]`, and `usage` summed. It never guesses: an answer that cannot be continued word for word is refused, and the
//! stream then ends with an error, as it would without `retry.resume`.
//!
//! vLLM and SGLang are asked for token ids beside what the client asked ([`Original::for_node`]), which it then does not get
//! to see. Tokens are counted by them, however many come in one event, and the answer is continued from them, a chat too:
//! as a completion whose text is told as the chat's. Where ids and text do not agree ([`tokens`]), and with engines that give
//! none, the answer is continued from its text. Tokens without ids are counted by `usage` if every event carries it, and
//! otherwise as one per event.

mod ask;
mod chunk;
mod deliver;
mod edits;
mod event;
mod json;
mod kind;
mod next;
mod not_resumable;
mod original;
mod priority;
mod rewrite;
mod scan;
#[cfg(test)]
mod tests;
mod tokens;
mod vocabulary;

pub use ask::NodeBody;
pub use event::Splitter;
pub use kind::Kind;
pub use next::NextRequest;
pub use not_resumable::NotResumable;
pub use original::Original;
pub use priority::Priority;
pub use vocabulary::{Vocabularies, Vocabulary};

use std::sync::Arc;

use bytes::Bytes;

use crate::config::Retry;
use next::Spoken;
use tokens::Tokens;

/// The next step for a broken stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Continuation {
    /// Send this request to another node.
    Ask(NextRequest),
    /// The answer was complete; send these final bytes to the client.
    Finish(Bytes),
}

/// One client's stream: what it has received, and how another node would continue it.
#[derive(Debug)]
pub struct Transcript {
    original: Original,
    request: Bytes,
    text_max: usize,
    continuations_left: u32,
    not_resumable: Option<NotResumable>,
    delivered: Delivered,
    segment: Segment,
    vocabulary: Arc<Vocabulary>,
}

/// The answer as the client has received it.
#[derive(Debug, Default)]
struct Delivered {
    text: String,
    tokens: u64,
    /// Tokens were counted without ids or usage: some events may have had several.
    is_guessed: bool,
    /// Trailing tokens that are only whitespace.
    blank_tokens: u64,
    ids: Tokens,
    prompt_tokens: Option<u64>,
    /// `id`, `created` and `model` as JSON, each from the first event that has it.
    identity: [Option<String>; 3],
    role: bool,
    finished: bool,
    /// The engine sets `finish_reason` in every event, as `null` until the last.
    reports_finish: bool,
    /// The engine sets `usage` in every event, as `null` if it was not asked for.
    reports_usage: bool,
    usage: bool,
    done: bool,
}

/// The part of the stream that comes from the current node.
#[derive(Debug)]
struct Segment {
    /// 0 for the first node.
    number: u32,
    /// The node was asked what the client asked: nothing had been told.
    is_whole: bool,
    /// The API that this node speaks.
    kind: Kind,
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
    pub fn begin(original: Original, request: &Bytes, conf: &Retry, vocabulary: Arc<Vocabulary>) -> Self {
        let mut delivered = Delivered::default();
        if !original.needs_ids() {
            delivered.ids.count_only();
        }
        Self {
            segment: Segment {
                number: 0,
                is_whole: true,
                kind: original.kind,
                tokens_before: 0,
                blanks: String::new(),
                blank_tokens: 0,
                is_text_complete: false,
            },
            original,
            request: request.clone(),
            text_max: conf.resume_text_max,
            continuations_left: conf.resume_max,
            not_resumable: None,
            delivered,
            vocabulary,
        }
    }

    /// The reason why the stream can no longer be continued, if there is one.
    pub fn not_resumable(&self) -> Option<NotResumable> {
        self.not_resumable
    }

    /// True once a second node has taken over.
    pub fn is_continued(&self) -> bool {
        self.segment.number > 0
    }

    /// True if events go on as they come, for the rest of the stream.
    pub fn is_over(&self) -> bool {
        self.not_resumable.is_some()
            && !self.is_continued()
            && !self.original.hides_ids()
            && !self.original.hides_counts()
    }

    /// Largest event that is understood, in bytes: the first holds the ids of the prompt.
    pub fn event_max(&self) -> usize {
        self.text_max
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
        self.delivered.ids.count_only();
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
        if is_text_complete && (self.knows_usage() || !self.original.wants_usage) {
            return Ok(Continuation::Finish(self.final_events()));
        }
        if self.continuations_left == 0 {
            return Err(NotResumable::UsedUp);
        }
        if !is_text_complete && self.original.may_stop(&self.delivered.text) {
            return Err(NotResumable::Stop);
        }
        let next = match self.go_on_by_ids(is_text_complete) {
            Some(next) => next,
            None => self.go_on_by_text(is_text_complete)?,
        };
        self.continuations_left -= 1;
        Ok(Continuation::Ask(next))
    }

    /// The next node refused a chat put as a completion, which it may not serve: the request that goes on from its text.
    pub fn refused(&mut self) -> Option<NextRequest> {
        if self.segment.kind == self.original.kind || self.not_resumable.is_some() {
            return None;
        }
        self.delivered.ids.lose();
        self.go_on_by_text(false).ok()
    }

    /// Goes on from token ids, if they are known and agree with the text.
    fn go_on_by_ids(&mut self, is_text_complete: bool) -> Option<NextRequest> {
        let delivered = &self.delivered;
        let is_shown = self.original.wants_ids && delivered.ids.is_behind();
        if is_text_complete || is_shown {
            return None;
        }
        let said = Spoken { text: &delivered.text, tokens: delivered.tokens, is_text_complete };
        let next = self.original.next_by_ids(&self.request, delivered.ids.to_continue()?, said)?;
        self.segment = Segment {
            number: self.segment.number + 1,
            is_whole: false,
            kind: if next.path.is_some() { Kind::Completion } else { self.original.kind },
            tokens_before: delivered.tokens,
            blanks: String::new(),
            blank_tokens: 0,
            is_text_complete,
        };
        self.delivered.ids.go_on();
        Some(next)
    }

    fn go_on_by_text(&mut self, is_text_complete: bool) -> Result<NextRequest, NotResumable> {
        let delivered = &self.delivered;
        if self.original.wants_ids && delivered.ids.has_any() && !is_text_complete {
            return Err(NotResumable::WantsIds);
        }
        let is_chat = self.original.kind == Kind::Chat;
        // chat templates cut trailing whitespace, so the next node generates it again
        let blank_tokens = if is_chat { delivered.blank_tokens } else { 0 };
        let tokens = delivered.tokens.saturating_sub(blank_tokens);
        let said = Spoken { text: &delivered.text, tokens, is_text_complete };
        let next = self.original.next_by_text(&self.request, said)?;
        let text = if is_chat { delivered.text.as_str() } else { "" };
        self.segment = Segment {
            number: self.segment.number + 1,
            is_whole: delivered.text.is_empty() && !is_text_complete,
            kind: self.original.kind,
            tokens_before: tokens,
            blanks: text[text.trim_end().len()..].to_owned(),
            blank_tokens: delivered.tokens - tokens,
            is_text_complete,
        };
        if !is_text_complete {
            self.delivered.tokens = tokens;
            self.delivered.blank_tokens = 0;
        }
        self.delivered.ids.begin_anew();
        if !self.original.needs_ids() {
            self.delivered.ids.count_only();
        }
        Ok(next)
    }
}
