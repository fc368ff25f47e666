//! Streams continued from token ids, which the gateway asks for and keeps from clients that did not.

use http::Version;
use serde_json::json;

use evenkeel::outcome::Outcome;
use evenkeel::sim::Options;

use super::{
    HEAD, PATHS, RESUME, Read, TOKENS, assert_same, body_of, goes_on, read, request, undisturbed_with,
};
use crate::harness::{Client, Gateway, Script, fault, nodes, nodes_like, pool_of, run};

/// Two scripted nodes. The first is tried first.
fn scripted(first: &Script, second: &Script) -> String {
    let nodes = format!(
        "{{ name: a, address: \"{}\", weight: 1000 }}, {{ name: b, address: \"{}\" }}",
        first.address, second.address
    );
    pool_of("p", &nodes, RESUME)
}

#[test]
fn a_chat_is_continued_from_token_ids_that_its_client_never_sees() {
    run(async {
        let (first, second) = (Script::listen().await, Script::listen().await);
        let gateway = Gateway::with("", &scripted(&first, &second)).await;
        let path = "/x/v1/chat/completions?a=b";
        let mut client = Client::h1(&gateway).await;
        let asking = client.ask(request(&gateway, path, json!({"seed": 7, "user": "u"})));
        let breaking = async {
            let (mut node, head) = first.request().await;
            assert!(head.starts_with("POST /x/v1/chat/completions?a=b HTTP/1.1"), "{head}");
            let asked = body_of(&mut node, &head).await;
            node.write(HEAD).await;
            node.write(
                "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\
                 \"content\":\"\"},\"finish_reason\":null}],\"prompt_token_ids\":[1,2,3],\"prompt_text\":null}\n\n",
            )
            .await;
            for (text, ids) in [("a b c", "[4,5,6]"), (" d", "[7]")] {
                node.write(format!(
                    "data: {{\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\
                     \"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null,\"token_ids\":{ids}}}]}}\n\n"
                ))
                .await;
            }
            asked
        };
        let answering = async {
            let (mut node, head) = second.request().await;
            assert!(head.starts_with("POST /x/v1/completions?a=b HTTP/1.1"), "{head}");
            let asked = body_of(&mut node, &head).await;
            node.write(HEAD).await;
            node.write(
                "data: {\"id\":\"y\",\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":\" e\",\
                 \"finish_reason\":\"length\",\"stop_reason\":null,\"prompt_token_ids\":[1,2,3,4,5,6,7],\"token_ids\":[8]}]}\n\n\
                 data: {\"id\":\"y\",\"object\":\"text_completion\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\
                 \"total_tokens\":15,\"completion_tokens\":8}}\n\ndata: [DONE]\n\n",
            )
            .await;
            asked
        };
        let (answer, asked, next) = tokio::join!(asking, breaking, answering);
        assert_eq!((&asked["return_token_ids"], &asked["max_tokens"]), (&json!(true), &json!(TOKENS)));
        let want = json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}, "seed": 7, "user": "u",
            "prompt": [1, 2, 3, 4, 5, 6, 7], "max_tokens": TOKENS - 4, "return_token_ids": true});
        assert_eq!(next, want);
        let got = read(&answer.text());
        let usage = json!({"prompt_tokens": 3, "total_tokens": 15, "completion_tokens": 12});
        let want = Read {
            text: "a b c d e".into(),
            ids: vec!["x".into()],
            roles: 1,
            finished: vec!["length".into()],
            usage: vec![usage],
            token_ids: 0,
            done: 1,
            errors: 0,
        };
        assert_eq!(got, want);
        assert!(!answer.text().contains("text_completion"), "{}", answer.text());
    });
}

#[test]
fn several_tokens_in_an_event_are_counted_one_by_one() {
    run(async {
        for path in PATHS {
            let both = nodes_like(2, &Options { tokens_per_event: 3, ..Options::default() });
            let gateway = Gateway::start(&both, RESUME).await;
            goes_on(&both, &gateway, path, Version::HTTP_11, "die:6", Outcome::Truncated).await;
        }
    });
}

#[test]
fn a_client_that_asked_for_ids_gets_those_of_an_undisturbed_run() {
    run(async {
        for path in PATHS {
            let both = nodes(2);
            let gateway = Gateway::start(&both, RESUME).await;
            both[0].set_fault(fault("die:5").times(1));
            let more = json!({"return_token_ids": true});
            let answer = Client::h1(&gateway).await.ask(request(&gateway, path, more.clone())).await;
            let want = undisturbed_with(path, more).await;
            assert!(want.token_ids > TOKENS as usize, "{want:?}");
            assert_same(&read(&answer.text()), &want, path);
        }
    });
}

/// The ids of its prompt come in one event of more than 64 KiB.
#[test]
fn a_stream_with_a_long_prompt_is_continued() {
    run(async {
        let prompt = "Tell me ".repeat(12_000);
        for path in PATHS {
            let more = match path {
                "/v1/completions" => json!({"prompt": prompt}),
                _ => json!({"messages": [{"role": "user", "content": prompt}]}),
            };
            let both = nodes(2);
            let gateway = Gateway::start(&both, RESUME).await;
            both[0].set_fault(fault("die:5").times(1));
            let answer = Client::h1(&gateway).await.ask(request(&gateway, path, more.clone())).await;
            assert_same(&read(&answer.text()), &undisturbed_with(path, more).await, path);
            assert_eq!(gateway.attempts("a", Outcome::Truncated), 1, "{path}");
        }
    });
}

#[test]
fn a_chat_that_is_refused_as_a_completion_is_continued_from_its_text() {
    run(async {
        let both = nodes(2);
        let gateway = Gateway::start(&both, RESUME).await;
        both[0].set_fault(fault("die:5").times(1));
        both[1].set_fault(fault("status:400").times(1));
        let answer = Client::h1(&gateway).await.ask(request(&gateway, PATHS[0], json!({}))).await;
        let want = undisturbed_with(PATHS[0], json!({})).await;
        assert_same(&read(&answer.text()), &want, "refused once");
        assert_eq!(gateway.attempts("a", Outcome::Truncated), 1);
    });
}
