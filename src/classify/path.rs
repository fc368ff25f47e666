//! Which POSTs are safe to repeat.
//!
//! RFC 9110 section 9.2.2 forbids a proxy to repeat a POST by itself, for it may have changed something. A
//! generation request changes nothing: it is computed, answered and forgotten, so that giving it to a second node
//! costs time and nothing else.

/// The POST endpoints of OpenAI-compatible engines (vLLM, SGLang, llama.cpp, TEI) that compute and store nothing.
const GENERATION: [&str; 26] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/rerank",
    "/v2/rerank",
    "/v1/score",
    "/v1/moderations",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/audio/speech",
    "/chat/completions",
    "/completions",
    "/completion",
    "/embeddings",
    "/embedding",
    "/rerank",
    "/score",
    "/pooling",
    "/classify",
    "/generate",
    "/infill",
    "/tokenize",
    "/detokenize",
];

/// Whether a POST to this path (without its query) asks for a generation.
pub fn is_generation(path: &str) -> bool {
    GENERATION.contains(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_paths_are_exact() {
        assert!(is_generation("/v1/chat/completions"));
        assert!(is_generation("/v1/completions"));
        for other in
            ["/", "/v1", "/v1/files", "/v1/batches", "/v1/load_lora_adapter", "/v1/chat/completions/x"]
        {
            assert!(!is_generation(other), "{other}");
        }
    }
}
