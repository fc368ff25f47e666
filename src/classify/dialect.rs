//! The dialects of inference engines, as data: the paths on which each is spoken, how its streams are framed, and how an
//! answer says that it is whole. One row to add for another one.

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
    /// `[DONE]`, a finish reason, or an event of its own that ends it. A stream that shows nothing of the kind, as
    /// Triton's, has only the end of its message.
    Members(&'static Members),
    /// Nothing but the end of the message.
    Message,
}

/// Members of events, each with the beginning of its value.
#[derive(Debug, PartialEq, Eq)]
pub struct Members {
    /// In the last event.
    pub ends: &'static [(&'static str, &'static str)],
    /// In those before it: an end is to come.
    pub opens: &'static [(&'static str, &'static str)],
    /// A stream without any event may be a good answer, such as the transcript of silence.
    pub may_be_empty: bool,
}

/// llama.cpp: `stop`; TGI, MindIE and DJL: `token`, and `generated_text` in the last event; LightLLM: the same, but
/// `finished` in place of the text; SGLang and LMDeploy: finish reasons.
static NATIVE: Members = Members {
    ends: &[("generated_text", "\""), ("finished", "true"), ("stop", "true")],
    opens: &[("token", "{"), ("stop", "false")],
    may_be_empty: false,
};
static OLLAMA: Members =
    Members { ends: &[("done", "true")], opens: &[("done", "false")], may_be_empty: false };
/// OpenAI's; vLLM's events are those of a chat.
static AUDIO: Members = Members {
    ends: &[("type", "\"transcript.text.done\""), ("type", "\"speech.audio.done\"")],
    opens: &[("type", "\"transcript.text.delta\""), ("type", "\"speech.audio.delta\"")],
    may_be_empty: true,
};

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
/// llama.cpp (`tools/server`), TGI and TEI (`router/src`), LMDeploy (`serve/openai`), LightLLM (`api_http.py`), Triton
/// (`src/http_server.cc`), MindIE (service API), Infinity (`infinity_server.py`), whisper.cpp (`examples/server`),
/// KoboldCpp.
pub static DIALECTS: [Dialect; 13] = [
    Dialect {
        name: "chat",
        paths: &["/chat/completions"],
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
        end: End::Members(&OLLAMA),
        shape: Shape::Ollama,
    },
    Dialect {
        name: "tgi",
        paths: &["/generate_stream"],
        frames: Frames::Events,
        end: End::Members(&NATIVE),
        shape: Shape::Tgi,
    },
    // on a cloud's paths the body decides what is spoken: a chat, as a rule
    Dialect {
        name: "chat",
        paths: &["/invocations", "/vertex"],
        frames: Frames::Events,
        end: End::Members(&NATIVE),
        shape: Shape::OpenAi,
    },
    Dialect {
        name: "native",
        paths: &[
            "/completion",
            "/infill",
            "/generate",
            "/generate/stream",
            "/generate_from_file",
            "/infer",
            "/infer_token",
            "/vertex_generate",
        ],
        frames: Frames::Events,
        end: End::Members(&NATIVE),
        shape: Shape::OpenAi,
    },
    Dialect {
        name: "audio",
        paths: &["/audio/transcriptions", "/audio/translations", "/audio/speech"],
        frames: Frames::Events,
        end: End::Members(&AUDIO),
        shape: Shape::OpenAi,
    },
    Dialect {
        name: "one answer",
        paths: &[
            "/embeddings",
            "/embeddings_image",
            "/embeddings_audio",
            "/embedding",
            "/rerank",
            "/reranking",
            "/score",
            "/get_score",
            "/classify",
            "/pooling",
            "/tokenize",
            "/detokenize",
            "/tokencount",
            "/render",
            "/derender",
            "/embed",
            "/encode",
            "/get_ppl",
            "/moderations",
            "/images/generations",
            "/images/edits",
            "/images/variations",
            "/txt2img",
            "/img2img",
            "/inference",
            "/responses/input_tokens",
            "/responses/compact",
            "/chat/completions/input_tokens",
            "/chat/completions/batch",
            "/apply-template",
            "/parse_function_call",
            "/separate_reasoning",
            "/inference/v1/generate",
            "/generative_scoring",
            "/systemone",
        ],
        frames: Frames::Events,
        end: End::Message,
        shape: Shape::OpenAi,
    },
    Dialect {
        name: "messages, one answer",
        paths: &["/messages/count_tokens"],
        frames: Frames::Events,
        end: End::Message,
        shape: Shape::Anthropic,
    },
    Dialect {
        name: "ollama, one answer",
        paths: &["/api/embed", "/api/embeddings", "/api/show"],
        frames: Frames::Lines,
        end: End::Message,
        shape: Shape::Ollama,
    },
    Dialect {
        name: "tgi and tei, one answer",
        paths: &["/embed_all", "/embed_sparse", "/predict", "/similarity", "/decode", "/chat_tokenize"],
        frames: Frames::Events,
        end: End::Message,
        shape: Shape::Tgi,
    },
];

/// TGI, TEI and LightLLM generate and embed on the root too.
const ROOT: (&str, &str) = ("/", "/generate");

/// Collections: what is posted to one of their items is kept there (`/threads/{id}/messages` of OpenAI's Assistants), or
/// has an agent act.
const COLLECTIONS: [&str; 6] = ["threads", "conversations", "sessions", "chats", "agents", "assistants"];
/// Chats on such a path call tools on the server (LocalAI's `/v1/mcp/chat/completions`).
const TOOLS: &str = "mcp";

/// Streams on any other path: errors are found in them, and only the end of the message ends them.
pub static OTHER: Dialect =
    Dialect { name: "other", paths: &[], frames: Frames::Events, end: End::Message, shape: Shape::OpenAi };

/// The endings by the length of their last segment, the longest ending first: looked up for each request, more than once.
static BY_LENGTH: LazyLock<Vec<Vec<(&'static str, &'static Dialect)>>> = LazyLock::new(|| {
    let mut endings: Vec<Vec<_>> = Vec::new();
    for (ending, dialect) in
        DIALECTS.iter().flat_map(|dialect| dialect.paths.iter().map(move |ending| (*ending, dialect)))
    {
        let length = last_length(ending).unwrap_or_default();
        endings.resize(endings.len().max(length + 1), Vec::new());
        endings[length].push((ending, dialect));
    }
    endings.iter_mut().for_each(|endings| endings.sort_by_key(|(ending, _)| usize::MAX - ending.len()));
    endings
});

/// The length of the last segment of a path that has one.
fn last_length(path: &str) -> Option<usize> {
    path.bytes().rev().position(|byte| byte == b'/')
}

impl Dialect {
    /// The dialect of a path (without its query), with or without a final slash: the longest ending decides.
    pub fn of(path: &str) -> Option<&'static Self> {
        Self::with_ending(path).map(|(_, dialect)| dialect)
    }

    /// The same with that ending.
    pub fn with_ending(path: &str) -> Option<(&'static str, &'static Self)> {
        let path = if path == ROOT.0 { ROOT.1 } else { path.trim_end_matches('/') };
        let endings = BY_LENGTH.get(last_length(path)?)?;
        let (before, known) = endings.iter().find_map(|known| Some((path.strip_suffix(known.0)?, *known)))?;
        (!is_kept(before)).then_some(known)
    }

    /// True if its streams have an event at least.
    pub fn has_events(&self) -> bool {
        match self.end {
            End::Choices | End::Types(_) => true,
            End::Members(members) => !members.may_be_empty,
            End::Message => false,
        }
    }
}

/// True if what is sent to this path, the ending of a dialect behind it, does more than to be computed.
fn is_kept(before: &str) -> bool {
    // of bytes: for so short a text, a search of characters costs more than all the rest
    let mut segments = before.as_bytes().rsplit(|byte| *byte == b'/');
    let (item, collection) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    // `/agents/v1` is a prefix
    let is_version = item.strip_prefix(b"v").is_some_and(|rest| rest.iter().all(u8::is_ascii_digit));
    let is = |segment: &[u8], name: &str| segment == name.as_bytes();
    let is_item = COLLECTIONS.iter().any(|name| is(collection, name)) && !is_version;
    is_item || [item, collection].into_iter().chain(segments).any(|segment| is(segment, TOOLS))
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
            ("/v1/messages/count_tokens", Some("messages, one answer")),
            ("/api/generate", Some("ollama")),
            ("/generate", Some("native")),
            ("/inference/v1/generate", Some("one answer")),
            ("/generate_stream", Some("tgi")),
            ("/v1/audio/transcriptions", Some("audio")),
            ("/my-model/v1/embeddings", Some("one answer")),
            ("/invocations", Some("chat")),
            ("/v1/chat/completions/batch/", Some("one answer")),
            ("/v1/chat/completions/render", Some("one answer")),
            ("/v1/completions/render", Some("one answer")),
            ("/v1/messages/render", Some("one answer")),
            ("/v1/responses/render", Some("one answer")),
            ("/v1/chat/completions/derender", Some("one answer")),
            ("/generative_scoring", Some("one answer")),
            ("/root/v1/systemone", Some("one answer")),
            ("/v1/moderations", Some("one answer")),
            ("/v1/images/generations/", Some("one answer")),
            ("/v1/embed", Some("one answer")),
            ("/api/chat//", Some("ollama")),
            ("/infill", Some("native")),
            ("/v1/chat/completions/x", None),
            ("/v1/xcompletions", None),
            ("/v1/files", None),
            ("/", Some("native")),
            ("//", None),
            ("", None),
            ("/v2/models/m/versions/1/generate_stream", Some("tgi")),
            ("/v2/models/m/infer", Some("native")),
            ("/invocations", Some("chat")),
            ("/v1/threads/t/messages", None),
            ("/v1/agents/a/messages", None),
            ("/agents/v1/messages", Some("messages")),
            ("/threads/v1/threads/v1x/messages", None),
            ("/v1/mcp/chat/completions", None),
            ("/mcp/v1/chat/completions", None),
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
