//! Anthropic's `/messages`.

use super::super::speech::{Abort, Form, JSON, SSE, Speech, Streams};
use crate::config::Engine;

macro_rules! event {
    ($kind:literal, $data:expr) => {
        concat!("event: ", $kind, "\ndata: {\"type\":\"", $kind, "\"", $data, "}\n\n")
    };
}

pub(super) const ERROR_BODY: &str = r#"{"type":"error","error":{"type":"<busy:overloaded_error><mistake:invalid_request_error><broken:api_error>","message":$message}}"#;

pub(super) const ROWS: &[Speech] = &[ANTHROPIC, VLLM];

/// vLLM 0.32.0: the event of an error is one of its own chats that it could not read.
const VLLM: Speech = Speech {
    engines: &[Engine::Vllm],
    id: "chatcmpl-",
    error: &[event!(
        "error",
        concat!(
            r#","error":{"type":"internal_error","message":"2 validation errors for ChatCompletionStreamResponse\nmodel\n  "#,
            r#"Field required [type=missing, input_value={'error': {'message': 'En...am': None, 'code': $code}}, input_type=dict]\n    "#,
            r#"For further information visit https://errors.pydantic.dev/2.14/v/missing\nchoices\n  "#,
            r#"Field required [type=missing, input_value={'error': {'message': 'En...am': None, 'code': $code}}, input_type=dict]\n    "#,
            r#"For further information visit https://errors.pydantic.dev/2.14/v/missing"}"#
        )
    )],
    error_body: r#"{"type":"error","error":{"type":"$kind","message":$message}}"#,
    ..ANTHROPIC
};

const ANTHROPIC: Speech = Speech {
    paths: &["/messages"],
    engines: &[],
    key: "",
    form: Form::Chat,
    streams: Streams::Asked,
    id: "msg_",
    media: [SSE, JSON],
    begin: &[
        event!(
            "message_start",
            r#","message":{"id":"$id","type":"message","role":"assistant","content":[],"model":$model,"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":$prompt_tokens,"output_tokens":0}}"#
        ),
        event!("content_block_start", r#","content_block":{"type":"text","text":""},"index":0"#),
    ],
    token: event!("content_block_delta", r#","delta":{"type":"text_delta","text":"$text"},"index":0"#),
    end: &[
        event!("content_block_stop", r#","index":0"#),
        event!(
            "message_delta",
            r#","delta":{"stop_reason":<length:"max_tokens"><stop:"end_turn"><abort:null>,"stop_sequence":null},"usage":{"input_tokens":$prompt_tokens,"output_tokens":$tokens}"#
        ),
    ],
    done: event!("message_stop", ""),
    whole: concat!(
        r#"{"id":"$id","type":"message","role":"assistant","content":[{"type":"text","text":"$text"}],"model":$model,"#,
        // a null is left out
        r#"<length:"stop_reason":"max_tokens",><stop:"stop_reason":"end_turn",>"#,
        r#""usage":{"input_tokens":$prompt_tokens,"output_tokens":$tokens}}"#
    ),
    abort: Abort::Told,
    error: &[event!(
        "error",
        r#","error":{"type":"<busy:overloaded_error><mistake:invalid_request_error><broken:api_error>","message":$message}"#
    )],
    error_body: ERROR_BODY,
    full_in_stream: true,
};
