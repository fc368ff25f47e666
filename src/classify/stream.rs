//! Detecting failures inside a stream of server-sent events as it passes.
//!
//! The status code precedes the first token, so later failures show only in the stream. When its engine dies, vLLM
//! sends `data: {"error": ...}` and then `data: [DONE]` as if nothing had happened; when told to stop, it sends
//! `"finish_reason":"abort"`; when killed, it sends nothing more. The watcher changes nothing. It accepts any split of
//! the bytes, buffers at most one line, and parses only lines that look like trouble.

use std::sync::LazyLock;

use memchr::memmem::{Finder, FinderRev};

use crate::outcome::Outcome;

/// Longest line that is examined, in bytes; a longer one is only counted.
const LINE_MAX: usize = 64 * 1024;

/// Built once: building a finder costs more than searching an event.
static TOKENS: LazyLock<[FinderRev<'static>; 2]> =
    LazyLock::new(|| ["\"completion_tokens\"", "\"output_tokens\""].map(FinderRev::new));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"error\""));
static FINISH_REASON: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"finish_reason\""));

/// The first event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// A token, or anything else that is not an error.
    Good,
    /// An error, with its code if it has one.
    Error(Option<u16>),
}

/// The state of a stream so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The first event, once it is complete.
    pub first: Option<First>,
    /// Events with data, `[DONE]` not counted.
    pub events: u64,
    /// The first error event, with its code if it had one.
    pub error: Option<Option<u16>>,
    /// The engine was told to stop (`finish_reason: "abort"`).
    pub aborted: bool,
    /// A choice has ended (`finish_reason` with a value).
    pub finished: bool,
    /// A choice was reported as not yet ended (`finish_reason: null`).
    pub unfinished: bool,
    /// An event was too long to examine; it may have been the last of its choice.
    pub unread: bool,
    /// `[DONE]` came.
    pub done: bool,
}

/// The outcome of a stream that begins with an error event; SGLang reports "full" this way.
pub fn error_event(code: Option<u16>) -> Outcome {
    match code {
        Some(429 | 503) => Outcome::Busy,
        Some(400..=499) => Outcome::Ok,
        _ => Outcome::EngineError,
    }
}

/// The failure that a stream shows so far, if any. `ended`: no more bytes follow; `wants_done`: a stream of this path
/// ends with `[DONE]`.
pub fn trouble(seen: &Seen, ended: bool, wants_done: bool) -> Option<Outcome> {
    match seen.error {
        Some(code) if error_event(code) != Outcome::Ok => Some(Outcome::EngineError),
        Some(_) => None,
        None if seen.aborted => Some(Outcome::Aborted),
        // llama-cpp-python ends a stream like this when another request takes over the model
        None if seen.done && seen.unfinished && !seen.finished && !seen.unread => Some(Outcome::Truncated),
        None if ended && wants_done && !seen.done => Some(Outcome::Truncated),
        None => None,
    }
}

/// True if a stream from this path (without its query) ends with `[DONE]`, as in OpenAI's two older APIs.
pub fn wants_done(path: &str) -> bool {
    matches!(path, "/v1/chat/completions" | "/v1/completions" | "/chat/completions")
}

/// Watches one stream for failures.
#[derive(Debug, Default)]
pub struct Watcher {
    /// The incomplete line at the end of the last chunk.
    line: Vec<u8>,
    /// The incomplete line is too long to examine.
    overlong: bool,
    seen: Seen,
}

impl Watcher {
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Examines the next bytes of the stream, however they are split.
    pub fn look(&mut self, mut chunk: &[u8]) {
        while let Some(end) = memchr::memchr2(b'\n', b'\r', chunk) {
            let (line, rest) = (&chunk[..end], &chunk[end + 1..]);
            if self.line.is_empty() && !self.overlong {
                self.judge(line);
            } else {
                self.hold(line);
                let whole = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.overlong) {
                    self.judge(&whole);
                }
            }
            chunk = rest;
        }
        self.hold(chunk);
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

    /// Counts an overlong line as an event: a stream of such lines is not silent.
    fn note_overlong(&mut self, line: &[u8]) {
        if line.starts_with(DATA) {
            self.seen.events += 1;
            self.seen.unread = true;
            self.seen.first.get_or_insert(First::Good);
        }
    }

    /// Examines a complete line, without its line end.
    fn judge(&mut self, line: &[u8]) {
        if line.len() > LINE_MAX {
            return self.note_overlong(line);
        }
        // older llama.cpp sends `error: {...}` where others send `data: {"error": ...}`
        let (data, bare) = match (field(line, b"data"), field(line, b"error")) {
            (Some(data), _) => (data, false),
            (None, Some(error)) => (error, true),
            (None, None) => return,
        };
        if data == b"[DONE]" {
            self.seen.done = true;
            return;
        }
        self.seen.events += 1;
        let error = error_of(data, bare);
        if let Some(code) = error {
            self.seen.error.get_or_insert(code);
        } else {
            self.note_finish(data);
        }
        self.seen.first.get_or_insert(error.map_or(First::Good, First::Error));
    }

    fn note_finish(&mut self, data: &[u8]) {
        match finish_reason(data) {
            Some(Finish::Not) => self.seen.unfinished = true,
            Some(Finish::With(reason)) => {
                self.seen.finished = true;
                self.seen.aborted |= reason.starts_with(ABORT);
            }
            None => {}
        }
    }
}

const DATA: &[u8] = b"data:";
const ABORT: &[u8] = b"abort\"";

/// The value of `finish_reason`.
enum Finish<'a> {
    /// `null`
    Not,
    /// A string; the bytes after its opening quote.
    With(&'a [u8]),
}

/// The finish reason, if there is one. Generated text cannot imitate it: there the quotes are escaped.
fn finish_reason(data: &[u8]) -> Option<Finish<'_>> {
    let value = data[FINISH_REASON.find(data)? + FINISH_REASON.needle().len()..].trim_ascii_start();
    let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii_start();
    match value.strip_prefix(b"\"") {
        Some(reason) => Some(Finish::With(reason)),
        None => value.starts_with(b"null").then_some(Finish::Not),
    }
}

/// The outcome of a complete answer that is not a stream: the engine may have been told to stop in the middle.
pub fn whole_answer(path: &str, body: &[u8]) -> Outcome {
    let aborted = || matches!(finish_reason(body), Some(Finish::With(reason)) if reason.starts_with(ABORT));
    if wants_done(path) && aborted() { Outcome::Aborted } else { Outcome::Ok }
}

/// The token count in a complete answer, under OpenAI's older name or its newer one. The last occurrence counts the
/// whole answer; generated text cannot imitate it, since there the quotes are escaped.
pub fn completion_tokens(body: &[u8]) -> Option<u64> {
    let count = |name: &FinderRev<'_>| {
        let value = body[name.rfind(body)? + name.needle().len()..].trim_ascii_start();
        let value = value.strip_prefix(b":")?.trim_ascii_start();
        let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&value[..digits]).ok()?.parse().ok()
    };
    count(&TOKENS[0]).or_else(|| count(&TOKENS[1]))
}

/// The value of a line `name: value` (WHATWG HTML, server-sent events, section 9.2.6).
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// The code of an error event, if the event is one: `{"error": {...}}` at the top level, or the bare error object.
fn error_of(data: &[u8], bare: bool) -> Option<Option<u16>> {
    // a cheap search first: tokens are many, errors few
    if !bare && ERROR.find(data).is_none() {
        return None;
    }
    #[derive(serde::Deserialize)]
    struct Event {
        error: Option<serde_json::Value>,
    }
    let error = if bare {
        serde_json::from_slice(data).unwrap_or(serde_json::Value::Bool(true))
    } else {
        serde_json::from_slice::<Event>(data).ok()?.error?
    };
    if error.is_null() {
        return None;
    }
    let code = error.get("code").and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
    // engines without a numeric code send OpenAI's error type, or the name of a Python exception
    let is_clients = || {
        let words = ["type", "code"].into_iter().filter_map(|key| error.get(key)?.as_str());
        words.into_iter().any(|word| word.starts_with("invalid_request") || word.starts_with("BadRequest"))
    };
    Some(code.and_then(|code| u16::try_from(code).ok()).or_else(|| is_clients().then_some(400)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn watch(parts: &[&[u8]]) -> Seen {
        let mut watcher = Watcher::default();
        parts.iter().for_each(|part| watcher.look(part));
        *watcher.seen()
    }

    const TOKEN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n";
    const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    const ABORT: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\": \"abort\"}]}\r\n\r\n";
    const DEAD: &str = "data: {\"error\": {\"message\": \"EngineCore\", \"code\": 500}}\n\n";
    const FULL: &str = "data: {\"error\":{\"message\":\"The request queue is full.\",\"code\":\"503\"}}\n\n";
    const QUOTED: &str =
        "data: {\"choices\":[{\"delta\":{\"content\":\"say \\\"error\\\": no\"}}],\"error\":null}\n\n";
    const DONE: &str = "data: [DONE]\n\n";
    const COMMENT: &str = ": ping\nevent: message\nid: 7\n\n";
    const BARE: &str = "error: {\"code\":400,\"message\":\"bad\"}\n\n";

    #[test]
    fn the_state_of_a_stream_is_read_from_its_events() {
        let good = Seen { first: Some(First::Good), unfinished: true, ..Seen::default() };
        let table: [(&[&str], Seen); 9] = [
            (&[COMMENT], Seen::default()),
            (&[TOKEN], Seen { events: 1, ..good }),
            (&[TOKEN, STOP, DONE], Seen { events: 2, finished: true, done: true, ..good }),
            (&[TOKEN, ABORT, DONE], Seen { events: 2, finished: true, aborted: true, done: true, ..good }),
            (&[TOKEN, DEAD, DONE], Seen { events: 2, error: Some(Some(500)), done: true, ..good }),
            (&[TOKEN, TOKEN], Seen { events: 2, ..good }),
            (&[QUOTED], Seen { events: 1, unfinished: false, ..good }),
            (
                &[FULL],
                Seen {
                    first: Some(First::Error(Some(503))),
                    events: 1,
                    error: Some(Some(503)),
                    ..Seen::default()
                },
            ),
            (
                &[BARE],
                Seen {
                    first: Some(First::Error(Some(400))),
                    events: 1,
                    error: Some(Some(400)),
                    ..Seen::default()
                },
            ),
        ];
        for (events, want) in table {
            assert_eq!(watch(&[events.concat().as_bytes()]), want, "{events:?}");
        }
    }

    #[test]
    fn an_error_without_a_code_is_the_clients_fault_if_its_type_says_so() {
        let error = |text: &str| watch(&[format!("data: {{\"error\":{text}}}\n\n").as_bytes()]).error;
        assert_eq!(error(r#"{"type":"invalid_request_error","code":null}"#), Some(Some(400)));
        assert_eq!(error(r#"{"type":"BadRequestError"}"#), Some(Some(400)));
        assert_eq!(error(r#"{"type":"server_error"}"#), Some(None));
        assert_eq!(error(r#""out of memory""#), Some(None));
    }

    #[test]
    fn a_complete_answer_may_have_been_aborted() {
        let aborted = br#"{"choices":[{"message":{"content":"a"},"finish_reason": "abort"}]}"#;
        let quoted =
            br#"{"choices":[{"message":{"content":"\"finish_reason\":\"abort\""},"finish_reason":"stop"}]}"#;
        assert_eq!(whole_answer("/v1/chat/completions", aborted), Outcome::Aborted);
        assert_eq!(whole_answer("/v1/chat/completions", quoted), Outcome::Ok);
        assert_eq!(whole_answer("/v1/files", aborted), Outcome::Ok);
    }

    #[test]
    fn the_token_count_of_a_complete_answer_is_found() {
        let table: [(&str, Option<u64>); 6] = [
            (r#"{"usage":{"prompt_tokens":9,"completion_tokens":41,"total_tokens":50}}"#, Some(41)),
            (r#"{"usage": {"completion_tokens" : 7 , "completion_tokens_details": {"x":1}}}"#, Some(7)),
            (r#"{"usage":{"input_tokens":9,"output_tokens":3}}"#, Some(3)),
            (r#"{"text":"\"completion_tokens\":9"}"#, None),
            (r#"{"usage":{"completion_tokens":null}}"#, None),
            (r#"{"completion_tokens"#, None),
        ];
        for (body, want) in table {
            assert_eq!(completion_tokens(body.as_bytes()), want, "{body}");
        }
    }

    #[test]
    fn an_overlong_line_is_skipped_and_the_next_one_is_examined() {
        let long = format!("data: {{\"error\":{{\"pad\":\"{}\"}}}}\n\n", "x".repeat(2 * LINE_MAX));
        for size in [1, 1000, long.len()] {
            let mut watcher = Watcher::default();
            long.as_bytes().chunks(size).for_each(|part| watcher.look(part));
            assert!(watcher.line.len() <= LINE_MAX);
            watcher.look(DONE.as_bytes());
            assert!(watcher.seen().done);
        }
    }

    #[test]
    fn an_overlong_event_is_counted_and_may_have_been_the_last() {
        // as when the event that ends the stream holds a complete tool call
        let pad = "x".repeat(2 * LINE_MAX);
        let last = format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{pad}\"}},\"finish_reason\":\"stop\"}}]}}\n\n"
        );
        let whole = [TOKEN, &last, DONE].concat();
        for size in [1, 1000, whole.len()] {
            let parts: Vec<_> = whole.as_bytes().chunks(size).collect();
            let seen = watch(&parts);
            assert_eq!((seen.events, trouble(&seen, true, true)), (2, None), "{size}");
        }
        assert_eq!(watch(&[last.as_bytes()]).first, Some(First::Good));
        assert_eq!(watch(&[format!(": {pad}\n\n").as_bytes()]), Seen::default(), "a comment");
    }

    #[test]
    fn the_trouble_of_a_stream() {
        let table: [(&[&str], bool, Option<Outcome>); 10] = [
            (&[TOKEN, DONE], false, Some(Outcome::Truncated)),
            (&[QUOTED, DONE], true, None),
            (&[TOKEN], false, None),
            (&[TOKEN], true, Some(Outcome::Truncated)),
            (&[], true, Some(Outcome::Truncated)),
            (&[TOKEN, STOP, DONE], true, None),
            (&[TOKEN, DEAD], false, Some(Outcome::EngineError)),
            (&[TOKEN, DEAD, DONE], true, Some(Outcome::EngineError)),
            (&[TOKEN, ABORT, DONE], true, Some(Outcome::Aborted)),
            (&[BARE], true, None),
        ];
        for (events, ended, want) in table {
            let seen = watch(&[events.concat().as_bytes()]);
            assert_eq!(trouble(&seen, ended, true), want, "{events:?}");
        }
        assert_eq!(trouble(&watch(&[TOKEN.as_bytes()]), true, false), None, "a path without [DONE]");
        let codes = [Some(503), Some(429), Some(500), None, Some(400)];
        let outcomes = codes.map(error_event);
        use Outcome::{Busy, EngineError, Ok};
        assert_eq!(outcomes, [Busy, Busy, EngineError, EngineError, Ok]);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_verdict(
            picks in prop::collection::vec(0..8_usize, 1..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let samples = [TOKEN, STOP, ABORT, DEAD, FULL, QUOTED, DONE, COMMENT];
            let text: String = picks.iter().map(|pick| samples[*pick]).collect();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<_> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(watch(&parts), watch(&[text.as_bytes()]));
        }

        #[test]
        fn nothing_makes_it_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..16)) {
            let parts: Vec<_> = chunks.iter().map(Vec::as_slice).collect();
            watch(&parts);
        }
    }
}
