//! Splitting a byte stream into server-sent events, and finding the data of one.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

/// Assembles the bytes of a stream into complete events, each with its final blank line.
#[derive(Debug, Default)]
pub struct Splitter {
    rest: BytesMut,
}

impl Splitter {
    /// Bytes buffered of an incomplete event.
    pub fn rest(&self) -> usize {
        self.rest.len()
    }

    pub fn take_rest(&mut self) -> Bytes {
        self.rest.split().freeze()
    }

    /// Adds bytes and returns the events that are now complete.
    pub fn push(&mut self, mut chunk: Bytes) -> Vec<Bytes> {
        let mut events = Vec::new();
        if !self.rest.is_empty() {
            // the blank line that ends the event may be split between the buffer and this chunk
            let seam = self.rest.len().saturating_sub(3);
            self.rest.extend_from_slice(&chunk);
            let Some(end) = event_end(&self.rest[seam..]) else { return events };
            let length = seam + end;
            chunk.advance(length - (self.rest.len() - chunk.len()));
            events.push(self.rest.split_to(length).freeze());
            self.rest.clear();
        }
        while let Some(end) = event_end(&chunk) {
            events.push(chunk.split_to(end));
        }
        self.rest.extend_from_slice(&chunk);
        events
    }
}

/// Length of the first event, with its final blank line.
fn event_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// The place of an event's data.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// No data, only a comment or other fields.
    None,
    One(Range<usize>),
    /// More than one line of data.
    Several,
}

pub(super) fn data(event: &[u8]) -> Data {
    let mut found = Data::None;
    let mut at = 0;
    while at < event.len() {
        let end = memchr::memchr(b'\n', &event[at..]).map_or(event.len(), |length| at + length);
        if let Some(data) = event[at..end].strip_prefix(b"data:") {
            if found != Data::None {
                return Data::Several;
            }
            let start = end - data.trim_ascii_start().len();
            found = Data::One(start..start + event[start..end].trim_ascii_end().len());
        }
        at = end + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENTS: [&str; 5] =
        ["data: {\"a\":1}\n\n", ": ping\n\n", "data: x\r\n\r\n", "event: e\ndata: y\n\n", "data: [DONE]\n\n"];

    #[test]
    fn event_data_is_found() {
        let found = EVENTS.map(|event| match data(event.as_bytes()) {
            Data::One(place) => Some(&event[place]),
            Data::None => None,
            Data::Several => panic!("{event} has one line of data"),
        });
        assert_eq!(found, [Some("{\"a\":1}"), None, Some("x"), Some("y"), Some("[DONE]")]);
        assert_eq!(data(b"data: 1\ndata: 2\n\n"), Data::Several);
        assert_eq!(data(b"data:"), Data::One(5..5));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(cuts in proptest::collection::vec(0_usize..80, 0..12), left in 0_usize..9) {
            let whole = EVENTS.concat();
            let whole = &whole.as_bytes()[..whole.len() - left];
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let mut splitter = Splitter::default();
            let mut events = Vec::new();
            for pair in cuts.windows(2) {
                events.extend(splitter.push(Bytes::copy_from_slice(&whole[pair[0]..pair[1]])));
            }
            let mut want = Splitter::default();
            prop_assert_eq!(&events, &want.push(Bytes::copy_from_slice(whole)));
            prop_assert_eq!(events.len(), if left == 0 { 5 } else { 4 });
            prop_assert_eq!([events.concat(), splitter.take_rest().to_vec()].concat(), whole);
        }
    }
}
