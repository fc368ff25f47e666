//! Tests of `aliases`: nodes get the model's own name, and clients read the one by which they asked.

use std::io::Write;

use bytes::Bytes;
use evenkeel::sim::{Options, body_hash};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, Version};

use crate::harness::{
    Client, Gateway, LIMIT, Outgoing, Raw, Script, ask, eventually, fault, free_port, nodes, nodes_like,
    pool, pool_of, post, run, steps,
};

const ALIASES: &str = "aliases: { gpt-4o: Qwen/Qwen3-8B-with-a-long-name }";
const OWN: &str = "Qwen/Qwen3-8B-with-a-long-name";

/// Each API that names the model in its answers.
const PATHS: [(&str, &str); 9] = [
    ("/v1/chat/completions", r#""messages":[{"role":"user","content":"hello sea"}],"max_tokens":5"#),
    ("/v1/completions", r#""prompt":"hello sea","max_tokens":5"#),
    ("/v1/responses", r#""input":"hello sea","max_output_tokens":5"#),
    ("/v1/messages", r#""messages":[{"role":"user","content":"hello sea"}],"max_tokens":5"#),
    ("/v1/embeddings", r#""input":"hello sea""#),
    ("/v1/rerank", r#""query":"hello","documents":["sea"]"#),
    ("/api/chat", r#""messages":[{"role":"user","content":"hello sea"}]"#),
    ("/api/generate", r#""prompt":"hello sea""#),
    ("/api/embed", r#""input":"hello sea""#),
];

fn body(more: &str, model: &str, stream: bool) -> String {
    format!(r#"{{ "x":1.50,{more},"stream":{stream} , "model" : "{model}" }}"#)
}

/// An answer without ids and times, which differ from one to the next.
fn comparable(text: &str) -> String {
    const WORDS: [&str; 6] = ["created", "created_at", "completed_at", "id", "item_id", "_duration"];
    let mut out = String::new();
    // a date of Ollama's has colons of its own
    let mut dated = text.split("created_at\":\"");
    let first = dated.next().unwrap_or_default().to_owned();
    let text = dated.fold(first, |all, rest| all + "created_at\":\"" + &rest[rest.find('"').unwrap_or(0)..]);
    let mut parts = text.split_inclusive(':');
    while let Some(part) = parts.next() {
        out.push_str(part);
        if WORDS.iter().any(|word| part.ends_with(&format!("{word}\":"))) {
            let value = parts.next().unwrap_or_default();
            out.push_str(&value[value.find([',', '}']).unwrap_or(0)..]);
        }
    }
    out
}

#[test]
fn nodes_get_their_own_name_and_clients_theirs() {
    run(async {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let nodes = nodes(1);
            let (with, without) = (Gateway::start(&nodes, ALIASES).await, Gateway::start(&nodes, "").await);
            let (mut client, mut plain) =
                (Client::over(&with, version).await, Client::over(&without, version).await);
            for ((path, more), stream) in PATHS.into_iter().flat_map(|row| [(row, false), (row, true)]) {
                let what = format!("{version:?} {path} {stream}");
                let answer = client.ask(post(&with, path, body(more, "gpt-4o", stream))).await;
                let got = nodes[0].requests().pop().unwrap();
                let want = body(more, OWN, stream);
                assert_eq!(
                    (got.body_len, got.body_hash),
                    (want.len() as u64, body_hash(want.as_bytes())),
                    "{what}"
                );
                let own = plain.ask(post(&without, path, want)).await;
                assert_eq!((answer.status, own.status), (200, 200), "{what}");
                assert!(
                    own.text().contains(OWN) && !answer.text().contains(OWN),
                    "{what}: {}",
                    answer.text()
                );
                assert_eq!(
                    comparable(&answer.text()),
                    comparable(&own.text().replace(OWN, "gpt-4o")),
                    "{what}"
                );
                let length = answer.field("content-length").map(|length| length.parse().unwrap());
                assert!(length.is_none_or(|length: usize| length == answer.body.len()), "{what}");
                assert_eq!(own.field("content-length").is_some(), length.is_some(), "{what}");
            }
            drop((client, plain));
            with.at_rest().await;
        }
    });
}

#[test]
fn other_models_and_other_pools_are_left_alone() {
    run(async {
        let nodes = nodes(2);
        let pools =
            [pool("a", &nodes[..1], &format!("models: [own], {ALIASES}")), pool("b", &nodes[1..], "")];
        let gateway = Gateway::with("", &pools.concat()).await;
        for (model, want) in [("gpt-4o", "a"), ("own", "a"), (OWN, "b"), ("other", "b")] {
            let answer = ask(&gateway, post(&gateway, PATHS[0].0, body(PATHS[0].1, model, false))).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some(want)), "{model}");
            assert_eq!(answer.json()["model"], model);
        }
    });
}

/// A retry, a fallback, chunks, and forms.
#[test]
fn however_the_answer_comes_about() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, ALIASES).await;
        nodes[0].set_fault(fault("status:500").times(1));
        for _ in 0..3 {
            let text = body(PATHS[0].1, "gpt-4o", false);
            let request =
                Request::post(gateway.url(PATHS[0].0)).body(Outgoing::chunked(text.into())).unwrap();
            let answer = ask(&gateway, request).await;
            assert_eq!((answer.status, &answer.json()["model"]), (200, &"gpt-4o".into()));
        }
        let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nRIFF\r\n\
                    --b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-4o\r\n--b--\r\n";
        let request = Request::post(gateway.url("/v1/audio/transcriptions"))
            .header("content-type", "multipart/form-data; boundary=b")
            .body(Outgoing::sized(form.into()))
            .unwrap();
        assert_eq!(ask(&gateway, request).await.status, 200);
        let want = form.replace("gpt-4o", OWN);
        let found = nodes
            .iter()
            .flat_map(|node| node.requests())
            .any(|got| got.body_hash == body_hash(want.as_bytes()));
        assert!(found, "the form has the own name");
    });
}

/// The only node fails: its answer is held back, in case that there is a better one.
#[test]
fn a_failed_answer_that_was_held_back_has_the_name_too() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool(ALIASES)).await;
        let mut client = Client::h1(&gateway).await;
        let request = post(&gateway, PATHS[0].0, body(PATHS[0].1, "gpt-4o", false));
        let asked = tokio::spawn(async move { client.ask(request).await });
        let (mut node, _) = script.request().await;
        let failed = format!(r#"{{"error":{{"message":"no"}},"model":"{OWN}"}}"#);
        let head = "HTTP/1.1 500 No\r\nContent-Type: application/json\r\nContent-Length";
        node.write(&format!("{head}: {}\r\n\r\n{failed}", failed.len())).await;
        let answer = asked.await.unwrap();
        assert_eq!((answer.status, answer.text()), (500, failed.replace(OWN, "gpt-4o")));
        assert_eq!(answer.field("content-length"), Some(&*answer.body.len().to_string()));
    });
}

/// The words under one head come from two nodes.
#[test]
fn a_stream_that_is_continued_says_one_name() {
    run(async {
        for (broken, path) in [("die:3", PATHS[0]), ("die:3", PATHS[1]), ("no_done:3", PATHS[0])] {
            let nodes = nodes(2);
            let more = format!("engine: vllm, health: {{ check: off }}, retry: {{ resume: on }}, {ALIASES}");
            let gateway = Gateway::start(&nodes, &more).await;
            nodes[0].set_fault(fault(broken).times(1));
            let answer = ask(&gateway, post(&gateway, path.0, body(path.1, "gpt-4o", true))).await;
            let text = answer.text();
            assert!(text.ends_with("data: [DONE]\n\n"), "{broken}: {text}");
            let events = text.lines().filter(|line| line.starts_with("data: {"));
            assert!(
                events.clone().count() > 3
                    && events.clone().all(|event| event.contains(r#""model":"gpt-4o""#)),
                "{text}"
            );
            assert!(nodes.iter().all(|node| node.stats().received > 0), "both have said something");
        }
    });
}

/// Events come as soon as the node has sent them, and parts of one do too.
#[test]
fn nothing_is_held_back() {
    run(async {
        let script = Script::listen().await;
        let gateway =
            Gateway::with("", &script.pool(&format!("{ALIASES}, timeouts: {{ first_event: 0 }}"))).await;
        let text = body(PATHS[0].1, "gpt-4o", true);
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nX-A: b\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        let mut client = Raw::send(&gateway, &head).await;
        let (mut node, asked) = script.request().await;
        assert!(!asked.to_ascii_lowercase().contains("accept-encoding") && asked.contains("X-A:"), "{asked}");
        let first = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"model\":\"m\"}\n\n";
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 500\r\n\r\n";
        node.write(&format!("{head}{first}data: {{\"model\":\"mod")).await;
        let seen = client.read_to("\n\ndata: {\"model\":\"gpt-4o\"").await;
        assert!(!seen.to_ascii_lowercase().contains("content-length"), "{seen}");
        assert!(seen.contains("\"}}],\"model\":\"gpt-4o\"}\n\n"), "{seen}");
        node.write("el\",\"x\":1}\n\n").await;
        let seen = client.read_to("\n\n").await;
        assert!(!seen.contains("el\"") && seen.contains(",\"x\":1}"), "{seen}");
    });
}

#[test]
fn an_alias_that_cannot_be_replaced_is_refused() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, &format!("{ALIASES}, retry: {{ body_limit: 1KiB }}")).await;
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(body(PATHS[0].1, "gpt-4o", false).as_bytes()).unwrap();
        let request = |path: &str, body: Bytes, coding: &str| {
            Request::post(gateway.url(path))
                .header("content-encoding", coding)
                .body(Outgoing::sized(body))
                .unwrap()
        };
        let long = body(PATHS[0].1, "gpt-4o", false).replace("hello", &"x".repeat(2000));
        for (request, want) in [
            (request(PATHS[0].0, packed.finish().unwrap().into(), "gzip"), 415),
            (request("/v1/realtime?model=gpt-4o", Bytes::new(), "identity"), 400),
            (request(PATHS[0].0, long.into(), "identity"), 413),
        ] {
            let answer = ask(&gateway, request).await;
            assert_eq!(answer.status, want, "{}", answer.text());
            assert!(
                answer.json()["error"]["message"].as_str().is_some_and(|message| !message.contains("gpt-4o"))
            );
        }
        assert_eq!(nodes[0].stats().received, 0);
        gateway.at_rest().await;
    });
}

/// The name that the pool of the new generation has for it.
#[test]
fn a_waiting_request_gets_the_name_that_its_next_pool_has() {
    run(async {
        let nodes = nodes_like(1, &Options { step: steps(0), ..Options::default() });
        let dead = format!("\"127.0.0.1:{}\"", free_port());
        for (aliases, want) in [("{ gpt-4o: other }", "other"), ("{}", "gpt-4o")] {
            let gateway = Gateway::with("", &pool_of("old", &dead, ALIASES)).await;
            let mut client = Client::h1(&gateway).await;
            let request = post(&gateway, PATHS[0].0, body(PATHS[0].1, "gpt-4o", false));
            let asked = tokio::spawn(async move { client.ask(request).await });
            let refused = || gateway.status().pools[0].nodes[0].attempts.iter().sum::<u64>() > 0;
            eventually(LIMIT, "it waits", refused).await;
            gateway.reload(&pool("new", &nodes, &format!("aliases: {aliases}")));
            let answer = asked.await.unwrap();
            assert_eq!((answer.status, &answer.json()["model"]), (200, &"gpt-4o".into()), "{want}");
            let sent = body(PATHS[0].1, want, false);
            assert_eq!(nodes[0].requests().pop().unwrap().body_hash, body_hash(sent.as_bytes()));
        }
    });
}
