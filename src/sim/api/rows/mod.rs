//! The words of each engine, byte by byte; a row to add for another one. The paths are those that the gateway knows
//! (`classify::dialect`).

mod audio;
mod chat;
mod completions;
mod messages;
mod native;
mod ollama;
mod one_answer;
mod responses;

use memchr::memmem;

use super::speech::Speech;
use crate::config::Engine;

const TABLES: [&[Speech]; 8] = [
    chat::ROWS,
    completions::ROWS,
    responses::ROWS,
    messages::ROWS,
    ollama::ROWS,
    native::ROWS,
    audio::ROWS,
    one_answer::ROWS,
];

/// The row for a request, its path with or without a final slash: the longest ending decides, then the row for this
/// member of the body, then the engine's own.
pub(crate) fn speech_of(path: &str, engine: Engine, body: &[u8]) -> Option<&'static Speech> {
    let path = path.trim_end_matches('/');
    let rank = |speech: &'static Speech| {
        let fits = speech.paths.iter().filter(|ending| path.ends_with(**ending));
        let length = fits.map(|ending| ending.len()).max()?;
        let speaks = speech.engines.is_empty() || speech.engines.contains(&engine);
        let has_key = || memmem::find(body, speech.key.as_bytes()).is_some();
        (speaks && has_key())
            .then_some(((length, !speech.key.is_empty(), !speech.engines.is_empty()), speech))
    };
    TABLES.into_iter().flatten().filter_map(rank).max_by_key(|(rank, _)| *rank).map(|(_, speech)| speech)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(path: &str, engine: Engine, body: &str) -> Option<&'static str> {
        speech_of(path, engine, body.as_bytes()).map(|speech| speech.id)
    }

    #[test]
    fn the_longest_ending_the_body_and_the_engine_decide() {
        assert_eq!(id("/v1/chat/completions/", Engine::Vllm, "{}"), Some("chatcmpl-"));
        assert_eq!(id("/prefix/v1/completions", Engine::Vllm, "{}"), Some("cmpl-"));
        assert_eq!(id("/v1/completions", Engine::Sglang, "{}"), Some("7f3c9a0e5b1d-"));
        assert_eq!(id("/invocations", Engine::Vllm, r#"{"messages":[]}"#), Some("chatcmpl-"));
        assert_eq!(id("/invocations", Engine::Vllm, r#"{"prompt":"x"}"#), Some("cmpl-"));
        assert_eq!(id("/generate", Engine::Vllm, r#"{"text":"x"}"#), Some("7f3c9a0e5b1d-"));
        assert_eq!(id("/generate", Engine::Vllm, r#"{"inputs":"x"}"#), Some(""));
        assert_eq!(id("/inference/v1/generate", Engine::Vllm, "{}"), Some("answer-"));
        assert_eq!(id("/v1/messages", Engine::Generic, "{}"), Some("msg_"));
        assert_eq!(id("/v1/files", Engine::Vllm, "{}"), None);
    }
}
