//! Ollama's own API (`server/routes.go`): a JSON a line, streamed unless it is refused.

use super::super::speech::{Abort, Form, JSON, Speech, Streams};

macro_rules! line {
    ($text:literal, $more:literal) => {
        concat!(r#"{"model":$model,"created_at":"$created_at","#, $text, $more, "}\n")
    };
}
macro_rules! last {
    ($text:literal) => {
        concat!(
            r#"{"model":$model,"created_at":"$created_at","#,
            $text,
            r#","done_reason":"$reason","done":true,"total_duration":5043500667,"load_duration":5025959,"#,
            r#""prompt_eval_count":$prompt_tokens,"prompt_eval_duration":325953000,"eval_count":$tokens,"eval_duration":4709213000}"#
        )
    };
}

pub(super) const ROWS: &[Speech] = &[CHAT, GENERATE];

const CHAT: Speech = Speech {
    paths: &["/api/chat"],
    engines: &[],
    key: "",
    form: Form::Chat,
    streams: Streams::Unasked,
    id: "",
    media: ["application/x-ndjson", JSON],
    begin: &[],
    token: line!(r#""message":{"role":"assistant","content":"$text"}"#, r#","done":false"#),
    end: &[],
    done: concat!(last!(r#""message":{"role":"assistant","content":""}"#), "\n"),
    whole: last!(r#""message":{"role":"assistant","content":"$text"}"#),
    // its runner is gone with it
    abort: Abort::Cut,
    error: &["{\"error\":$message}\n"],
    error_body: r#"{"error":$message}"#,
    full_in_stream: false,
};

const GENERATE: Speech = Speech {
    paths: &["/api/generate"],
    form: Form::Completion,
    token: line!(r#""response":"$text""#, r#","done":false"#),
    done: concat!(last!(r#""response":"""#), "\n"),
    whole: last!(r#""response":"$text""#),
    ..CHAT
};
