//! Every dialect: what is streamed is what comes whole, in every engine's manner.

use serde_json::Value;

use super::super::testing::*;
use super::super::{Fault, Node, Options};
use crate::config::Engine;

/// A request: its path, its body without `stream`, and the members of an event and of a whole answer with the text.
struct Row {
    path: &'static str,
    body: &'static str,
    event: &'static str,
    whole: &'static str,
    /// Each event has all the text so far.
    is_cumulative: bool,
}

const fn row(path: &'static str, body: &'static str, event: &'static str, whole: &'static str) -> Row {
    Row { path, body, event, whole, is_cumulative: false }
}

const MESSAGES: &str = r#""messages":[{"role":"user","content":"Tell me of the sea"}],"max_tokens":5"#;
const ROWS: [Row; 13] = [
    row("/v1/chat/completions", MESSAGES, "/choices/0/delta/content", "/choices/0/message/content"),
    row("/v1/completions", r#""prompt":"sea","max_tokens":5"#, "/choices/0/text", "/choices/0/text"),
    row("/invocations", r#""prompt":"sea","max_tokens":5"#, "/choices/0/text", "/choices/0/text"),
    row("/v1/responses", r#""input":"sea","max_output_tokens":5"#, "/delta", "/output/0/content/0/text"),
    row("/v1/messages/", MESSAGES, "/delta/text", "/content/0/text"),
    row("/api/chat", MESSAGES, "/message/content", "/message/content"),
    row("/api/generate", r#""prompt":"sea","options":{"num_predict":5}"#, "/response", "/response"),
    row("/completion", r#""prompt":"sea","n_predict":5"#, "/content", "/content"),
    row("/infill", r#""input_prefix":"sea","input_suffix":"x","n_predict":5"#, "/content", "/content"),
    Row {
        is_cumulative: true,
        ..row("/generate", r#""text":"sea","sampling_params":{"max_new_tokens":5}"#, "/text", "/text")
    },
    row("/generate_stream", r#""inputs":"sea","parameters":{"max_new_tokens":5}"#, "/token/text", ""),
    row("/infer", r#""inputs":"sea","parameters":{"max_new_tokens":5}"#, "/token/text", "/generated_text"),
    row("/api/extra/generate/stream", r#""prompt":"sea","max_tokens":5"#, "/token", ""),
];
const ENGINES: [Engine; 4] = [Engine::Generic, Engine::Vllm, Engine::Sglang, Engine::Llamacpp];

fn body_of(answer: &str) -> &str {
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1
}

/// The JSON of all events.
fn values(answer: &str) -> Vec<Value> {
    let lines = body_of(answer).lines();
    let data = lines.filter_map(|line| line.strip_prefix("data:").or(line.starts_with('{').then_some(line)));
    let data = data.map(str::trim).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
}

async fn ask_row(node: &Node, row: &Row, stream: bool) -> String {
    let request = post(row.path, &format!(r#"{{"model":"m","stream":{stream},{}}}"#, row.body));
    ask(node, &request).await.0
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says() {
    for (engine, tokens_per_event) in ENGINES.into_iter().flat_map(|engine| [(engine, 1), (engine, 2)]) {
        let node = node(Options { engine, tokens_per_event, ..Options::default() });
        for row in &ROWS {
            let streamed = ask_row(&node, row, true).await;
            assert!(!streamed.contains('$') && !streamed.contains('<'), "{engine:?}: {streamed}");
            let texts: Vec<String> = values(&streamed)
                .iter()
                .filter_map(|value| value.pointer(row.event)?.as_str())
                .map(str::to_owned)
                .collect();
            let said = if row.is_cumulative { texts.last().unwrap().clone() } else { texts.concat() };
            assert_eq!(said.split_whitespace().count(), 5, "{engine:?} {}: {streamed}", row.path);
            if row.whole.is_empty() {
                continue;
            }
            let whole = ask_row(&node, row, false).await;
            let whole: Value = serde_json::from_str(body_of(&whole)).unwrap();
            assert_eq!(
                whole.pointer(row.whole).and_then(Value::as_str),
                Some(&*said),
                "{}: {whole}",
                row.path
            );
        }
    }
}

#[tokio::test]
async fn what_ends_a_stream() {
    let dead = "error_event:1".parse::<Fault>().unwrap();
    let abort = "abort:1".parse::<Fault>().unwrap();
    // path's row, engine, then pieces of the last event of a good end, of an error, of an abort; "": the connection is cut
    let table = [
        (0, Engine::Vllm, "[DONE]", r#""code": 500"#, r#""finish_reason":"abort""#),
        (3, Engine::Vllm, "response.completed", "", r#""status":"completed""#),
        (3, Engine::Generic, "response.completed", r#""code":"server_error""#, r#""status":"completed""#),
        (4, Engine::Vllm, "message_stop", "'code': 500", r#""stop_reason":null"#),
        (4, Engine::Generic, "message_stop", "api_error", r#""stop_reason":null"#),
        (5, Engine::Vllm, r#""done":true"#, r#"{"error":"Engine"#, ""),
        (7, Engine::Llamacpp, r#""stop":true"#, r#""type":"server_error""#, ""),
        (9, Engine::Sglang, "[DONE]", r#"{"error":{"message""#, r#"{"type":"abort""#),
        (10, Engine::Vllm, r#""generated_text":""#, r#""error_type":"generation""#, ""),
    ];
    for (row, engine, good, error, aborted) in table {
        let node = node(Options { engine, ..Options::default() });
        let row = &ROWS[row];
        for (fault, want) in [(None, good), (Some(&dead), error), (Some(&abort), aborted)] {
            node.clear_faults();
            fault.into_iter().for_each(|fault| node.set_fault(fault.clone()));
            let answer = ask_row(&node, row, true).await;
            let is_cut = !answer.ends_with("0\r\n\r\n");
            assert_eq!(is_cut, want.is_empty(), "{}: {answer}", row.path);
            assert!(answer.contains(want), "{}: no {want}: {answer}", row.path);
        }
    }
}

#[tokio::test]
async fn sound_comes_in_and_text_goes_out() {
    let form = |fields: &[(&str, &str)]| {
        let fields = fields.iter().map(|(name, value)| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        });
        post("/v1/audio/transcriptions", &(fields.collect::<String>() + "--b--\r\n"))
    };
    for (engine, end) in [(Engine::Vllm, "[DONE]"), (Engine::Generic, "transcript.text.done")] {
        let node = node(Options { engine, ..Options::default() });
        let (whole, _) = ask(&node, &form(&[("file", "RIFF"), ("model", "w")])).await;
        let whole: Value = serde_json::from_str(body_of(&whole)).unwrap();
        let text = whole["text"].as_str().unwrap();
        let (plain, _) = ask(&node, &form(&[("file", "RIFF"), ("response_format", "text")])).await;
        assert!(plain.contains("text/plain") && body_of(&plain) == text, "{plain}");
        let (streamed, _) = ask(&node, &form(&[("file", "RIFF"), ("stream", "true")])).await;
        let said = values(&streamed).iter().fold(String::new(), |said, event| {
            let delta = event["delta"].as_str().or(event["choices"][0]["delta"]["content"].as_str());
            said + delta.unwrap_or_default()
        });
        assert_eq!(said, text);
        assert!(streamed.contains(end), "{streamed}");
    }
}

#[tokio::test]
async fn one_answer_is_json_and_so_are_errors() {
    let node = node(Options::default());
    for path in [
        "/v1/embeddings",
        "/rerank",
        "/v1/score",
        "/classify",
        "/tokenize",
        "/detokenize",
        "/embed",
        "/api/embed",
        "/v1/messages/count_tokens",
        "/v1/chat/completions/batch",
        "/v1/chat/completions/render",
        "/generative_scoring",
        "/inference/v1/generate",
    ] {
        let (answer, _) = ask(&node, &post(path, r#"{"model":"m","input":"one two","stream":true}"#)).await;
        let value: Value = serde_json::from_str(body_of(&answer)).unwrap();
        assert!(!answer.contains('$') && !answer.contains('<'), "{path}: {value}");
        node.set_fault("error_event:0".parse::<Fault>().unwrap());
        let (answer, _) = ask(&node, &post(path, "{}")).await;
        node.clear_faults();
        assert!(answer.starts_with("HTTP/1.1 500 "), "{path}: {answer}");
        let error: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert!(error.get("error").is_some(), "{path}: {answer}");
    }
}
