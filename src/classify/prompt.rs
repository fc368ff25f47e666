//! The size of a prompt, and how much of it the node had in its prefix cache, as its `usage` tells.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::members::{anywhere, number};

/// OpenAI's, which vLLM sends with `--enable-prompt-tokens-details`, SGLang with `--enable-cache-report`, and llama.cpp always.
const CACHED: &str = "cached_tokens";
/// Anthropic's.
const CACHE_READ: &str = "cache_read_input_tokens";

/// Built once: building a finder costs more than searching an event.
static NAMES: LazyLock<[Finder<'static>; 2]> = LazyLock::new(|| [CACHED, CACHE_READ].map(Finder::new));

/// Tokens of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prompt {
    pub tokens: u64,
    /// Those of them that were in the cache.
    pub cached: u64,
}

impl Prompt {
    /// `None`: the answer, or event, does not tell what was cached.
    pub fn told(json: &[u8]) -> Option<Self> {
        if NAMES.iter().all(|name| name.find(json).is_none()) {
            return None;
        }
        let of = |name| anywhere(json, name).find_map(number);
        let (tokens, cached) = match (of(CACHED), of(CACHE_READ)) {
            (Some(cached), _) => (of("prompt_tokens").or_else(|| of("input_tokens"))?, cached),
            // which Anthropic's count does not hold
            (None, Some(read)) => {
                let written = of("cache_creation_input_tokens").unwrap_or(0);
                (of("input_tokens")?.saturating_add(read).saturating_add(written), read)
            }
            (None, None) => return None,
        };
        Some(Self { tokens, cached: cached.min(tokens) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_of_every_dialect() {
        let some = |tokens, cached| Some(Prompt { tokens, cached });
        for (json, want) in [
            (
                r#"{"usage":{"prompt_tokens":90,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":80}}}"#,
                some(90, 80),
            ),
            (r#"{"usage":{"prompt_tokens_details":{"cached_tokens": 0},"prompt_tokens": 9}}"#, some(9, 0)),
            (r#"{"usage":{"input_tokens":90,"input_tokens_details":{"cached_tokens":16}}}"#, some(90, 16)),
            (
                r#"{"type":"message_start","message":{"usage":{"input_tokens":10,"cache_read_input_tokens":30,"cache_creation_input_tokens":2}}}"#,
                some(42, 30),
            ),
            (r#"{"usage":{"input_tokens":10,"cache_read_input_tokens":null}}"#, None),
            (r#"{"usage":{"prompt_tokens":90,"prompt_tokens_details":null}}"#, None),
            (r#"{"usage":{"prompt_tokens":9,"cached_tokens":99}}"#, some(9, 9)),
            (r#"{"text":"\"cached_tokens\":3, \"prompt_tokens\":4"}"#, None),
            (r#"{"cached_tokens":99999999999999999999999,"prompt_tokens":1}"#, None),
            ("", None),
        ] {
            assert_eq!(Prompt::told(json.as_bytes()), want, "{json}");
        }
    }
}
