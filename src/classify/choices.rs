//! The choices of a chat or a completion, and which of them have said that they are finished.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::members::{anywhere, value};

/// Built once: building a finder costs more than searching an event.
static FINISH_REASON: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"finish_reason\""));
static INDEX: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"index\""));
static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"choices\""));

/// Reasons of an engine that stopped in the middle: vLLM, SGLang and LMDeploy `abort`; vLLM, LMDeploy, KoboldCpp and
/// OpenRouter `error`; TensorRT-LLM `cancelled` and `timeout`; mistral.rs `canceled`; DeepSeek
/// `insufficient_system_resource`.
const BROKEN: [&str; 6] =
    ["abort", "error", "cancelled", "timeout", "canceled", "insufficient_system_resource"];
/// Reasons that are none: LocalAI's empty one, DashScope's `"null"`.
const NONE: [&str; 2] = ["", "null"];
/// The place for choices that are not counted one by one.
const LAST: u32 = u64::BITS - 1;

/// Sets of choices, by their index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    unfinished: u64,
    finished: u64,
}

/// The word of an event on the end of its choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    Nothing,
    /// One goes on.
    Open,
    Finished,
    /// The engine stopped in the middle.
    Broken,
}

/// One event, or a whole answer, as far as it is about choices.
#[derive(serde::Deserialize)]
struct Event {
    #[serde(default)]
    choices: Vec<Choice>,
    /// SGLang numbers the texts of one request so.
    index: Option<u64>,
}

#[derive(serde::Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    finish_reason: Option<serde_json::Value>,
}

impl Choices {
    /// Every choice that was seen is finished.
    pub fn are_finished(&self) -> bool {
        self.finished != 0 && self.unfinished & !self.finished == 0
    }

    /// There are choices, and none is finished.
    pub fn are_unfinished(&self) -> bool {
        self.unfinished != 0 && self.finished == 0
    }

    /// Some choice has not said that it is finished.
    pub fn is_any_open(&self) -> bool {
        self.unfinished & !self.finished != 0
    }

    pub fn is_single(&self) -> bool {
        (self.unfinished | self.finished).count_ones() == 1
    }

    /// Looks at one event.
    pub fn note(&mut self, data: &[u8]) -> Noted {
        let Some(at) = FINISH_REASON.find(data) else { return self.note_without(data) };
        let rest = &data[at + FINISH_REASON.needle().len()..];
        if FINISH_REASON.find(rest).is_some() {
            return self.note_each(data);
        }
        match value(rest).and_then(<[u8]>::first) {
            Some(b'n') => self.open(data),
            Some(b'"' | b'{') => match reason(rest) {
                Some(reason) if NONE.contains(&reason) => self.open(data),
                reason => {
                    self.finished |= indices(data);
                    if reason.is_some_and(|reason| BROKEN.contains(&reason)) {
                        Noted::Broken
                    } else {
                        Noted::Finished
                    }
                }
            },
            _ => Noted::Nothing,
        }
    }

    fn open(&mut self, data: &[u8]) -> Noted {
        self.unfinished |= 1 << index(data);
        Noted::Open
    }

    /// Some engines leave the reason out until there is one. An event without any choice tells of usage.
    fn note_without(&mut self, data: &[u8]) -> Noted {
        let has_choice = CHOICES.find(data).is_some_and(|at| {
            let list = value(&data[at + CHOICES.needle().len()..]).and_then(|list| list.strip_prefix(b"["));
            list.is_some_and(|list| list.trim_ascii_start().starts_with(b"{"))
        });
        if has_choice { self.open(data) } else { Noted::Nothing }
    }

    /// Several choices in one event, which is rare.
    fn note_each(&mut self, data: &[u8]) -> Noted {
        let Ok(event) = serde_json::from_slice::<Event>(data) else { return Noted::Nothing };
        let mut noted = Noted::Nothing;
        for choice in &event.choices {
            let place = 1 << choice.index.min(u64::from(LAST));
            match choice.finish_reason.as_ref().and_then(serde_json::Value::as_str) {
                Some(reason) if !NONE.contains(&reason) => {
                    self.finished |= place;
                    if BROKEN.contains(&reason) {
                        return Noted::Broken;
                    }
                    noted = if noted == Noted::Open { noted } else { Noted::Finished };
                }
                _ => {
                    self.unfinished |= place;
                    noted = Noted::Open;
                }
            }
        }
        noted
    }
}

/// A reason, behind its name: a text, or SGLang's `{"type": "stop", ...}`.
fn reason(rest: &[u8]) -> Option<&str> {
    let value = value(rest)?;
    let text = if value.starts_with(b"{") { anywhere(value, "type").next()? } else { value };
    let text = text.strip_prefix(b"\"")?;
    std::str::from_utf8(&text[..memchr::memchr(b'"', text)?]).ok()
}

/// True if a finish reason of a whole answer says that its engine stopped in the middle. Within a text the quotes of the
/// name would be escaped.
pub(super) fn is_broken(body: &[u8]) -> bool {
    FINISH_REASON.find_iter(body).any(|at| {
        let rest = &body[at + FINISH_REASON.needle().len()..];
        reason(rest).is_some_and(|reason| BROKEN.contains(&reason))
    })
}

/// Of the choice that an event is about. A tool call has an index too, and an engine may write it first: then, which is
/// rare, the event is parsed.
fn index(data: &[u8]) -> u32 {
    let Some(at) = INDEX.find(data) else { return 0 };
    match value(&data[at + INDEX.needle().len()..]) {
        Some([b'0', next, ..]) if !next.is_ascii_digit() => 0,
        _ => indices(data).trailing_zeros().min(LAST),
    }
}

/// Of all choices in an event, as a set.
fn indices(data: &[u8]) -> u64 {
    let Ok(Event { choices, index }) = serde_json::from_slice(data) else { return 1 };
    let places = choices.iter().map(|choice| choice.index).chain(index.filter(|_| choices.is_empty()));
    let set = places.fold(0, |set, place| set | 1 << place.min(u64::from(LAST)));
    // one that has no place of its own counts as the first
    if set == 0 { 1 } else { set }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(index: usize, finish: &str) -> String {
        format!(r#"{{"choices":[{{"index":{index},"delta":{{"content":"a"}},"finish_reason":{finish}}}]}}"#)
    }

    #[test]
    fn every_choice_has_to_be_finished() {
        let (open, stop) = (|index| event(index, "null"), |index| event(index, "\"stop\""));
        let table: [(&[String], bool, bool); 6] = [
            (&[open(0)], false, true),
            (&[open(0), stop(0)], true, false),
            (&[open(0), open(1), stop(1)], false, false),
            (&[open(0), open(1), stop(1), stop(0)], true, false),
            (&[stop(0)], true, false),
            (&[open(70), open(0), stop(0)], false, false),
        ];
        for (events, finished, unfinished) in table {
            let mut choices = Choices::default();
            for event in events {
                choices.note(event.as_bytes());
            }
            assert_eq!(
                (choices.are_finished(), choices.are_unfinished()),
                (finished, unfinished),
                "{events:?}"
            );
        }
    }

    #[test]
    fn the_index_of_a_tool_call_is_none_of_a_choice() {
        let call = r#"{"choices":[{"delta":{"tool_calls":[{"index":1}]},"index":0,"finish_reason":null}]}"#;
        let mut choices = Choices::default();
        choices.note(call.as_bytes());
        choices.note(event(0, "\"tool_calls\"").as_bytes());
        assert!(choices.are_finished());
    }

    #[test]
    fn reasons_of_every_shape() {
        let object = |reason: &str| format!(r#"{{"text":"a","meta_info":{{"finish_reason":{reason}}}}}"#);
        let table = [
            (event(0, "\"abort\""), Noted::Broken),
            (event(0, " \"abort\""), Noted::Broken),
            (event(0, "\"aborted\""), Noted::Finished),
            (event(0, "\"error\""), Noted::Broken),
            (event(0, "\"cancelled\""), Noted::Broken),
            (event(0, "\"insufficient_system_resource\""), Noted::Broken),
            (event(0, "\"\""), Noted::Open),
            (event(0, "\"null\""), Noted::Open),
            (event(0, "null"), Noted::Open),
            (event(0, "\"content_filter\""), Noted::Finished),
            (object("null"), Noted::Open),
            (object(r#"{"type":"length","length":16}"#), Noted::Finished),
            (object(r#"{ "type": "abort", "message":"x"}"#), Noted::Broken),
            (r#"{"choices":[{"index":0,"delta":{}}]}"#.to_owned(), Noted::Open),
            (r#"{"choices":[],"usage":{}}"#.to_owned(), Noted::Nothing),
            (r#"{"usage":{}}"#.to_owned(), Noted::Nothing),
        ];
        for (event, want) in table {
            assert_eq!(Choices::default().note(event.as_bytes()), want, "{event}");
            assert_eq!(is_broken(event.as_bytes()), want == Noted::Broken, "{event}");
        }
    }

    #[test]
    fn several_choices_in_one_event_are_told_apart() {
        let both = |first: &str, second: &str| {
            format!(
                r#"{{"choices":[{{"index":0,"finish_reason":{first}}},{{"index":1,"finish_reason":{second}}}]}}"#
            )
        };
        let (null, stop, abort) = ("null", "\"stop\"", "\"abort\"");
        let table: [(&[String], Noted, bool); 5] = [
            (&[both(stop, null)], Noted::Open, false),
            (&[both(null, stop)], Noted::Open, false),
            (&[both(null, stop), event(0, stop)], Noted::Finished, true),
            (&[both(stop, stop)], Noted::Finished, true),
            (&[both(stop, abort)], Noted::Broken, true),
        ];
        for (events, want, finished) in table {
            let mut choices = Choices::default();
            let mut last = None;
            for event in events {
                last = Some(choices.note(event.as_bytes()));
            }
            assert_eq!((last, choices.are_finished()), (Some(want), finished), "{events:?}");
        }
    }

    #[test]
    fn a_choice_without_a_reason_is_not_finished_and_texts_have_numbers_too() {
        let silent =
            |index: usize| format!(r#"{{"choices":[{{"index":{index},"delta":{{"content":"a"}}}}]}}"#);
        let mut choices = Choices::default();
        for event in [silent(0), silent(1), event(1, "\"stop\"")] {
            choices.note(event.as_bytes());
        }
        assert!(choices.is_any_open() && !choices.are_finished());
        let text = |index: usize, reason: &str| {
            format!(r#"{{"text":"a","index":{index},"meta_info":{{"finish_reason":{reason}}}}}"#)
        };
        let mut texts = Choices::default();
        for event in [text(0, "null"), text(1, "null"), text(1, r#"{"type":"stop"}"#)] {
            texts.note(event.as_bytes());
        }
        assert!(!texts.are_finished(), "SGLang's batch");
    }
}
