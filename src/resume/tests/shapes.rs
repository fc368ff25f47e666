//! The bytes that nodes send, and those that clients get of them. The events are those of vLLM 0.32.0.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::{Continuation, Kind, NextRequest, NotResumable, Transcript};
use super::{begin, conf, request};
use crate::config::Engine;

/// A chat: the role, two tokens, and the end, after the word that stands for its ids.
fn chat(ids: [&str; 4]) -> Vec<String> {
    let head = r#"data: {"id":"chatcmpl-86856cb63b2f8923","object":"chat.completion.chunk","created":1795921405,"model":"tiny","choices":[{"index":0,"#;
    let [prompt, first, second, last] = ids;
    let rest = [
        format!(
            r#""delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}}],"prompt_token_ids":{prompt},"prompt_text":null}}"#
        ),
        format!(
            r#""delta":{{"content":" Section"}},"logprobs":null,"finish_reason":null,"token_ids":{first}}}]}}"#
        ),
        format!(
            r#""delta":{{"content":"ice"}},"logprobs":null,"finish_reason":null,"token_ids":{second}}}]}}"#
        ),
        format!(
            r#""delta":{{"content":" some"}},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":{last}}}]}}"#
        ),
    ];
    rest.iter().map(|rest| format!("{head}{rest}\n\n")).collect()
}

fn completion(prompt: [&str; 2], ids: [&str; 2]) -> Vec<String> {
    let head = r#"data: {"id":"cmpl-adbca3261b9ab9ae","object":"text_completion","created":1795921425,"model":"tiny","choices":[{"index":0,"#;
    let event = |text: &str, finish: &str, prompt: &str, ids: &str| {
        format!(
            "{head}\"text\":\"{text}\",\"logprobs\":null,\"finish_reason\":{finish},\"stop_reason\":null,\"prompt_token_ids\":{prompt},\"token_ids\":{ids}}}]}}\n\n"
        )
    };
    vec![event("ach", "null", prompt[0], ids[0]), event("ur", "\"length\"", prompt[1], ids[1])]
}

fn deliver(transcript: &mut Transcript, events: &[String]) -> String {
    let out: Vec<_> =
        events.iter().filter_map(|event| transcript.deliver(Bytes::from(event.clone()))).collect();
    String::from_utf8(out.concat()).unwrap()
}

fn of_vllm(kind: Kind, more: &Value) -> Transcript {
    begin(kind, Engine::Vllm, &request(kind, more.clone()), &conf(3, 1 << 20)).unwrap()
}

fn next(transcript: &mut Transcript) -> NextRequest {
    match transcript.continuation() {
        Ok(Continuation::Ask(next)) => next,
        other => panic!("not continued: {other:?}"),
    }
}

const CHAT_IDS: [&str; 4] = ["[3,722,269]", "[885]", "[903]", "[811]"];
const NULL: [&str; 4] = ["null"; 4];

#[test]
fn ids_are_taken_out_for_a_client_that_did_not_ask_for_them() {
    let table = [
        (Kind::Chat, json!({}), chat(CHAT_IDS), chat(NULL)),
        (Kind::Chat, json!({"return_token_ids": false}), chat(CHAT_IDS), chat(NULL)),
        (Kind::Chat, json!({"return_token_ids": true}), chat(CHAT_IDS), chat(CHAT_IDS)),
        (Kind::Chat, json!({}), chat(NULL), chat(NULL)),
        (
            Kind::Completion,
            json!({}),
            completion(["[837,321]", "null"], ["[545]", "[535,7]"]),
            completion(["null"; 2], ["null"; 2]),
        ),
    ];
    for (kind, more, sent, want) in table {
        let got = deliver(&mut of_vllm(kind, &more), &sent);
        assert_eq!(got, want.concat(), "{more}");
    }
}

#[test]
fn ids_are_taken_out_of_a_stream_that_is_no_longer_resumable() {
    let mut transcript = of_vllm(Kind::Chat, &json!({}));
    transcript.give_up(NotResumable::TooLong);
    assert!(!transcript.is_over());
    assert_eq!(deliver(&mut transcript, &chat(CHAT_IDS)), chat(NULL).concat());
    let unasked = request(Kind::Chat, json!({}));
    let mut unasked = begin(Kind::Chat, Engine::Llamacpp, &unasked, &conf(1, 1 << 20)).unwrap();
    unasked.give_up(NotResumable::TooLong);
    assert!(unasked.is_over());
}

#[test]
fn an_event_that_only_ids_brought_is_kept_from_the_client() {
    let swallowed = r#"data: {"id":"c","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":null,"token_ids":[5]}]}"#;
    let events = [format!("{swallowed}\n\n")];
    assert_eq!(deliver(&mut of_vllm(Kind::Chat, &json!({})), &events), "");
    let wants = json!({"return_token_ids": true});
    assert_eq!(deliver(&mut of_vllm(Kind::Chat, &wants), &events), events[0]);
    // what a parser makes of the rest depends on what it has swallowed
    let mut transcript = of_vllm(Kind::Chat, &json!({}));
    deliver(&mut transcript, &[&chat(CHAT_IDS)[..1], &events, &chat(CHAT_IDS)[1..2]].concat());
    assert_eq!(next(&mut transcript).path, None);
}

#[test]
fn a_chat_is_continued_from_its_ids_and_told_as_a_chat() {
    let more = json!({"max_tokens": 4, "min_tokens": 3, "temperature": 0.5, "stop": ["\n"], "seed": 7, "user": "u", "metadata": {"a": "b"}, "n": 1});
    let mut transcript = of_vllm(Kind::Chat, &more);
    deliver(&mut transcript, &chat(CHAT_IDS)[..2]);
    let asked = next(&mut transcript);
    assert_eq!(asked.path.as_deref(), Some("/v1/completions"));
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    let want = json!({"model": "m", "stream": true, "max_tokens": 3, "min_tokens": 2, "temperature": 0.5, "stop": ["\n"], "seed": 7,
        "user": "u", "prompt": [3, 722, 269, 885], "return_token_ids": true});
    assert_eq!(body, want);
    let sent = completion(["[3,722,269,885]", "null"], ["[545]", "[535,7]"]);
    let head = r#"data: {"id":"chatcmpl-86856cb63b2f8923","object":"chat.completion.chunk","created":1795921405,"model":"tiny","choices":[{"index":0,"#;
    let rest = [
        r#""delta":{"content":"ach"},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#,
        r#""delta":{"content":"ur"},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null}]}"#,
    ];
    let want: String = rest.iter().map(|rest| format!("{head}{rest}\n\n")).collect();
    assert_eq!(deliver(&mut transcript, &sent), want);
    assert_eq!(transcript.continuation(), Ok(Continuation::Finish(Bytes::from_static(b"data: [DONE]\n\n"))));
}

#[test]
fn a_chat_that_is_more_than_its_ids_is_continued_as_a_chat() {
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]);
    let text = json!([{"role": "user", "content": [{"type": "text", "text": "x"}]}, {"role": "assistant", "content": null}]);
    let table = [
        (json!({"max_tokens": 9}), true),
        (json!({"max_completion_tokens": 9, "max_tokens": null}), true),
        (json!({"messages": text}), true),
        (
            json!({"chat_template_kwargs": {"enable_thinking": false}, "reasoning_effort": "low", "tools": []}),
            true,
        ),
        (json!({"return_tokens_as_token_ids": true, "kv_transfer_params": null}), true),
        (json!({"max_tokens": null}), false),
        (json!({"messages": image}), false),
        (json!({"kv_transfer_params": {"do_remote_prefill": true}}), false),
        (json!({"thinking_token_budget": 5}), false),
        (json!({"something_new": 1}), false),
        (json!({"stop": "END"}), false),
        (json!({"stop": "END", "include_stop_str_in_output": true}), true),
    ];
    for (more, by_ids) in table {
        let mut transcript = of_vllm(Kind::Chat, &more);
        deliver(&mut transcript, &chat(CHAT_IDS)[..2]);
        assert_eq!(next(&mut transcript).path.is_some(), by_ids, "{more}");
    }
}

#[test]
fn a_chat_refused_as_a_completion_is_continued_as_a_chat() {
    let mut transcript = of_vllm(Kind::Chat, &json!({"max_tokens": 9}));
    deliver(&mut transcript, &chat(CHAT_IDS)[..2]);
    assert_eq!(transcript.refused(), None);
    assert!(next(&mut transcript).path.is_some());
    let again = transcript.refused().unwrap();
    let body: Value = serde_json::from_slice(&again.body).unwrap();
    assert_eq!((again.path, &body["max_tokens"]), (None, &json!(8)));
    assert_eq!(body["messages"][1]["content"], " Section");
    assert_eq!(transcript.refused(), None, "once");
    let mut wants = of_vllm(Kind::Chat, &json!({"max_tokens": 9, "return_token_ids": true}));
    deliver(&mut wants, &chat(CHAT_IDS)[..2]);
    assert!(next(&mut wants).path.is_some());
    assert_eq!(wants.refused(), None, "its ids would be others");
}

#[test]
fn a_path_that_does_not_tell_where_completions_are_gets_chats() {
    let request = request(Kind::Chat, json!({}));
    for (path, want) in [("/a/v1/chat/completions/", Some("/a/v1/completions")), ("/invocations", None)] {
        let conf = conf(1, 1 << 20);
        let original = super::Original::read(Kind::Chat, path, Engine::Vllm, &conf, &request).unwrap();
        let mut transcript = Transcript::begin(original, &request, &conf, Arc::default());
        deliver(&mut transcript, &chat(CHAT_IDS)[..2]);
        assert_eq!(next(&mut transcript).path.as_deref(), want, "{path}");
    }
}

#[test]
fn ids_beyond_the_bound_are_counted_and_not_kept() {
    let request = request(Kind::Chat, json!({"max_tokens": 9}));
    let prompt = format!("[{}]", vec!["7"; 600].join(","));
    for (text_max, by_ids) in [(1024, false), (4096, true)] {
        let mut transcript = begin(Kind::Chat, Engine::Vllm, &request, &conf(1, text_max)).unwrap();
        deliver(&mut transcript, &chat([&prompt, "[885]", "[903]", "[811]"])[..2]);
        assert_eq!(transcript.not_resumable(), None);
        let next = next(&mut transcript);
        assert_eq!(next.path.is_some(), by_ids, "{text_max}");
        let body: Value = serde_json::from_slice(&next.body).unwrap();
        assert_eq!(body["max_tokens"], 8, "{text_max}");
    }
}

#[test]
fn nodes_are_asked_for_what_their_engine_can_give() {
    let tail = |kind: Kind, engine: Engine, more: Value, text_max: usize| {
        let body = request(kind, more);
        let original = super::Original::read(kind, "/v1/completions", engine, &conf(1, text_max), &body);
        let node_body = original.unwrap().for_node(&body);
        String::from_utf8([&node_body.start[..], node_body.tail].concat()).unwrap()
    };
    let ids = "\"return_token_ids\":true";
    let usage = "\"continuous_usage_stats\":true";
    let table = [
        (Kind::Chat, Engine::Vllm, json!({}), 1 << 20, Some(ids)),
        (Kind::Completion, Engine::Vllm, json!({}), 1 << 20, Some(ids)),
        (Kind::Completion, Engine::Sglang, json!({}), 1 << 20, Some(ids)),
        (Kind::Chat, Engine::Sglang, json!({}), 1 << 20, Some(usage)),
        (
            Kind::Chat,
            Engine::Sglang,
            json!({"stream_options": {"include_usage": true}}),
            1 << 20,
            Some(usage),
        ),
        (Kind::Chat, Engine::Vllm, json!({"return_token_ids": false}), 1 << 20, Some(ids)),
        (Kind::Chat, Engine::Generic, json!({}), 1 << 20, None),
        (Kind::Chat, Engine::Llamacpp, json!({}), 1 << 20, None),
        // the ids of a prompt of this length would not be kept
        (Kind::Chat, Engine::Vllm, json!({"user": "x".repeat(600)}), 1024, None),
    ];
    for (kind, engine, more, text_max, want) in table {
        let sent = tail(kind, engine, more.clone(), text_max);
        assert!(serde_json::from_str::<Value>(&sent).is_ok(), "{sent}");
        for wish in [ids, usage] {
            assert_eq!(sent.contains(wish), want == Some(wish), "{kind:?} {engine:?} {more}: {sent}");
        }
    }
}
