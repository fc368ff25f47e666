//! One chunk of a streamed answer in OpenAI's format, by the places of what matters in its event.

use std::borrow::Cow;
use std::ops::Range;

use super::kind::Kind;
use super::scan::{self, Member, first_item, members};

/// One chunk. All places are in its event.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// After the brace with which its object begins.
    pub start: usize,
    /// `id`, `created` and `model`.
    pub identity: [Option<Range<usize>>; 3],
    /// `object`, the name of the chunk's type.
    pub object: Option<Range<usize>>,
    pub usage: Option<Member>,
    /// `prompt_token_ids`, where vLLM's chats have it.
    pub prompt_ids: Option<Member>,
    pub choices: Option<Range<usize>>,
    /// The first choice, if there is any.
    pub choice: Option<Choice>,
    /// More than one choice, or one whose index is not 0.
    pub is_several: bool,
}

/// The members of a choice that matter here.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// After the brace with which it begins.
    pub start: usize,
    /// `content` of the delta, or `text`.
    pub text: Option<Member>,
    pub role: Option<Member>,
    pub ids: Option<Member>,
    pub prompt_ids: Option<Member>,
    pub finish: Option<Range<usize>>,
    pub stop_reason: Option<Member>,
    pub finished: bool,
    /// Its index is not 0.
    pub is_other: bool,
    pub has_tools: bool,
    pub has_reasoning: bool,
    pub has_logprobs: bool,
    /// The delta has no member: vLLM's parser of tools or of reasoning has swallowed the token.
    pub is_empty: bool,
}

impl Chunk {
    /// Reads the object that begins at this place and ends the event's data. `None` if it is not of this format.
    pub(super) fn read(kind: Kind, event: &[u8], place: Range<usize>) -> Option<Self> {
        let text = event.get(..place.end)?;
        let mut chunk = Self { start: place.start + 1, ..Self::default() };
        let end = members(text, place.start, |name, begin| {
            if name == b"choices" {
                return chunk.read_choices(kind, text, begin.value);
            }
            let member = begin.member(text)?;
            let end = member.value.end;
            match name {
                b"id" => chunk.identity[0] = Some(member.value),
                b"created" => chunk.identity[1] = Some(member.value),
                b"model" => chunk.identity[2] = Some(member.value),
                b"object" => chunk.object = Some(member.value),
                b"usage" => chunk.usage = Some(member),
                b"prompt_token_ids" => chunk.prompt_ids = Some(member),
                _ => {}
            }
            Some(end)
        })?;
        (scan::blank(text, end) == text.len()).then_some(chunk)
    }

    /// The usage, if it is there and not `null`.
    pub(super) fn usage(&self, event: &[u8]) -> Option<Usage> {
        let mut usage = Usage::default();
        let number = |place: Range<usize>| std::str::from_utf8(&event[place]).ok()?.parse().ok();
        members(event, self.usage.as_ref()?.value.start, |name, begin| {
            let member = begin.member(event)?;
            let end = member.value.end;
            match name {
                b"prompt_tokens" => usage.prompt_tokens = number(member.value),
                b"completion_tokens" => usage.completion_tokens = number(member.value),
                _ => {}
            }
            Some(end)
        })
        .map(|_| usage)
    }

    /// Returns the place after them.
    fn read_choices(&mut self, kind: Kind, text: &[u8], at: usize) -> Option<usize> {
        if text[at..].starts_with(b"null") {
            return scan::value_end(text, at);
        }
        let mut choice = None;
        let (end, is_several) = first_item(text, at, |at| {
            let (read, end) = Choice::read(kind, text, at)?;
            choice = Some(read);
            Some(end)
        })?;
        self.choices = Some(at..end);
        self.is_several = is_several || choice.as_ref().is_some_and(|choice| choice.is_other);
        self.choice = choice;
        Some(end)
    }
}

impl Choice {
    /// Reads the choice that begins here. Returns the place after it too.
    fn read(kind: Kind, text: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut choice = Self { start: at + 1, ..Self::default() };
        let end = members(text, at, |name, begin| {
            if name == b"delta" && kind == Kind::Chat && text.get(begin.value) == Some(&b'{') {
                return choice.read_delta(text, begin.value);
            }
            let member = begin.member(text)?;
            let end = member.value.end;
            let value = &text[member.value.clone()];
            match (name, kind) {
                (b"index", _) => choice.is_other = value != b"0",
                (b"token_ids", _) => choice.ids = Some(member),
                (b"prompt_token_ids", _) => choice.prompt_ids = Some(member),
                (b"stop_reason", _) => choice.stop_reason = Some(member),
                (b"logprobs", _) => choice.has_logprobs = value != b"null",
                (b"finish_reason", _) => {
                    choice.finished = value != b"null";
                    choice.finish = Some(member.value);
                }
                (b"text", Kind::Completion) => choice.text = Some(member),
                (b"delta", Kind::Chat) if value != b"null" => return None,
                _ => {}
            }
            Some(end)
        })?;
        Some((choice, end))
    }

    fn read_delta(&mut self, text: &[u8], at: usize) -> Option<usize> {
        self.is_empty = true;
        members(text, at, |name, begin| {
            let member = begin.member(text)?;
            let end = member.value.end;
            self.is_empty = false;
            let value = &text[member.value.clone()];
            let says = !matches!(value, b"null" | b"\"\"" | b"[]" | b"{}");
            match name {
                b"content" => self.text = Some(member),
                b"role" => self.role = (value != b"null").then_some(member),
                b"tool_calls" | b"function_call" | b"refusal" | b"audio" => self.has_tools |= says,
                b"reasoning_content" | b"reasoning" => self.has_reasoning |= says,
                _ => {}
            }
            Some(end)
        })
    }

    /// The text. An error if it is not a plain string: a list of parts, or half a surrogate pair.
    pub(super) fn text<'a>(&self, event: &'a [u8]) -> Result<Cow<'a, str>, NotPlain> {
        let Some(member) = &self.text else { return Ok(Cow::Borrowed("")) };
        let value = &event[member.value.clone()];
        if value == b"null" {
            return Ok(Cow::Borrowed(""));
        }
        let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).ok_or(NotPlain)?;
        match memchr::memchr(b'\\', inner) {
            None => std::str::from_utf8(inner).map(Cow::Borrowed).map_err(|_| NotPlain),
            Some(_) => serde_json::from_slice(value).map(Cow::Owned).map_err(|_| NotPlain),
        }
    }
}

/// The counts of a usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
}

/// A text that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotPlain;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, text: &str) -> Option<Chunk> {
        Chunk::read(kind, text.as_bytes(), 0..text.len())
    }

    #[test]
    fn a_chunk_of_a_chat_is_read() {
        let text = r#"{"id":"x","created":7,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"a\n","reasoning_content":null},
            "logprobs":null,"finish_reason":null,"token_ids":[5]}],"prompt_token_ids":[1,2],"usage":{"prompt_tokens":2}}"#;
        let chunk = read(Kind::Chat, text).unwrap();
        assert_eq!(
            chunk.usage(text.as_bytes()),
            Some(Usage { prompt_tokens: Some(2), completion_tokens: None })
        );
        assert_eq!(chunk.identity.map(|place| text[place.unwrap()].to_owned()), ["\"x\"", "7", "\"m\""]);
        assert_eq!(&text[chunk.prompt_ids.unwrap().value], "[1,2]");
        let choice = chunk.choice.unwrap();
        assert_eq!(choice.text(text.as_bytes()), Ok(Cow::Borrowed("a\n")));
        assert_eq!(&text[choice.ids.unwrap().value], "[5]");
        assert_eq!(&text[choice.finish.unwrap()], "null");
        assert!(choice.role.is_some() && !choice.finished && !choice.is_empty && !chunk.is_several);
        assert!(!choice.has_tools && !choice.has_reasoning && !choice.has_logprobs);
    }

    #[test]
    fn a_chunk_of_a_completion_is_read() {
        let text = r#"{"choices":[{"text":" a","token_ids":[7],"prompt_token_ids":null,"finish_reason":"stop","stop_reason":null}]}"#;
        let choice = read(Kind::Completion, text).unwrap().choice.unwrap();
        assert_eq!(choice.text(text.as_bytes()), Ok(Cow::Borrowed(" a")));
        assert!(choice.finished && choice.prompt_ids.is_some() && choice.stop_reason.is_some());
    }

    #[test]
    fn what_a_choice_says_beside_text_is_seen() {
        let text =
            r#"{"choices":[{"index":0,"delta":{"reasoning":"hm","tool_calls":[{"id":"x"}]},"logprobs":{}}]}"#;
        let choice = read(Kind::Chat, text).unwrap().choice.unwrap();
        assert!(choice.has_reasoning && choice.has_tools && choice.has_logprobs);
        let empty = read(Kind::Chat, r#"{"choices":[{"delta":{}}]}"#).unwrap().choice.unwrap();
        assert!(empty.is_empty);
        let nothing = read(Kind::Chat, r#"{"choices":[],"usage":null}"#).unwrap();
        assert!(nothing.choice.is_none() && nothing.choices.is_some() && nothing.usage(b"").is_none());
        for several in [r#"{"choices":[{"index":1}]}"#, r#"{"choices":[{"index":0},{"index":0}]}"#] {
            assert!(read(Kind::Chat, several).unwrap().is_several, "{several}");
        }
    }

    #[test]
    fn other_formats_are_refused() {
        let table = [
            "[]",
            "7",
            "{\"choices\":7}",
            "{\"choices\":[7]}",
            "{\"choices\":[{\"delta\":7}]}",
            "{} {}",
            "{",
            "nonsense",
        ];
        for text in table {
            assert!(read(Kind::Chat, text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_not_plain_is_told_from_one_that_is_absent() {
        let table = [
            ("null", Ok("")),
            ("\"\"", Ok("")),
            ("\"\\u00e4\"", Ok("ä")),
            ("[{\"type\":\"text\"}]", Err(NotPlain)),
            ("\"\\ud83e\"", Err(NotPlain)),
            ("7", Err(NotPlain)),
        ];
        for (value, want) in table {
            let text = format!("{{\"choices\":[{{\"delta\":{{\"content\":{value}}}}}]}}");
            let choice = read(Kind::Chat, &text).unwrap().choice.unwrap();
            assert_eq!(choice.text(text.as_bytes()).as_deref(), want.as_ref().copied(), "{value}");
        }
    }
}
