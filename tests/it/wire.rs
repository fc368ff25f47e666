//! Tests on what vLLM really sends: tests/vllm/wire holds responses byte for byte, as `make test-vllm ARGS=record` has
//! written them. Of a long stream some of the chunks in the middle are left out.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use evenkeel::classify::dialect::Dialect;
use evenkeel::classify::stream::Watcher;
use evenkeel::classify::{status, whole_answer};
use evenkeel::http1::{Body, ResponseHead, parse_response};
use evenkeel::outcome::Outcome;

use serde_json::{Value, json};

use crate::harness::{Answer, Client, Gateway, Raw, Script, pool_of, post, run};

/// One request, and all that came back.
pub(crate) struct Trace {
    pub path: String,
    pub request: Bytes,
    pub response: Bytes,
}

impl Trace {
    fn parse(text: &Bytes) -> Trace {
        let head = memchr::memmem::find(text, b"\n\n").expect("a request before the response");
        let request = std::str::from_utf8(&text[..head]).unwrap();
        let (line, body) = request.split_once('\n').expect("a line and a body");
        let path = line.strip_prefix("POST ").expect("a POST").to_owned();
        Trace { path, request: Bytes::copy_from_slice(body.as_bytes()), response: text.slice(head + 2..) }
    }

    /// The head of the response, its body, and whether that is complete; `None` if there is no response.
    fn read(&self) -> Option<(ResponseHead, Bytes, bool)> {
        let mut input = self.response.clone();
        let head = parse_response(&mut input).unwrap()?;
        let mut framing = head.framing(false).unwrap().body;
        let mut body = Vec::new();
        loop {
            let piece = framing.take(&mut input).unwrap();
            if piece.is_empty() {
                break;
            }
            body.extend_from_slice(&piece);
        }
        let is_complete = matches!(framing, Body::UntilClose) || framing.is_done();
        Some((head, body.into(), is_complete))
    }

    /// The outcome of this attempt.
    fn outcome(&self) -> Outcome {
        let Some((head, body, is_complete)) = self.read() else { return Outcome::Reset };
        let by_status = status(head.status, false);
        if by_status != Outcome::Ok {
            return by_status;
        }
        let is_stream =
            head.fields.get("content-type").is_some_and(|kind| kind.starts_with(b"text/event-stream"));
        if !is_stream {
            return if is_complete { whole_answer(&self.path, &body) } else { Outcome::Truncated };
        }
        let mut watcher = Watcher::new(Dialect::of(&self.path).expect("a known path"));
        watcher.look(&body);
        watcher.finish();
        let trouble = watcher.seen().trouble(watcher.dialect(), true);
        trouble.unwrap_or(if is_complete { Outcome::Ok } else { Outcome::Truncated })
    }
}

/// All traces by name.
pub(crate) fn traces() -> BTreeMap<String, Trace> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vllm/wire");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (name(&path), Trace::parse(&std::fs::read(&path).unwrap().into()))).collect()
}

/// The outcome of an attempt that the node answers so.
const OUTCOMES: &[(&str, Outcome)] = &[
    ("bad-regex", Outcome::Ok),
    ("bad-regex-stream", Outcome::Ok),
    ("bad-token-stream", Outcome::Ok),
    ("chat", Outcome::Ok),
    ("chat-stream", Outcome::Ok),
    ("chat-stream-continuous-usage", Outcome::Ok),
    ("chat-stream-ids", Outcome::Ok),
    ("chat-stream-ids-packed", Outcome::Ok),
    ("chat-stream-logprobs", Outcome::Ok),
    ("chat-stream-usage", Outcome::Ok),
    ("completion", Outcome::Ok),
    ("completion-stream", Outcome::Ok),
    ("completion-stream-continuous-usage", Outcome::Ok),
    ("completion-stream-ids", Outcome::Ok),
    ("completion-stream-two-prompts", Outcome::Ok),
    ("completion-stream-usage", Outcome::Ok),
    ("core-killed-chat", Outcome::Http5xx),
    ("core-killed-chat-stream", Outcome::EngineError),
    ("core-killed-chat-stream-ids", Outcome::EngineError),
    ("core-killed-completion-stream", Outcome::EngineError),
    ("core-killed-messages-stream", Outcome::EngineError),
    ("core-killed-responses", Outcome::Http5xx),
    ("core-killed-responses-stream", Outcome::Truncated),
    ("draining-chat-stream", Outcome::Http5xx),
    ("draining-completion-stream", Outcome::Ok),
    ("frozen-completion-stream", Outcome::Truncated),
    ("full-chat", Outcome::Busy),
    ("full-chat-stream", Outcome::Busy),
    ("full-completion-stream", Outcome::Busy),
    ("killed-chat", Outcome::Reset),
    ("killed-chat-stream", Outcome::Truncated),
    ("killed-chat-stream-ids", Outcome::Truncated),
    ("killed-completion-stream", Outcome::Truncated),
    ("killed-messages-stream", Outcome::Truncated),
    ("killed-responses", Outcome::Reset),
    ("killed-responses-stream", Outcome::Truncated),
    ("messages", Outcome::Ok),
    ("messages-stream", Outcome::Ok),
    ("responses", Outcome::Ok),
    ("responses-stream", Outcome::Ok),
    ("stopped-chat", Outcome::Aborted),
    ("stopped-chat-stream", Outcome::Aborted),
    ("stopped-chat-stream-ids", Outcome::Aborted),
    ("stopped-completion-stream", Outcome::Aborted),
    ("stopped-messages-stream", Outcome::Aborted),
    // they say that they are completed: nothing tells them from whole ones
    ("stopped-responses", Outcome::Ok),
    ("stopped-responses-stream", Outcome::Ok),
    ("too-long", Outcome::Ok),
    ("unknown-model", Outcome::Ok),
];

#[test]
fn each_response_has_its_outcome() {
    let traces = traces();
    let told: BTreeMap<_, _> = traces.iter().map(|(name, trace)| (name.as_str(), trace.outcome())).collect();
    assert_eq!(told, OUTCOMES.iter().copied().collect());
}

/// One node, asked once: the client gets its response unchanged, or sees that it failed.
#[test]
fn each_response_has_its_outcome_through_the_gateway() {
    run(async {
        let script = Script::listen().await;
        let more = "health: { max_fails: 0 }, retry: { on: off, wait: 0s, attempts: 1 }";
        let gateway = Gateway::with("", &script.pool(more)).await;
        for (name, trace) in traces() {
            let (_, outcome) = OUTCOMES.iter().find(|(known, _)| *known == name).unwrap();
            let before = gateway.attempts("s", *outcome);
            let mut client = Client::h1(&gateway).await;
            let answered = async {
                let (mut node, _) = script.request().await;
                node.read(trace.request.len()).await;
                node.write(&trace.response).await;
            };
            let request = post(&gateway, &trace.path, trace.request.clone());
            let (answer, ()) = tokio::join!(client.try_ask(request), answered);
            gateway.at_rest().await;
            assert_eq!(gateway.attempts("s", *outcome), before + 1, "{name}: {answer:?}");
            match (answer, trace.read()) {
                (Ok(answer), Some((head, body, _))) if *outcome == Outcome::Ok => {
                    assert_eq!((answer.status, answer.body), (head.status, body), "{name}");
                }
                (Ok(answer), _) => assert!(tells_failure(&answer), "{name}: {answer:?}"),
                (Err(_), _) => assert_ne!(*outcome, Outcome::Ok, "{name}"),
            }
        }
    });
}

fn tells_failure(answer: &Answer) -> bool {
    let text = answer.text();
    answer.status >= 500 || text.contains("\"error\"") || text.contains("\"finish_reason\":\"abort\"")
}

/// The tokens that a stream of token ids says: their ids, each with its event's text, and those of the prompt.
#[derive(Default)]
struct Tokens {
    prompt: Vec<Value>,
    said: Vec<(Value, String)>,
}

impl Tokens {
    fn of(body: &[u8]) -> Tokens {
        let mut tokens = Tokens::default();
        for event in events(&String::from_utf8_lossy(body)) {
            tokens.prompt.extend(event["prompt_token_ids"].as_array().into_iter().flatten().cloned());
            for choice in event["choices"].as_array().into_iter().flatten() {
                let ids = choice["token_ids"].as_array().into_iter().flatten().cloned();
                // of several in one event the first has the text
                let texts = std::iter::once(text_of(choice)).chain(std::iter::repeat(String::new()));
                tokens.said.extend(ids.zip(texts));
            }
        }
        tokens
    }
}

fn events(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn text_of(choice: &Value) -> String {
    choice["delta"]["content"].as_str().or(choice["text"].as_str()).unwrap_or_default().to_owned()
}

/// The body of a request whose head has been read.
async fn body_of(node: &mut Raw, head: &str) -> Value {
    let length = head.to_ascii_lowercase();
    let (_, length) = length.split_once("content-length: ").unwrap();
    let length = length.lines().next().unwrap().trim().parse().unwrap();
    serde_json::from_slice(&node.read(length).await).unwrap()
}

/// The client has not asked for ids, the gateway has: with them the other node goes on where the first one stopped. Where
/// chunks were left out of a trace, ids and text are left out together.
#[test]
fn a_chat_cut_in_any_way_goes_on_from_its_token_ids() {
    const MORE: &str = "engine: vllm, health: { check: off }, retry: { resume: on }";
    let traces = traces();
    let rest = &traces["completion-stream-ids"];
    let rest_text: String =
        Tokens::of(&rest.read().unwrap().1).said.into_iter().map(|(_, text)| text).collect();
    run(async {
        for name in ["core-killed-chat-stream-ids", "killed-chat-stream-ids", "stopped-chat-stream-ids"] {
            let trace = &traces[name];
            let mut request: Value = serde_json::from_slice(&trace.request).unwrap();
            request.as_object_mut().unwrap().remove("return_token_ids");
            let scripts = [Script::listen().await, Script::listen().await];
            let nodes = scripts.each_ref().map(|script| format!("\"{}\"", script.address)).join(", ");
            let gateway = Gateway::with("", &pool_of("p", &nodes, MORE)).await;
            let mut client = Client::h1(&gateway).await;
            let answered = async {
                let ((mut node, head), other) = tokio::select! {
                    first = scripts[0].request() => (first, &scripts[1]),
                    first = scripts[1].request() => (first, &scripts[0]),
                };
                assert_eq!(body_of(&mut node, &head).await["return_token_ids"], true, "{name}");
                node.write(&trace.response).await;
                drop(node);
                let (mut node, head) = other.request().await;
                let next = body_of(&mut node, &head).await;
                node.write(&rest.response).await;
                (head, next)
            };
            let asked = client.ask(post(&gateway, &trace.path, request.to_string()));
            let (answer, (head, next)) = tokio::join!(asked, answered);

            let tokens = Tokens::of(&trace.read().unwrap().1);
            let count = next["prompt"].as_array().unwrap().len() - tokens.prompt.len();
            assert!(count + 1 >= tokens.said.len(), "{name}: {count} of {}", tokens.said.len());
            let said = tokens.said.iter().take(count);
            let ids: Vec<_> = tokens.prompt.iter().chain(said.clone().map(|(id, _)| id)).cloned().collect();
            assert!(head.starts_with("POST /v1/completions "), "{name}: {head}");
            assert_eq!((&next["prompt"], &next["max_tokens"]), (&json!(ids), &json!(1500 - count)), "{name}");
            let (text, told) = (answer.text(), events(&answer.text()));
            let choices = told.iter().flat_map(|event| event["choices"].as_array().unwrap());
            let got: String = choices.map(text_of).collect();
            let want: String = said.map(|(_, text)| text.as_str()).chain([rest_text.as_str()]).collect();
            assert_eq!((got, text.matches("[DONE]").count()), (want, 1), "{name}: {text}");
            assert!(!told.iter().any(|event| event["choices"][0]["token_ids"].is_array()), "{name}: {text}");
            gateway.at_rest().await;
        }
    });
}
