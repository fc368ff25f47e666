//! Requests that ask for a stream of events.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::dialect::{Dialect, Frames};

/// Built once: building a finder costs more than searching a short body.
static STREAM: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"stream\""));

/// True if the body says `"stream": true` on a path whose streams are server-sent events.
pub fn asks_for_events(path: &str, body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Asked {
        #[serde(default)]
        stream: Option<bool>,
    }
    let is_known =
        || Dialect::of(path).is_some_and(|dialect| dialect.has_events() && dialect.frames == Frames::Events);
    let says = || serde_json::from_slice::<Asked>(body).is_ok_and(|asked| asked.stream == Some(true));
    is_known() && STREAM.find(body).is_some() && says()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_asked_for_in_so_many_words() {
        let table = [
            ("/v1/chat/completions", r#"{"model":"m","stream":true}"#, true),
            ("/v1/messages", r#"{"stream": true, "x": {"stream": false}}"#, true),
            ("/v1/chat/completions", r#"{"stream":false}"#, false),
            ("/v1/chat/completions", r#"{"stream":null}"#, false),
            ("/v1/chat/completions", r#"{"messages":[{"stream":true}]}"#, false),
            ("/v1/chat/completions", r#"{"content":"\"stream\":true"}"#, false),
            ("/v1/chat/completions", r#"{"stream":true"#, false),
            ("/v1/chat/completions", "", false),
            ("/api/chat", r#"{"stream":true}"#, false),
            ("/v1/embeddings", r#"{"stream":true}"#, false),
            ("/v1/files", r#"{"stream":true}"#, false),
        ];
        for (path, body, want) in table {
            assert_eq!(asks_for_events(path, body.as_bytes()), want, "{path} {body}");
        }
    }
}
