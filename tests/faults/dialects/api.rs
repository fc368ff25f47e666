//! The dialects as engines speak them: a request in each, and where its answers have their text.

use evenkeel::classify::dialect::{Dialect, Frames};
use evenkeel::config::Engine;
use serde_json::Value;

/// Tokens of an answer, and of one that fails in the middle before it does.
pub(super) const TOKENS: usize = 8;
pub(super) const AFTER: usize = 3;

/// One row of the table.
pub(super) struct Api {
    pub engine: Engine,
    pub path: &'static str,
    /// The body without `model` and `stream`; empty for a form with a file.
    ask: &'static str,
    /// The member of an event with its text; empty where nothing streams.
    text: &'static str,
    /// Each event has all the text so far.
    is_cumulative: bool,
    /// Events at the beginning that say nothing.
    pub silent: usize,
    /// A piece of the last event of a good end.
    pub end: &'static str,
    /// A stream is whole without its last event, for it says before that it is finished.
    pub says_before: bool,
    /// An error in its streams is told, not a cut.
    pub tells_errors: bool,
}

const CHAT: Api = Api {
    engine: Engine::Vllm,
    path: "/v1/chat/completions",
    ask: r#""messages":[{"role":"user","content":"Tell me of the sea"}],"max_tokens":8"#,
    text: "/choices/0/delta/content",
    is_cumulative: false,
    silent: 1,
    end: "data: [DONE]",
    says_before: true,
    tells_errors: true,
};
const COMPLETION: Api = Api {
    path: "/v1/completions",
    ask: r#""prompt":"sea","max_tokens":8"#,
    text: "/choices/0/text",
    silent: 0,
    ..CHAT
};
const RESPONSES: Api = Api {
    engine: Engine::Generic,
    path: "/v1/responses",
    ask: r#""input":"sea","max_output_tokens":8"#,
    text: "/delta",
    silent: 2,
    end: "event: response.completed",
    says_before: false,
    ..CHAT
};
const MESSAGES: Api = Api {
    engine: Engine::Generic,
    path: "/v1/messages",
    text: "/delta/text",
    end: "event: message_stop",
    says_before: false,
    ..CHAT
};
const LLAMACPP: Api = Api {
    engine: Engine::Llamacpp,
    path: "/completion",
    ask: r#""prompt":"sea","n_predict":8"#,
    text: "/content",
    silent: 0,
    end: r#""stop":true"#,
    says_before: false,
    ..CHAT
};
const AUDIO: Api = Api { path: "/v1/audio/transcriptions", ask: "", silent: 0, says_before: true, ..CHAT };
const ONE: Api = Api {
    engine: Engine::Generic,
    path: "/v1/embeddings",
    ask: r#""input":"sea""#,
    text: "",
    silent: 0,
    ..CHAT
};

/// Some for each row of the gateway's table, as the engines differ.
pub(super) const APIS: [Api; 20] = [
    CHAT,
    Api { engine: Engine::Sglang, ..CHAT },
    Api { engine: Engine::Llamacpp, ..CHAT },
    COMPLETION,
    RESPONSES,
    // its dead engine says nothing
    Api { engine: Engine::Vllm, tells_errors: false, ..RESPONSES },
    MESSAGES,
    Api { engine: Engine::Vllm, ..MESSAGES },
    Api {
        engine: Engine::Generic,
        path: "/api/chat",
        ask: r#""messages":[{"role":"user","content":"Tell me of the sea"}],"options":{"num_predict":8}"#,
        text: "/message/content",
        end: r#""done":true"#,
        ..LLAMACPP
    },
    Api {
        engine: Engine::Generic,
        path: "/generate_stream",
        ask: r#""inputs":"sea","parameters":{"max_new_tokens":8}"#,
        text: "/token/text",
        end: r#""generated_text":""#,
        ..LLAMACPP
    },
    Api { path: "/invocations", silent: 0, ..CHAT },
    LLAMACPP,
    Api {
        engine: Engine::Sglang,
        path: "/generate",
        ask: r#""text":"sea","sampling_params":{"max_new_tokens":8}"#,
        text: "/text",
        is_cumulative: true,
        end: "data: [DONE]",
        says_before: true,
        ..LLAMACPP
    },
    Api {
        engine: Engine::Generic,
        path: "/api/extra/generate/stream",
        ask: r#""prompt":"sea","max_tokens":8"#,
        text: "/token",
        end: r#""finish_reason": "length""#,
        ..LLAMACPP
    },
    Api { engine: Engine::Generic, text: "/delta", end: "transcript.text.done", says_before: false, ..AUDIO },
    AUDIO,
    ONE,
    Api { path: "/v1/messages/count_tokens", ask: MESSAGES.ask, ..ONE },
    Api { path: "/api/embed", ..ONE },
    Api { path: "/embed_all", ask: r#""inputs":"sea""#, ..ONE },
];

/// A request's content type and body; empty fields for a form.
pub(super) fn request(model: &str, ask: &str) -> (&'static str, String) {
    if !ask.is_empty() {
        return ("application/json", format!(r#"{{"model":"{model}","stream":true,{ask}}}"#));
    }
    let field = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let fields = [("model", model), ("max_tokens", "8"), ("stream", "true"), ("file", "RIFF")];
    let fields = fields.map(|(name, value)| field(name, value)).concat();
    ("multipart/form-data; boundary=b", fields + "--b--\r\n")
}

/// The data of an event: a line, or the value of its field.
pub(super) fn data(event: &str) -> Option<&str> {
    let line = event.lines().find(|line| line.starts_with("data:") || line.starts_with('{'))?;
    Some(line.strip_prefix("data:").unwrap_or(line).trim())
}

impl Api {
    pub(super) fn dialect(&self) -> &'static Dialect {
        Dialect::of(self.path).expect("a dialect")
    }

    pub(super) fn name(&self) -> String {
        let engine = match self.engine {
            Engine::Vllm => ", vLLM",
            Engine::Sglang => ", SGLang",
            Engine::Llamacpp => ", llama.cpp",
            Engine::Generic => "",
        };
        format!("{} (`{}`{engine})", self.dialect().name, self.path)
    }

    pub(super) fn streams(&self) -> bool {
        !self.text.is_empty()
    }

    pub(super) fn request(&self, model: &str) -> (&'static str, String) {
        request(model, self.ask)
    }

    /// The events of an answer, each with its end.
    pub(super) fn events<'a>(&self, body: &'a str) -> Vec<&'a str> {
        match self.dialect().frames {
            Frames::Lines => body.split_inclusive('\n').collect(),
            Frames::Events => body.split_inclusive("\n\n").collect(),
        }
    }

    /// The text that these events say.
    pub(super) fn said(&self, events: &[&str]) -> String {
        let said = |event: &&str| {
            let value: Value = serde_json::from_str(data(event)?).ok()?;
            Some(value.pointer(self.text)?.as_str()?.to_owned())
        };
        let mut texts = events.iter().filter_map(said);
        if self.is_cumulative { texts.next_back().unwrap_or_default() } else { texts.collect() }
    }
}
