//! The table of open requests, and an end for one of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evenkeel::outcome::Outcome;
use evenkeel::sim::Options;
use http::Version;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::{
    Answer, Client, Gateway, LIMIT, Raw, Script, chat, eventually, eventually_async, fault, nodes,
    nodes_like, pool, pool_of, run,
};

const SERVER: &str = "admin: free, access_log: { path: access.json, format: json }";
const CANCELLED: &str = "an operator cancelled the request";

/// A request to the admin address.
async fn ask(gateway: &Gateway, request: &str) -> (u16, String) {
    let mut raw = Raw::to(gateway.admin()).await;
    raw.write(format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")).await;
    let (head, body) = raw.response().await;
    (head.status, body)
}

async fn table(gateway: &Gateway, query: &str) -> Value {
    let (status, body) = ask(gateway, &format!("GET /api/requests{query}")).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// The only row, once its request is in this state.
async fn row(gateway: &Gateway, state: &str) -> Value {
    eventually_async(LIMIT, state, async || {
        let table = table(gateway, &format!("?state={state}")).await;
        match &table["requests"].as_array().expect("rows")[..] {
            [row] => Ok(row.clone()),
            _ => Err(table),
        }
    })
    .await
}

async fn cancel(gateway: &Gateway, row: &Value) -> (u16, String) {
    ask(gateway, &format!("POST /api/requests/{}/cancel", row["number"])).await
}

async fn asked(
    gateway: &Gateway,
    version: Version,
    stream: bool,
) -> JoinHandle<Result<(u16, String), hyper::Error>> {
    let mut client = Client::over(gateway, version).await;
    let request = chat(gateway, 50, stream);
    tokio::spawn(async move {
        let mut answer = client.begin(request).await?;
        let status = answer.status().as_u16();
        let mut text = String::new();
        while let Some(Ok(frame)) = http_body_util::BodyExt::frame(&mut answer).await {
            text += &String::from_utf8_lossy(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
        }
        Ok((status, text))
    })
}

#[test]
fn a_request_is_cancelled_before_its_answer_and_in_the_middle_of_it() {
    run(async {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for (state, sick, stream) in
                [("prefill", "hang", true), ("prefill", "hang", false), ("streaming", "stall:3", true)]
            {
                let case = format!("{version:?}, {state}, {stream}");
                let nodes = nodes(1);
                nodes[0].set_fault(fault(sick));
                let gateway = Gateway::with(SERVER, &pool("p", &nodes, "retry: { resume: true }")).await;
                let answer = asked(&gateway, version, stream).await;
                let row = row(&gateway, state).await;
                assert_eq!(
                    (&row["pool"], &row["node"], &row["attempts"]),
                    (&json!("p"), &json!("a"), &json!(1))
                );
                assert_eq!(cancel(&gateway, &row).await.0, 202, "{case}");
                let (status, text) = answer.await.expect("no panic").expect("an answer");
                assert!(text.contains(CANCELLED), "{case}: {text}");
                if state == "streaming" {
                    assert_eq!((status, text.contains("[DONE]")), (200, false), "{case}: {text}");
                } else {
                    assert_eq!(status, 403, "{case}");
                }
                gateway.at_rest().await;
                eventually(LIMIT, "the node has lost it", || nodes[0].stats().open == 0).await;
                assert_eq!(gateway.attempts("a", Outcome::ClientGone), 1, "{case}");
                assert_eq!(gateway.node("a").recent_failures, 0, "{case}");
                let lines = gateway.log_lines("access.json");
                assert!(lines.len() == 1 && lines[0].contains(CANCELLED), "{case}: {lines:?}");
                assert_eq!(cancel(&gateway, &row).await.0, 404, "{case}");
            }
        }
    });
}

#[test]
fn a_request_that_waits_is_cancelled_and_the_others_keep_their_places() {
    run(async {
        let nodes = nodes(1);
        nodes[0].set_fault(fault("hang,times=1"));
        let list = format!("{{ name: a, address: \"{}\", max_in_flight: 1 }}", nodes[0].addr());
        let gateway = Gateway::with(SERVER, &pool_of("p", &list, "")).await;
        let first = asked(&gateway, Version::HTTP_11, false).await;
        let held = row(&gateway, "prefill").await;
        let second = asked(&gateway, Version::HTTP_11, false).await;
        let waits = row(&gateway, "waiting").await;
        assert_eq!((&waits["node"], &waits["attempts"]), (&Value::Null, &json!(0)));
        let third = asked(&gateway, Version::HTTP_2, false).await;
        eventually(LIMIT, "both wait", || gateway.status().pools[0].queue == 2).await;
        assert_eq!(cancel(&gateway, &waits).await.0, 202);
        assert_eq!(second.await.unwrap().unwrap().0, 403);
        eventually(LIMIT, "it has left the queue", || gateway.status().pools[0].queue == 1).await;
        assert_eq!(cancel(&gateway, &held).await.0, 202);
        assert_eq!(first.await.unwrap().unwrap().0, 403);
        assert_eq!(third.await.unwrap().unwrap().0, 200, "the slot was handed on");
    });
}

#[test]
fn a_client_that_does_not_read_is_no_obstacle() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with(SERVER, &script.pool("")).await;
        let mut client = Raw::send(&gateway, "GET /v1/files/x/content HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (mut node, _) = script.request().await;
        node.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
        assert_eq!(client.head().await.status, 200);
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let filling = tokio::spawn(async move {
            while node.try_write(vec![b'x'; 65536]).await {
                count.fetch_add(1, Ordering::AcqRel);
            }
        });
        stands_still(&sent).await;
        let row = row(&gateway, "streaming").await;
        assert_eq!(cancel(&gateway, &row).await.0, 202);
        gateway.at_rest().await;
        filling.await.expect("the node sees its connection end");
    });
}

/// Returns once all buffers are full: nothing more is sent for a while.
async fn stands_still(sent: &AtomicUsize) {
    let since = Mutex::new((0, Instant::now()));
    eventually(LIMIT, "all buffers are full", || {
        let (now, mut since) = (sent.load(Ordering::Acquire), since.lock().unwrap());
        if since.0 != now {
            *since = (now, Instant::now());
        }
        now > 0 && since.1.elapsed() > Duration::from_millis(300)
    })
    .await;
}

#[test]
fn an_upload_to_a_node_that_does_not_read_is_cancelled() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with(SERVER, &script.pool("retry: { body_limit: 1KiB }")).await;
        let mut client =
            Raw::send(&gateway, "POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n")
                .await;
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let filling = tokio::spawn(async move {
            while client.try_write(vec![b'x'; 65536]).await {
                count.fetch_add(1, Ordering::AcqRel);
            }
        });
        let node = script.accept().await;
        stands_still(&sent).await;
        let row = row(&gateway, "prefill").await;
        assert_eq!(cancel(&gateway, &row).await.0, 202);
        gateway.at_rest().await;
        assert_eq!(gateway.attempts("s", Outcome::ClientGone), 1);
        filling.await.expect("the client sees its connection end");
        drop(node);
    });
}

#[test]
fn tunnels_and_uploads_are_cancelled_too() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::with(SERVER, &pool("p", &nodes, "retry: { body_limit: 1KiB }")).await;
        let upgrade = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
        let mut tunnel = Raw::send(&gateway, upgrade).await;
        assert_eq!(tunnel.head().await.status, 101);
        let open = row(&gateway, "streaming").await;
        assert_eq!(cancel(&gateway, &open).await.0, 202);
        tunnel.rest().await;
        gateway.at_rest().await;
        nodes[0].set_fault(fault("hang"));
        let large = format!(
            "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n{}",
            "x".repeat(9000)
        );
        let mut upload = Raw::send(&gateway, large).await;
        let open = row(&gateway, "prefill").await;
        assert_eq!(cancel(&gateway, &open).await.0, 202);
        let (head, body) = upload.response().await;
        assert!(head.status == 403 && body.contains(CANCELLED), "{} {body}", head.status);
        gateway.at_rest().await;
        assert_eq!(gateway.node("a").recent_failures, 0, "it is not the node's fault");
    });
}

#[test]
fn the_table_is_exact_and_holds_no_content() {
    run(async {
        let nodes = nodes_like(2, &Options::default());
        nodes.iter().for_each(|node| node.set_fault(fault("stall:7")));
        let gateway = Gateway::with(SERVER, &pool("p", &nodes, "")).await;
        let mut clients: Vec<JoinHandle<Option<Answer>>> = Vec::new();
        for number in 0..40 {
            let version = if number % 2 == 0 { Version::HTTP_11 } else { Version::HTTP_2 };
            let mut client = Client::over(&gateway, version).await;
            let mut request = chat(&gateway, 50, true);
            let fields = request.headers_mut();
            fields.insert("authorization", "Bearer sk-secret".parse().unwrap());
            fields.insert("x-priority", "high".parse().unwrap());
            *request.uri_mut() = format!("{}?key=sk-secret", request.uri()).parse().unwrap();
            clients.push(tokio::spawn(async move { client.try_ask(request).await.ok() }));
        }
        let rows = eventually_async(LIMIT, "all have said seven tokens", async || {
            let table = table(&gateway, "?limit=100").await;
            let rows = table["requests"].as_array().expect("rows").clone();
            let done = rows.iter().filter(|row| row["tokens"].as_u64() >= Some(7)).count();
            if done == 40 { Ok(table) } else { Err(format!("{done} of {}", rows.len())) }
        })
        .await;
        assert_eq!((&rows["open"], &rows["total"]), (&json!(40), &json!(40)));
        assert_eq!(gateway.status().requests, 40);
        let text = rows.to_string();
        assert!(!text.contains("secret") && !text.contains("the sea"), "{text}");
        let rows = rows["requests"].as_array().unwrap();
        assert!(rows.iter().all(|row| row["tokens"] == 7), "a role is no token: {text}");
        for name in ["a", "b"] {
            let count = rows.iter().filter(|row| row["node"] == name).count();
            assert_eq!(count, gateway.node(name).in_flight as usize);
        }
        assert!(
            rows.iter().all(|row| row["state"] == "streaming" && row["class"] == "interactive"),
            "{text}"
        );
        let (_, csv) = ask(&gateway, "GET /api/requests?format=csv&sort=node&limit=5").await;
        assert_eq!(csv.lines().count(), 6, "{csv}");
        assert_eq!(ask(&gateway, "GET /api/requests?limit=many").await.0, 400);
        clients.iter().for_each(JoinHandle::abort);
        gateway.at_rest().await;
        assert_eq!(table(&gateway, "").await["open"], 0);
    });
}

#[test]
fn the_tokens_of_a_row_are_those_that_its_node_tells() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    const ROLE: &str =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    const WORDS: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"three words now\"}}]}\n\n";
    const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":12}}\n\n";
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with(SERVER, &script.pool("")).await;
        let client = asked(&gateway, Version::HTTP_11, true).await;
        let (mut node, _) = script.request().await;
        node.write(format!("{HEAD}{ROLE}")).await;
        for (events, want) in [(WORDS, 1), (WORDS, 2), (USAGE, 12)] {
            node.write(events).await;
            eventually_async(LIMIT, "the row tells it", async || {
                let table = table(&gateway, "").await;
                if table["requests"][0]["tokens"] == want { Ok(()) } else { Err(table) }
            })
            .await;
        }
        client.abort();
        gateway.at_rest().await;
    });
}
