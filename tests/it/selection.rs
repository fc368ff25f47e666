//! Tests of selection: the choice of the node for the next request.

use std::time::Instant;

use evenkeel::sim::{Limits, Node, Options};
use http::Version;

use crate::harness::{
    Client, Gateway, LIMIT, ask, chat, eventually, free_port, nodes, nodes_like, pool, pool_of, post, run,
    steps,
};

/// Nodes that never finish an answer, so that every request stays in flight.
fn endless(count: usize) -> Vec<Node> {
    nodes_like(
        count,
        &Options {
            step: steps(3_600_000),
            limits: Limits { max_seqs: 10_000, ..Limits::default() },
            ..Options::default()
        },
    )
}

/// Sends this many requests, which stay open, each on a connection of its own.
fn hold(gateway: &Gateway, count: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let one = |_| {
        let request = chat(gateway, 9, false);
        let address = gateway.address;
        tokio::spawn(async move {
            let mut client = Client::to(address, Version::HTTP_11).await;
            let _ = client.begin_patiently(request).await;
        })
    };
    (0..count).map(one).collect()
}

#[test]
fn held_requests_are_spread_evenly_over_equal_nodes() {
    run(async {
        let nodes = endless(2);
        let gateway = Gateway::start(&nodes, "").await;
        let held = hold(&gateway, 384);
        let all = || nodes.iter().map(|node| node.stats().in_flight).sum::<u64>() == 384;
        eventually(LIMIT, "all requests are at a node", all).await;
        assert_eq!(gateway.in_flight(), [192, 192]);
        assert_eq!(nodes.iter().map(|node| node.stats().in_flight).collect::<Vec<_>>(), [192, 192]);
        held.iter().for_each(tokio::task::JoinHandle::abort);
        gateway.at_rest().await;
    });
}

#[test]
fn an_odd_request_makes_a_difference_of_one() {
    run(async {
        let nodes = endless(3);
        let gateway = Gateway::start(&nodes, "").await;
        let _held = hold(&gateway, 100);
        eventually(LIMIT, "100 in flight", || gateway.in_flight().iter().sum::<u32>() == 100).await;
        let counts = gateway.in_flight();
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    });
}

#[test]
fn weights_share_the_load_in_proportion() {
    run(async {
        let nodes = endless(2);
        let entry = |node: &Node, weight| {
            format!("{{ name: {}, address: \"{}\", weight: {weight} }}", node.name(), node.addr())
        };
        let list = format!("{}, {}", entry(&nodes[0], 1), entry(&nodes[1], 3));
        let gateway = Gateway::with("", &pool_of("p", &list, "")).await;
        let _held = hold(&gateway, 100);
        eventually(LIMIT, "100 in flight", || gateway.in_flight().iter().sum::<u32>() == 100).await;
        assert_eq!(gateway.in_flight(), [25, 75]);
    });
}

#[test]
fn a_full_node_gets_no_further_requests() {
    run(async {
        let nodes = endless(2);
        let list = format!(
            "{{ name: a, address: \"{}\", max_in_flight: 5 }}, \"{}\"",
            nodes[0].addr(),
            nodes[1].addr()
        );
        let gateway = Gateway::with("", &pool_of("p", &list, "")).await;
        let _held = hold(&gateway, 40);
        eventually(LIMIT, "40 in flight", || gateway.in_flight().iter().sum::<u32>() == 40).await;
        assert_eq!(gateway.in_flight(), [5, 35]);
    });
}

#[test]
fn a_long_prompt_counts_as_many_short_ones() {
    run(async {
        let nodes = endless(2);
        let gateway = Gateway::start(&nodes, "balance: least_work").await;
        let book = format!(r#"{{"model":"m","prompt":"{}","max_tokens":10}}"#, "word ".repeat(40_000));
        let request = post(&gateway, "/v1/completions", book);
        let address = gateway.address;
        let _held = tokio::spawn(async move {
            let mut client = Client::to(address, Version::HTTP_11).await;
            let _ = client.begin_patiently(request).await;
        });
        eventually(LIMIT, "the book", || gateway.in_flight().iter().sum::<u32>() == 1).await;
        let _chats = hold(&gateway, 40);
        eventually(LIMIT, "41 in flight", || gateway.in_flight().iter().sum::<u32>() == 41).await;
        let mut counts = gateway.in_flight();
        counts.sort_unstable();
        assert_eq!(counts, [1, 40]);
    });
}

/// A chat of these turns, as the client's next request has it.
fn turns(count: usize, topic: usize) -> String {
    let turn = |number: usize| {
        let role = if number.is_multiple_of(2) { "user" } else { "assistant" };
        format!(r#"{{"role":"{role}","content":"turn {number} of {topic}"}}"#)
    };
    let messages: Vec<_> = (0..count).map(turn).collect();
    format!(r#"{{"messages":[{}],"model":"m","max_tokens":1}}"#, messages.join(","))
}

#[test]
fn the_turns_of_a_chat_go_to_one_node() {
    run(async {
        let nodes = nodes_like(4, &Options::default());
        let gateway = Gateway::start(&nodes, "balance: affinity").await;
        let mut client = Client::h1(&gateway).await;
        let mut homes = Vec::new();
        for topic in 0..12 {
            let mut asked = Vec::new();
            for count in [1, 3, 5] {
                let request = post(&gateway, "/v1/chat/completions", turns(count, topic));
                let answer = client.ask(request).await;
                assert_eq!(answer.field("x-evenkeel-by"), Some("affinity"));
                asked.push(answer.field("x-evenkeel-node").map(str::to_owned));
            }
            assert!(asked.iter().all(|node| *node == asked[0]), "{asked:?}");
            homes.extend(asked.pop());
        }
        homes.sort();
        homes.dedup();
        assert!(homes.len() > 1, "{homes:?}");
        // a body that is not kept goes by the fields of its header
        let large = "balance: affinity, retry: { body_limit: 10 }, affinity: { headers: [X-Chat] }";
        gateway.reload(&pool("p", &nodes, large));
        let mut asked = Vec::new();
        for count in 1..9 {
            let mut request = post(&gateway, "/v1/chat/completions", turns(count, count));
            request.headers_mut().insert("x-chat", "7".parse().unwrap());
            asked.push(client.ask(request).await.field("x-evenkeel-node").map(str::to_owned));
        }
        assert!(asked.iter().all(|node| *node == asked[0]), "{asked:?}");
    });
}

/// As the nodes tell it, in whole answers and in streams.
#[test]
fn the_hit_rate_of_prefix_caches_is_shown() {
    run(async {
        let limits = Limits { kv_tokens: Some(100_000), prefix_cache: true, ..Limits::default() };
        let nodes = nodes_like(3, &Options { limits, step: steps(1), ..Options::default() });
        let gateway = Gateway::start(&nodes, "balance: affinity").await;
        let mut client = Client::h1(&gateway).await;
        for topic in 0..4 {
            for count in (1..12).step_by(2) {
                let whole = turns(count, topic);
                let stream = r#","stream":true,"stream_options":{"include_usage":true}}"#;
                let streamed = format!("{}{stream}", whole.trim_end_matches('}'));
                for body in [whole, streamed] {
                    let answer = client.ask(post(&gateway, "/v1/chat/completions", body)).await;
                    assert_eq!(answer.status, 200);
                }
            }
        }
        gateway.at_rest().await;
        let told = nodes.iter().map(|node| node.stats().cached_tokens).sum::<u64>();
        let seen = gateway
            .status()
            .pools
            .iter()
            .flat_map(|pool| &pool.nodes)
            .map(|node| node.prompts[1])
            .sum::<u64>();
        assert!(told > 0 && seen == told, "{seen} of {told}");
        let status = gateway.status().to_json();
        assert!(status.contains("\"cache_hit_rate\": 0."), "{status}");
        assert!(gateway.metrics().contains("evenkeel_node_cached_tokens_total"));
    });
}

#[test]
fn the_requests_of_one_client_go_to_one_node_unless_that_is_above_its_bound() {
    run(async {
        let nodes = endless(4);
        let list = pool("p", &nodes, "balance: ip_hash");
        let gateway = Gateway::with("trusted_proxies: [127.0.0.1]", &list).await;
        let of_client = |number: usize| {
            let mut request = chat(&gateway, 9, false);
            request.headers_mut().insert("x-forwarded-for", format!("192.0.2.{number}").parse().unwrap());
            let address = gateway.address;
            tokio::spawn(async move {
                let mut client = Client::to(address, Version::HTTP_11).await;
                let _ = client.begin_patiently(request).await;
            })
        };
        let in_flight = || gateway.in_flight().iter().sum::<u32>();
        let first = of_client(1);
        eventually(LIMIT, "the first", || in_flight() == 1).await;
        let before = gateway.in_flight();
        let _second = of_client(1);
        eventually(LIMIT, "the second", || in_flight() == 2).await;
        assert_eq!(gateway.in_flight().iter().max(), Some(&2), "{before:?}");
        let _more: Vec<_> = (0..98).map(|_| of_client(1)).collect();
        eventually(LIMIT, "100 in flight", || in_flight() == 100).await;
        let counts = gateway.in_flight();
        let most = counts.iter().max().copied().unwrap_or_default();
        assert!((30..=33).contains(&most) && counts.iter().all(|count| *count >= 15), "{counts:?}");
        first.abort();
    });
}

/// The primary dies under the requests that it has: a backup serves them, and no longer once the primary is back.
#[test]
fn a_backup_stands_in_for_a_dead_node() {
    run(async {
        let nodes = nodes(2);
        let dead = format!("{{ name: a, address: \"127.0.0.1:{}\" }}", free_port());
        let backup = format!("{{ name: b, address: \"{}\", backup: true }}", nodes[1].addr());
        let gateway = Gateway::with("", &pool_of("p", &format!("{dead}, {backup}"), "")).await;
        for _ in 0..3 {
            let answer = ask(&gateway, chat(&gateway, 1, false)).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
        }
        let there = format!("{{ name: a, address: \"{}\" }}", nodes[0].addr());
        gateway.reload(&pool_of("p", &format!("{there}, {backup}"), ""));
        let answer = ask(&gateway, chat(&gateway, 1, false)).await;
        assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("a")));
        assert!(
            gateway.node("b").is_backup
                && gateway.live.snapshot(Instant::now()).to_json().contains("\"backup\": true")
        );
    });
}
