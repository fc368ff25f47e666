//! Speech to text, and text to speech.

use super::super::speech::{Abort, DONE, ERROR, ERROR_BODY, Form, JSON, SSE, Speech, Streams};
use crate::config::Engine;

pub(super) const ROWS: &[Speech] = &[OPENAI, VLLM, SPEECH];

/// OpenAI's API reference, "Transcription streaming events".
const OPENAI: Speech = Speech {
    paths: &["/audio/transcriptions", "/audio/translations"],
    engines: &[],
    key: "",
    form: Form::Upload,
    streams: Streams::Asked,
    id: "",
    media: [SSE, JSON],
    begin: &[],
    token: "data: {\"type\":\"transcript.text.delta\",\"delta\":\"$text\"}\n\n",
    end: &[],
    done: concat!(
        r#"data: {"type":"transcript.text.done","text":"$whole","usage":{"type":"tokens","input_tokens":$prompt_tokens,"#,
        "\"output_tokens\":$tokens,\"total_tokens\":$total}}\n\n"
    ),
    whole: r#"<plain:$text><!plain:{"text":"$text","usage":{"type":"duration","seconds":1}}>"#,
    abort: Abort::Cut,
    error: ERROR,
    error_body: ERROR_BODY,
    full_in_stream: false,
};

/// vLLM (`entrypoints/openai/speech_to_text`): chunks as those of a chat, and `[DONE]`.
const VLLM: Speech = Speech {
    engines: &[Engine::Vllm],
    id: "trsc-",
    token: concat!(
        r#"data: {"id":"$id","object":"transcription.chunk","created":$created,"model":$model,"#,
        "\"choices\":[{\"delta\":{\"content\":\"$text\"}}]}\n\n"
    ),
    end: &[concat!(
        r#"data: {"id":"$id","object":"transcription.chunk","created":$created,"model":$model,"#,
        "\"choices\":[{\"delta\":{\"content\":\"$text\"},\"finish_reason\":\"$reason\",\"stop_reason\":null}]}\n\n"
    )],
    done: DONE,
    abort: Abort::Told,
    full_in_stream: true,
    ..OPENAI
};

/// Bytes of a sound; here they are the text.
const SPEECH: Speech = Speech {
    paths: &["/audio/speech"],
    form: Form::Json,
    streams: Streams::Never,
    media: [SSE, "audio/wav"],
    whole: "$text",
    ..OPENAI
};
