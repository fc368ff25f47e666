//! Splitting a byte stream into server-sent events, and parsing an event as a chunk of an OpenAI answer.

use bytes::{Buf, Bytes, BytesMut};

use super::json::{Object, items};
use super::kind::Kind;

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

/// The data of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Data<'a> {
    /// No data, only a comment or other fields.
    None,
    One(&'a [u8]),
    /// More than one line of data.
    Several,
}

pub(super) fn data(event: &[u8]) -> Data<'_> {
    let mut lines = event.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
    match (lines.next(), lines.next()) {
        (None, _) => Data::None,
        (Some(data), None) => Data::One(data.trim_ascii()),
        (Some(_), Some(_)) => Data::Several,
    }
}

/// One chunk of a streamed answer in OpenAI's format.
#[derive(Debug)]
pub(super) struct Chunk<'a> {
    pub fields: Object<'a>,
    /// The first choice, if there is any.
    pub choice: Option<Choice>,
    /// More than one choice, or one whose index is not 0.
    pub is_several: bool,
}

/// The fields of a choice that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub text: String,
    pub ids: Option<Vec<u32>>,
    /// The ids of the prompt, as a JSON array.
    pub prompt_ids: Option<String>,
    pub has_role: bool,
    pub has_tools: bool,
    pub has_reasoning: bool,
    /// The content is not a plain string: a list of parts, or half a surrogate pair.
    pub is_unreadable: bool,
    pub finished: bool,
    /// `finish_reason` is `null`.
    pub is_unfinished: bool,
}

impl<'a> Chunk<'a> {
    pub(super) fn parse(kind: Kind, data: &'a [u8]) -> Option<Self> {
        let fields = Object::parse(data)?;
        let choices = items(fields.get("choices").unwrap_or("[]"))?;
        let mut choice = None;
        let mut is_several = choices.len() > 1;
        if let Some(first) = choices.first() {
            let first = Object::parse(first.as_bytes())?;
            is_several |= first.number("index").unwrap_or(0) != 0;
            let mut found = Choice::of(kind, &first);
            found.prompt_ids = found.prompt_ids.or_else(|| fields.get("prompt_token_ids").map(str::to_owned));
            choice = Some(found);
        }
        Some(Self { fields, choice, is_several })
    }
}

impl Choice {
    fn of(kind: Kind, choice: &Object) -> Self {
        let mut found = Self {
            ids: choice.get("token_ids").and_then(|ids| serde_json::from_str(ids).ok()),
            prompt_ids: choice.get("prompt_token_ids").map(str::to_owned),
            finished: choice.get("finish_reason").is_some(),
            is_unfinished: choice.get("finish_reason").is_none()
                && choice.fields().any(|(key, _)| key == "finish_reason"),
            ..Self::default()
        };
        let empty = ["\"\"", "[]", "{}"];
        let says = |object: &Object, key: &str| object.get(key).is_some_and(|value| !empty.contains(&value));
        let mut read = |object: &Object, key: &str| {
            let text = object.text(key);
            found.is_unreadable = text.is_none() && object.get(key).is_some();
            found.text = text.unwrap_or_default();
        };
        match kind {
            Kind::Completion => read(choice, "text"),
            Kind::Chat => {
                let delta = choice.object("delta").unwrap_or_default();
                read(&delta, "content");
                found.has_role = delta.get("role").is_some();
                found.has_tools =
                    ["tool_calls", "function_call", "refusal", "audio"].iter().any(|key| says(&delta, key));
                found.has_reasoning = ["reasoning_content", "reasoning"].iter().any(|key| says(&delta, key));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENTS: [&str; 5] =
        ["data: {\"a\":1}\n\n", ": ping\n\n", "data: x\r\n\r\n", "event: e\ndata: y\n\n", "data: [DONE]\n\n"];

    #[test]
    fn event_data_is_extracted() {
        let found: Vec<_> = EVENTS.iter().map(|event| data(event.as_bytes())).collect();
        let want =
            [Data::One(b"{\"a\":1}"), Data::None, Data::One(b"x"), Data::One(b"y"), Data::One(b"[DONE]")];
        assert_eq!(found, want);
        assert_eq!(data(b"data: 1\ndata: 2\n\n"), Data::Several);
    }

    #[test]
    fn a_chunk_is_parsed() {
        let chunk = |kind, text: &str| {
            Chunk::parse(kind, text.as_bytes()).map(|chunk| (chunk.choice, chunk.is_several))
        };
        let role =
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning_content":null}}]}"#;
        let (choice, several) = chunk(Kind::Chat, role).unwrap();
        assert_eq!(choice, Some(Choice { has_role: true, ..Choice::default() }));
        assert!(!several);
        let text = r#"{"choices":[{"index":0,"text":" a","token_ids":[7],"finish_reason":"stop"}]}"#;
        let (choice, _) = chunk(Kind::Completion, text).unwrap();
        let want = Choice { text: " a".into(), ids: Some(vec![7]), finished: true, ..Choice::default() };
        assert_eq!(choice, Some(want));
        assert_eq!(chunk(Kind::Chat, r#"{"choices":[],"usage":{}}"#).unwrap(), (None, false));
        assert!(chunk(Kind::Chat, r#"{"choices":[{"index":1,"delta":{}}]}"#).unwrap().1);
        let thinks = r#"{"choices":[{"delta":{"reasoning":"hm","tool_calls":[{"id":"x"}]}}]}"#;
        let (choice, _) = chunk(Kind::Chat, thinks).unwrap();
        assert!(choice.is_some_and(|choice| choice.has_reasoning && choice.has_tools));
        assert!(chunk(Kind::Chat, "[]").is_none());
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
