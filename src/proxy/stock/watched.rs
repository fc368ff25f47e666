//! The stream of a node's answer on Pingora's own path, watched like any other.
//!
//! Pingora drops a batch of pieces if the last of them is refused, so that those which it has not written yet are kept here: the
//! client gets them before its connection is cut.

use std::collections::VecDeque;

use bytes::Bytes;
use pingora::http::ResponseHeader;

use super::super::downstream::body::content_length;
use super::super::relay::events::{Failed, Watch, is_identity};
use crate::classify::Usage;
use crate::http1::Joined;
use crate::outcome::Outcome;

/// A stream on its way.
pub(super) struct Watched {
    watch: Watch,
    /// Pieces that Pingora may not have written yet.
    unsent: VecDeque<Bytes>,
    /// Bytes passed before them.
    sent: u64,
    is_over: bool,
    /// The last bytes for the client, once the stream has failed.
    last: Option<(Outcome, Bytes)>,
}

impl Watched {
    /// For a response that is a stream of events.
    pub(super) fn of(head: &ResponseHeader, path: &str) -> Option<Self> {
        let kind = head.headers.get(http::header::CONTENT_TYPE)?;
        let coding = head.headers.get(http::header::CONTENT_ENCODING);
        let is_readable = head.status == 200 && coding.is_none_or(|coding| is_identity(coding.as_bytes()));
        let watch = Watch::of_kind(kind.as_bytes(), content_length(&head.headers), path)?;
        is_readable.then(|| Self { watch, unsent: VecDeque::new(), sent: 0, is_over: false, last: None })
    }

    pub(super) fn take_usage(&mut self) -> Option<Usage> {
        self.watch.take_usage()
    }

    /// It has said something.
    pub(super) fn speaks(&self) -> bool {
        self.watch.speaks()
    }

    /// Events before its first words.
    pub(super) fn silent(&self) -> u32 {
        self.watch.silent()
    }

    /// Events so far.
    pub(super) fn events(&self) -> u64 {
        self.watch.events()
    }

    /// Looks at the next piece; `written`: bytes that Pingora has written so far. The piece that goes on, or the failure.
    pub(super) fn look(&mut self, piece: Bytes, ended: bool, written: u64) -> Result<Bytes, Outcome> {
        self.is_over |= ended;
        while let Some(first) = self.unsent.front()
            && self.sent + first.len() as u64 <= written
        {
            self.sent += first.len() as u64;
            self.unsent.pop_front();
        }
        let (passed, failed) = self.watch.look(piece, ended, None);
        if !passed.is_empty() {
            self.unsent.push_back(passed.clone());
        }
        match failed {
            None => Ok(passed),
            Some(Failed { outcome, closing_event }) => {
                self.fails(outcome, closing_event);
                Err(outcome)
            }
        }
    }

    /// The node has broken it off.
    pub(super) fn broke(&mut self, outcome: Outcome) {
        if self.last.is_none() {
            self.fails(outcome, self.watch.closing_event(outcome));
        }
    }

    fn fails(&mut self, outcome: Outcome, closing_event: Bytes) {
        let mut last = Joined::default();
        std::mem::take(&mut self.unsent).into_iter().for_each(|piece| last.push(piece));
        last.push(closing_event);
        self.last = Some((outcome, last.into_bytes()));
    }

    /// It has failed with its first event, which is an error.
    pub(super) fn says_nothing(&self) -> bool {
        let failed = self.failure().is_some_and(|outcome| !outcome.is_death());
        failed && self.watch.events() <= 1
    }

    /// Its failure, if it has failed.
    pub(super) fn failure(&self) -> Option<Outcome> {
        self.last.as_ref().map(|(outcome, _)| *outcome)
    }

    /// The bytes for the client before its connection is cut; `written`: those that it has.
    pub(super) fn take_last(&mut self, written: u64) -> Bytes {
        let (_, mut last) = self.last.take().unwrap_or((Outcome::Ok, Bytes::new()));
        let again = usize::try_from(written.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        last.split_off(again.min(last.len()))
    }

    /// The failure that its end shows, if Pingora has not said that it is there.
    pub(super) fn close(&mut self) -> Option<Outcome> {
        if self.is_over { None } else { self.look(Bytes::new(), true, u64::MAX).err() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: &str =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
    const FULL: &str = "data: {\"error\":{\"message\":\"full\",\"code\":503}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn watched() -> Watched {
        let mut head = ResponseHeader::build(200, None).unwrap();
        head.insert_header("Content-Type", "text/event-stream").unwrap();
        Watched::of(&head, "/v1/chat/completions").expect("a stream")
    }

    /// Each piece with the bytes that have been written before it; the pieces behind which the connection is cut.
    fn cut(pieces: &[(&'static str, u64)], written: u64) -> (Option<Outcome>, String) {
        let mut watched = watched();
        for (at, (piece, written)) in pieces.iter().enumerate() {
            let ended = at + 1 == pieces.len();
            if watched.look(Bytes::from_static(piece.as_bytes()), ended, *written).is_err() {
                break;
            }
        }
        let failure = watched.failure();
        (failure, String::from_utf8(watched.take_last(written).to_vec()).unwrap())
    }

    #[test]
    fn what_was_not_written_is_written_before_the_cut() {
        let word = WORD.len() as u64;
        for written in [0, word, 2 * word] {
            let (failure, last) = cut(&[(WORD, 0), (WORD, 0), ("", written)], written);
            assert_eq!(failure, Some(Outcome::Truncated));
            let (words, error) = last.split_at((2 * word - written) as usize);
            assert_eq!(words, WORD.repeat(2 - (written / word) as usize));
            assert!(error.starts_with("data: {\"error\":"), "{error}");
        }
        let (failure, last) = cut(&[(WORD, 0), (FULL, word), (DONE, word)], word);
        assert_eq!((failure, last.as_str()), (Some(Outcome::Busy), FULL));
        assert_eq!(cut(&[(FULL, 0), (DONE, 0)], 0), (Some(Outcome::Busy), FULL.to_owned()));
    }

    #[test]
    fn a_good_end_is_none_whether_it_is_told_or_not() {
        let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        assert_eq!(cut(&[(WORD, 0), (end, 0), (DONE, 0)], 0).0, None);
        for (last, want) in [(end, None), (WORD, Some(Outcome::Truncated))] {
            let mut watched = watched();
            assert!(watched.look(Bytes::from_static(last.as_bytes()), false, 0).is_ok());
            assert_eq!(watched.close(), want);
        }
    }
}
