//! Requests that are safe to repeat.
//!
//! RFC 9110 section 9.2.2 forbids a proxy to repeat a POST by itself, because it may have changed something. A
//! generation request changes nothing: it is computed, answered and forgotten, so that giving it to a second node
//! costs time and nothing else. The paths are those of [`super::dialect::DIALECTS`].

use std::collections::BTreeSet;

use super::dialect::Dialect;

/// The methods that HTTP itself calls idempotent.
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

/// True if a node may see a request twice: by HTTP's own rule, or because a generation changes nothing and `allowed`
/// (`retry.methods`) has the method. `path` is without its query; `more`: endings of further paths (`retry.paths`).
pub fn is_repeatable(method: &str, path: &str, allowed: &BTreeSet<String>, more: &[String]) -> bool {
    let is_generation = || Dialect::of(path).is_some() || is_one_of(path, more);
    IDEMPOTENT.contains(&method) || allowed.contains(method) && is_generation()
}

fn is_one_of(path: &str, endings: &[String]) -> bool {
    let path = path.trim_end_matches('/');
    endings.iter().any(|ending| path.ends_with(ending.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeatable(method: &str, path: &str, allowed: &[&str]) -> bool {
        let allowed = allowed.iter().map(|method| (*method).to_owned()).collect();
        is_repeatable(method, path, &allowed, &["/mine".to_owned()])
    }

    #[test]
    fn a_post_may_be_repeated_on_generation_paths_only_and_if_it_is_allowed() {
        assert!(repeatable("POST", "/v1/chat/completions", &["POST"]));
        assert!(repeatable("POST", "/prefix/v1/completions/", &["POST", "PATCH"]));
        assert!(repeatable("POST", "/x/mine/", &["POST"]));
        assert!(repeatable("POST", "/", &["POST"]), "TGI, TEI");
        assert!(!repeatable("POST", "/v1/completions", &[]));
        assert!(!repeatable("PATCH", "/v1/completions", &["POST"]));
        let stores = [
            "",
            "/v1",
            "/v1/files",
            "/v1/batches",
            "/v1/fine_tuning/jobs",
            "/v1/load_lora_adapter",
            "/v1/responses/resp_1/cancel",
            "/sleep",
            "/pause",
            "/update_weights",
            "/abort_request",
            "/v1/chat/completions/x",
            "/notmine",
            "/v1/threads/thread_1/messages",
            "/v1/mcp/chat/completions",
            "/api/pull",
            "/v2/repository/models/m/load",
            "/lora-adapters",
            "/slots/0",
            "/v1/videos",
        ];
        for other in stores {
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
