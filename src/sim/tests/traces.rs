//! The simulated vLLM against what vLLM 0.32.0 really sends (`tests/vllm/wire`): byte by byte, save for the words, ids,
//! numbers of tokens and times.

use std::path::Path;

use super::super::testing::{ask, node, post};
use super::super::{Fault, Node, Options};

/// Traces, each with the fault that makes the node answer so.
const TRACES: [(&str, Option<&str>); 30] = [
    ("chat", None),
    ("chat-stream", None),
    ("chat-stream-continuous-usage", None),
    ("chat-stream-ids", None),
    ("chat-stream-ids-packed", None),
    ("chat-stream-usage", None),
    ("completion", None),
    ("completion-stream", None),
    ("completion-stream-continuous-usage", None),
    ("completion-stream-ids", None),
    ("completion-stream-usage", None),
    ("messages", None),
    ("messages-stream", None),
    ("responses", None),
    ("responses-stream", None),
    ("core-killed-chat", Some("error_event")),
    ("core-killed-chat-stream", Some("error_event:2")),
    ("core-killed-chat-stream-ids", Some("error_event:2")),
    ("core-killed-completion-stream", Some("error_event:2")),
    ("core-killed-messages-stream", Some("error_event:2")),
    ("core-killed-responses", Some("error_event")),
    ("core-killed-responses-stream", Some("error_event:2")),
    ("stopped-chat", Some("abort:2")),
    ("stopped-chat-stream", Some("abort:2")),
    ("stopped-completion-stream", Some("abort:2")),
    ("stopped-messages-stream", Some("abort:2")),
    ("stopped-responses", Some("abort:2")),
    ("stopped-responses-stream", Some("abort:2")),
    ("full-chat", Some("full")),
    ("draining-chat-stream", Some("draining")),
];

/// Members whose texts are an answer's own.
const OWN: [&str; 8] =
    ["id", "item_id", "model", "system_fingerprint", "content", "text", "delta", "created_at"];

/// The form of a body: own texts are `~`, numbers 0, lists of numbers `[0]`, and repeated events one.
fn form(body: &str) -> Vec<String> {
    let mut forms: Vec<String> = body.split("\n\n").map(|event| form_of(event.trim_end())).collect();
    forms.retain(|form| !form.is_empty());
    forms.dedup();
    forms
}

fn form_of(event: &str) -> String {
    let mut out = String::new();
    let mut key = "";
    let mut rest = event;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let end = end_of_text(rest);
            let (text, after) = (&rest[1..end], &rest[end + 1..]);
            let is_own = OWN.contains(&key) && !text.is_empty();
            out += &format!("\"{}\"", if is_own { "~" } else { text });
            key = if after.starts_with(':') { text } else { "" };
            rest = after;
        } else if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let is_next_of_list = out.ends_with("0,") && key.ends_with("token_ids");
            if is_next_of_list {
                out.pop();
            } else {
                out.push('0');
            }
            rest = &rest[end..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// The closing quote of a JSON text.
fn end_of_text(text: &str) -> usize {
    let mut escaped = false;
    let is_end = |(_, byte): &(usize, u8)| {
        let is_end = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        is_end
    };
    text.bytes().enumerate().skip(1).find(is_end).map_or(text.len() - 1, |(at, _)| at)
}

/// The body without its chunks' lengths: a chunk holds whole lines.
fn body_of(answer: &str) -> String {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let is_length =
        |line: &str| line.ends_with('\r') && line.trim_end().chars().all(|c| c.is_ascii_hexdigit());
    body.split('\n').filter(|line| !is_length(line)).collect::<Vec<_>>().join("\n")
}

/// The simulated node's answer to the request of a trace, and what vLLM answered.
async fn answers(node: &Node, name: &str) -> (String, String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vllm/wire/{name}.http"));
    let trace = std::fs::read_to_string(file).unwrap();
    let (request, answer) = trace.split_once("HTTP/1.1 ").unwrap();
    let (line, body) = request.split_once('\n').unwrap();
    let (said, _) = ask(node, &post(line.split_whitespace().nth(1).unwrap(), body.trim())).await;
    (said, format!("HTTP/1.1 {answer}"))
}

#[tokio::test]
async fn what_vllm_sends() {
    let node = node(Options::default());
    for (name, fault) in TRACES {
        node.clear_faults();
        fault.into_iter().for_each(|fault| node.set_fault(fault.parse::<Fault>().unwrap()));
        let (said, want) = answers(&node, name).await;
        let line = |answer: &str| answer.lines().next().map(str::to_owned);
        let is_whole = |answer: &str| !answer.contains("chunked") || answer.ends_with("\r\n0\r\n\r\n");
        assert_eq!(line(&said), line(&want), "{name}");
        assert_eq!(is_whole(&said), is_whole(&want), "{name}: {said}");
        assert_eq!(form(&body_of(&said)), form(&body_of(&want)), "{name}: {said}");
    }
}
