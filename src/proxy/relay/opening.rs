//! The opening of a stream, before it says anything.
//!
//! vLLM and SGLang send a stream's head, and some of them an event that names the answer, long before the first token. As long as
//! nothing was said, another node can take the request over as a whole. So that its stream fits under the head that is out,
//! events that say nothing wait here for the first one that does; only comments and pings go on.

use bytes::Bytes;

use crate::classify::dialect::Frames;
use crate::classify::stream::Watcher;
use crate::http1::Joined;
use crate::outcome::Outcome;
use crate::resume::Splitter;

/// From how much on a stream is no longer held back with its head, or as a part of one event; in bytes.
pub(super) const HELD_BACK_MAX: usize = 64 * 1024;

/// The events held back, and the beginning of one.
#[derive(Debug, Default)]
pub(super) struct Opening {
    splitter: Splitter,
    held: Joined,
}

/// The result of looking at the next bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Nothing is said yet. These go on, which may be none.
    Silent(Bytes),
    /// All bytes that were held back, and the rest of what has come: not looked at yet.
    Speaks(Bytes),
    /// It has failed before it said anything. The event is its own error, if it has told one.
    Failed { outcome: Outcome, event: Bytes },
}

impl Opening {
    /// Looks at the next bytes. `ended`: they are the last.
    pub(super) fn push(&mut self, watcher: &mut Watcher, chunk: Bytes, ended: bool) -> Opened {
        if watcher.dialect().frames == Frames::Lines && !(chunk.is_empty() && ended) {
            return Opened::Speaks(chunk);
        }
        let mut passed = Joined::default();
        let mut events = self.splitter.push(chunk).into_iter();
        for event in events.by_ref() {
            let before = watcher.seen().events;
            watcher.look(&event);
            let seen = watcher.seen();
            if let Some(outcome) = seen.trouble(watcher.dialect(), false) {
                let event = if seen.error.is_some() { event } else { Bytes::new() };
                return Opened::Failed { outcome, event };
            }
            let is_over = seen.speaks || seen.done;
            if seen.events == before && !is_over {
                passed.push(event);
                continue;
            }
            self.held.push(event);
            if is_over {
                return self.speaks(events);
            }
        }
        if ended {
            return self.end(watcher);
        }
        if self.held.len() + self.splitter.rest() > HELD_BACK_MAX {
            return self.speaks(events);
        }
        Opened::Silent(passed.into_bytes())
    }

    /// The message is over. One without any event has told nobody anything.
    fn end(&mut self, watcher: &mut Watcher) -> Opened {
        let rest = self.splitter.take_rest();
        watcher.look(&rest);
        watcher.finish();
        self.held.push(rest);
        let (seen, dialect) = (watcher.seen(), watcher.dialect());
        let is_empty = dialect.has_events() && seen.first.is_none();
        match is_empty.then_some(Outcome::EngineError).or_else(|| seen.trouble(dialect, true)) {
            Some(outcome) if !seen.speaks || seen.error.is_some() => {
                let event = if seen.error.is_some() { self.take() } else { Bytes::new() };
                Opened::Failed { outcome, event }
            }
            _ => Opened::Speaks(self.take()),
        }
    }

    fn speaks(&mut self, more: impl Iterator<Item = Bytes>) -> Opened {
        more.for_each(|event| self.held.push(event));
        self.held.push(self.splitter.take_rest());
        Opened::Speaks(self.take())
    }

    fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.held).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::classify::dialect::Dialect;

    const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
    const WORD: &str =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
    const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    const DONE: &str = "data: [DONE]\n\n";
    const ERROR: &str = "data: {\"error\":{\"message\":\"EngineCore died\",\"code\":500}}\n\n";
    const FULL: &str = "data: {\"error\":{\"message\":\"full\",\"code\":503}}\n\n";
    const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\"}\n\n";
    const DELTA: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n";
    const START: &str = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n";
    const PING: &str = "event: ping\ndata: {\"type\":\"ping\"}\n\n";
    const BEAT: &str = ": keep-alive\n\n";

    /// The result of all pieces, one after the other: what has gone on meanwhile, and the last.
    fn opened(path: &str, pieces: &[&str], ends: bool) -> (String, Opened) {
        let mut watcher = Watcher::new(Dialect::of(path).expect("a dialect"));
        let (mut opening, mut passed) = (Opening::default(), Vec::new());
        for (at, piece) in pieces.iter().enumerate() {
            let ended = ends && at + 1 == pieces.len();
            match opening.push(&mut watcher, Bytes::copy_from_slice(piece.as_bytes()), ended) {
                Opened::Silent(more) => passed.extend_from_slice(&more),
                opened => return (String::from_utf8(passed).unwrap(), opened),
            }
        }
        (String::from_utf8(passed).unwrap(), Opened::Silent(Bytes::new()))
    }

    fn speaks(all: &[&str]) -> Opened {
        Opened::Speaks(all.concat().into())
    }

    fn failed(outcome: Outcome, event: &'static str) -> Opened {
        Opened::Failed { outcome, event: event.into() }
    }

    #[test]
    fn what_says_nothing_waits_for_what_does() {
        let (chat, responses, messages) = ("/chat/completions", "/responses", "/messages");
        type Row<'a> = (&'a str, &'a [&'a str], bool, &'a str, Opened);
        let silent = || Opened::Silent(Bytes::new());
        let table: [Row; 19] = [
            (chat, &[ROLE], false, "", silent()),
            (chat, &[ROLE, WORD], false, "", speaks(&[ROLE, WORD])),
            (
                chat,
                &[BEAT, ROLE, BEAT, BEAT],
                false,
                ": keep-alive\n\n: keep-alive\n\n: keep-alive\n\n",
                silent(),
            ),
            (chat, &["data: {\"choi"], false, "", silent()),
            (chat, &[STOP], false, "", speaks(&[STOP])),
            (chat, &[ROLE, DONE], false, "", speaks(&[ROLE, DONE])),
            (chat, &[ROLE, ERROR], false, "", failed(Outcome::EngineError, ERROR)),
            (chat, &[FULL], false, "", failed(Outcome::Busy, FULL)),
            (chat, &[ROLE, ""], true, "", failed(Outcome::Truncated, "")),
            (chat, &[BEAT, ""], true, BEAT, failed(Outcome::EngineError, "")),
            (chat, &[""], true, "", failed(Outcome::EngineError, "")),
            (
                chat,
                &["data: {\"error\":\"x\"}"],
                true,
                "",
                failed(Outcome::EngineError, "data: {\"error\":\"x\"}"),
            ),
            (chat, &["data: [DONE]"], true, "", speaks(&["data: [DONE]"])),
            (responses, &[CREATED], false, "", silent()),
            (responses, &[CREATED, BEAT, DELTA], false, BEAT, speaks(&[CREATED, DELTA])),
            (responses, &[CREATED, ""], true, "", failed(Outcome::Truncated, "")),
            (
                messages,
                &[PING, START, PING],
                false,
                "event: ping\ndata: {\"type\":\"ping\"}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
                silent(),
            ),
            ("/api/chat", &["{\"mess"], false, "", speaks(&["{\"mess"])),
            ("/audio/transcriptions", &[ROLE], false, "", speaks(&[ROLE])),
        ];
        for (path, pieces, ends, passed, want) in table {
            assert_eq!(opened(path, pieces, ends), (passed.to_owned(), want), "{path} {pieces:?}");
        }
    }

    #[test]
    fn no_more_is_held_back_than_may_be() {
        let long = format!("data: {}", "x".repeat(HELD_BACK_MAX));
        assert_eq!(opened("/chat/completions", &[ROLE, &long], false).1, speaks(&[ROLE, &long]));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_it_is_split(cuts in proptest::collection::vec(0_usize..700, 0..8)) {
            let whole = [ROLE, WORD, WORD, STOP, DONE].concat();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
            let mut watcher = Watcher::new(Dialect::of("/chat/completions").unwrap());
            let mut opening = Opening::default();
            let mut fed = 0;
            for piece in pieces {
                fed += piece.len();
                match opening.push(&mut watcher, Bytes::copy_from_slice(piece.as_bytes()), false) {
                    Opened::Silent(passed) => prop_assert!(passed.is_empty()),
                    opened => {
                        prop_assert_eq!(opened, Opened::Speaks(Bytes::copy_from_slice(&whole.as_bytes()[..fed])));
                        break;
                    }
                }
            }
            prop_assert!(fed >= ROLE.len() + WORD.len());
        }
    }
}
