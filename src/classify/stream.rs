//! A stream's own account of how it goes: events, errors, and whether it is whole, while it passes by.
//!
//! A status code is sent before the first token, so that what goes wrong later is only in the stream: vLLM's dead engine
//! says `data: {"error": ...}` and then, all the same, `data: [DONE]`; one that was told to stop says
//! `"finish_reason":"abort"`; one that was killed says nothing more. The watcher looks and changes nothing. It works on
//! any split of the bytes, holds one line at most, and parses only what looks like trouble.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::Value;

use super::choices::{Choices, Noted, is_broken};
use super::dialect::{Dialect, End, Frames, Members, OTHER};
use super::members::{anywhere, has_type, members, value};
use super::silent::is_silent;
use super::usage::Usage;
use super::words::{self, Meaning, Told};
use crate::outcome::Outcome;

/// Longest line that is looked into, in bytes; of a longer one it is only known that it came.
const LINE_MAX: usize = 64 * 1024;

/// Built once: building a finder costs more than searching an event.
static STATUS_CODE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"status_code\""));
static STOP_REASON: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"stop_reason\""));

/// The first event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// A token, or whatever else is no error.
    Good,
    Error(Told),
}

/// All that has been seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The first event, once it is complete.
    pub first: Option<First>,
    /// Events with data; `[DONE]` and pings not counted.
    pub events: u64,
    pub error: Option<Told>,
    /// The engine stopped in the middle: `finish_reason: "abort"`, or Anthropic's `stop_reason: null` at the end.
    pub aborted: bool,
    /// An event has said something, be it an error; see [`super::silent`].
    pub speaks: bool,
    /// Events before that.
    pub silent: u32,
    pub choices: Choices,
    /// The dialect's own end came.
    pub ended: bool,
    /// It has said that such an end is to come.
    pub open: bool,
    /// `[DONE]` came.
    pub done: bool,
    /// An event was too long to be looked into: it may have been the last.
    pub unread: bool,
    /// The body ended within an event.
    pub cut: bool,
}

/// Watches one stream.
#[derive(Debug)]
pub struct Watcher {
    dialect: &'static Dialect,
    /// The beginning of the line under way, if a chunk ended within it.
    line: Vec<u8>,
    /// The line under way is too long to be looked into.
    overlong: bool,
    /// The last line ended with a CR: an LF that follows ends no line.
    after_cr: bool,
    kind: Kind,
    /// The last `message_delta` of an answer told no `stop_reason`.
    lacks_reason: bool,
    /// Tokens, told and not yet taken.
    usage: Option<Usage>,
    seen: Seen,
}

/// The `event:` line of the event under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    None,
    /// Says that the engine's server is there, which it is while the engine hangs.
    Ping,
    End,
    /// Its data is an error, whatever it looks like.
    Error,
    Other,
}

impl Default for Watcher {
    fn default() -> Self {
        Self::new(&OTHER)
    }
}

impl Watcher {
    pub fn new(dialect: &'static Dialect) -> Self {
        let (kind, seen) = (Kind::None, Seen::default());
        Self {
            dialect,
            line: Vec::new(),
            overlong: false,
            after_cr: false,
            kind,
            lacks_reason: false,
            usage: None,
            seen,
        }
    }

    pub fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The tokens that the stream has told since the last call.
    pub fn take_usage(&mut self) -> Option<Usage> {
        self.usage.take()
    }

    /// Forgets what it has seen.
    pub fn restart(&mut self) {
        *self = Self::new(self.dialect);
    }

    /// Looks at the next bytes of the stream, however they were split.
    pub fn look(&mut self, mut chunk: &[u8]) {
        while let Some(end) = memchr::memchr2(b'\n', b'\r', chunk) {
            let (line, rest) = (&chunk[..end], &chunk[end + 1..]);
            let is_empty = line.is_empty() && self.line.is_empty() && !self.overlong;
            let was_cr = std::mem::replace(&mut self.after_cr, chunk[end] == b'\r');
            let is_rest_of_crlf = is_empty && was_cr && chunk[end] == b'\n';
            if !is_rest_of_crlf {
                self.end_line(line);
            }
            chunk = rest;
        }
        self.hold(chunk);
    }

    fn end_line(&mut self, rest: &[u8]) {
        if self.line.is_empty() && !self.overlong {
            self.judge(rest);
        } else {
            self.hold(rest);
            self.judge_held();
        }
    }

    /// The body has ended, and with it its last line.
    pub fn finish(&mut self) {
        self.seen.cut = self.dialect.end != End::Message && is_cut(&self.line);
        if !self.seen.cut {
            self.judge_held();
        }
    }

    fn judge_held(&mut self) {
        let whole = std::mem::take(&mut self.line);
        if !std::mem::take(&mut self.overlong) {
            self.judge(&whole);
        }
    }

    fn hold(&mut self, part: &[u8]) {
        if self.overlong {
            return;
        }
        if self.line.len() + part.len() <= LINE_MAX {
            self.line.extend_from_slice(part);
            return;
        }
        self.overlong = true;
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(&part[..part.len().min(DATA.len())]);
        self.note_overlong(&line);
    }

    /// An event all the same: a stream of nothing else is not silent.
    fn note_overlong(&mut self, line: &[u8]) {
        if self.dialect.frames == Frames::Lines || line.starts_with(DATA) {
            self.seen.events += 1;
            self.seen.unread = true;
            self.seen.speaks = true;
            self.seen.first.get_or_insert(First::Good);
        }
    }

    /// One whole line, without its end.
    fn judge(&mut self, line: &[u8]) {
        if line.len() > LINE_MAX {
            return self.note_overlong(line);
        }
        if self.dialect.frames == Frames::Lines {
            if !line.trim_ascii().is_empty() {
                self.data(line, false);
            }
            return;
        }
        match line.first() {
            None => self.kind = Kind::None,
            Some(b'd') => {
                if let Some(data) = field(line, b"data") {
                    self.data(data, false);
                }
            }
            Some(b'e') => {
                if let Some(kind) = field(line, b"event") {
                    self.kind = self.kind_of(kind.trim_ascii());
                } else if let Some(error) = field(line, b"error") {
                    // llama.cpp has said `error: {...}` where others say `data: {"error": ...}`
                    self.data(error, true);
                }
            }
            // an error that was to be an answer of its own, under the head of a stream (Lemonade Server)
            Some(b'{') if words::told(line, false).is_some() => self.data(line, false),
            Some(0xEF) => {
                if let Some(line) = line.strip_prefix(BOM) {
                    self.judge(line);
                }
            }
            Some(_) => {}
        }
    }

    fn kind_of(&self, kind: &[u8]) -> Kind {
        match self.dialect.end {
            _ if kind == b"ping" => Kind::Ping,
            _ if kind == b"error" => Kind::Error,
            End::Types(types) if types.iter().any(|end| end.as_bytes() == kind) => Kind::End,
            _ => Kind::Other,
        }
    }

    fn data(&mut self, data: &[u8], is_bare_error: bool) {
        if data.trim_ascii() == b"[DONE]" {
            self.seen.done = true;
            self.seen.first.get_or_insert(First::Good);
            return;
        }
        // an event without data is none (WHATWG HTML, section 9.2.6)
        if self.kind == Kind::Ping || data.trim_ascii().is_empty() {
            return;
        }
        let is_bare = is_bare_error || self.kind == Kind::Error;
        let error = words::told(data, is_bare).or_else(|| self.told_as_reason(data));
        if error.is_none() && self.is_ping(data) {
            return;
        }
        self.seen.events += 1;
        self.seen.speaks = self.seen.speaks || error.is_some() || !is_silent(self.dialect, data);
        self.seen.silent += u32::from(!self.seen.speaks);
        if error.is_some() {
            self.seen.error = self.seen.error.or(error);
        } else {
            self.note_end(data);
        }
        self.seen.first.get_or_insert(error.map_or(First::Good, First::Error));
    }

    /// A ping without an `event:` line.
    fn is_ping(&self, data: &[u8]) -> bool {
        matches!(self.dialect.end, End::Types(_)) && data.len() < 64 && has_type(data, "ping")
    }

    /// SGLang's `/generate` ends the stream of a request that it refuses with a reason:
    /// `"finish_reason": {"type": "abort", "status_code": 503, ...}`.
    fn told_as_reason(&self, data: &[u8]) -> Option<Told> {
        if !matches!(self.dialect.end, End::Members(_)) || STATUS_CODE.find(data).is_none() {
            return None;
        }
        let event: Value = serde_json::from_slice(data).ok()?;
        let reason = event.get("meta_info")?.get("finish_reason")?;
        let code =
            words::number(reason).filter(|_| reason.get("type").is_some_and(|kind| kind == "abort"))?;
        Some(Told { meaning: Meaning::of_number(code), code: Some(code) })
    }

    fn note_end(&mut self, data: &[u8]) {
        // what comes behind an event that was too long shows that this was not the last
        match self.dialect.end {
            End::Choices => self.note_choice(data),
            End::Types(types) => {
                self.note_stop_reason(data);
                let is_end = match self.kind {
                    Kind::End => true,
                    Kind::None => types.iter().any(|end| has_type(data, end)),
                    Kind::Ping | Kind::Error | Kind::Other => false,
                };
                if is_end || self.seen.events == 1 {
                    self.note_usage(data);
                }
                self.seen.ended |= is_end;
                self.seen.unread &= is_end;
                self.seen.aborted |= is_end && self.lacks_reason;
            }
            End::Members(Members { ends, opens, .. }) => {
                self.note_choice(data);
                self.seen.ended |= ends.iter().any(|(name, value)| has_own(data, name, value));
                let is_open = opens.iter().any(|(name, value)| has(anywhere(data, name), value));
                self.seen.open |= is_open;
                self.seen.unread &= !is_open;
            }
            End::Message => self.seen.aborted |= is_broken(data),
        }
    }

    fn note_choice(&mut self, data: &[u8]) {
        match self.seen.choices.note(data) {
            Noted::Broken => self.seen.aborted = true,
            Noted::Open => self.seen.unread &= !self.seen.choices.is_single(),
            Noted::Nothing | Noted::Finished => self.note_usage(data),
        }
    }

    /// Usage stands in an event without a choice, or in that which ends the choices; where events have types, in the last one, or in
    /// Anthropic's first, and what the answer has in its last but one.
    fn note_usage(&mut self, data: &[u8]) {
        if let Some(usage) = Usage::told(data) {
            self.usage = Some(usage.over(self.usage));
        }
    }

    /// Anthropic's last `message_delta` says why the answer ended. vLLM 0.32 that is being stopped says `null`.
    fn note_stop_reason(&mut self, data: &[u8]) {
        let Some(at) = STOP_REASON.find(data) else { return };
        if has_type(data, "message_delta") {
            let reason = value(&data[at + STOP_REASON.needle().len()..]);
            self.lacks_reason = reason.is_some_and(|reason| reason.starts_with(b"null"));
            if let Some(Usage { answer, .. }) = Usage::told(data) {
                // the prompt was told at the beginning
                self.usage = Some(Usage { answer, ..Usage::default() }.over(self.usage));
            }
        }
    }
}

impl Seen {
    /// The fault of the stream so far, if it has one. `is_over`: its HTTP message is complete.
    pub fn trouble(&self, dialect: &Dialect, is_over: bool) -> Option<Outcome> {
        match self.error {
            Some(told) if told.meaning == Meaning::Mistake => None,
            Some(told) => Some(told.meaning.outcome()),
            None if self.aborted => Some(Outcome::Aborted),
            None if is_over && !self.is_whole(dialect) => Some(Outcome::Truncated),
            None => None,
        }
    }

    /// True if nothing is missing once the HTTP message is complete: `[DONE]` is an end, and so is a finish reason.
    fn is_whole(&self, dialect: &Dialect) -> bool {
        let says_end = self.says_end() || self.unread || self.choices.are_finished();
        match dialect.end {
            End::Choices | End::Types(_) => says_end,
            // a form of its own, whose end nobody knows
            End::Members(members) => {
                let has_any = self.events > 0 || members.may_be_empty;
                says_end || has_any && !self.cut && !self.open && !self.choices.is_any_open()
            }
            End::Message => true,
        }
    }

    /// `[DONE]` came, though no choice has said that it is finished: some engines always do so, and llama-cpp-python does
    /// when another request takes the model away from this one. Only the end of the HTTP message tells them apart.
    pub fn is_doubtful(&self) -> bool {
        self.done && self.error.is_none() && !self.unread && self.choices.are_unfinished()
    }

    /// True once the stream has said that it is over.
    pub fn says_end(&self) -> bool {
        self.done || self.ended
    }
}

const DATA: &[u8] = b"data:";
/// May stand before a stream (section 9.2.5).
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The value of a line `name: value` (WHATWG HTML, server-sent events, section 9.2.6).
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// True if a line that the end of the body has ended holds a value that is not whole.
fn is_cut(line: &[u8]) -> bool {
    let data = field(line, b"data").unwrap_or(line).trim_ascii();
    let is_value = matches!(data.first(), Some(b'{' | b'[')) && data != b"[DONE]";
    is_value && serde_json::from_slice::<serde::de::IgnoredAny>(data).is_err()
}

fn has<'a>(mut values: impl Iterator<Item = &'a [u8]>, beginning: &str) -> bool {
    values.any(|value| value.starts_with(beginning.as_bytes()))
}

/// True if the event itself has a member of this name whose value begins so: arguments of tools may be objects with members
/// of any name.
fn has_own(event: &[u8], name: &str, beginning: &str) -> bool {
    // a cheap look first
    has(anywhere(event, name), beginning) && has(members(event, name), beginning)
}

#[cfg(test)]
mod tests;
