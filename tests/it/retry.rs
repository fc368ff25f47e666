//! Tests of retries: the result of a request when nodes fail.

use std::time::{Duration, Instant};

use evenkeel::fleet::NodeState;
use evenkeel::outcome::Outcome;
use evenkeel::retry::DEATH_BURST;
use evenkeel::sim::{Node, Options};
use http::{Method, Request};

use crate::harness::{
    Answer, Client, Gateway, Outgoing, Script, Transport, ask, chat, fault, free_port, get, nodes,
    nodes_like, pool, pool_of, post, run, steps,
};

fn received(nodes: &[Node]) -> Vec<u64> {
    nodes.iter().map(|node| node.stats().received).collect()
}

/// The first node fails the request; on both generation endpoints the client must not notice.
async fn one_failure_is_hidden(text: &str, more: &str, outcome: Outcome) {
    let nodes = nodes(2);
    let gateway = Gateway::start(&nodes, more).await;
    nodes[0].set_fault(fault(text).times(1));
    let answer = ask(&gateway, chat(&gateway, 3, false)).await;
    assert_eq!((answer.status, answer.field("x-evenkeel-attempts")), (200, Some("2")), "{text}");
    assert_eq!((received(&nodes), gateway.attempts("a", outcome)), (vec![1, 1], 1), "{text}");
    // the next request goes to the first node again
    nodes[0].set_fault(fault(text).times(1));
    let answer = ask(&gateway, chat(&gateway, 3, true)).await;
    assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")), "{text}");
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    gateway.at_rest().await;
}

/// Under overload new connections would make things worse.
#[test]
fn the_connection_of_a_failed_response_is_reused() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("status:503"));
        let gateway = Gateway::start(&nodes, "health: { max_fails: 0 }").await;
        let mut client = Client::h1(&gateway).await;
        while nodes[0].stats().received < 5 {
            assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200);
        }
        assert_eq!(nodes[0].stats().accepted, 1);
    });
}

#[test]
fn a_generation_is_retried_after_a_reset() {
    run(one_failure_is_hidden("reset", "", Outcome::Reset));
}

#[test]
fn a_generation_is_retried_after_a_close_before_the_head() {
    run(one_failure_is_hidden("close", "", Outcome::Reset));
}

#[test]
fn a_generation_is_retried_after_no_head_in_time() {
    run(one_failure_is_hidden("hang", "timeouts: { first_byte: 100ms }", Outcome::Timeout));
}

#[test]
fn a_generation_is_retried_after_each_listed_status() {
    run(async {
        for code in [500, 502, 504] {
            one_failure_is_hidden(&format!("status:{code}"), "", Outcome::Http5xx).await;
        }
    });
}

#[test]
fn a_generation_is_retried_while_a_node_is_busy() {
    run(async {
        for code in [503, 429] {
            let nodes = nodes(2);
            let gateway = Gateway::start(&nodes, "").await;
            nodes[0].set_fault(fault(&format!("status:{code}")));
            let answer = ask(&gateway, chat(&gateway, 3, false)).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
            assert_eq!(gateway.attempts("a", Outcome::Busy), 1);
            // the busy node is skipped for a while instead of being tried repeatedly
            assert_eq!(ask(&gateway, chat(&gateway, 3, false)).await.status, 200);
            assert_eq!(received(&nodes), [1, 2]);
        }
    });
}

#[test]
fn a_refused_connection_is_retried_whatever_the_method_and_path() {
    run(async {
        let nodes = nodes(1);
        let list = |port| format!("{{ name: dead, address: \"127.0.0.1:{port}\" }}, \"{}\"", nodes[0].addr());
        for (method, path) in
            [(Method::POST, "/echo"), (Method::POST, "/v1/completions"), (Method::GET, "/echo")]
        {
            let gateway = Gateway::with("", &pool_of("p", &list(free_port()), "")).await;
            let body = Outgoing::sized(r#"{"prompt":"x"}"#.into());
            let request = Request::builder().method(&method).uri(gateway.url(path)).body(body).unwrap();
            let answer = ask(&gateway, request).await;
            assert_eq!(
                (answer.status, answer.field("x-evenkeel-attempts")),
                (200, Some("2")),
                "{method} {path}"
            );
            assert_eq!(gateway.attempts("dead", Outcome::Connect), 1);
        }
    });
}

#[test]
fn a_post_that_is_not_a_generation_is_not_sent_twice() {
    run(async {
        for text in ["reset", "close"] {
            let nodes = nodes(2);
            let gateway = Gateway::start(&nodes, "").await;
            nodes[0].set_fault(fault(text));
            let answer = ask(&gateway, post(&gateway, "/echo", "x")).await;
            assert_eq!((answer.status, received(&nodes)), (502, vec![1, 0]));
            assert_eq!(answer.json()["error"]["code"], 502);
        }
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, "").await;
        nodes[0].set_fault(fault("status:500"));
        let answer = ask(&gateway, post(&gateway, "/echo", "x")).await;
        assert_eq!((answer.status, received(&nodes)), (500, vec![1, 0]), "the node's own answer");
    });
}

#[test]
fn an_idempotent_method_is_retried() {
    run(async {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let nodes = nodes(2);
            let gateway = Gateway::start(&nodes, "").await;
            nodes[0].set_fault(fault("reset"));
            let request = Request::builder().method(&method).uri(gateway.url("/echo"));
            let answer = ask(&gateway, request.body(Outgoing::sized("".into())).unwrap()).await;
            assert_eq!((answer.status, received(&nodes)), (200, vec![1, 1]), "{method}");
        }
    });
}

#[test]
fn no_node_gets_a_request_twice_while_another_is_left_and_attempts_is_the_limit() {
    run(async {
        for (count, attempts, want) in [(5, 3, 3), (5, 5, 5), (3, 16, 3), (4, 1, 1)] {
            let nodes = nodes(count);
            let gateway = Gateway::start(&nodes, &format!("retry: {{ attempts: {attempts} }}")).await;
            nodes.iter().for_each(|node| node.set_fault(fault("status:502")));
            let answer = ask(&gateway, chat(&gateway, 3, false)).await;
            assert_eq!((answer.status, received(&nodes).iter().sum::<u64>()), (502, want));
            assert!(received(&nodes).iter().all(|count| *count <= 1), "{:?}", received(&nodes));
            let shown = answer.field("x-evenkeel-attempts").map(str::to_owned);
            assert_eq!(shown, Some(want.to_string()));
        }
    });
}

/// A node's own answer, without the gateway.
async fn directly(node: &Node) -> Answer {
    let address = node.addr();
    let mut client = Client::to(address, http::Version::HTTP_11).await;
    let request = Request::post(format!("http://{address}/v1/chat/completions"));
    client.ask(request.body(Outgoing::sized(r#"{"messages":[]}"#.into())).unwrap()).await
}

#[test]
fn when_no_node_is_left_the_client_gets_the_last_response_unchanged() {
    run(async {
        for shape in ["openai", "vllm", "text"] {
            let nodes = nodes(2);
            nodes[0].set_fault(fault("status:504"));
            nodes[1].set_fault(fault(&format!("status:500,shape={shape}")));
            let own = directly(&nodes[1]).await;
            let gateway = Gateway::start(&nodes, "").await;
            let answer = ask(&gateway, chat(&gateway, 3, false)).await;
            assert_eq!((answer.status, &answer.body), (500, &own.body));
            assert_eq!(answer.field("x-evenkeel-node"), Some("b"));
            for (name, value) in own.headers.iter().filter(|(name, _)| *name != "date") {
                assert_eq!(answer.headers.get(name), Some(value), "{name}");
            }
            assert_eq!(answer.headers.get_all("content-length").iter().count(), 1);
            assert!(!answer.headers.contains_key("transfer-encoding"));
        }
    });
}

#[test]
fn when_no_attempt_is_left_the_client_gets_the_failed_response() {
    run(async {
        let nodes = nodes(3);
        nodes[0].set_fault(fault("status:504"));
        nodes[1].set_fault(fault("reset"));
        let gateway = Gateway::start(&nodes, "retry: { attempts: 2 }").await;
        let answer = ask(&gateway, chat(&gateway, 3, false)).await;
        assert_eq!((answer.status, answer.field("x-evenkeel-node")), (504, Some("a")));
        assert_eq!(received(&nodes), [1, 1, 0]);
        assert_eq!(answer.field("x-evenkeel-attempts"), Some("2"));
        gateway.at_rest().await;
    });
}

#[test]
fn when_all_are_busy_the_last_503_is_passed_on_with_its_retry_after() {
    run(async {
        let nodes = nodes(3);
        nodes.iter().for_each(|node| node.set_fault(fault("status:503,retry_after=7")));
        let gateway = Gateway::start(&nodes, "retry: { wait: 0s }").await;
        let answer = ask(&gateway, chat(&gateway, 3, false)).await;
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("7")));
        assert_eq!(received(&nodes), [1, 1, 1]);
    });
}

#[test]
fn when_no_node_comes_back_in_time_the_client_gets_503_with_retry_after() {
    run(async {
        let list = format!("\"127.0.0.1:{}\", \"127.0.0.1:{}\"", free_port(), free_port());
        let gateway = Gateway::with("", &pool_of("p", &list, "retry: { wait: 300ms }")).await;
        let answer = ask(&gateway, chat(&gateway, 3, false)).await;
        assert_eq!(answer.status, 503);
        assert!(answer.field("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok()));
        assert_eq!(answer.field("content-type"), Some("application/json"));
        let error = &answer.json()["error"];
        assert!(error["message"].as_str().is_some_and(|message| message.contains("pool p")), "{error}");
        assert!(error["type"].is_string() && error["code"] == 503 && error.get("param").is_some());
        gateway.at_rest().await;
    });
}

#[test]
fn a_busy_node_is_never_ejected() {
    run(async {
        let nodes = nodes(2);
        let gateway = Gateway::start(&nodes, "retry: { wait: 0s }").await;
        for code in [503, 429] {
            nodes.iter().for_each(|node| node.set_fault(fault(&format!("status:{code}"))));
            let mut client = Client::h1(&gateway).await;
            for _ in 0..50 {
                assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, code);
            }
        }
        gateway.at_rest().await;
        for name in ["a", "b"] {
            let node = gateway.node(name);
            assert_eq!((node.state, node.recent_failures, node.ejections), (NodeState::Up, 0, 0));
        }
    });
}

#[test]
fn a_4xx_is_an_answer() {
    run(async {
        for (code, attempts) in
            [(400, "1"), (401, "2"), (403, "2"), (404, "2"), (413, "1"), (422, "1"), (501, "1"), (505, "1")]
        {
            let nodes = nodes(2);
            let gateway = Gateway::start(&nodes, "").await;
            nodes.iter().for_each(|node| node.set_fault(fault(&format!("status:{code},times=1"))));
            let answer = ask(&gateway, chat(&gateway, 1, false)).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-attempts")), (code, Some(attempts)));
            gateway.at_rest().await;
            assert_eq!(gateway.node("a").recent_failures + gateway.node("b").recent_failures, 0);
        }
    });
}

#[test]
fn a_request_that_every_node_answers_with_500_charges_no_node() {
    run(async {
        let nodes = nodes(3);
        nodes.iter().for_each(|node| node.set_fault(fault("status:500")));
        let gateway = Gateway::start(&nodes, "").await;
        let mut client = Client::h1(&gateway).await;
        for _ in 0..20 {
            assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 500);
        }
        gateway.at_rest().await;
        for name in ["a", "b", "c"] {
            let node = gateway.node(name);
            assert_eq!(
                (node.state, node.recent_failures, node.attempts_with(Outcome::Http5xx)),
                (NodeState::Up, 0, 20)
            );
        }
    });
}

#[test]
fn a_request_on_which_two_nodes_crashed_is_not_retried_on_a_third() {
    run(async {
        // more than a second apart, so the crashes count as two events
        let nodes = nodes_like(4, &Options { step: steps(300), ..Options::default() });
        nodes.iter().for_each(|node| node.set_fault(fault("die:4")));
        let gateway = Gateway::start(&nodes, "retry: { attempts: 4 }").await;
        let answer = ask(&gateway, chat(&gateway, 9, false)).await;
        assert_eq!((answer.status, received(&nodes)), (502, vec![1, 1, 0, 0]));
        let message = answer.json()["error"]["message"].to_string();
        assert!(message.contains("nodes crashed on this request"), "{message}");
    });
}

#[test]
fn after_two_crashes_in_one_burst_a_request_waits_until_the_burst_is_over() {
    run(async {
        for count in 1..=3 {
            let nodes = nodes(count);
            let times = if count == 1 { 2 } else { 1 };
            nodes.iter().take(2).for_each(|node| node.set_fault(fault("reset").times(times)));
            let gateway = Gateway::start(&nodes, "").await;
            let began = Instant::now();
            let answer = ask(&gateway, chat(&gateway, 1, false)).await;
            assert_eq!((answer.status, answer.field("x-evenkeel-attempts")), (200, Some("3")));
            assert!(began.elapsed() >= DEATH_BURST, "{count} nodes: {:?}", began.elapsed());
        }
    });
}

#[test]
fn a_request_that_crashes_nodes_at_once_does_not_reach_the_whole_fleet() {
    run(async {
        for (count, want) in [(1, vec![3]), (5, vec![1, 1, 1, 0, 0])] {
            let nodes = nodes(count);
            nodes.iter().for_each(|node| node.set_fault(fault("reset")));
            let gateway = Gateway::start(&nodes, "retry: { attempts: 16 }").await;
            let answer = ask(&gateway, chat(&gateway, 1, false)).await;
            // two crashes at once may be chance, a third is not
            assert_eq!((answer.status, received(&nodes)), (502, want));
            let message = answer.json()["error"]["message"].to_string();
            assert!(message.contains("nodes crashed on this request"), "{message}");
        }
    });
}

#[test]
fn an_answer_that_is_not_streamed_and_breaks_off_is_retried() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("truncate"));
        let gateway = Gateway::start(&nodes, "").await;
        let answer = ask(&gateway, chat(&gateway, 30, false)).await;
        assert_eq!((answer.status, answer.field("x-evenkeel-node")), (200, Some("b")));
        assert_eq!(answer.json()["usage"]["completion_tokens"], 30);
        assert_eq!(gateway.attempts("a", Outcome::Truncated), 1);
    });
}

#[test]
fn retry_off_means_one_attempt() {
    run(async {
        let nodes = nodes(2);
        nodes[0].set_fault(fault("reset"));
        let gateway = Gateway::start(&nodes, "retry: { on: off }").await;
        assert_eq!(ask(&gateway, chat(&gateway, 1, false)).await.status, 502);
        assert_eq!(received(&nodes), [1, 0]);
    });
}

#[test]
fn a_head_that_comes_too_late_everywhere_is_504() {
    run(async {
        let nodes = nodes(2);
        nodes.iter().for_each(|node| node.set_fault(fault("hang")));
        let gateway = Gateway::start(&nodes, "retry: { attempts: 2 }, timeouts: { first_byte: 100ms }").await;
        let answer = ask(&gateway, chat(&gateway, 1, false)).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (504, &504.into()));
        assert_eq!(received(&nodes), [1, 1]);
        for node in &nodes {
            node.until(Duration::from_secs(5), |stats| stats.in_flight == 0).await.unwrap();
        }
    });
}

#[test]
fn a_get_is_served_and_not_counted_twice() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::with("", &pool("p", &nodes, "")).await;
        assert_eq!(ask(&gateway, get(&gateway, "/v1/models")).await.status, 200);
        gateway.at_rest().await;
        assert_eq!(gateway.answered(200), 1);
        assert_eq!(gateway.attempts("a", Outcome::Ok), 1);
    });
}

/// A client that expected to keep the connection would lose its next request on it.
#[test]
fn a_failed_response_during_a_stop_closes_its_connection() {
    run(async {
        let script = Script::listen().await;
        let gateway = Gateway::with("", &script.pool("")).await;
        let asking = ask(&gateway, get(&gateway, "/v1/models"));
        let answering = async {
            let (mut node, _) = script.request().await;
            gateway.live.stop(Duration::ZERO);
            node.write("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy").await;
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(
            (answer.status, &*answer.text(), answer.field("connection")),
            (503, "busy", Transport::of_run().closing())
        );
    });
}

/// A failed attempt after which no node is left is followed by none.
#[test]
fn only_attempts_that_were_made_are_counted_as_retries() {
    run(async {
        for (count, retries) in [(1, 0), (2, 10)] {
            let nodes = nodes(count);
            nodes.iter().for_each(|node| node.set_fault(fault("status:500")));
            let gateway = Gateway::start(&nodes, "health: { max_fails: 0 }").await;
            for _ in 0..10 {
                assert_eq!(ask(&gateway, chat(&gateway, 1, false)).await.status, 500);
            }
            gateway.at_rest().await;
            let counters = &gateway.status().pools[0].counters;
            let attempts: u64 = counters.choices.iter().sum();
            assert_eq!(
                (attempts, counters.retries.iter().sum::<u64>()),
                (10 + retries, retries),
                "{count} nodes"
            );
        }
    });
}
