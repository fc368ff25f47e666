//! The engines' own APIs: llama.cpp's, SGLang's, TGI's, MindIE's, KoboldCpp's.

use super::super::speech::{Abort, DONE, ERROR_BODY, Form, JSON, SSE, Speech, Streams};

macro_rules! last_llamacpp {
    ($text:literal) => {
        concat!(
            r#"{"index":0,"content":""#,
            $text,
            r#"","tokens":[],"id_slot":0,"stop":true,"model":$model,"tokens_predicted":$tokens,"tokens_evaluated":$prompt_tokens,"#,
            r#""generation_settings":{"n_predict":$max_tokens},"prompt":"","has_new_line":false,"truncated":false,"#,
            r#""stop_type":"<length:limit><!length:eos>","stopping_word":"","tokens_cached":$total,"#,
            r#""timings":{"prompt_n":$prompt_tokens,"predicted_n":$tokens,"predicted_per_second":50.25}}"#
        )
    };
}
macro_rules! sglang {
    ($reason:literal) => {
        concat!(
            r#"{"text":"$whole","output_ids":$all_ids,"meta_info":{"id":"$id","finish_reason":"#,
            $reason,
            r#","prompt_tokens":$prompt_tokens,"weight_version":"default","completion_tokens":$tokens,"cached_tokens":0}}"#
        )
    };
}
macro_rules! tgi {
    ($generated:literal, $details:literal) => {
        concat!(
            r#"data:{"index":$tokens,"token":{"id":$tokens,"text":"$text","logprob":-0.5,"special":false},"generated_text":"#,
            $generated,
            ",\"details\":",
            $details,
            "}\n\n"
        )
    };
}

pub(super) const ROWS: &[Speech] = &[LLAMACPP, INFILL, SGLANG, TGI, TGI_STREAM, MINDIE, KOBOLD];

/// llama.cpp (`tools/server/server-task.cpp`): the last event says `"stop": true`; there is no `[DONE]`.
const LLAMACPP: Speech = Speech {
    paths: &["/completion"],
    engines: &[],
    key: "",
    form: Form::Completion,
    streams: Streams::Asked,
    id: "",
    media: [SSE, JSON],
    begin: &[],
    token: concat!(
        r#"data: {"index":0,"content":"$text","tokens":[],"stop":false,"id_slot":-1,"tokens_predicted":$tokens,"#,
        "\"tokens_evaluated\":$prompt_tokens}\n\n"
    ),
    end: &[],
    done: concat!("data: ", last_llamacpp!(""), "\n\n"),
    whole: last_llamacpp!("$text"),
    abort: Abort::Cut,
    error: &[
        "data: {\"error\":{\"code\":$code,\"message\":$message,\"type\":\"<busy:unavailable_error><mistake:exceed_context_size_error><broken:server_error>\"}}\n\n",
    ],
    error_body: r#"{"error":{"code":$code,"message":$message,"type":"<busy:unavailable_error><mistake:invalid_request_error><broken:server_error>"}}"#,
    full_in_stream: false,
};

const INFILL: Speech = Speech { paths: &["/infill"], form: Form::Json, ..LLAMACPP };

/// SGLang (`http_server.py`, `tokenizer_manager.py`): each event has the whole text so far; an abort is a finish reason.
const SGLANG: Speech = Speech {
    paths: &["/generate", "/generate_from_file"],
    form: Form::Json,
    id: "7f3c9a0e5b1d-",
    token: concat!("data: ", sglang!("null"), "\n\n"),
    end: &[concat!(
        "data: ",
        sglang!(
            r#"<abort:{"type":"abort","message":"Abort in running"}><length:{"type":"length","length":$tokens}><stop:{"type":"stop","matched":2}>"#
        ),
        "\n\n"
    )],
    done: DONE,
    whole: sglang!(
        r#"<abort:{"type":"abort","message":"Abort in running"}><length:{"type":"length","length":$tokens}><stop:{"type":"stop","matched":2}>"#
    ),
    abort: Abort::Told,
    error: &["data: {\"error\":{\"message\":$message}}\n\n", DONE],
    error_body: ERROR_BODY,
    full_in_stream: true,
    ..LLAMACPP
};

/// TGI (`router/src/server.rs`): no blank after `data:`, and the last token comes with the generated text.
const TGI_STREAM: Speech = Speech {
    paths: &["/generate_stream"],
    form: Form::Json,
    streams: Streams::Always,
    token: tgi!("null", "null"),
    end: &[tgi!(
        "\"$whole\"",
        r#"{"finish_reason":"<length:length><!length:eos_token>","generated_tokens":$tokens,"input_length":$prompt_tokens,"seed":null}"#
    )],
    done: "",
    whole: r#"{"generated_text":"$text"}"#,
    error: &[
        "data:{\"error\":$message,\"error_type\":\"<busy:overloaded><mistake:validation><broken:generation>\"}\n\n",
    ],
    error_body: r#"{"error":$message,"error_type":"<busy:overloaded><mistake:validation><broken:generation>"}"#,
    full_in_stream: true,
    ..LLAMACPP
};

const TGI: Speech =
    Speech { paths: &["/generate"], key: "\"inputs\"", streams: Streams::Never, ..TGI_STREAM };

/// MindIE's service API, in TGI's words.
const MINDIE: Speech = Speech { paths: &["/infer", "/infer_token"], streams: Streams::Asked, ..TGI_STREAM };

/// KoboldCpp (`koboldcpp.py`, `/api/extra/generate/stream`): the last event has a reason, and nothing follows.
const KOBOLD: Speech = Speech {
    paths: &["/generate/stream"],
    streams: Streams::Always,
    token: "event: message\ndata: {\"token\": \"$text\", \"finish_reason\": null}\n\n",
    end: &["event: message\ndata: {\"token\": \"\", \"finish_reason\": \"$reason\"}\n\n"],
    done: "",
    ..LLAMACPP
};
