//! Tests of `retry.resume`: streams that break off are continued on another node.

mod ids;

use evenkeel::config::Engine;
use evenkeel::outcome::Outcome;
use evenkeel::sim::{Node, Options};
use http::{Request, Version};
use serde_json::{Value, json};

use crate::harness::{
    Client, Ended, Gateway, LIMIT, Outgoing, Raw, Script, eventually, fault, node, nodes, nodes_like, pool,
    pool_of, post, run, steps,
};

const RESUME: &str =
    "engine: vllm, health: { check: off }, retry: { resume: on }, timeouts: { stall: 200ms }";
const TOKENS: u32 = 12;

/// The two APIs, each with the text that a client must read.
const PATHS: [&str; 2] = ["/v1/chat/completions", "/v1/completions"];

fn request(gateway: &Gateway, path: &str, more: Value) -> Request<Outgoing> {
    let mut body = json!({
        "model": "m", "max_tokens": TOKENS, "stream": true, "stream_options": {"include_usage": true},
    });
    match path {
        "/v1/completions" => body["prompt"] = json!("Tell me of the sea"),
        _ => body["messages"] = json!([{"role": "user", "content": "Tell me of the sea"}]),
    }
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post(gateway, path, body.to_string())
}

/// A stream as parsed by its client; each part must occur exactly once.
#[derive(Debug, Default, PartialEq)]
struct Read {
    text: String,
    ids: Vec<String>,
    roles: usize,
    finished: Vec<String>,
    usage: Vec<Value>,
    token_ids: usize,
    done: usize,
    errors: usize,
}

fn read(answer: &str) -> Read {
    let mut read = Read::default();
    for data in answer.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if data == "[DONE]" {
            read.done += 1;
            continue;
        }
        let event: Value = serde_json::from_str(data).unwrap();
        if !event["error"].is_null() {
            read.errors += 1;
            continue;
        }
        read.ids.push(event["id"].as_str().unwrap().to_owned());
        read.usage.extend(event.get("usage").filter(|usage| !usage.is_null()).cloned());
        read.token_ids += event["prompt_token_ids"].as_array().map_or(0, Vec::len);
        for choice in event["choices"].as_array().unwrap() {
            for ids in ["prompt_token_ids", "token_ids"] {
                read.token_ids += choice[ids].as_array().map_or(0, Vec::len);
            }
            read.roles += usize::from(!choice["delta"]["role"].is_null());
            read.finished.extend(choice["finish_reason"].as_str().map(str::to_owned));
            let text = choice["delta"]["content"].as_str().or(choice["text"].as_str());
            read.text.push_str(text.unwrap_or_default());
        }
    }
    read.ids.dedup();
    read
}

/// The same answer from nodes that do not fail.
async fn undisturbed(path: &str) -> Read {
    undisturbed_with(path, json!({})).await
}

async fn undisturbed_with(path: &str, more: Value) -> Read {
    let both = nodes(1);
    let gateway = Gateway::start(&both, "").await;
    let answer = Client::h1(&gateway).await.ask(request(&gateway, path, more)).await;
    let read = read(&answer.text());
    assert_eq!((read.done, read.errors, read.ids.len(), read.usage.len()), (1, 0, 1, 1));
    read
}

fn assert_same(got: &Read, want: &Read, what: &str) {
    let Read { ids, .. } = got;
    assert_eq!(ids.len(), 1, "{what}: {ids:?}");
    assert_eq!(*got, Read { ids: ids.clone(), ..Read { ..clone(want) } }, "{what}");
}

fn clone(read: &Read) -> Read {
    Read {
        text: read.text.clone(),
        ids: read.ids.clone(),
        roles: read.roles,
        finished: read.finished.clone(),
        usage: read.usage.clone(),
        ..*read
    }
}

/// Faults that break a stream, and the node's charge for each.
const BREAKS: [(&str, Outcome); 9] = [
    ("die:5", Outcome::Truncated),
    ("die:1", Outcome::Truncated),
    ("truncate:5", Outcome::Truncated),
    ("error_event:5", Outcome::EngineError),
    ("abort:5", Outcome::Aborted),
    ("no_done:5", Outcome::Truncated),
    ("stall:5", Outcome::Stalled),
    ("truncate:12", Outcome::Truncated),
    ("crash:5", Outcome::Truncated),
];

async fn goes_on(
    both: &[Node],
    gateway: &Gateway,
    path: &str,
    version: Version,
    text: &str,
    outcome: Outcome,
) {
    both[0].set_fault(fault(text).times(1));
    let mut client = Client::over(gateway, version).await;
    let answer = client.ask(request(gateway, path, json!({}))).await;
    let what = format!("{path} {version:?} {text}");
    assert_same(&read(&answer.text()), &undisturbed(path).await, &what);
    assert_eq!(gateway.attempts("a", outcome), 1, "{what}");
    // with all of the text, and its tokens counted, nothing is left to ask another node
    let asked = u64::from(text != "truncate:12");
    assert_eq!(gateway.attempts("b", Outcome::Ok), asked, "{what}");
    let again = client.ask(request(gateway, path, json!({"max_tokens": 1}))).await;
    assert_eq!((again.status, read(&again.text()).done), (200, 1), "{what}: the connection stays usable");
    gateway.at_rest().await;
}

#[test]
fn streams_of_each_engine_are_continued() {
    run(async {
        for (engine, word) in
            [(Engine::Vllm, "vllm"), (Engine::Sglang, "sglang"), (Engine::Llamacpp, "llamacpp")]
        {
            for path in PATHS {
                let both = nodes_like(2, &Options { engine, ..Options::default() });
                let gateway = Gateway::start(&both, &RESUME.replace("vllm", word)).await;
                goes_on(&both, &gateway, path, Version::HTTP_11, "die:5", Outcome::Truncated).await;
            }
        }
    });
}

#[test]
fn a_stream_that_breaks_off_is_continued_on_another_node() {
    run(async {
        for path in PATHS {
            for version in [Version::HTTP_11, Version::HTTP_2] {
                for (text, outcome) in BREAKS {
                    let both = nodes(2);
                    let gateway = Gateway::start(&both, RESUME).await;
                    goes_on(&both, &gateway, path, version, text, outcome).await;
                }
            }
        }
    });
}

/// A pool of a failing simulated node and a scripted one. The first has the higher weight, so it is tried first.
fn pair(first: &Node, second: &Script, more: &str) -> String {
    let nodes = format!(
        "{{ name: a, address: \"{}\", weight: 1000 }}, {{ name: b, address: \"{}\" }}",
        first.addr(),
        second.address
    );
    pool_of("p", &nodes, more)
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

/// The body of the request that the gateway sends.
async fn body_of(node: &mut Raw, head: &str) -> Value {
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    serde_json::from_slice(&node.read(length.unwrap()).await).unwrap()
}

#[test]
fn without_ids_the_next_node_gets_the_text_and_its_events_are_rewritten() {
    run(async {
        let (first, second) = (nodes(1).remove(0), Script::listen().await);
        let gateway = Gateway::with("", &pair(&first, &second, &RESUME.replace("vllm", "llamacpp"))).await;
        first.set_fault(fault("die:5").times(1));
        let mut client = Client::h1(&gateway).await;
        let asking = client.ask(request(&gateway, PATHS[0], json!({"seed": 7, "user": "u"})));
        let answering = async {
            let (mut node, head) = second.request().await;
            assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{head}");
            let asked = body_of(&mut node, &head).await;
            node.write(HEAD).await;
            node.write(
                "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n",
            )
            .await;
            node.write("data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" end\"},")
                .await;
            node.write("\"finish_reason\":\"stop\",\"extra\":1.50}]}\n\ndata: [DONE]\n\n").await;
            asked
        };
        let (answer, asked) = tokio::join!(asking, answering);
        let said = asked["messages"][1]["content"].as_str().unwrap();
        assert_eq!(said.split(' ').count(), 5, "{said}");
        assert_eq!(asked["messages"][1]["role"], "assistant");
        let flags = (&asked["continue_final_message"], &asked["add_generation_prompt"]);
        assert_eq!(flags, (&json!(true), &json!(false)));
        assert_eq!((&asked["max_tokens"], &asked["seed"]), (&json!(TOKENS - 5), &json!(7)));
        assert_eq!(read(&answer.text()).text, format!("{said} end"));
        assert_eq!(read(&answer.text()).ids.len(), 1);
        assert!(answer.text().contains("\"extra\":1.50"), "what is not known is passed on as it came");
    });
}

/// A stream as its client sees it, and how it ended.
async fn stream(gateway: &Gateway, path: &str, more: Value) -> (String, Ended) {
    let body = request(gateway, path, more).into_body();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut client = Raw::send(gateway, head).await;
    client.write(&body).await;
    client.rest_as_text().await
}

async fn ends_visibly(gateway: &Gateway, path: &str, more: Value, why: &str) {
    let (seen, ended) = stream(gateway, path, more.clone()).await;
    assert!(seen.contains("HTTP/1.1 200") && seen.contains("data: {\"error\""), "{more}: {seen}");
    assert!(!seen.contains("[DONE]") && !seen.contains("\r\n0\r\n"), "{more}: {seen}, {ended:?}");
    gateway.at_rest().await;
    let last = gateway.log_lines("access.json").pop().unwrap();
    assert!(last.contains(why), "{more}: {last}");
}

const LOG: &str = "access_log: { path: access.json, format: json }";

#[test]
fn a_stream_that_is_not_resumable_ends_with_an_error_and_the_log_gives_the_reason() {
    run(async {
        let both = nodes(2);
        let gateway = Gateway::with(LOG, &pool("p", &both, RESUME)).await;
        both.iter().for_each(|node| node.set_fault(fault("die:5")));
        let table = [
            (json!({"tools": [{"type": "function"}]}), "uses tools"),
            (json!({"response_format": {"type": "json_object"}}), "demands an output format"),
            (json!({"guided_choice": ["a"]}), "demands an output format"),
            (json!({"n": 2}), "several answers"),
            (json!({"logprobs": 1}), "logprobs"),
            (json!({"echo": true}), "echo"),
            (json!({"stop": ["4 and more"]}), "stop string"),
            (json!({}), "resume_max is used up"),
        ];
        for (more, why) in table {
            for path in PATHS {
                ends_visibly(&gateway, path, more.clone(), why).await;
            }
        }
    });
}

/// Runs a stream with these keys of the pool and a fault on each of the two nodes.
async fn refused(keys: &str, faults: [&str; 2], more: Value, why: &str) {
    let both = nodes(2);
    let gateway = Gateway::with(LOG, &pool("p", &both, keys)).await;
    both.iter().zip(faults).for_each(|(node, text)| node.set_fault(fault(text)));
    ends_visibly(&gateway, PATHS[0], more, why).await;
}

#[test]
fn other_failures_end_visibly() {
    run(async {
        let die = ["die:5", "die:5"];
        refused("retry: { resume: on }", die, json!({}), "engine: generic").await;
        let no_post = "engine: vllm, health: { check: off }, retry: { resume: on, methods: off }";
        refused(no_post, die, json!({}), "may not be retried").await;
        let short = "engine: vllm, health: { check: off }, retry: { resume: on, resume_text_max: 1KiB }";
        refused(short, ["die:300", "die:300"], json!({"max_tokens": 400}), "resume_text_max").await;
        // from its ids it would be asked once more, from its text
        let by_text = json!({"stop": "##"});
        refused(RESUME, ["die:5", "status:400"], by_text, "refused the continuation").await;
        let once = "engine: vllm, health: { check: off }, retry: { resume: on, attempts: 1 }";
        refused(once, ["die:5", "status:500"], json!({}), "refused the continuation").await;
        refused(RESUME, ["die:5", "status:500"], json!({}), "resume_max is used up").await;
        let off = "engine: vllm, health: { check: off }";
        refused(off, die, json!({}), "the node broke off the response").await;
    });
}

#[test]
fn a_stream_is_continued_as_often_as_the_config_says() {
    run(async {
        let all = nodes(3);
        let keys = "engine: vllm, health: { check: off }, retry: { resume: on, resume_max: 2 }";
        let gateway = Gateway::start(&all, keys).await;
        all[..2].iter().for_each(|node| node.set_fault(fault("truncate:4").times(1)));
        // crashes within a second count as one event; otherwise the request would be taken for their cause
        let answer = Client::h1(&gateway).await.ask(request(&gateway, PATHS[0], json!({}))).await;
        assert_same(&read(&answer.text()), &undisturbed(PATHS[0]).await, "two breaks");
    });
}

#[test]
fn the_next_node_may_fail_before_its_first_event() {
    run(async {
        for text in ["status:500", "status:503", "reset", "full", "error_event:0"] {
            let all = nodes(3);
            let gateway = Gateway::start(&all, RESUME).await;
            all[0].set_fault(fault("die:5").times(1));
            all[1].set_fault(fault(text).times(1));
            let answer = Client::h1(&gateway).await.ask(request(&gateway, PATHS[0], json!({}))).await;
            assert_same(&read(&answer.text()), &undisturbed(PATHS[0]).await, text);
        }
    });
}

#[test]
fn the_only_node_continues_its_own_stream() {
    run(async {
        let only = nodes(1);
        let gateway = Gateway::start(&only, RESUME).await;
        only[0].set_fault(fault("die:5").times(1));
        let answer = Client::h1(&gateway).await.ask(request(&gateway, PATHS[1], json!({}))).await;
        assert_same(&read(&answer.text()), &undisturbed(PATHS[1]).await, "one node");
    });
}

/// Starts a slow stream and returns the number of request bodies that the gateway keeps meanwhile.
async fn kept_while_streaming(keys: &str, more: Value) -> u64 {
    let slow = node(Options { step: steps(20), ..Options::default() });
    let gateway = Gateway::start(&[slow], keys).await;
    let mut client = Client::h1(&gateway).await;
    let more = json!({"max_tokens": 10_000, "user": "x".repeat(5000), "more": more});
    let mut body = client.begin(request(&gateway, PATHS[0], more)).await.unwrap().into_body();
    for _ in 0..3 {
        http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap();
    }
    gateway.status().kept_bytes
}

#[test]
fn the_request_is_kept_only_if_it_may_be_needed() {
    run(async {
        assert!(kept_while_streaming(RESUME, json!(1)).await > 5000);
        assert_eq!(kept_while_streaming("engine: vllm, health: { check: off }", json!(1)).await, 0);
    });
}

#[test]
fn a_client_that_leaves_while_another_node_is_sought_is_gone() {
    run(async {
        let only = nodes(1);
        let gateway = Gateway::start(&only, RESUME).await;
        only[0].set_fault(fault("crash:5"));
        let body = request(&gateway, PATHS[1], json!({}));
        let mut client = Client::h1(&gateway).await;
        let response = client.begin(body).await.unwrap();
        eventually(LIMIT, "the stream waits for a node", || {
            gateway.attempts("a", Outcome::Truncated) == 1 && gateway.in_flight() == [0]
        })
        .await;
        drop((response, client));
        gateway.at_rest().await;
    });
}

#[test]
fn a_stream_for_which_no_node_is_found_was_not_resumed() {
    run(async {
        let keys = "engine: vllm, health: { check: off }, retry: { resume: on, wait: 100ms }";
        refused(keys, ["crash:5", "status:404"], json!({}), "refused the continuation").await;
        let only = nodes(1);
        let gateway = Gateway::with(LOG, &pool("p", &only, keys)).await;
        only[0].set_fault(fault("crash:5"));
        ends_visibly(&gateway, PATHS[0], json!({}), "not resumed: no node was available").await;
    });
}

#[test]
fn a_continuation_that_ends_at_once_is_a_failure() {
    run(async {
        let (first, second) = (nodes(1).remove(0), Script::listen().await);
        let keys = format!("{}, ", RESUME.replace("200ms", "200ms, first_event: 20ms"));
        let gateway = Gateway::with(LOG, &pair(&first, &second, keys.trim_end_matches(", "))).await;
        first.set_fault(fault("die:5").times(1));
        let answering = async {
            let (mut node, head) = second.request().await;
            body_of(&mut node, &head).await;
            node.write(HEAD).await;
            node.write(": that is all\n\ndata: [DONE]\n\n").await;
            node
        };
        let (_, node) = tokio::join!(ends_visibly(&gateway, PATHS[0], json!({}), "used up"), answering);
        drop(node);
    });
}

#[test]
fn a_stream_that_goes_silent_is_ended_and_counted() {
    run(async {
        let only = nodes(1);
        let gateway = Gateway::with(LOG, &pool("p", &only, "timeouts: { stall: 100ms }")).await;
        only[0].set_fault(fault("stall:3"));
        ends_visibly(&gateway, PATHS[0], json!({}), "broke off the response").await;
        assert_eq!(gateway.attempts("a", Outcome::Stalled), 1);
        assert_eq!(gateway.node("a").recent_failures, 1);
    });
}
