//! A stream of events on its way: what it says of itself is watched, and an end that is not one is made visible.
//!
//! The bytes go on as they come. Only two things are held back: the head, until the first event shows that the stream
//! has begun well (`timeouts.first_event`), and the `[DONE]` of a stream that has failed, because a client that saw it would
//! take the broken answer for a whole one. With `retry.resume`, whole events go on, as the transcript tells them, so that
//! another node can go on between two of them.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::downstream::tail::Tail;
use super::opening::{HELD_BACK_MAX, Opened, Opening};
use crate::classify::Usage;
use crate::classify::dialect::{Dialect, Frames, OTHER};
use crate::classify::own_errors;
use crate::classify::stream::{First, Watcher};
use crate::classify::words::Meaning;
use crate::http1::{Joined, ResponseHead};
use crate::journey::CANCELLED;
use crate::outcome::Outcome;
use crate::resume::{NotResumable, Splitter, Transcript};

/// Media types of JSON values, a line each: Ollama's, and what proxies in front of it make of that.
const LINES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

/// A Content-Encoding that says there is none (RFC 9110 section 12.5.3 names it; section 8.4 tells servers not to send it).
pub(crate) fn is_identity(coding: &[u8]) -> bool {
    coding.trim_ascii().eq_ignore_ascii_case(b"identity")
}

/// Watches one stream.
pub(crate) struct Watch {
    watcher: Watcher,
    /// A `[DONE]`, and the bytes behind it, until the end of the message tells whether it is one.
    held: Bytes,
    /// The rest of the length that the client was told, in bytes.
    room: Option<u64>,
    /// As long as it has said nothing.
    opening: Option<Opening>,
    splitter: Splitter,
    /// The last bytes that went on as they came.
    tail: Tail,
    /// `timeouts.stall`.
    stall: Option<Duration>,
    /// The time at which the stream will have been silent for so long.
    deadline: Option<Instant>,
}

/// The bytes that go on to the client, which may be none, and the failure of the stream if they are the last.
pub(crate) type Passed = (Bytes, Option<Failed>);

/// A stream that has failed after it had begun.
pub(crate) struct Failed {
    pub outcome: Outcome,
    /// The client's last event if the stream is not continued.
    pub closing_event: Bytes,
}

impl Watch {
    /// For a response that is a stream of events; nothing else is looked into.
    pub(crate) fn of(head: &ResponseHead, path: &str) -> Option<Self> {
        let kind = head.fields.get("content-type")?;
        let coding = head.fields.get("content-encoding");
        let is_readable = coding.is_none_or(is_identity) && head.status == 200;
        if is_readable { Self::of_kind(kind, head.content_length(), path) } else { None }
    }

    /// The same for a readable one of this media type and length.
    pub(crate) fn of_kind(kind: &[u8], length: Option<u64>, path: &str) -> Option<Self> {
        let is = |other: &str| {
            kind.get(..other.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(other.as_bytes()))
        };
        let dialect = Dialect::of(path).unwrap_or(&OTHER);
        let dialect = match dialect.frames {
            Frames::Events if is("text/event-stream") => dialect,
            Frames::Lines if LINES.iter().any(|kind| is(kind)) => dialect,
            // llama.cpp speaks OpenAI's chat on Ollama's paths
            Frames::Lines if is("text/event-stream") => Dialect::of("/chat/completions").unwrap_or(&OTHER),
            Frames::Events | Frames::Lines => return None,
        };
        Some(Self {
            watcher: Watcher::new(dialect),
            held: Bytes::new(),
            room: length,
            opening: None,
            splitter: Splitter::default(),
            tail: Tail::default(),
            stall: None,
            deadline: None,
        })
    }

    /// Looks at bytes of the beginning, until its first event is complete. An error there is the outcome, with its code.
    /// `ended`: they are the last, and end the event under way.
    pub(crate) fn look_at_first(
        &mut self,
        chunk: &[u8],
        ended: bool,
    ) -> Option<Result<(), (Outcome, Option<u16>)>> {
        self.watcher.look(chunk);
        if ended {
            self.watcher.finish();
        }
        Some(match self.watcher.seen().first? {
            First::Good => Ok(()),
            First::Error(told) if told.meaning == Meaning::Mistake => Ok(()),
            First::Error(told) => Err((told.meaning.outcome(), told.code)),
        })
    }

    /// It has passed nobody anything yet, though it should have.
    pub(crate) fn lacks_first(&self) -> bool {
        self.watcher.dialect().has_events() && self.watcher.seen().first.is_none()
    }

    /// Looks anew at the bytes that [`Self::look_at_first`] has looked at, of a stream that may have to begin again on another
    /// node. The bytes to begin with once it says something; or those that go on before.
    pub(crate) fn open(
        &mut self,
        start: Bytes,
        ended: bool,
        stall: Option<Duration>,
    ) -> Result<Bytes, Passed> {
        self.stall = stall;
        self.watcher.restart();
        self.opening = Some(Opening::default());
        let opened = self.opened(start, ended);
        self.note_life(0);
        opened
    }

    /// It has said nothing so far.
    pub(crate) fn is_opening(&self) -> bool {
        self.opening.is_some()
    }

    fn opened(&mut self, chunk: Bytes, ended: bool) -> Result<Bytes, Passed> {
        let Some(opening) = &mut self.opening else { return Ok(chunk) };
        match opening.push(&mut self.watcher, chunk, ended) {
            Opened::Silent(comments) => {
                self.follow(&comments);
                Err((comments, None))
            }
            Opened::Speaks(all) => {
                self.opening = None;
                self.watcher.restart();
                Ok(all)
            }
            Opened::Failed { outcome, event } => {
                let closing_event = if event.is_empty() { self.closing_event(outcome) } else { event };
                Err((Bytes::new(), Some(Failed { outcome, closing_event })))
            }
        }
    }

    /// Passes on the bytes that [`Self::look_at_first`] has looked at. From here on a silence longer than `stall`
    /// ends the stream, once its first event has come.
    pub(crate) fn begin(
        &mut self,
        start: Bytes,
        ended: bool,
        transcript: Option<&mut Transcript>,
        stall: Option<Duration>,
    ) -> Passed {
        self.stall = stall;
        match transcript {
            Some(transcript) => {
                // a stream that may be continued has no length, whatever this node's part of it has
                self.room = None;
                self.watcher.restart();
                self.look(start, ended, Some(transcript))
            }
            None if self.watcher.seen().events == 0 => self.look(start, ended, None),
            None => {
                self.note_life(0);
                self.judge(start, ended, false)
            }
        }
    }

    /// Looks at the next bytes. `ended`: they are the last.
    pub(crate) fn look(&mut self, chunk: Bytes, ended: bool, transcript: Option<&mut Transcript>) -> Passed {
        let before = self.watcher.seen().events;
        let chunk = match self.opened(chunk, ended) {
            Ok(chunk) => chunk,
            Err(passed) => {
                self.note_life(before);
                return passed;
            }
        };
        let (before, done) = (self.watcher.seen().events, self.watcher.seen().done);
        let passed = match transcript.filter(|transcript| !transcript.is_over()) {
            Some(transcript) => self.rewrite(chunk, ended, transcript),
            None => {
                self.watcher.look(&chunk);
                self.judge(chunk, ended, done)
            }
        };
        self.note_life(before);
        passed
    }

    /// The tokens that the stream has told since the last call.
    pub(crate) fn take_usage(&mut self) -> Option<Usage> {
        self.watcher.take_usage()
    }

    /// Events before its first words.
    pub(crate) fn silent(&self) -> u32 {
        self.watcher.seen().silent
    }

    /// Events so far, comments not among them.
    pub(crate) fn events(&self) -> u64 {
        self.watcher.seen().events
    }

    /// The time at which it will have stalled, unless another event comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Nobody has listened for a while: its silence begins anew.
    pub(crate) fn restart_stall_clock(&mut self) {
        self.deadline = self.deadline.and(self.stall).map(|stall| Instant::now() + stall);
    }

    /// Comments do not count: a server can send them while its engine hangs.
    fn note_life(&mut self, events_before: u64) {
        let seen = self.watcher.seen();
        if seen.says_end() && !seen.is_doubtful() {
            self.deadline = None;
        } else if seen.events > events_before {
            self.deadline = self.stall.map(|stall| Instant::now() + stall);
        }
    }

    fn judge(&mut self, chunk: Bytes, ended: bool, was_done: bool) -> Passed {
        if ended {
            self.watcher.finish();
        }
        let chunk = self.behind_held(chunk);
        let seen = *self.watcher.seen();
        let end = |chunk: &Bytes| match done_at(chunk) {
            Some(at) => at,
            // its first half has gone out
            None if seen.done && !was_done => 0,
            None => chunk.len(),
        };
        match seen.trouble(self.watcher.dialect(), ended) {
            Some(outcome) => {
                let mut last = chunk.slice(..end(&chunk));
                if ended && seen.error.is_none() && self.room == Some(last.len() as u64) {
                    // to its client the message would be whole
                    last.truncate(last.len().saturating_sub(1));
                }
                self.follow(&last);
                let closing_event =
                    if seen.error.is_none() { self.closing_event(outcome) } else { Bytes::new() };
                (last, Some(Failed { outcome, closing_event }))
            }
            None => {
                let mut passed = chunk;
                if seen.is_doubtful() && !ended {
                    self.held = passed.split_off(end(&passed));
                }
                self.follow(&passed);
                (passed, None)
            }
        }
    }

    fn behind_held(&mut self, chunk: Bytes) -> Bytes {
        if self.held.is_empty() {
            return chunk;
        }
        let mut joined = Joined::default();
        joined.push(std::mem::take(&mut self.held));
        joined.push(chunk);
        joined.into_bytes()
    }

    /// These bytes go on.
    fn follow(&mut self, chunk: &[u8]) {
        self.tail.follow(chunk);
        self.room = self.room.map(|room| room.saturating_sub(chunk.len() as u64));
    }

    /// Passes whole events, as the transcript rewrites them. The event with which the trouble begins is kept from the client: the
    /// next node goes on before it.
    fn rewrite(&mut self, chunk: Bytes, ended: bool, transcript: &mut Transcript) -> Passed {
        let mut passed = Joined::default();
        for event in self.splitter.push(chunk) {
            if event.len() > HELD_BACK_MAX {
                // the ids of a long prompt, behind which the watcher would see nothing
                self.watcher.look(&transcript.shown(&event));
            } else {
                self.watcher.look(&event);
            }
            let seen = self.watcher.seen();
            let is_cut_short = seen.done && transcript.is_cut_short();
            let trouble = seen.trouble(self.watcher.dialect(), false);
            if let Some(outcome) = trouble.or(is_cut_short.then_some(Outcome::Truncated)) {
                let says_itself = self.watcher.seen().error.is_some();
                let closing_event = if says_itself { event } else { self.closing_event(outcome) };
                return (passed.into_bytes(), Some(Failed { outcome, closing_event }));
            }
            transcript.deliver(event).into_iter().for_each(|event| passed.push(event));
        }
        let is_too_large = self.splitter.rest() > transcript.event_max().max(HELD_BACK_MAX);
        if is_too_large {
            transcript.give_up(NotResumable::NotUnderstood);
        }
        if ended || is_too_large || transcript.is_over() {
            let rest = self.splitter.take_rest();
            self.watcher.look(&rest);
            if ended {
                self.watcher.finish();
            }
            if let Some(outcome) = self.watcher.seen().trouble(self.watcher.dialect(), ended) {
                let closing_event = self.closing_event(outcome);
                return (passed.into_bytes(), Some(Failed { outcome, closing_event }));
            }
            passed.push(rest);
        }
        (passed.into_bytes(), None)
    }

    /// The error event of our own with which a stream ends that says nothing itself, after an event that the node may
    /// not have ended. Empty if it would fill up the length: what is missing of that then says it.
    pub(crate) fn closing_event(&self, outcome: Outcome) -> Bytes {
        let separator = if self.tail.is_boundary() {
            ""
        } else if self.tail.is_line_end() {
            "\n"
        } else {
            "\n\n"
        };
        let message = match outcome {
            Outcome::Aborted => "the node was stopped before the answer was complete",
            Outcome::Stalled => "the node went silent before the answer was complete",
            Outcome::ClientGone => CANCELLED,
            _ => "the node broke off before the answer was complete",
        };
        let dialect = self.watcher.dialect();
        let separator = match dialect.frames {
            Frames::Lines if !self.tail.is_newline() => "\n",
            Frames::Lines => "",
            Frames::Events => separator,
        };
        let event =
            format!("{separator}{}", own_errors::closing_event(dialect.shape, dialect.frames, message));
        let fits = self.room.is_none_or(|room| (event.len() as u64) < room);
        if fits { event.into() } else { Bytes::new() }
    }
}

/// The position of the line with which a stream ends.
fn done_at(chunk: &[u8]) -> Option<usize> {
    let is_done =
        |line: &[u8]| line.strip_prefix(b"data:").is_some_and(|data| data.trim_ascii() == b"[DONE]");
    let mut at = 0;
    for line in chunk.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        if is_done(line) {
            return Some(at);
        }
        at += line.len();
    }
    None
}
