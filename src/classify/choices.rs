//! The choices of a chat or a completion, and which of them have said that they are finished.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Built once: building a finder costs more than searching an event.
static FINISH_REASON: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"finish_reason\""));
static INDEX: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"index\""));

const ABORT: &[u8] = b"abort\"";
/// The place for choices that are not counted one by one.
const LAST: u32 = u64::BITS - 1;

/// Sets of choices, by their index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    unfinished: u64,
    finished: u64,
}

/// The value of `finish_reason`.
enum Finish<'a> {
    /// `null`
    Not,
    /// A text; what follows its first quote.
    With(&'a [u8]),
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

    /// Looks at one event; whether it says that the engine was told to stop.
    pub fn note(&mut self, data: &[u8]) -> bool {
        match finish_reason(data) {
            Some(Finish::Not) => {
                self.unfinished |= 1 << index(data);
                false
            }
            Some(Finish::With(reason)) => {
                self.finished |= indices(data);
                reason.starts_with(ABORT)
            }
            None => false,
        }
    }
}

/// The finish reason, if there is one. Within a text the quotes of its name would be escaped.
fn finish_reason(data: &[u8]) -> Option<Finish<'_>> {
    let value = data[FINISH_REASON.find(data)? + FINISH_REASON.needle().len()..].trim_ascii_start();
    let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii_start();
    match value.strip_prefix(b"\"") {
        Some(reason) => Some(Finish::With(reason)),
        None => value.starts_with(b"null").then_some(Finish::Not),
    }
}

/// True if the finish reason of a whole answer is an abort: its engine was told to stop.
pub(super) fn is_aborted(body: &[u8]) -> bool {
    matches!(finish_reason(body), Some(Finish::With(reason)) if reason.starts_with(ABORT))
}

/// Of the choice that an event is about. A tool call has an index too, and an engine may write it first: then, which is
/// rare, the event is parsed.
fn index(data: &[u8]) -> u32 {
    let Some(at) = INDEX.find(data) else { return 0 };
    let value = data[at + INDEX.needle().len()..].trim_ascii_start();
    let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii_start();
    match value {
        [b'0', next, ..] if !next.is_ascii_digit() => 0,
        _ => indices(data).trailing_zeros().min(LAST),
    }
}

/// Of all choices in an event, as a set.
fn indices(data: &[u8]) -> u64 {
    #[derive(serde::Deserialize)]
    struct Event {
        #[serde(default)]
        choices: Vec<Choice>,
    }
    #[derive(serde::Deserialize)]
    struct Choice {
        #[serde(default)]
        index: u64,
    }
    let choices = serde_json::from_slice::<Event>(data).map(|event| event.choices).unwrap_or_default();
    let set = choices.iter().fold(0, |set, choice| set | 1 << choice.index.min(u64::from(LAST)));
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
    fn an_abort_is_told_with_and_without_a_blank() {
        assert!(Choices::default().note(event(0, "\"abort\"").as_bytes()));
        assert!(Choices::default().note(event(0, " \"abort\"").as_bytes()));
        assert!(!Choices::default().note(event(0, "\"aborted\"").as_bytes()));
    }
}
