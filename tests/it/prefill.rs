//! Tests of nodes that fail before their stream has said anything: the request begins again on another node, under the head that
//! is out.

use evenkeel::outcome::Outcome;

use crate::harness::{Client, Gateway, LIMIT, Raw, Script, ask, eventually, pool_of, post, run};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
const ROLE: &str = "data: {\"id\":\"ID\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
const WORD: &str = "data: {\"id\":\"ID\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const BEAT: &str = ": keep-alive\n\n";
const CREATED: &str =
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"ID\"}}\n\n";
const SAID: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n\
                    event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"ID\"}}\n\n";
const CHAT: &str = "/v1/chat/completions";

/// A tool, and two choices: no stream like this could be continued.
const BODY: &str = r#"{"model":"m","stream":true,"n":2,"messages":[],"tools":[{"type":"function","function":{"name":"f"}}]}"#;

struct Pair {
    first: Script,
    second: Script,
    gateway: Gateway,
}

impl Pair {
    async fn with(server: &str, more: &str) -> Pair {
        let (first, second) = (Script::listen().await, Script::listen().await);
        let list = format!(
            "{{ name: a, address: \"{}\" }}, {{ name: b, address: \"{}\" }}",
            first.address, second.address
        );
        let gateway = Gateway::with(server, &pool_of("p", &list, more)).await;
        Pair { first, second, gateway }
    }

    /// The next request of this node, which it has read whole: to close with unread bytes would be a reset.
    async fn request(script: &Script) -> (Raw, String) {
        let (mut node, head) = script.request().await;
        assert_eq!(String::from_utf8(node.read(BODY.len()).await).unwrap(), BODY, "all of it, tools and all");
        (node, head)
    }

    async fn send(&self, path: &str) -> Raw {
        let head = format!("POST {path} HTTP/1.1\r\nHost: g\r\nConnection: close\r\n");
        Raw::send(&self.gateway, format!("{head}Content-Length: {}\r\n\r\n{BODY}", BODY.len())).await
    }

    /// The passing of time, seen at another stream: it has got so many comments.
    async fn others_get_comments(&self, count: usize) {
        let mut other = self.send(CHAT).await;
        for _ in 0..count {
            other.read_to(BEAT).await;
        }
    }
}

fn id(text: &str, id: &str) -> String {
    text.replace("ID", id)
}

/// The node sends this and closes; the other one answers. The client gets the head before the node has failed.
async fn begins_again(path: &str, said: &[&str], last: &[&str], outcome: Outcome, whole: &[&str]) {
    let pair = Pair::with("", "timeouts: { first_event: 10ms }").await;
    let mut client = pair.send(path).await;
    let (mut node, _) = Pair::request(&pair.first).await;
    node.write(HEAD).await;
    node.write(id(&said.concat(), "1")).await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("x-evenkeel-node")), (200, Some("a")));
    node.write(id(&last.concat(), "1")).await;
    drop(node);
    let (mut node, request) = Pair::request(&pair.second).await;
    assert_eq!(request.lines().next(), Some(format!("POST {path} HTTP/1.1").as_str()));
    node.write(HEAD).await;
    node.write(id(&whole.concat(), "2")).await;
    drop(node);
    let (text, _) = client.rest_as_text().await;
    let text: String = text.split("\r\n").collect();
    for piece in whole {
        assert!(text.contains(&id(piece, "2")), "{path} {said:?}: {text}");
    }
    assert!(!text.contains("\"1\"") && !text.contains("error"), "{path} {said:?}: {text}");
    let beats = [said, last].concat().iter().filter(|piece| **piece == BEAT).count();
    assert_eq!(text.matches(BEAT).count(), beats, "{path} {said:?}: {text}");
    assert_eq!((pair.gateway.attempts("a", outcome), pair.gateway.attempts("b", Outcome::Ok)), (1, 1));
    pair.gateway.at_rest().await;
}

#[test]
fn a_node_that_dies_before_it_says_anything_is_replaced() {
    run(async {
        let whole = [ROLE, WORD, DONE];
        for said in [&[][..], &[BEAT], &[ROLE], &[ROLE, BEAT]] {
            // its connection is closed, which ends the message
            let outcome = if said.contains(&ROLE) { Outcome::Truncated } else { Outcome::EngineError };
            begins_again(CHAT, said, &[], outcome, &whole).await;
        }
        begins_again("/v1/responses", &[CREATED], &[BEAT], Outcome::Truncated, &[CREATED, SAID]).await;
    });
}

#[test]
fn an_error_before_anything_is_said_goes_to_another_node() {
    const BROKEN: &str = "data: {\"error\":{\"message\":\"EngineCore died\",\"code\":500}}\n\n";
    const FULL: &str = "data: {\"error\":{\"message\":\"full\",\"code\":503}}\n\n";
    run(async {
        begins_again(CHAT, &[ROLE], &[BROKEN, DONE], Outcome::EngineError, &[ROLE, WORD, DONE]).await;
        begins_again(CHAT, &[BEAT], &[FULL, DONE], Outcome::Busy, &[ROLE, WORD, DONE]).await;
    });
}

#[test]
fn a_node_that_dies_after_it_said_something_is_not_replaced() {
    run(async {
        let pair = Pair::with("", "").await;
        let mut client = pair.send(CHAT).await;
        let (mut node, _) = Pair::request(&pair.first).await;
        node.write(HEAD).await;
        node.write(ROLE).await;
        node.write(WORD.replace("\"stop\"", "null")).await;
        client.read_to("Hi").await;
        drop(node);
        let (text, _) = client.rest_as_text().await;
        assert!(text.contains("\"error\"") && !text.contains("[DONE]"), "{text}");
        pair.gateway.at_rest().await;
        assert_eq!(pair.gateway.attempts("b", Outcome::Ok), 0);
    });
}

#[test]
fn an_answer_that_is_no_stream_is_told_as_an_event_under_the_head() {
    run(async {
        let pair = Pair::with("", "timeouts: { first_event: 10ms }").await;
        let mut client = pair.send(CHAT).await;
        let (mut node, _) = Pair::request(&pair.first).await;
        node.write(HEAD).await;
        client.head().await;
        drop(node);
        let (mut node, _) = Pair::request(&pair.second).await;
        let body = r#"{"error":{"message":"too long by far","code":400}}"#;
        node.write(format!("HTTP/1.1 400 X\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        let (text, _) = client.rest_as_text().await;
        assert!(text.contains("data: {\"error\":") && text.contains("too long by far"), "{text}");
        assert!(text.contains("invalid_request_error") && !text.ends_with("0\r\n\r\n"), "{text}");
    });
}

/// Comments while a request waits in line, while its node computes, and in the middle.
#[test]
fn a_client_of_a_silent_stream_gets_comments() {
    run(async {
        let pair = Pair::with("client: { sse_keepalive: 1s }", "timeouts: { first_event: 10m }").await;
        let mut client = pair.send(CHAT).await;
        let (mut node, _) = Pair::request(&pair.first).await;
        let head = client.head().await;
        assert_eq!(
            (head.status, head.field("content-type")),
            (200, Some("text/event-stream; charset=utf-8"))
        );
        assert!(head.field("x-request-id").is_some() && head.field("x-evenkeel-node").is_none());
        client.read_to(": keep-alive\n\n\r\n").await;
        client.read_to(": keep-alive\n\n\r\n").await;
        node.write(HEAD).await;
        let word = WORD.replace("\"stop\"", "null");
        node.write([ROLE, &word, "data: {\"half\""].concat()).await;
        client.read_to("half").await;
        // no comment fits into an event, though others get theirs meanwhile
        pair.others_get_comments(2).await;
        node.write(":1}\n\n").await;
        let seen = client.read_to(":1}\n\n").await;
        assert!(!seen.contains("keep-alive"), "{seen}");
        client.read_to(": keep-alive\n\n\r\n").await;
        node.write([WORD, DONE].concat()).await;
        drop(node);
        let (text, _) = client.rest_as_text().await;
        assert!(text.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"), "{text}");
        assert_eq!(pair.gateway.attempts("a", Outcome::Ok), 1);
    });
}

#[test]
fn under_a_head_of_its_own_the_gateway_goes_from_node_to_node() {
    run(async {
        let pair = Pair::with("client: { sse_keepalive: 1s }", "").await;
        let mut client = pair.send("/v1/messages").await;
        let (node, _) = Pair::request(&pair.first).await;
        client.head().await;
        client.read_to("event: ping\ndata: {\"type\": \"ping\"}\n\n").await;
        drop(node);
        let (mut node, _) = Pair::request(&pair.second).await;
        let body = r#"{"type":"error","error":{"type":"invalid_request_error","message":"no such thing"}}"#;
        node.write(format!("HTTP/1.1 400 X\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        let (text, _) = client.rest_as_text().await;
        assert!(
            text.contains("event: error\ndata: {\"type\":\"error\"") && text.contains("no such thing"),
            "{text}"
        );
        pair.gateway.at_rest().await;
        assert_eq!(
            (pair.gateway.attempts("a", Outcome::Reset), pair.gateway.attempts("b", Outcome::Ok)),
            (1, 1)
        );
    });
}

#[test]
fn who_asked_for_no_stream_gets_no_comment() {
    run(async {
        let pair = Pair::with("client: { sse_keepalive: 1s }", "").await;
        let asking = ask(&pair.gateway, post(&pair.gateway, CHAT, r#"{"stream":false}"#));
        let answering = async {
            let (mut node, _) = pair.first.request().await;
            pair.others_get_comments(1).await;
            node.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    });
}

#[test]
fn comments_go_to_clients_of_http2_and_of_http10_too() {
    run(async {
        let pair = Pair::with("client: { sse_keepalive: 1s }", "").await;
        let asking =
            async { Client::h2(&pair.gateway).await.ask(post(&pair.gateway, CHAT, BODY)).await.text() };
        let answering = async {
            let (mut node, _) = Pair::request(&pair.first).await;
            // one that came later has two: the time of this one's first is long past
            pair.others_get_comments(2).await;
            node.write([HEAD, WORD, DONE].concat()).await;
        };
        let (text, ()) = tokio::join!(asking, answering);
        assert!(text.starts_with(BEAT) && text.ends_with(&[WORD, DONE].concat()), "{text}");
        let request = format!("POST {CHAT} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
        let mut client = Raw::send(&pair.gateway, request).await;
        eventually(LIMIT, "it is on its way", || pair.gateway.in_flight().iter().sum::<u32>() == 1).await;
        client.read_to("\r\n\r\n: keep-alive\n\n").await;
    });
}
