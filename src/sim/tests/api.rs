use serde_json::Value;

use super::super::testing::*;
use super::super::{Fault, Limits, Options, body_hash};

fn json(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn a_chat_answer_that_does_not_stream() {
    let node = node(Options::default());
    let (answer, _) = ask(&node, &chat(4, false, "")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let answer = json(&answer);
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "m");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 4);
    assert_eq!(answer["usage"]["prompt_tokens"], 6);
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(text.split(' ').count(), 4);
    until(&node, |stats| stats.completed == 1 && stats.in_flight == 0).await;
}

#[tokio::test]
async fn a_streamed_chat_has_role_text_finish_reason_usage_and_done() {
    let node = node(Options::default());
    let (whole, _) = ask(&node, &chat(4, false, "")).await;
    let (answer, ended) = ask(&node, &chat(4, true, r#","stream_options":{"include_usage":true}"#)).await;
    assert_eq!(ended, Ended::Fin);
    assert!(answer.contains("content-type: text/event-stream"));
    let events = events(&answer);
    // the finish reason comes with the last token
    assert_eq!(events.len(), 1 + 4 + 1 + 1);
    let parsed: Vec<Value> = events[..6].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert_eq!(parsed[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(parsed.iter().all(|event| event["id"] == parsed[0]["id"]));
    assert_eq!(parsed[3]["choices"][0]["finish_reason"], Value::Null);
    assert_eq!(parsed[4]["choices"][0]["finish_reason"], "length");
    assert_eq!(parsed[5]["usage"]["total_tokens"], 10);
    assert_eq!(events[6], "[DONE]");
    assert_eq!(json(&whole)["choices"][0]["message"]["content"], said(&answer));
    assert!(answer.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn another_node_continues_a_chat_word_for_word() {
    let (first, second) = (node(Options::default()), node(Options::default()));
    let whole = said(&ask(&first, &chat(8, true, "")).await.0);
    let begun = said(&ask(&first, &chat(3, true, "")).await.0);
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":"Tell me of the sea"}},{{"role":"assistant","content":"{begun}"}}],
            "continue_final_message":true,"add_generation_prompt":false,"max_tokens":5,"stream":true}}"#
    );
    let rest = said(&ask(&second, &post("/v1/chat/completions", &body)).await.0);
    assert_eq!(begun + &rest, whole);
}

#[tokio::test]
async fn completions_stream_text_and_token_ids() {
    let node = node(Options::default());
    let body = r#"{"prompt":"Once upon","max_tokens":2,"stream":true,"return_token_ids":true}"#;
    let (answer, _) = ask(&node, &post("/v1/completions", body)).await;
    let events = events(&answer);
    let first: Value = serde_json::from_str(events[0]).unwrap();
    assert!(first["choices"][0]["text"].as_str().unwrap().starts_with(' '));
    assert_eq!(first["choices"][0]["token_ids"][0], 1_000_000);
    assert_eq!(first["choices"][0]["prompt_token_ids"].as_array().unwrap().len(), 2);
    assert_eq!(events.len(), 3);
}

/// `/v1/completions` with the ids of a chat's prompt and of what was said goes on with the chat's answer.
#[tokio::test]
async fn a_chat_goes_on_by_token_ids_with_several_tokens_an_event() {
    let node = node(Options { tokens_per_event: 3, ..Options::default() });
    let whole = said(&ask(&node, &chat(8, true, "")).await.0);
    node.set_fault("die:4".parse::<Fault>().unwrap());
    let (begun, _) = ask(&node, &chat(8, true, r#","return_token_ids":true"#)).await;
    node.clear_faults();
    let events: Vec<Value> =
        events(&begun).iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let ids = |value: &Value| value.as_array().unwrap().clone();
    let mut prompt = ids(&events[0]["prompt_token_ids"]);
    let per_event: Vec<_> = events[1..].iter().map(|event| ids(&event["choices"][0]["token_ids"])).collect();
    assert_eq!(per_event.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1]);
    prompt.extend(per_event.concat());
    let body = format!(r#"{{"prompt":{},"max_tokens":4}}"#, Value::from(prompt));
    let rest = json(&ask(&node, &post("/v1/completions", &body)).await.0);
    assert_eq!(said(&begun) + rest["choices"][0]["text"].as_str().unwrap(), whole);
}

#[tokio::test]
async fn mistakes_get_openai_errors() {
    let node = node(Options { max_body: 100, ..Options::default() });
    let large = "x".repeat(101);
    for (request, status) in [
        (post("/v1/chat/completions", "{"), 400),
        (get("/v1/completions"), 405),
        (get("/nowhere"), 404),
        (post("/echo", &large), 413),
    ] {
        let (answer, _) = ask(&node, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(json(&answer)["error"]["code"], status);
    }
}

#[tokio::test]
async fn what_balancers_ask() {
    let node = node(Options { model: "llama".to_owned(), ..Options::default() });
    assert_eq!(json(&ask(&node, &get("/v1/models")).await.0)["data"][0]["id"], "llama");
    assert!(ask(&node, &get("/health")).await.0.starts_with("HTTP/1.1 200 OK\r\n"));
    ask(&node, &chat(1, true, "")).await;
    let metrics = ask(&node, &get("/metrics")).await.0;
    for name in ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"] {
        assert!(metrics.contains(&format!("\nvllm:{name}{{model_name=\"llama\"}} 0\n")), "{metrics}");
    }
    assert!(
        metrics.contains("vllm:request_success_total{model_name=\"llama\",finished_reason=\"length\"} 1")
    );
    assert_eq!(json(&ask(&node, &get("/sim/stats")).await.0)["health_checks"], 1);
}

#[tokio::test]
async fn beyond_the_line_is_503() {
    let options = Options {
        step: steps(3_600_000),
        limits: Limits { max_seqs: 1, max_queued: Some(1), ..Limits::default() },
        ..Options::default()
    };
    let node = node(options);
    let _running = Client::send(&node, &chat(1, true, "")).await;
    let _waiting = Client::send(&node, &chat(1, false, "")).await;
    until(&node, |stats| stats.running == 1 && stats.waiting == 1).await;
    let (answer, _) = ask(&node, &chat(1, false, "")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let (answer, _) = ask(&node, &chat(1, true, "")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let events = events(&answer);
    assert!(events[0].contains("currently busy") && events[0].contains(r#""code": 503"#), "{answer}");
    assert_eq!(events[1..], ["[DONE]"]);
    assert_eq!(node.stats().rejected, 2);
}

#[tokio::test]
async fn the_record_holds_the_request_as_sent() {
    let node = node(Options { record: true, ..Options::default() });
    let large = "0123456789abcdef".repeat(70 * 64);
    ask(&node, "POST /echo?q=1 HTTP/1.1\r\nHost: node\r\nX-B: 1\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    let (answer, _) = ask(&node, &post("/echo", &large)).await;
    assert!(answer.ends_with(&large));
    let (answer, _) = ask(&node, &post("/echo-stream", &large)).await;
    assert!(answer.ends_with(&large));
    let requests = node.requests();
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", "/echo?q=1"));
    assert_eq!(requests[0].body.as_deref(), Some(b"hi".as_slice()));
    let names: Vec<&str> = requests[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["connection", "host", "x-b", "x-a", "content-length"]);
    for request in &requests[1..] {
        assert!(request.complete && request.body.is_none());
        assert_eq!((request.body_len, request.body_hash), (71680, body_hash(large.as_bytes())));
    }
    node.clear_requests();
    assert!(node.requests().is_empty());
}

#[tokio::test]
async fn headers_are_echoed() {
    let node = node(Options { name: "a".to_owned(), ..Options::default() });
    let (answer, _) = ask(&node, "GET /echo-headers?x HTTP/1.1\r\nHost: there\r\nX-One: 1\r\n\r\n").await;
    assert!(answer.contains("x-sim-node: a\r\n"));
    let answer = json(&answer);
    assert_eq!(answer["path"], "/echo-headers?x");
    assert_eq!(answer["headers"][1], serde_json::json!(["host", "there"]));
}
