//! The dialects of inference engines, as data: the paths on which each is spoken, how its streams are framed, and how an
//! answer says that it is whole. One row to add for another one.

use std::collections::HashMap;
use std::sync::LazyLock;

/// One way to speak to an engine.
#[derive(Debug, PartialEq, Eq)]
pub struct Dialect {
    pub name: &'static str,
    /// Endings of paths, whatever stands before them (`/v1`, a `--root-path`, an ingress' prefix).
    pub paths: &'static [&'static str],
    pub frames: Frames,
    pub end: End,
    pub shape: Shape,
}

/// The framing of a stream's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// Server-sent events.
    Events,
    /// A JSON value a line.
    Lines,
}

/// The evidence that a stream is whole once its HTTP message is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `[DONE]`, or a finish reason for every choice.
    Choices,
    /// An event of one of these types.
    Types(&'static [&'static str]),
    /// `[DONE]`, or an event that has one of these members with a value that begins so.
    Members(&'static [(&'static str, &'static str)]),
    /// Nothing but the end of the message.
    Message,
}

/// The form of an error of the gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"error": {"message", "type", "param", "code"}}`
    OpenAi,
    /// `{"type": "error", "code", "message", "param"}` in a stream, OpenAI's outside of one.
    Responses,
    /// `{"type": "error", "error": {"type", "message"}}`
    Anthropic,
    /// `{"error": "text"}`
    Ollama,
    /// `{"error": "text", "error_type": "..."}`
    Tgi,
}

/// The sources: OpenAI's, Anthropic's and Ollama's API references; vLLM 0.32 (`entrypoints`), SGLang (`http_server.py`),
/// llama.cpp (`tools/server`), TGI (`router/src/server.rs`), TEI (`router/src/http/server.rs`), LMDeploy (`serve/openai`).
pub static DIALECTS: [Dialect; 9] = [
    Dialect {
        name: "chat",
        paths: &["/chat/completions", "/invocations", "/vertex"],
        frames: Frames::Events,
        end: End::Choices,
        shape: Shape::OpenAi,
    },
    Dialect {
        name: "completions",
        paths: &["/completions"],
        frames: Frames::Events,
        end: End::Choices,
        shape: Shape::OpenAi,
    },
    Dialect {
        name: "responses",
        paths: &["/responses"],
        frames: Frames::Events,
        end: End::Types(&["response.completed", "response.incomplete", "response.failed"]),
        shape: Shape::Responses,
    },
    Dialect {
        name: "messages",
        paths: &["/messages"],
        frames: Frames::Events,
        end: End::Types(&["message_stop"]),
        shape: Shape::Anthropic,
    },
    Dialect {
        name: "ollama",
        paths: &["/api/chat", "/api/generate"],
        frames: Frames::Lines,
        end: End::Members(&[("\"done\"", "true")]),
        shape: Shape::Ollama,
    },
    Dialect {
        name: "tgi",
        paths: &["/generate_stream"],
        frames: Frames::Events,
        end: End::Members(&[("\"generated_text\"", "\"")]),
        shape: Shape::Tgi,
    },
    Dialect {
        name: "native",
        paths: &["/completion", "/infill", "/generate"],
        frames: Frames::Events,
        end: End::Members(&[("\"stop\"", "true"), ("\"generated_text\"", "\""), ("\"finish_reason\"", "{")]),
        shape: Shape::OpenAi,
    },
    Dialect {
        name: "audio",
        paths: &["/audio/transcriptions", "/audio/translations", "/audio/speech"],
        frames: Frames::Events,
        end: End::Message,
        shape: Shape::OpenAi,
    },
    Dialect {
        name: "one answer",
        paths: &[
            "/embeddings",
            "/embedding",
            "/rerank",
            "/reranking",
            "/score",
            "/classify",
            "/pooling",
            "/tokenize",
            "/detokenize",
            "/render",
            "/derender",
            "/embed",
            "/embed_all",
            "/embed_sparse",
            "/predict",
            "/similarity",
            "/decode",
            "/encode",
            "/get_ppl",
            "/moderations",
            "/images/generations",
            "/messages/count_tokens",
            "/responses/input_tokens",
            "/chat/completions/input_tokens",
            "/chat/completions/batch",
            "/apply-template",
            "/chat_tokenize",
            "/inference/v1/generate",
            "/generative_scoring",
            "/systemone",
            "/api/embed",
            "/api/embeddings",
        ],
        frames: Frames::Events,
        end: End::Message,
        shape: Shape::OpenAi,
    },
];

/// Streams on any other path: errors are found in them, and only the end of the message ends them.
pub static OTHER: Dialect =
    Dialect { name: "other", paths: &[], frames: Frames::Events, end: End::Message, shape: Shape::OpenAi };

/// The endings by their last segment, the longest first: looked up for each request.
static BY_SEGMENT: LazyLock<HashMap<&'static str, Vec<(&'static str, &'static Dialect)>>> =
    LazyLock::new(|| {
        let mut endings: HashMap<_, Vec<_>> = HashMap::new();
        for (ending, dialect) in
            DIALECTS.iter().flat_map(|dialect| dialect.paths.iter().map(move |ending| (*ending, dialect)))
        {
            let segment = ending.rsplit('/').next().unwrap_or(ending);
            endings.entry(segment).or_default().push((ending, dialect));
        }
        endings.values_mut().for_each(|endings| endings.sort_by_key(|(ending, _)| usize::MAX - ending.len()));
        endings
    });

impl Dialect {
    /// The dialect of a path (without its query), with or without a final slash: the longest ending decides.
    pub fn of(path: &str) -> Option<&'static Self> {
        let path = path.trim_end_matches('/');
        let segment = &path[path.rfind('/')? + 1..];
        let endings = BY_SEGMENT.get(segment)?;
        endings.iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, dialect)| *dialect)
    }

    /// True if its streams are searched for errors and for their end.
    pub fn is_watched(&self) -> bool {
        self.end != End::Message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_by_its_ending() {
        let table = [
            ("/v1/chat/completions", Some("chat")),
            ("/v1/chat/completions/", Some("chat")),
            ("/vllm/v1/chat/completions", Some("chat")),
            ("/v3/completions", Some("completions")),
            ("/completions", Some("completions")),
            ("/completion", Some("native")),
            ("/v1/responses", Some("responses")),
            ("/v1/responses/input_tokens", Some("one answer")),
            ("/v1/messages", Some("messages")),
            ("/v1/messages/count_tokens", Some("one answer")),
            ("/api/generate", Some("ollama")),
            ("/generate", Some("native")),
            ("/inference/v1/generate", Some("one answer")),
            ("/generate_stream", Some("tgi")),
            ("/v1/audio/transcriptions", Some("audio")),
            ("/my-model/v1/embeddings", Some("one answer")),
            ("/v1/chat/completions/x", None),
            ("/v1/xcompletions", None),
            ("/v1/files", None),
            ("/", None),
            ("", None),
        ];
        for (path, want) in table {
            assert_eq!(Dialect::of(path).map(|dialect| dialect.name), want, "{path}");
        }
    }

    #[test]
    fn no_ending_is_there_twice() {
        let mut all: Vec<_> = DIALECTS.iter().flat_map(|dialect| dialect.paths).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|ending| ending.starts_with('/') && !ending.ends_with('/')));
    }
}
