//! The continuation of a broken stream.
//!
//! A [`Transcript`] goes along with a stream: it hears what the client has got, builds the request with which another node
//! goes on from there, and tells what that node says as if it were still the first: one `id`, one `role`, one `[DONE]`,
//! and `usage` added up. It never guesses: what cannot be continued word for word is refused, and then the stream ends
//! visibly, as without it.
//!
//! Tokens are counted by their ids where the request asked for them (`return_token_ids`), by `usage` where each event
//! has it, else one an event. An engine that puts several tokens into one event is then asked for a few too many.

mod event;
mod json;
mod kind;
mod not_resumable;
mod request;
mod tell;
#[cfg(test)]
mod tests;

pub use event::Splitter;
pub use kind::Kind;
pub use not_resumable::NotResumable;

use bytes::Bytes;

use crate::config::{Engine, Retry};
use event::{Chunk, Data, data};
use request::{Asked, Spoken};

/// How a broken stream goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Continuation {
    /// Another node is asked, with this body.
    Ask(Bytes),
    /// Nothing was missing but these last bytes.
    Finish(Bytes),
}

/// What the client has got of a stream.
#[derive(Debug)]
pub struct Transcript {
    asked: Asked,
    request: Bytes,
    text_max: usize,
    /// How many times it may still be continued.
    left: u32,
    lost: Option<NotResumable>,
    heard: Delivered,
    part: Segment,
}

#[derive(Debug, Default)]
struct Delivered {
    text: String,
    tokens: u64,
    /// Those of them at the end that brought nothing but blanks.
    blank_tokens: u64,
    /// Of all that was said; `None`: not all are known.
    ids: Option<Vec<u32>>,
    /// Ids that have come, but not the text that they stand for.
    unsaid: Vec<u32>,
    /// Of the prompt, as a JSON array.
    prompt_ids: Option<String>,
    prompt_tokens: Option<u64>,
    /// `id`, `created`, `model`, as JSON; from the first event that has them.
    identity: [Option<String>; 3],
    role: bool,
    finished: bool,
    /// The engine says with each event whether it is the last of its choice.
    names_ends: bool,
    usage: bool,
    done: bool,
}

/// What matters of the part under way, if it is a continuation.
#[derive(Debug, Default)]
struct Segment {
    /// 0: the first node's.
    number: u32,
    /// Tokens that had been said before it began.
    before: u64,
    /// Blanks that were said, and that it may say again.
    blanks: String,
    /// Tokens of those blanks.
    blank_tokens: u64,
    /// All has been said: only what follows it is wanted.
    is_mute: bool,
}

impl Transcript {
    /// For a stream that answers this request.
    pub fn begin(kind: Kind, engine: Engine, request: &Bytes, conf: &Retry) -> Result<Self, NotResumable> {
        let asked = Asked::of(kind, engine, request)?;
        let heard = Delivered { ids: asked.knows_ids().then(Vec::new), ..Delivered::default() };
        let (text_max, left) = (conf.resume_text_max, conf.resume_max);
        Ok(Self {
            asked,
            request: request.clone(),
            text_max,
            left,
            lost: None,
            heard,
            part: Segment::default(),
        })
    }

    /// Why it can no longer be continued.
    pub fn lost(&self) -> Option<NotResumable> {
        self.lost
    }

    /// Whether another node than the first is speaking.
    pub fn is_continued(&self) -> bool {
        self.part.number > 0
    }

    /// Whether a continuation that ends here has ended too early, though it has said nothing of the kind itself.
    pub fn is_cut_short(&self) -> bool {
        self.lost.is_none() && self.is_continued() && self.heard.names_ends && !self.heard.finished
    }

    /// It cannot be continued: nothing more needs to be kept. A part that is a continuation is told to its end.
    pub fn lose(&mut self, why: NotResumable) {
        self.lost.get_or_insert(why);
        self.request = Bytes::new();
        self.heard.text = String::new();
        self.heard.ids = None;
        self.heard.unsaid = Vec::new();
        self.heard.prompt_ids = None;
    }

    /// How it goes on after it has broken.
    pub fn go_on(&mut self) -> Result<Continuation, NotResumable> {
        if let Some(why) = self.lost {
            return Err(why);
        }
        if self.heard.done {
            return Ok(Continuation::Finish(Bytes::new()));
        }
        let is_full = self.asked.limit.is_some_and(|limit| self.heard.tokens >= limit);
        let is_whole = self.heard.finished || is_full;
        if is_whole && (self.heard.usage || !self.asked.wants_usage) {
            return Ok(Continuation::Finish(self.ending()));
        }
        if self.left == 0 {
            return Err(NotResumable::UsedUp);
        }
        let heard = &self.heard;
        let is_chat = self.asked.kind == Kind::Chat;
        // a chat's blanks at the end will be said again
        let tokens = heard.tokens.saturating_sub(if is_chat { heard.blank_tokens } else { 0 });
        let said = Spoken {
            text: &heard.text,
            tokens,
            ids: heard.prompt_ids.as_deref().zip(heard.ids.as_deref()).filter(|(_, ids)| !ids.is_empty()),
            is_whole,
        };
        let body = self.asked.continued(&self.request, said)?;
        let text = if is_chat { heard.text.as_str() } else { "" };
        self.part = Segment {
            number: self.part.number + 1,
            before: tokens,
            blanks: text[text.trim_end().len()..].to_owned(),
            blank_tokens: heard.tokens - tokens,
            is_mute: is_whole,
        };
        if !is_whole {
            self.heard.tokens = tokens;
            self.heard.blank_tokens = 0;
        }
        self.left -= 1;
        Ok(Continuation::Ask(body.into()))
    }

    /// What the client gets of one whole event.
    pub fn tell(&mut self, event: Bytes) -> Option<Bytes> {
        let data = match data(&event) {
            Data::None => return Some(event),
            Data::One(data) => data,
            Data::Several => {
                self.lose(NotResumable::NotUnderstood);
                return Some(event);
            }
        };
        if data == b"[DONE]" {
            self.heard.done = true;
            return Some(event);
        }
        let Some(chunk) = Chunk::parse(self.asked.kind, data) else {
            self.lose(NotResumable::NotUnderstood);
            return Some(event);
        };
        let told =
            if self.is_continued() { self.retell(chunk) } else { Some(self.hear(&chunk, event.clone())) };
        let heard = &self.heard;
        let ids = heard.ids.as_ref().map_or(0, Vec::len) + heard.unsaid.len();
        if heard.text.len() + ids * size_of::<u32>() > self.text_max {
            self.lose(NotResumable::TooLong);
        }
        told
    }
}
