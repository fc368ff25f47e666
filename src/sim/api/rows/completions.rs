//! Completions: OpenAI's older `/completions`.

use super::super::speech::{Abort, DONE, ERROR, ERROR_BODY, Form, JSON, SSE, Speech, Streams};
use crate::config::Engine;

macro_rules! chunk {
    ($($rest:literal),+) => {
        concat!(
            r#"data: {"id":"$id","object":"text_completion","created":$created,"model":$model,"#,
            $($rest),+,
            "}\n\n"
        )
    };
}

pub(super) const ROWS: &[Speech] = &[VLLM, SGLANG, LLAMACPP, INVOCATIONS];

/// SageMaker's path takes chats and completions: vLLM 0.32.0, `entrypoints/sagemaker`.
const INVOCATIONS: Speech = Speech { paths: &["/invocations"], key: "\"prompt\"", ..VLLM };

/// vLLM 0.32.0
const VLLM: Speech = Speech {
    paths: &["/completions"],
    engines: &[],
    key: "",
    form: Form::Completion,
    streams: Streams::Asked,
    id: "cmpl-",
    media: [SSE, JSON],
    begin: &[],
    token: chunk!(
        r#""choices":[{"index":0,"text":"$text","logprobs":null,"finish_reason":null,"stop_reason":null,"#,
        r#""prompt_token_ids":<first:$prompt_ids><!first:null>,"token_ids":$ids}]"#,
        r#"<continuous:,"usage":{"prompt_tokens":$prompt_tokens,"total_tokens":$total,"completion_tokens":$tokens}>"#
    ),
    end: &[
        chunk!(
            r#""choices":[{"index":0,"text":"$text","logprobs":null,"finish_reason":"$reason","stop_reason":null,"#,
            r#""prompt_token_ids":<first:$prompt_ids><!first:null>,"token_ids":$ids}]"#,
            r#"<continuous:,"usage":{"prompt_tokens":$prompt_tokens,"total_tokens":$total,"completion_tokens":$tokens}>"#,
            r#"<!usage:,"system_fingerprint":"vllm-0.32.0-sim">"#
        ),
        concat!(
            r#"<usage:data: {"id":"$id","object":"text_completion","created":$created,"model":$model,"choices":[],"#,
            r#""usage":{"prompt_tokens":$prompt_tokens,"total_tokens":$total,"completion_tokens":$tokens$and_cached},"#,
            "\"system_fingerprint\":\"vllm-0.32.0-sim\"}\n\n>"
        ),
    ],
    done: DONE,
    whole: concat!(
        r#"{"id":"$id","object":"text_completion","created":$created,"model":$model,"choices":[{"index":0,"#,
        r#""text":"$text","logprobs":null,"finish_reason":"$reason","stop_reason":null,"token_ids":$ids,"#,
        r#""prompt_logprobs":null,"prompt_token_ids":$prompt_ids,"routed_experts":null}],"service_tier":null,"#,
        r#""system_fingerprint":"vllm-0.32.0-sim","usage":{"prompt_tokens":$prompt_tokens,"total_tokens":$total,"#,
        r#""completion_tokens":$tokens,"prompt_tokens_details":$cached,"completion_tokens_details":null},"#,
        r#""kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}"#
    ),
    abort: Abort::Told,
    error: ERROR,
    error_body: ERROR_BODY,
    full_in_stream: true,
};

const SGLANG: Speech = Speech {
    engines: &[Engine::Sglang],
    id: "7f3c9a0e5b1d-",
    token: chunk!(
        r#""choices":[{"index":0,"text":"$text","logprobs":null,"finish_reason":null<ids:,"token_ids":$ids>"#,
        r#"<first_ids:,"prompt_token_ids":$prompt_ids>,"matched_stop":null}],"usage":null"#
    ),
    end: &[
        chunk!(
            r#""choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"$reason","matched_stop":null}],"usage":null"#
        ),
        concat!(
            r#"<usage:data: {"id":"$id","object":"text_completion","created":$created,"model":$model,"choices":[],"#,
            "\"usage\":{\"prompt_tokens\":$prompt_tokens,\"completion_tokens\":$tokens,\"total_tokens\":$total}}\n\n>"
        ),
    ],
    whole: WHOLE,
    ..VLLM
};

/// llama.cpp's last event always tells the usage, and no event of its own follows.
const LLAMACPP: Speech = Speech {
    engines: &[Engine::Llamacpp],
    id: "chatcmpl-",
    token: chunk!(
        r#""choices":[{"index":0,"text":"$text","logprobs":null,"finish_reason":null<ids:,"token_ids":$ids>"#,
        r#"<first_ids:,"prompt_token_ids":$prompt_ids>}],"system_fingerprint":"b6000-sim""#
    ),
    end: &[chunk!(
        r#""choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"$reason"}],"system_fingerprint":"b6000-sim","#,
        r#""usage":{"prompt_tokens":$prompt_tokens,"completion_tokens":$tokens,"total_tokens":$total}"#
    )],
    whole: WHOLE,
    ..VLLM
};

const WHOLE: &str = concat!(
    r#"{"id":"$id","object":"text_completion","created":$created,"model":$model,"choices":[{"index":0,"#,
    r#""text":"$text","logprobs":null,"finish_reason":"$reason"<ids:,"token_ids":$ids,"prompt_token_ids":$prompt_ids>}],"#,
    r#""usage":{"prompt_tokens":$prompt_tokens,"completion_tokens":$tokens,"total_tokens":$total}}"#
);
