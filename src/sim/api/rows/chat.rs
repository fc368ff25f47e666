//! Chats: OpenAI's `/chat/completions`.

use super::super::speech::{Abort, DONE, ERROR, ERROR_BODY, Form, JSON, SSE, Speech, Streams};
use crate::config::Engine;

macro_rules! chunk {
    ($($rest:literal),+) => {
        concat!(
            r#"data: {"id":"$id","object":"chat.completion.chunk","created":$created,"model":$model,"#,
            $($rest),+,
            "}\n\n"
        )
    };
}

const PATHS: &[&str] = &["/chat/completions", "/invocations", "/vertex"];

pub(super) const ROWS: &[Speech] = &[VLLM, SGLANG, LLAMACPP];

/// vLLM 0.32.0: the last tokens come with the finish reason, and a fingerprint in the last event.
const VLLM: Speech = Speech {
    paths: PATHS,
    engines: &[],
    key: "",
    form: Form::Chat,
    streams: Streams::Asked,
    id: "chatcmpl-",
    media: [SSE, JSON],
    begin: &[chunk!(
        r#""choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]"#,
        r#"<continuous:,"usage":{"prompt_tokens":$prompt_tokens,"total_tokens":$prompt_tokens,"completion_tokens":0,"completion_tokens_details":null}>"#,
        r#","prompt_token_ids":$prompt_ids,"prompt_text":null"#
    )],
    token: chunk!(
        r#""choices":[{"index":0,"delta":{"content":"$text"},"logprobs":null,"finish_reason":null,"token_ids":$ids}]"#,
        r#"<continuous:,"usage":{"prompt_tokens":$prompt_tokens,"total_tokens":$total,"completion_tokens":$tokens,"completion_tokens_details":null}>"#
    ),
    end: &[
        chunk!(
            r#""choices":[{"index":0,"delta":{"content":"$text"},"logprobs":null,"finish_reason":"$reason","stop_reason":null,"token_ids":$ids}]"#,
            r#"<continuous:,"usage":{"prompt_tokens":$prompt_tokens,"total_tokens":$total,"completion_tokens":$tokens,"completion_tokens_details":null}>"#,
            r#"<!usage:,"system_fingerprint":"vllm-0.32.0-sim">"#
        ),
        concat!(
            r#"<usage:data: {"id":"$id","object":"chat.completion.chunk","created":$created,"model":$model,"choices":[],"#,
            r#""usage":{"prompt_tokens":$prompt_tokens,"total_tokens":$total,"completion_tokens":$tokens$and_cached},"#,
            "\"system_fingerprint\":\"vllm-0.32.0-sim\"}\n\n>"
        ),
    ],
    done: DONE,
    whole: concat!(
        r#"{"id":"$id","object":"chat.completion","created":$created,"model":$model,"choices":[{"index":0,"#,
        r#""message":{"role":"assistant","content":"$text","refusal":null,"annotations":null,"audio":null,"#,
        r#""function_call":null,"reasoning":null},"logprobs":null,"finish_reason":"$reason","stop_reason":null,"#,
        r#""token_ids":$ids,"routed_experts":null}],"service_tier":null,"system_fingerprint":"vllm-0.32.0-sim","#,
        r#""usage":{"prompt_tokens":$prompt_tokens,"total_tokens":$total,"completion_tokens":$tokens,"#,
        r#""prompt_tokens_details":$cached,"completion_tokens_details":null},"prompt_logprobs":null,"#,
        r#""prompt_token_ids":$prompt_ids,"prompt_text":null,"kv_transfer_params":null,"ec_transfer_params":null,"metrics":null}"#
    ),
    abort: Abort::Told,
    error: ERROR,
    error_body: ERROR_BODY,
    full_in_stream: true,
};

const SGLANG: Speech = Speech {
    engines: &[Engine::Sglang],
    id: "7f3c9a0e5b1d-",
    begin: &[chunk!(
        r#""choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning_content":null,"tool_calls":null},"#,
        r#""logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":null<ids:,"prompt_token_ids":$prompt_ids>"#
    )],
    token: chunk!(
        r#""choices":[{"index":0,"delta":{"content":"$text"},"logprobs":null,"finish_reason":null"#,
        r#"<ids:,"token_ids":$ids>,"matched_stop":null}],"usage":null"#
    ),
    end: &[
        chunk!(
            r#""choices":[{"index":0,"delta":{"role":null,"content":null,"reasoning_content":null,"tool_calls":null},"#,
            r#""logprobs":null,"finish_reason":"$reason","matched_stop":null}],"usage":null"#
        ),
        USAGE,
    ],
    whole: WHOLE,
    ..VLLM
};

const LLAMACPP: Speech = Speech {
    engines: &[Engine::Llamacpp],
    begin: &[chunk!(
        r#""choices":[{"index":0,"delta":{"role":"assistant","content":null},"logprobs":null,"finish_reason":null}],"#,
        r#""system_fingerprint":"b6000-sim"<ids:,"prompt_token_ids":$prompt_ids>"#
    )],
    token: chunk!(
        r#""choices":[{"index":0,"delta":{"content":"$text"},"logprobs":null,"finish_reason":null<ids:,"token_ids":$ids>}],"#,
        r#""system_fingerprint":"b6000-sim""#
    ),
    end: &[
        chunk!(
            r#""choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"$reason"}],"system_fingerprint":"b6000-sim""#
        ),
        concat!(
            r#"<usage:data: {"id":"$id","object":"chat.completion.chunk","created":$created,"model":$model,"choices":[],"#,
            r#""usage":{"prompt_tokens":$prompt_tokens,"completion_tokens":$tokens,"total_tokens":$total},"#,
            "\"system_fingerprint\":\"b6000-sim\",\"timings\":{\"predicted_per_second\":50.25}}\n\n>"
        ),
    ],
    whole: WHOLE,
    ..VLLM
};

const USAGE: &str = concat!(
    r#"<usage:data: {"id":"$id","object":"chat.completion.chunk","created":$created,"model":$model,"choices":[],"#,
    "\"usage\":{\"prompt_tokens\":$prompt_tokens,\"completion_tokens\":$tokens,\"total_tokens\":$total}}\n\n>"
);

const WHOLE: &str = concat!(
    r#"{"id":"$id","object":"chat.completion","created":$created,"model":$model,"choices":[{"index":0,"#,
    r#""message":{"role":"assistant","content":"$text"},"logprobs":null,"finish_reason":"$reason""#,
    r#"<ids:,"token_ids":$ids,"prompt_token_ids":$prompt_ids>}],"#,
    r#""usage":{"prompt_tokens":$prompt_tokens,"completion_tokens":$tokens,"total_tokens":$total}}"#
);
