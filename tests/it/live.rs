//! What the page lives on: the live events and the history at the admin address.

use serde_json::Value;

use crate::harness::{Gateway, Head, LIMIT, Raw, eventually, nodes, pool, run};

const ADMIN: &str = "admin: free";
/// The most pages that may be open.
const PAGES: usize = 16;

async fn get(gateway: &Gateway, path: &str, fields: &str) -> (Raw, Head) {
    let mut raw = Raw::to(gateway.admin()).await;
    let host = if fields.contains("Host:") { "" } else { "Host: localhost\r\n" };
    raw.write(format!("GET {path} HTTP/1.1\r\n{host}{fields}\r\n")).await;
    let head = raw.head().await;
    (raw, head)
}

async fn text(gateway: &Gateway, path: &str) -> String {
    let (mut raw, head) = get(gateway, path, "").await;
    assert_eq!(head.status, 200, "{path}");
    let length = head.field("content-length").unwrap().parse().unwrap();
    String::from_utf8(raw.read(length).await).unwrap()
}

/// The next event of this name, whatever comes before it.
async fn event(raw: &mut Raw, name: &str) -> Value {
    raw.read_to(&format!("event: {name}\ndata: ")).await;
    let data = raw.read_to("\n\n").await;
    serde_json::from_str(data.trim_end()).unwrap()
}

#[test]
fn a_page_gets_the_whole_status_and_then_what_changes() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::with(ADMIN, &pool("p", &nodes, "")).await;
        let (mut page, head) = get(&gateway, "/api/live", "").await;
        assert_eq!((head.status, head.field("content-type")), (200, Some("text/event-stream")));
        let whole = event(&mut page, "whole").await;
        assert_eq!(whole["pools"]["p"]["nodes"]["a"]["state"], "up", "{whole:#}");
        assert_eq!(whole["pools"]["p"]["order"], serde_json::json!(["a", "b"]));
        let mut order = Raw::to(gateway.admin()).await;
        order
            .write("POST /api/nodes/p/b/drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(order.response().await.0.status, 200);
        let mut marks = Vec::new();
        let mut state = Value::Null;
        while marks.is_empty() || state.is_null() {
            let mut patch = event(&mut page, "patch").await;
            assert_eq!(patch["pools"]["p"]["nodes"].get("a"), None, "a has not changed: {patch:#}");
            if let Some(new) = patch["pools"]["p"]["nodes"]["b"].get_mut("state") {
                state = new.take();
            }
            marks.extend(patch["new_marks"].as_array().cloned().unwrap_or_default());
        }
        assert_eq!(state, "draining");
        assert_eq!((marks.len(), &marks[0]["kind"], &marks[0]["node"]), (1, &"drained".into(), &"b".into()));
    });
}

#[test]
fn pages_are_bounded_and_one_that_is_closed_makes_room() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::with(ADMIN, &pool("p", &nodes, "")).await;
        let mut pages = Vec::new();
        for _ in 0..PAGES {
            let (page, head) = get(&gateway, "/api/live", "").await;
            assert_eq!(head.status, 200);
            pages.push(page);
        }
        let (_, head) = get(&gateway, "/api/live", "").await;
        assert_eq!(head.status, 503);
        drop(pages);
        let mut last = 0;
        for _ in 0..1000 {
            last = get(&gateway, "/api/live", "").await.1.status;
            if last == 200 {
                break;
            }
            tokio::time::sleep(LIMIT / 1000).await;
        }
        assert_eq!(last, 200);
    });
}

#[test]
fn the_history_has_curves_and_marks_also_of_reloads() {
    run(async {
        let nodes = nodes(2);
        let pools = pool("p", &nodes, "");
        let gateway = Gateway::with(ADMIN, &pools).await;
        gateway.reload(&pools);
        let sampled = || gateway.live.history.lock().pools().iter().any(|pool| pool.nodes().count() == 2);
        eventually(LIMIT, "it is sampled", sampled).await;
        for span in ["5m", "1h", "24h"] {
            let curves: Value =
                serde_json::from_str(&text(&gateway, &format!("/api/history?span={span}")).await).unwrap();
            assert_eq!((&curves["span"], &curves["first"]), (&span.into(), &0.into()));
            assert_eq!(curves["pools"][0]["nodes"][1]["name"], "b", "{curves:#}");
        }
        for bad in ["/api/history?span=2h", "/api/history?from=x", "/api/nodes"] {
            assert_eq!(get(&gateway, bad, "").await.1.status, 400, "{bad}");
        }
        let events: Value = serde_json::from_str(&text(&gateway, "/api/events").await).unwrap();
        assert_eq!(
            (&events[0]["kind"], &events[0]["text"]),
            (&"reloaded".into(), &"config reloaded: generation 2".into())
        );
        let csv = text(&gateway, "/api/events?format=csv").await;
        assert!(csv.ends_with(",,,reloaded,config reloaded: generation 2,0\r\n"), "{csv}");
        let csv = text(&gateway, "/api/nodes?format=csv").await;
        assert_eq!(csv.lines().count(), 3, "{csv}");
        assert!(csv.contains(&format!("\r\np,b,{},up,,,0,,1,1,0,0,", nodes[1].addr())), "{csv}");
    });
}

#[test]
fn pages_of_other_sites_get_no_live_data() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::with(ADMIN, &pool("p", &nodes, "")).await;
        for path in ["/api/live", "/api/history", "/api/events", "/api/nodes?format=csv", "/api/requests"] {
            for fields in [
                "Sec-Fetch-Site: cross-site\r\n",
                "Origin: https://evil.example\r\n",
                "Host: evil.example\r\n",
            ] {
                assert_eq!(get(&gateway, path, fields).await.1.status, 403, "{path} {fields}");
            }
        }
        let (_, head) = get(&gateway, "/", "Accept: text/html\r\nSec-Fetch-Site: cross-site\r\n").await;
        assert_eq!((head.status, head.field("content-type")), (200, Some("text/html; charset=utf-8")));
        let (_, head) = get(&gateway, "/", "Accept: text/html\r\nHost: evil.example\r\n").await;
        assert_eq!(head.status, 403);
    });
}
