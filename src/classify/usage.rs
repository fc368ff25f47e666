//! The tokens of a request, as its node's `usage` tells them: of the prompt, of its part in the prefix cache, of the answer.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::members::{number, value};

/// The ends of the names of all counts. Built once: building a finder costs more than searching an event.
static ENDS: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| ["_tokens\"", "eval_count\""].map(Finder::new));

/// Tokens, as far as they were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt: Option<u64>,
    /// Those of the prompt that were in the cache; no more than it has.
    pub cached: Option<u64>,
    pub answer: Option<u64>,
}

impl Usage {
    /// `None`: the answer, or event, tells of no tokens.
    pub fn told(json: &[u8]) -> Option<Self> {
        let mut counts = Counts::default();
        for end in ENDS.iter() {
            for at in end.find_iter(json) {
                counts.note(json, at + end.needle().len());
            }
        }
        let usage = counts.usage();
        (usage != Self::default()).then_some(usage)
    }

    /// This, and what an earlier one told besides.
    pub fn over(self, earlier: Option<Self>) -> Self {
        let earlier = earlier.unwrap_or_default();
        Self {
            prompt: self.prompt.or(earlier.prompt),
            cached: self.cached.or(earlier.cached),
            answer: self.answer.or(earlier.answer),
        }
    }
}

/// The last of each count, by the dialects' names: that of the answer as a whole. Within a text the quotes would be escaped.
#[derive(Default)]
struct Counts {
    /// OpenAI's older name, or Ollama's.
    prompt: Option<u64>,
    /// OpenAI's newer name, and Anthropic's.
    input: Option<u64>,
    /// OpenAI's, which vLLM sends with `--enable-prompt-tokens-details`, SGLang with `--enable-cache-report`, and llama.cpp
    /// always.
    cached: Option<u64>,
    /// Anthropic's, which are no part of its input.
    read: Option<u64>,
    written: Option<u64>,
    answer: Option<u64>,
}

impl Counts {
    /// `end`: behind the name's last quotes.
    fn note(&mut self, json: &[u8], end: usize) {
        let Some(start) = memchr::memrchr(b'"', &json[..end - 1]) else { return };
        let count = match &json[start + 1..end - 1] {
            b"prompt_tokens" | b"prompt_eval_count" => &mut self.prompt,
            b"input_tokens" => &mut self.input,
            b"cached_tokens" => &mut self.cached,
            b"cache_read_input_tokens" => &mut self.read,
            b"cache_creation_input_tokens" => &mut self.written,
            b"completion_tokens" | b"output_tokens" | b"eval_count" => &mut self.answer,
            _ => return,
        };
        *count = value(&json[end..]).and_then(number).or(*count);
    }

    fn usage(self) -> Usage {
        let Self { prompt, input, cached, read, written, answer } = self;
        let prompt = prompt.or(input);
        let (prompt, cached) = match (cached, read) {
            (Some(cached), _) => (prompt, prompt.map(|prompt| cached.min(prompt))),
            (None, Some(read)) => {
                let whole = |tokens: u64| tokens.saturating_add(read).saturating_add(written.unwrap_or(0));
                (input.map(whole), input.and(Some(read)))
            }
            (None, None) => (prompt, None),
        };
        Usage { prompt, cached, answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_of_every_dialect() {
        for (json, want) in [
            (
                r#"{"usage":{"prompt_tokens":90,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":80}}}"#,
                (Some(90), Some(80), Some(4)),
            ),
            (
                r#"{"usage":{"prompt_tokens_details":{"cached_tokens": 0},"prompt_tokens": 9}}"#,
                (Some(9), Some(0), None),
            ),
            (
                r#"{"usage":{"input_tokens":90,"input_tokens_details":{"cached_tokens":16},"output_tokens":7}}"#,
                (Some(90), Some(16), Some(7)),
            ),
            (
                r#"{"type":"message_start","message":{"usage":{"input_tokens":10,"cache_read_input_tokens":30,"cache_creation_input_tokens":2}}}"#,
                (Some(42), Some(30), None),
            ),
            (r#"{"usage":{"input_tokens":10,"cache_read_input_tokens":null}}"#, (Some(10), None, None)),
            (r#"{"usage":{"prompt_tokens":90,"prompt_tokens_details":null}}"#, (Some(90), None, None)),
            (r#"{"usage":{"prompt_tokens":9,"cached_tokens":99}}"#, (Some(9), Some(9), None)),
            (
                r#"{"done":true,"prompt_eval_count":26,"prompt_eval_duration":3,"eval_count":298}"#,
                (Some(26), None, Some(298)),
            ),
            (r#"{"text":"\"cached_tokens\":3, \"prompt_tokens\":4"}"#, (None, None, None)),
            (r#"{"cached_tokens":99999999999999999999999,"prompt_tokens":1}"#, (Some(1), None, None)),
            (r#"{"max_tokens":5}"#, (None, None, None)),
            ("", (None, None, None)),
        ] {
            let told = Usage::told(json.as_bytes()).unwrap_or_default();
            assert_eq!((told.prompt, told.cached, told.answer), want, "{json}");
        }
    }

    #[test]
    fn a_later_word_goes_before_an_earlier_one() {
        let earlier = Usage { prompt: Some(9), cached: Some(3), answer: Some(1) };
        let later = Usage { answer: Some(40), ..Usage::default() };
        assert_eq!(later.over(Some(earlier)), Usage { answer: Some(40), ..earlier });
        assert_eq!(later.over(None), later);
    }

    #[test]
    fn a_whole_answer_tells_its_tokens() {
        let table: [(&str, Option<u64>); 8] = [
            (r#"{"usage":{"prompt_tokens":9,"completion_tokens":41,"total_tokens":50}}"#, Some(41)),
            (r#"{"usage": {"completion_tokens" : 7 , "completion_tokens_details": {"x":1}}}"#, Some(7)),
            (r#"{"usage":{"input_tokens":9,"output_tokens":3}}"#, Some(3)),
            (r#"{"done":true,"prompt_eval_count":9,"eval_count":5}"#, Some(5)),
            (r#"{"text":"\"completion_tokens\":9"}"#, None),
            (r#"{"usage":{"completion_tokens":null}}"#, None),
            (r#"{"completion_tokens"#, None),
            (
                r#"{"message":{"tool_calls":[{"arguments":{"completion_tokens":1}}]},"usage":{"completion_tokens":6}}"#,
                Some(6),
            ),
        ];
        for (body, want) in table {
            assert_eq!(Usage::told(body.as_bytes()).and_then(|usage| usage.answer), want, "{body}");
        }
    }
}
