//! APIs that compute and give one answer.

use super::super::speech::{Abort, ERROR_BODY, Form, JSON, SSE, Speech, Streams};
use super::messages;

macro_rules! list {
    ($data:literal) => {
        concat!(
            r#"{"id":"$id","object":"list","created":$created,"model":$model,"data":["#,
            $data,
            r#"],"usage":{"prompt_tokens":$prompt_tokens,"total_tokens":$prompt_tokens,"completion_tokens":0,"prompt_tokens_details":null}}"#
        )
    };
}

pub(super) const ROWS: &[Speech] = &[
    OTHER,
    Speech {
        paths: &["/embeddings", "/embeddings_image", "/embeddings_audio"],
        id: "embd-",
        whole: list!(r#"{"index":0,"object":"embedding","embedding":[0.25,-0.5,0.125]}"#),
        ..OTHER
    },
    Speech {
        paths: &["/embed", "/embed_all", "/embed_sparse", "/predict", "/similarity", "/decode"],
        whole: "[[0.25,-0.5,0.125]]",
        error_body: r#"{"error":$message,"error_type":"<busy:Overloaded><mistake:Validation><broken:Backend>"}"#,
        ..OTHER
    },
    Speech {
        paths: &["/api/embed", "/api/embeddings", "/api/show"],
        whole: r#"{"model":$model,"embeddings":[[0.25,-0.5,0.125]],"embedding":[0.25,-0.5,0.125],"prompt_eval_count":$prompt_tokens}"#,
        error_body: r#"{"error":$message}"#,
        ..OTHER
    },
    Speech {
        paths: &["/rerank", "/reranking"],
        id: "rerank-",
        whole: r#"{"id":"$id","model":$model,"usage":{"total_tokens":$prompt_tokens},"results":[{"index":0,"document":{"text":"$text"},"relevance_score":0.75}]}"#,
        ..OTHER
    },
    Speech {
        paths: &["/score"],
        id: "score-",
        whole: list!(r#"{"index":0,"object":"score","score":0.75}"#),
        ..OTHER
    },
    Speech {
        paths: &["/classify"],
        id: "classify-",
        whole: list!(r#"{"index":0,"label":"$text","probs":[0.25,0.75],"num_classes":2}"#),
        ..OTHER
    },
    Speech {
        paths: &["/tokenize", "/chat_tokenize", "/encode"],
        whole: r#"{"count":$prompt_tokens,"max_model_len":32768,"tokens":$all_prompt_ids,"token_strs":null}"#,
        ..OTHER
    },
    Speech { paths: &["/detokenize"], whole: r#"{"prompt":"$text"}"#, ..OTHER },
    Speech { paths: &["/messages/count_tokens"], error_body: messages::ERROR_BODY, ..COUNT },
    COUNT,
    Speech {
        paths: &["/chat/completions/batch"],
        id: "chatcmpl-",
        whole: concat!(
            r#"{"id":"$id","object":"chat.completion","created":$created,"model":$model,"choices":[{"index":0,"#,
            r#""message":{"role":"assistant","content":"$text"},"logprobs":null,"finish_reason":"$reason","stop_reason":null}],"#,
            r#""usage":{"prompt_tokens":$prompt_tokens,"total_tokens":$total,"completion_tokens":$tokens}}"#
        ),
        ..OTHER
    },
];

const COUNT: Speech = Speech {
    paths: &["/responses/input_tokens", "/chat/completions/input_tokens"],
    whole: r#"{"input_tokens":$prompt_tokens,"context_management":{"original_input_tokens":$prompt_tokens}}"#,
    ..OTHER
};

const OTHER: Speech = Speech {
    paths: &[
        "/embedding",
        "/pooling",
        "/render",
        "/derender",
        "/get_ppl",
        "/moderations",
        "/images/generations",
        "/images/edits",
        "/images/variations",
        "/txt2img",
        "/img2img",
        "/inference",
        "/get_score",
        "/tokencount",
        "/responses/compact",
        "/parse_function_call",
        "/separate_reasoning",
        "/vertex_generate",
        "/apply-template",
        "/inference/v1/generate",
        "/generative_scoring",
        "/systemone",
    ],
    engines: &[],
    key: "",
    form: Form::Json,
    streams: Streams::Never,
    id: "answer-",
    media: [SSE, JSON],
    begin: &[],
    token: "",
    end: &[],
    done: "",
    whole: list!(r#"{"index":0,"text":"$text"}"#),
    abort: Abort::Cut,
    error: &[],
    error_body: ERROR_BODY,
    full_in_stream: false,
};
