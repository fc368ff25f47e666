//! OpenAI's `/responses`.

use super::super::speech::{Abort, ERROR_BODY, Form, JSON, SSE, Speech, Streams};
use crate::config::Engine;

macro_rules! event {
    ($kind:literal, $($data:expr),+) => {
        concat!("event: ", $kind, "\ndata: {", $($data),+, ",\"sequence_number\":$number,\"type\":\"", $kind, "\"}\n\n")
    };
}
/// A response: what comes before its output, its status, and its usage.
macro_rules! response {
    ($details:literal, $output:expr, $status:literal, $usage:literal) => {
        concat!(
            r#"{"id":"$id","created_at":$created,"incomplete_details":"#,
            $details,
            r#","instructions":null,"metadata":null,"model":$model,"object":"response","output":["#,
            $output,
            r#"],"parallel_tool_calls":true,"temperature":0.0,"tool_choice":"none","tools":[],"top_p":1.0,"#,
            r#""background":false,"max_output_tokens":$max_tokens,"max_tool_calls":null,"previous_response_id":null,"#,
            r#""prompt":null,"reasoning":null,"service_tier":"auto","status":""#,
            $status,
            r#"","text":null,"top_logprobs":null,"truncation":"disabled","usage":"#,
            $usage,
            r#","user":null,"presence_penalty":0.0,"frequency_penalty":0.0,"kv_transfer_params":null,"#,
            r#""ec_transfer_params":null,"input_messages":null,"output_messages":null}"#
        )
    };
}
macro_rules! begun {
    () => {
        response!("null", "", "in_progress", "null")
    };
}
macro_rules! ended {
    () => {
        response!(
            r#"<length:{"reason":"max_output_tokens"}><!length:null>"#,
            message!(),
            "<length:incomplete><!length:completed>",
            r#"{"input_tokens":$prompt_tokens,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0,"input_tokens_per_turn":[],"cached_tokens_per_turn":[]},"output_tokens":$tokens,"output_tokens_details":{"reasoning_tokens":0,"tool_output_tokens":0,"output_tokens_per_turn":[],"tool_output_tokens_per_turn":[]},"total_tokens":$total}"#
        )
    };
}
macro_rules! message {
    () => {
        r#"{"id":"msg_$id","content":[{"annotations":[],"text":"$whole","type":"output_text","logprobs":null}],"role":"assistant","status":"completed","type":"message","phase":null}"#
    };
}

pub(super) const ROWS: &[Speech] = &[OPENAI, VLLM];

/// vLLM 0.32.0: an answer that is aborted is said to be completed, and a dead engine says nothing at all.
const VLLM: Speech = Speech { engines: &[Engine::Vllm], error: &[], full_in_stream: false, ..OPENAI };

const OPENAI: Speech = Speech {
    paths: &["/responses"],
    engines: &[],
    key: "",
    form: Form::Json,
    streams: Streams::Asked,
    id: "resp_",
    media: [SSE, JSON],
    begin: &[
        event!("response.created", "\"response\":", begun!()),
        event!("response.in_progress", "\"response\":", begun!()),
        event!(
            "response.output_item.added",
            r#""item":{"id":"msg_$id","content":[],"role":"assistant","status":"in_progress","type":"message","phase":null},"output_index":0"#
        ),
        event!(
            "response.content_part.added",
            r#""content_index":0,"item_id":"msg_$id","output_index":0,"part":{"annotations":[],"text":"","type":"output_text","logprobs":[]}"#
        ),
    ],
    token: event!(
        "response.output_text.delta",
        r#""content_index":0,"delta":"$text","item_id":"msg_$id","logprobs":[],"output_index":0"#
    ),
    end: &[
        concat!(
            // vLLM leaves it out where an abort comes without a text
            "<!abort:event: response.output_text.done\n",
            r#"data: {"content_index":0,"item_id":"msg_$id","logprobs":[],"output_index":0,"sequence_number":$number,"#,
            "\"text\":\"$whole\",\"type\":\"response.output_text.done\"}\n\n>"
        ),
        event!(
            "response.content_part.done",
            r#""content_index":0,"item_id":"msg_$id","output_index":0,"part":{"annotations":[],"text":"$whole","type":"output_text","logprobs":null}"#
        ),
        event!("response.output_item.done", "\"item\":", message!(), ",\"output_index\":0"),
    ],
    done: event!("response.completed", "\"response\":", ended!()),
    whole: ended!(),
    abort: Abort::Told,
    error: &[concat!(
        "event: error\n",
        r#"data: {"type":"error","code":"<busy:rate_limit_exceeded><mistake:invalid_prompt><broken:server_error>","message":$message,"param":null,"#,
        "\"sequence_number\":0}\n\n"
    )],
    error_body: ERROR_BODY,
    full_in_stream: true,
};
