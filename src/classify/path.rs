//! Deciding by method and path whether a request is safe to retry.
//!
//! RFC 9110 section 9.2.2 forbids a proxy to retry a POST by itself, because the first try may have changed
//! something. A generation request changes nothing: it is computed, answered and forgotten, so a second try costs
//! only time.

use std::collections::BTreeSet;

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

/// Methods that HTTP defines as idempotent.
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

/// True if a request may be sent twice: its method is idempotent, or it is a generation request whose method is in
/// `allowed` (`retry.methods`). `path` excludes the query.
pub fn is_repeatable(method: &str, path: &str, allowed: &BTreeSet<String>) -> bool {
    IDEMPOTENT.contains(&method) || allowed.contains(method) && GENERATION.contains(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeatable(method: &str, path: &str, allowed: &[&str]) -> bool {
        is_repeatable(method, path, &allowed.iter().map(|method| (*method).to_owned()).collect())
    }

    #[test]
    fn an_allowed_post_may_be_repeated_on_generation_paths_only() {
        assert!(repeatable("POST", "/v1/chat/completions", &["POST"]));
        assert!(repeatable("POST", "/v1/completions", &["POST", "PATCH"]));
        assert!(!repeatable("POST", "/v1/completions", &[]));
        assert!(!repeatable("PATCH", "/v1/completions", &["POST"]));
        for other in
            ["/", "/v1", "/v1/files", "/v1/batches", "/v1/load_lora_adapter", "/v1/chat/completions/x"]
        {
            assert!(!repeatable("POST", other, &["POST"]), "{other}");
        }
    }

    #[test]
    fn idempotent_methods_may_be_repeated_anywhere() {
        for method in IDEMPOTENT {
            assert!(repeatable(method, "/v1/files", &[]), "{method}");
        }
    }
}
