//! The simulated vLLM against traces of vLLM 0.32.0: byte by byte, save for the words, ids, numbers of tokens and times.

use super::super::testing::{ask, node, post};
use super::super::{Node, Options};

/// Each begins with the request that was sent and the status; after an empty line comes the body, without its chunks.
const TRACES: [(&str, &str); 7] = [
    ("chat_ids", include_str!("traces/chat_ids.txt")),
    ("chat_usage", include_str!("traces/chat_usage.txt")),
    ("chat_continuous", include_str!("traces/chat_continuous.txt")),
    ("chat_max1", include_str!("traces/chat_max1.txt")),
    ("chat_whole", include_str!("traces/chat_whole.txt")),
    ("completion_ids", include_str!("traces/completion_ids.txt")),
    ("completion_whole", include_str!("traces/completion_whole.txt")),
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

async fn answer(node: &Node, trace: &str) -> (String, String) {
    let (request, rest) = trace.split_once('\n').unwrap();
    let (status, body) = rest.split_once("\n\n").unwrap();
    let mut request = request.splitn(3, ' ').skip(1);
    let (answer, _) = ask(node, &post(request.next().unwrap(), request.next().unwrap())).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
    let (_, said) = answer.split_once("\r\n\r\n").unwrap();
    // chunks hold whole events, so that the lines between them are their lengths
    let is_length =
        |line: &str| line.ends_with('\r') && line.trim_end().chars().all(|c| c.is_ascii_hexdigit());
    let said: Vec<&str> = said.split('\n').filter(|line| !is_length(line)).collect();
    (said.join("\n"), body.to_owned())
}

#[tokio::test]
async fn what_vllm_sends() {
    let node = node(Options::default());
    for (name, trace) in TRACES {
        let (said, want) = answer(&node, trace).await;
        assert_eq!(form(&said), form(&want), "{name}: {said}");
    }
}
