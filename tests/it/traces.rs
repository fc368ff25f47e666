//! Tests of `server.tracing`: the spans that a collector gets, and the fields that nodes get.

mod collector;

use std::time::Duration;

use evenkeel::metrics::{Format, text};
use evenkeel::sim::Node;
use http::Version;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

use self::collector::{Collector, attribute, hex, is_error};
use crate::harness::{
    Client, Gateway, LIMIT, Raw, Script, ask, chat, eventually, fault, free_port, nodes, pool, post, run,
};

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn kind(span: &Span) -> SpanKind {
    SpanKind::try_from(span.kind).unwrap()
}

/// The value of `traceparent` that goes with this span.
fn traceparent(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

/// The span of the only request so far, and those of its attempts in their order.
async fn only_trace(collector: &Collector, attempts: usize) -> (Span, Vec<Span>) {
    let spans = collector.spans(1 + attempts).await;
    let (mut servers, clients): (Vec<_>, Vec<_>) =
        spans.into_iter().partition(|span| kind(span) == SpanKind::Server);
    assert_eq!((servers.len(), clients.len()), (1, attempts), "{clients:?}");
    let request = servers.remove(0);
    for attempt in &clients {
        assert_eq!(kind(attempt), SpanKind::Client);
        assert_eq!((&attempt.trace_id, &attempt.parent_span_id), (&request.trace_id, &request.span_id));
        assert!(request.start_time_unix_nano <= attempt.start_time_unix_nano + 1000);
        assert!(attempt.start_time_unix_nano <= attempt.end_time_unix_nano);
        assert!(attempt.end_time_unix_nano <= request.end_time_unix_nano);
    }
    (request, clients)
}

/// All values of these fields, as the node got them with its last request.
fn got(node: &Node, name: &str) -> Vec<String> {
    let request = node.requests().pop().unwrap_or_else(|| panic!("{} got a request", node.name()));
    request.headers.into_iter().filter(|(key, _)| key == name).map(|(_, value)| value).collect()
}

#[test]
fn a_retry_has_a_span_for_each_attempt_and_each_node_gets_its_own() {
    run(async {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let nodes = nodes(2);
            nodes[0].set_fault(fault("status:500"));
            let collector = Collector::start().await;
            let tracing = collector.keys("service_name: lb, headers: { X-Key: k7 }");
            let gateway = Gateway::with(&tracing, &pool("p", &nodes, "")).await;
            let mut request = chat(&gateway, 3, true);
            request.headers_mut().insert("x-request-id", "rid-7".parse().unwrap());
            assert_eq!(Client::over(&gateway, version).await.ask(request).await.status, 200);
            let (request, attempts) = only_trace(&collector, 2).await;
            assert_eq!((&*request.name, request.parent_span_id.len()), ("POST /chat/completions", 0));
            for (key, want) in [
                ("http.request.method", "POST"),
                ("url.path", "/v1/chat/completions"),
                ("http.response.status_code", "200"),
                ("evenkeel.pool", "p"),
                ("evenkeel.class", "normal"),
                ("evenkeel.request_id", "rid-7"),
            ] {
                assert_eq!(attribute(&request, key).as_deref(), Some(want), "{key}");
            }
            assert!(attribute(&request, "evenkeel.ttft_seconds").is_some() && !is_error(&request));
            for (attempt, (node, status, outcome)) in
                attempts.iter().zip([("a", "500", "http_5xx"), ("b", "200", "ok")])
            {
                assert_eq!(attribute(attempt, "evenkeel.node").as_deref(), Some(node));
                assert_eq!(attribute(attempt, "http.response.status_code").as_deref(), Some(status));
                assert_eq!(attribute(attempt, "evenkeel.outcome").as_deref(), Some(outcome));
                assert_eq!(is_error(attempt), outcome != "ok");
            }
            assert_eq!(got(&nodes[0], "traceparent"), [traceparent(&attempts[0])]);
            assert_eq!(got(&nodes[1], "traceparent"), [traceparent(&attempts[1])]);
            let post = collector.posts().remove(0);
            assert_eq!((&*post.service, post.key.as_deref()), ("lb", Some("k7")));
            assert_eq!((&*post.path, &*post.kind), ("/v1/traces", "application/x-protobuf"));
            let exemplar = format!("trace_id=\"{}\"", hex(&request.trace_id));
            let metrics = text(gateway.status(), gateway.live.ended(), Format::OpenMetrics);
            assert!(metrics.contains(&exemplar), "{exemplar}");
            assert_eq!(gateway.status().lost_spans, 0);
        }
    });
}

/// The two fields as a node gets them, for each request that a client may send; and the number of spans that come of it.
#[test]
fn a_clients_trace_goes_on_if_it_is_valid_and_sampled() {
    run(async {
        let nodes = nodes(1);
        let collector = Collector::start().await;
        let gateway = Gateway::with(&collector.keys("sample: 1.0"), &pool("p", &nodes, "")).await;
        let sampled = format!("00-{ID}-{PARENT}-01");
        let unsampled = format!("00-{ID}-{PARENT}-00");
        let mut seen = 0;
        for (parents, is_joined) in [
            (vec![&*sampled], Some(true)),
            (vec![&*unsampled], Some(false)),
            (vec![], None),
            (vec!["00-x"], None),
            (vec![&*sampled, &*sampled], None),
        ] {
            let mut request = chat(&gateway, 1, false);
            for parent in &parents {
                request.headers_mut().append("traceparent", parent.parse().unwrap());
            }
            request.headers_mut().insert("tracestate", "v=1".parse().unwrap());
            assert_eq!(ask(&gateway, request).await.status, 200);
            let (parent, state) = (got(&nodes[0], "traceparent"), got(&nodes[0], "tracestate"));
            if is_joined == Some(false) {
                assert_eq!((parent, state), (vec![unsampled.clone()], vec!["v=1".to_owned()]));
                continue;
            }
            seen += 2;
            let spans = collector.spans(seen).await.split_off(seen - 2);
            assert_eq!(parent, [traceparent(&spans[1])], "{parents:?}");
            let joined = (hex(&spans[0].trace_id), hex(&spans[0].parent_span_id));
            let client = (ID.to_owned(), PARENT.to_owned());
            assert_eq!(joined == client, is_joined.is_some(), "{parents:?}: {joined:?}");
            assert_eq!(spans[0].parent_span_id.is_empty(), is_joined.is_none());
            assert_eq!(state.len(), usize::from(is_joined.is_some()), "{parents:?}");
        }
        drop(gateway);
        assert_eq!(collector.spans(0).await.len(), seen, "the one that is not sampled has none");
    });
}

#[test]
fn a_request_that_the_sample_leaves_out_is_passed_on_as_not_sampled() {
    run(async {
        let nodes = nodes(1);
        let collector = Collector::start().await;
        let gateway = Gateway::with(&collector.keys("sample: 0"), &pool("p", &nodes, "")).await;
        ask(&gateway, chat(&gateway, 1, false)).await;
        let parent = got(&nodes[0], "traceparent").remove(0);
        assert!(parent.starts_with("00-") && parent.ends_with("-00") && parent.len() == 55, "{parent}");
        drop(gateway);
        assert!(collector.spans(0).await.is_empty());
    });
}

#[test]
fn off_the_fields_go_on_untouched() {
    run(async {
        let nodes = nodes(1);
        let gateway = Gateway::start(&nodes, "").await;
        for (fields, parents, states) in [
            ("traceparent: 00-x\r\nTraceState: v=1\r\ntraceparent: y\r\n", &["00-x", "y"][..], &["v=1"][..]),
            ("tracestate: w\r\n", &[], &["w"]),
            ("", &[], &[]),
        ] {
            let head = format!("POST /echo HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: 2\r\n\r\nhi");
            Raw::send(&gateway, head).await.response().await;
            assert_eq!(
                (got(&nodes[0], "traceparent"), got(&nodes[0], "tracestate")),
                (owned(parents), owned(states))
            );
        }
    });
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_resumed_stream_is_one_trace() {
    run(async {
        let both = nodes(2);
        let collector = Collector::start().await;
        let keys = "engine: vllm, health: { check: off }, retry: { resume: on }";
        let gateway = Gateway::with(&collector.keys("sample: 1"), &pool("p", &both, keys)).await;
        both[0].set_fault(fault("die:5").times(1));
        let answer = ask(&gateway, chat(&gateway, 12, true)).await;
        assert!(answer.text().contains("[DONE]"), "{}", answer.text());
        let (request, attempts) = only_trace(&collector, 2).await;
        assert_eq!(attribute(&request, "evenkeel.note").as_deref(), Some("resumed"));
        let outcomes: Vec<_> =
            attempts.iter().filter_map(|attempt| attribute(attempt, "evenkeel.outcome")).collect();
        assert_eq!(outcomes, ["truncated", "ok"]);
        assert_eq!(got(&both[1], "traceparent"), [traceparent(&attempts[1])]);
        assert!(attempts[0].end_time_unix_nano <= attempts[1].start_time_unix_nano);
    });
}

/// Switches of protocols, bodies that are not kept, and HTTP/2 to the node.
#[test]
fn requests_on_the_other_path_have_spans_too() {
    run(async {
        let nodes = nodes(1);
        for (keys, request, status) in [
            ("", "GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n".to_owned(), "101"),
            (
                "retry: { body_limit: 1KB }",
                format!("POST /echo HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", 5000),
                "200",
            ),
            (
                "http_version: 2, health: { check: off }",
                "POST /echo HTTP/1.1\r\nConnection: close\r\nContent-Length: 5000\r\n".to_owned(),
                "200",
            ),
        ] {
            let collector = Collector::start().await;
            let gateway = Gateway::with(&collector.keys("sample: 0"), &pool("p", &nodes, keys)).await;
            let parent = format!("00-{ID}-{PARENT}-01");
            let head = format!("{request}Host: x\r\ntraceparent: {parent}\r\ntracestate: v=1\r\n\r\n");
            let mut client = Raw::send(&gateway, head).await;
            if status == "200" {
                client.write(&[b'x'; 5000]).await;
            }
            assert_eq!(client.head().await.status.to_string(), status, "{keys}");
            if status == "200" {
                client.rest().await;
            } else {
                drop(client);
            }
            let (request, attempts) = only_trace(&collector, 1).await;
            assert_eq!((hex(&request.trace_id), hex(&request.parent_span_id)), (ID.into(), PARENT.into()));
            for span in [&request, &attempts[0]] {
                assert_eq!(attribute(span, "http.response.status_code").as_deref(), Some(status), "{keys}");
            }
            assert_eq!(got(&nodes[0], "traceparent"), [traceparent(&attempts[0])], "{keys}");
            assert_eq!(got(&nodes[0], "tracestate"), ["v=1"], "{keys}");
        }
    });
}

#[test]
fn a_request_without_a_node_has_a_span_and_none_holds_a_secret() {
    run(async {
        let nodes = nodes(1);
        let collector = Collector::start().await;
        let gateway = Gateway::with(&collector.keys("sample: 1"), &pool("p", &nodes, "models: [m]")).await;
        let secret = r#"{"model":"s3cret","prompt":"s3cret"}"#;
        let mut request = post(&gateway, "/v1/completions?key=s3cret", secret);
        request.headers_mut().insert("authorization", "Bearer s3cret".parse().unwrap());
        assert_eq!(ask(&gateway, request).await.status, 404);
        let (request, _) = only_trace(&collector, 0).await;
        assert_eq!(attribute(&request, "http.response.status_code").as_deref(), Some("404"));
        assert_eq!(attribute(&request, "url.path").as_deref(), Some("/v1/completions"));
        let head =
            format!("GET /x HTTP/1.1\r\nHost: x\r\nHost: y\r\ntraceparent: 00-{ID}-{PARENT}-01\r\n\r\n");
        assert_eq!(Raw::send(&gateway, head).await.head().await.status, 400);
        let refused = collector.spans(2).await.remove(1);
        assert_eq!((hex(&refused.trace_id), hex(&refused.parent_span_id)), (ID.into(), PARENT.into()));
        assert_eq!(attribute(&refused, "http.response.status_code").as_deref(), Some("400"));
        Raw::send(&gateway, "s3cret nonsense\r\n\r\n".to_owned()).await.head().await;
        let spans = collector.spans(3).await;
        assert!(!format!("{spans:?}").contains("s3cret"), "{spans:?}");
    });
}

#[test]
fn an_answer_of_the_gateways_own_is_an_error() {
    run(async {
        let collector = Collector::start().await;
        let dead = format!("  p: {{ nodes: [\"127.0.0.1:{}\"], retry: {{ wait: 0s }} }}\n", free_port());
        let gateway = Gateway::with(&collector.keys("sample: 1"), &dead).await;
        let answer = ask(&gateway, chat(&gateway, 1, false)).await;
        let spans = collector.spans(2).await;
        assert_eq!(
            attribute(&spans[0], "http.response.status_code").as_deref(),
            Some(&*answer.status.to_string())
        );
        assert!(answer.status >= 500 && is_error(&spans[0]) && is_error(&spans[1]), "{spans:?}");
        assert_eq!(attribute(&spans[1], "error.type").as_deref(), Some("connect"));
    });
}

#[test]
fn a_collector_that_is_away_or_silent_loses_spans_and_no_request() {
    run(async {
        let silent = Script::listen().await;
        for url in [format!("http://127.0.0.1:{}", free_port()), format!("http://{}", silent.address)] {
            let nodes = nodes(2);
            let tracing = format!("tracing: {{ otlp: \"{url}\" }}");
            let gateway = Gateway::with(&tracing, &pool("p", &nodes, "")).await;
            let mut client = Client::h1(&gateway).await;
            for _ in 0..50 {
                assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200);
            }
            let all_lost = || gateway.status().lost_spans == 100;
            eventually(LIMIT, "the spans are given up, and counted", all_lost).await;
            assert!(gateway.metrics().contains("evenkeel_lost_spans_total 100\n"));
            assert_eq!(client.ask(chat(&gateway, 1, false)).await.status, 200);
            // the last ones are waited for, but not for long
            let began = std::time::Instant::now();
            drop(gateway);
            assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        }
    });
}

#[test]
fn the_last_spans_are_sent_before_the_end() {
    run(async {
        let nodes = nodes(1);
        let collector = Collector::start().await;
        let gateway = Gateway::with(&collector.keys("sample: 1"), &pool("p", &nodes, "")).await;
        for _ in 0..20 {
            ask(&gateway, chat(&gateway, 1, false)).await;
        }
        gateway.at_rest().await;
        drop(gateway);
        assert_eq!(collector.spans(0).await.len(), 40);
    });
}

#[test]
fn a_reload_switches_tracing_on_and_off_and_to_another_collector() {
    run(async {
        let nodes = nodes(1);
        let [one, two] = [Collector::start().await, Collector::start().await];
        let pools = pool("p", &nodes, "");
        let off = "tracing: { otlp: off }";
        let gateway = Gateway::with(off, &pools).await;
        let ask_once = async || assert_eq!(ask(&gateway, chat(&gateway, 1, false)).await.status, 200);
        ask_once().await;
        assert!(got(&nodes[0], "traceparent").is_empty());
        gateway.reload_with((off, &one.keys("sample: 1")), &pools);
        ask_once().await;
        gateway.at_rest().await;
        gateway.reload_with((off, &two.keys("sample: 1")), &pools);
        ask_once().await;
        gateway.at_rest().await;
        gateway.reload(&pools);
        ask_once().await;
        assert!(got(&nodes[0], "traceparent").is_empty());
        assert_eq!((one.spans(2).await.len(), two.spans(2).await.len()), (2, 2));
        assert_eq!(gateway.status().lost_spans, 0);
        let status: Value = serde_json::from_str(&gateway.status().to_json()).unwrap();
        assert_eq!(status["lost_spans"], 0);
    });
}
