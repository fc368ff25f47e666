//! A request in the words of OpenTelemetry's conventions for generative AI.

use std::sync::Arc;

use crate::classify::dialect::{Dialect, Shape};
use crate::config::Models;
use crate::fleet::Call;

/// The operation that a POST to this path asks for; `None`: none that the conventions know. `model`: the client's name for it.
pub fn call(models: &Models, method: &str, path: &str, model: Option<&str>) -> Option<Call> {
    let dialect = Dialect::of(path).filter(|_| method == "POST")?;
    let path = path.trim_end_matches('/');
    let operation = match dialect.name {
        "chat" | "responses" | "messages" => "chat",
        "ollama" if path.ends_with("/chat") => "chat",
        "completions" | "tgi" | "native" | "ollama" => "text_completion",
        _ if ["/embeddings", "/embedding", "/embed"].iter().any(|end| path.ends_with(end)) => "embeddings",
        _ => return None,
    };
    let provider = match dialect.shape {
        Shape::Anthropic => "anthropic",
        Shape::Ollama => "ollama",
        Shape::OpenAi | Shape::Responses | Shape::Tgi => "openai",
    };
    let models = model.and_then(|model| models.as_written(model));
    let models = models.map(|names| names.map(Arc::from));
    Some(Call { operation, provider, models })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn operations_and_models_are_known_by_bounded_names() {
        let text = "server: { listen: 127.0.0.1:1 }\npools:\n  p: { nodes: [n:1], models: [exact, \"Qwen/*\", \"*\"], \
                    aliases: { gpt-4o: exact } }\n";
        let config = Config::parse(text, "a test").expect("a valid config");
        let models = &config.pools[0].models;
        let shown = |path: &str, model| {
            let call = call(models, "POST", path, model)?;
            let models = call.models.map(|names| names.map(|name| name.to_string()).join(" "));
            Some(format!("{} {} {}", call.operation, call.provider, models.unwrap_or_default()))
        };
        for (path, model, want) in [
            ("/v1/chat/completions", Some("exact"), Some("chat openai exact exact")),
            ("/v1/completions/", Some("Qwen/Qwen3-8B"), Some("text_completion openai Qwen/* Qwen/*")),
            ("/v1/messages", Some("gpt-4o"), Some("chat anthropic gpt-4o exact")),
            ("/v1/responses", Some("anything"), Some("chat openai ")),
            ("/api/chat", None, Some("chat ollama ")),
            ("/api/generate", None, Some("text_completion ollama ")),
            ("/generate", None, Some("text_completion openai ")),
            ("/v1/embeddings", Some("exact"), Some("embeddings openai exact exact")),
            ("/v1/rerank", Some("exact"), None),
            ("/v1/models", None, None),
        ] {
            assert_eq!(shown(path, model).as_deref(), want, "{path}");
        }
        assert_eq!(call(models, "GET", "/v1/chat/completions", None), None);
    }
}
