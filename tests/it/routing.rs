//! Tests of routing: the model in a request chooses the pool.

use std::io::Write;

use bytes::Bytes;
use evenkeel::sim::{Node, Options, body_hash};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, Version};

use crate::harness::{
    Client, Gateway, LIMIT, Outgoing, Raw, ask, eventually, free_port, get, node, pool, pool_of, post, run,
};

fn named(names: &[&str]) -> Vec<Node> {
    names.iter().map(|name| node(Options { name: (*name).into(), ..Options::default() })).collect()
}

async fn two_pools(more: &str, other: &str) -> (Vec<Node>, Gateway) {
    let nodes = named(&["a", "b"]);
    let pools = [
        pool("small", &nodes[..1], &format!("models: [tiny, mini]{more}")),
        pool("large", &nodes[1..], &format!("models: [{other}]{more}")),
    ];
    let gateway = Gateway::with("", &pools.concat()).await;
    (nodes, gateway)
}

fn of_model(gateway: &Gateway, model: &str) -> Request<Outgoing> {
    post(gateway, "/v1/completions", format!(r#"{{"prompt":"x","max_tokens":1,"model":"{model}"}}"#))
}

#[test]
fn the_model_chooses_the_pool() {
    run(async {
        let (_nodes, gateway) = two_pools("", "huge").await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut client = Client::over(&gateway, version).await;
            for (model, want) in [("tiny", "a"), ("huge", "b"), ("mini", "a")] {
                let answer = client.ask(of_model(&gateway, model)).await;
                assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some(want)), "{model}");
            }
        }
    });
}

/// The model in a body too large to keep is unknown; the pool is then not guessed, even if one accepts any model.
#[test]
fn a_body_too_large_to_be_read_is_refused_where_the_model_chooses() {
    run(async {
        let (nodes, gateway) = two_pools(", retry: { body_limit: 100B }", "'*'").await;
        let body = format!(r#"{{"prompt":"{}","model":"tiny"}}"#, "x".repeat(1_000_000));
        for outgoing in [Outgoing::sized(body.clone().into()), Outgoing::chunked(body.into())] {
            let request = Request::post(gateway.url("/v1/completions")).body(outgoing).unwrap();
            let answer = ask(&gateway, request).await;
            assert_eq!(answer.status, 413);
        }
        assert_eq!(nodes[1].stats().received, 0, "it has nothing to do with this model");
    });
}

#[test]
fn a_body_too_large_to_be_read_goes_where_its_target_says() {
    run(async {
        let (nodes, gateway) = two_pools(", retry: { body_limit: 100B }", "org/huge").await;
        for path in ["/echo?model=org%2Fhuge", "/v1/models/org/huge"] {
            for size in [1000, 1_000_000] {
                let body = Bytes::from(format!(r#"{{"prompt":"{}","model":"tiny"}}"#, "x".repeat(size)));
                for outgoing in [Outgoing::sized(body.clone()), Outgoing::chunked(body.clone())] {
                    let request = Request::post(gateway.url(path)).body(outgoing).unwrap();
                    let answer = ask(&gateway, request).await;
                    assert_eq!(answer.field("x-evenkeel-node"), Some("b"), "{path} {size}");
                    assert!(answer.body == body || path != "/echo?model=org%2Fhuge", "{size}");
                }
            }
        }
        assert_eq!(nodes[0].stats().received, 0);
    });
}

#[test]
fn an_unknown_model_is_404_in_the_dialects_shape() {
    run(async {
        let (nodes, gateway) = two_pools("", "huge").await;
        let body = r#"{"prompt":"x","max_tokens":1,"model":"other"}"#;
        for (path, kind, more) in [
            ("/v1/completions", "invalid_request_error", r#""param":"model","code":"model_not_found""#),
            ("/v1/responses", "invalid_request_error", r#""param":"model","code":"model_not_found""#),
            ("/v1/messages", "not_found_error", r#""type":"error""#),
            ("/api/chat", "", r#"{"error":"the model `other`"#),
        ] {
            let answer = ask(&gateway, post(&gateway, path, body)).await;
            assert_eq!(answer.status, 404, "{path}");
            let text = answer.text();
            assert!(text.contains("`other`") && text.contains(kind) && text.contains(more), "{path}: {text}");
        }
        for request in [
            post(&gateway, "/v1/completions", r#"{"prompt":"x"}"#),
            post(&gateway, "/v1/completions", "no JSON"),
            get(&gateway, "/v1/other"),
        ] {
            let answer = ask(&gateway, request).await;
            assert_eq!(answer.status, 404);
            let error = &answer.json()["error"];
            assert_eq!((&error["type"], &error["code"]), (&"invalid_request_error".into(), &404.into()));
            assert!(error["message"].as_str().is_some_and(|message| message.contains("model")), "{error}");
        }
        assert_eq!(nodes.iter().map(|node| node.stats().received).sum::<u64>(), 0);
        gateway.at_rest().await;
    });
}

#[test]
fn names_go_before_patterns_and_long_patterns_before_short_ones() {
    run(async {
        let nodes = named(&["a", "b", "c", "d"]);
        let pools = [
            pool("any", &nodes[..1], "models: ['*']"),
            pool("qwen", &nodes[1..2], "models: ['Qwen/*']"),
            pool("lora", &nodes[2..3], "models: ['Qwen/*-lora', 'gpt-*']"),
            pool("one", &nodes[3..], "models: [Qwen/one-lora]"),
        ];
        let gateway = Gateway::with("", &pools.concat()).await;
        for (model, want) in
            [("Qwen/8B", "b"), ("Qwen/x-lora", "c"), ("Qwen/one-lora", "d"), ("gpt-4o", "c"), ("other", "a")]
        {
            let answer = ask(&gateway, of_model(&gateway, model)).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some(want)), "{model}");
        }
    });
}

#[test]
fn a_model_that_no_pool_names_goes_to_the_pool_with_a_star() {
    run(async {
        let (_nodes, gateway) = two_pools("", "huge, \"*\"").await;
        let requests = [
            (of_model(&gateway, "other"), "b"),
            (of_model(&gateway, "tiny"), "a"),
            (post(&gateway, "/v1/completions", r#"{"prompt":"x"}"#), "b"),
            (get(&gateway, "/echo-headers"), "b"),
        ];
        for (request, want) in requests {
            let answer = ask(&gateway, request).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some(want)));
        }
    });
}

/// The body has already been read when its pool turns out to keep none of that size.
#[test]
fn a_body_that_was_read_to_find_its_pool_arrives_unchanged() {
    run(async {
        for more in [", retry: { body_limit: 20B }", ", retry: { attempts: 1 }"] {
            for (version, chunked) in [
                (Version::HTTP_11, false),
                (Version::HTTP_11, true),
                (Version::HTTP_2, false),
                (Version::HTTP_2, true),
            ] {
                let nodes = named(&["a", "b"]);
                let pools = [
                    pool("small", &nodes[..1], "models: [tiny]"),
                    pool("large", &nodes[1..], &format!("models: [huge]{more}")),
                ];
                let gateway = Gateway::with("", &pools.concat()).await;
                let mut client = Client::over(&gateway, version).await;
                for size in [1, 1000, 65_536, 200_000, 5_000_000] {
                    let what = format!("{more}, {version:?}, chunked: {chunked}, {size} bytes");
                    let text =
                        format!(r#"{{"model":"huge","prompt":"{}","max_tokens":1}}"#, "x".repeat(size));
                    let body = Bytes::from(text);
                    let outgoing =
                        if chunked { Outgoing::chunked(body.clone()) } else { Outgoing::sized(body.clone()) };
                    let request = Request::post(gateway.url("/v1/completions")).body(outgoing).unwrap();
                    let answer = client.ask(request).await;
                    assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")), "{what}");
                    let got = nodes[1].requests().pop().unwrap();
                    assert!(got.complete, "{what}");
                    assert_eq!(
                        (got.body_len, got.body_hash),
                        (body.len() as u64, body_hash(&body)),
                        "{what}"
                    );
                }
                drop(client);
                gateway.at_rest().await;
            }
        }
    });
}

#[test]
fn a_waiting_request_is_routed_again_when_a_reload_removes_its_pool() {
    run(async {
        let nodes = named(&["a"]);
        let dead = format!("\"127.0.0.1:{}\"", free_port());
        for (others, want) in [("models: [tiny]", 200), ("models: [huge]", 404)] {
            let gateway = Gateway::with("", &pool_of("old", &dead, "models: [tiny]")).await;
            let mut client = Client::over(&gateway, Version::HTTP_11).await;
            let request = of_model(&gateway, "tiny");
            let asked = tokio::spawn(async move { client.ask(request).await });
            let refused = || gateway.status().pools[0].nodes[0].attempts.iter().sum::<u64>() > 0;
            eventually(LIMIT, "it waits", refused).await;
            gateway.reload(&pool("new", &nodes, others));
            let answer = asked.await.unwrap();
            assert_eq!(answer.status, want, "{others}: {answer:?}");
            gateway.at_rest().await;
        }
    });
}

#[test]
fn the_model_is_found_wherever_a_request_names_it() {
    run(async {
        let (nodes, gateway) = two_pools("", "org/huge").await;
        let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nRIFF\r\n\
                    --b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\norg/huge\r\n--b--\r\n";
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(br#"{"model":"org/huge"}"#).unwrap();
        let packed = packed.finish().unwrap();
        // made by the reference implementation of brotli
        let brotli = b"\x8b\x09\x80{\"model\":\"org/huge\"}\x03";
        let cases: [(&str, &str, &str, Bytes); 6] = [
            ("/echo", "content-type", "multipart/form-data; boundary=b", form.into()),
            ("/echo", "content-encoding", "gzip", packed.into()),
            ("/echo", "content-encoding", "br", Bytes::from_static(brotli)),
            ("/echo", "x-a", "b", r#"{"top_p":NaN,"model":"org/huge"}"#.into()),
            ("/echo?model=org%2Fhuge", "x-a", "b", Bytes::new()),
            ("/v1/models/org/huge", "x-a", "b", Bytes::new()),
        ];
        let versions = [Version::HTTP_11, Version::HTTP_2].into_iter();
        for (version, (path, name, value, body)) in
            versions.flat_map(|version| cases.clone().map(|case| (version, case)))
        {
            let request = Request::post(gateway.url(path)).header(name, value);
            let request = request.body(Outgoing::sized(body.clone())).unwrap();
            let answer = Client::over(&gateway, version).await.ask(request).await;
            assert_eq!(answer.field("x-evenkeel-node"), Some("b"), "{version:?} {path} {name}");
            if path == "/echo" {
                assert_eq!(answer.body, body, "{name}: it is passed on as it came");
            }
        }
        assert_eq!(nodes[0].stats().received, 0);
        let switch =
            "GET /ws?model=org/huge HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let head = Raw::send(&gateway, switch).await.head().await;
        assert_eq!((head.status, head.field("x-evenkeel-node")), (101, Some("b")));
    });
}
