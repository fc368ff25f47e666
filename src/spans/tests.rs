use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::access_log::Second;
use crate::config::Class;

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

fn ended(attempts: Vec<Tried>, at: Instant) -> Ended {
    let entry = Entry {
        client: Some("192.0.2.7".into()),
        at: (Arc::new(Second::of(&"2026-11-22T08:48:10+00:00[+00:00]".parse().unwrap())), 500),
        method: "POST".into(),
        path: "/team-a/v1/chat/completions".into(),
        protocol: "HTTP/1.1",
        status: 200,
        bytes_sent: 1234,
        referer: "http://ui/".into(),
        user_agent: "python-httpx/0.27".into(),
        forwarded_for: "192.0.2.9".into(),
        key: None,
        pool: Some("vllm".into()),
        class: Some(Class::Batch),
        attempts,
        ttft: Some(Duration::from_millis(250)),
        total: Duration::from_secs(10),
        queue: Duration::from_millis(500),
        request_id: "4f1c".into(),
        note: None,
    };
    let trace = Box::new(Trace { id: TRACE, parent: Some(7), span: 9, is_sampled: true });
    Ended { trace, entry, at, wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1000) }
}

fn tried(at: Instant, node: &str, status: Option<u16>, outcome: Outcome) -> Tried {
    let (began, ended) = (at - Duration::from_secs(8), at - Duration::from_secs(2));
    Tried { node: node.into(), by: By::LeastInFlight, status, outcome, began, ended }
}

fn spans(ended: &Ended) -> Vec<SpanData> {
    ended.spans(&InstrumentationScope::builder("t").build())
}

/// The attributes, one a line.
fn shown(span: &SpanData) -> Vec<String> {
    let mut shown: Vec<_> = span.attributes.iter().map(|kv| format!("{}={}", kv.key, kv.value)).collect();
    shown.sort();
    shown
}

fn seconds(span: &SpanData) -> [u64; 2] {
    [span.start_time, span.end_time]
        .map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
}

#[test]
fn a_request_has_its_span_and_each_attempt_one_below_it() {
    let at = Instant::now();
    let attempts = vec![tried(at, "a", Some(500), Outcome::Http5xx), tried(at, "b", Some(200), Outcome::Ok)];
    let ended = ended(attempts, at);
    let [request, first, second] = &spans(&ended)[..] else { panic!("three spans") };
    assert_eq!(ended.count(), 3);
    assert_eq!(request.name, "POST /chat/completions");
    assert_eq!((request.span_kind.clone(), request.parent_span_id), (SpanKind::Server, 7.into()));
    assert!(request.parent_span_is_remote && request.status == Status::Unset);
    assert_eq!(seconds(request), [990, 1000]);
    assert_eq!(
        shown(request),
        [
            "evenkeel.class=batch",
            "evenkeel.pool=vllm",
            "evenkeel.queue_seconds=0.5",
            "evenkeel.request_id=4f1c",
            "evenkeel.ttft_seconds=0.25",
            "http.request.method=POST",
            "http.response.status_code=200",
            "http.route=/chat/completions",
            "url.path=/team-a/v1/chat/completions",
        ]
    );
    for (nth, span, name) in [(1, first, "POST a"), (2, second, "POST b")] {
        assert_eq!((&*span.name, span.span_kind.clone()), (name, SpanKind::Client));
        assert_eq!(span.parent_span_id, request.span_context.span_id());
        assert_eq!(span.span_context.span_id(), ended.trace.attempt(nth).into());
        assert_eq!((seconds(span), span.parent_span_is_remote), ([992, 998], false));
        assert_eq!(span.span_context.trace_id(), TRACE.into());
    }
    assert_eq!((&first.status, &second.status), (&Status::error(""), &Status::Unset));
    assert_eq!(
        shown(first),
        [
            "error.type=http_5xx",
            "evenkeel.node=a",
            "evenkeel.outcome=http_5xx",
            "http.request.method=POST",
            "http.response.status_code=500",
        ]
    );
    assert!(shown(second).contains(&"http.request.resend_count=1".to_owned()), "{:?}", shown(second));
}

#[test]
fn names_are_few_and_texts_are_short_whatever_a_client_sends() {
    let at = Instant::now();
    for (method, path, pool, name) in [
        ("GET", "/v1/models", Some("vllm"), "GET vllm"),
        ("GET", "/v1/models", None, "GET"),
        ("BREW", "/tea", Some("vllm"), "_OTHER vllm"),
        ("-", "-", None, "_OTHER"),
        ("POST", "/v1/completions", None, "POST /completions"),
    ] {
        let mut ended = ended(Vec::new(), at);
        (ended.entry.method, ended.entry.path) = (method.into(), path.into());
        ended.entry.pool = pool.map(Into::into);
        assert_eq!(spans(&ended)[0].name, name);
    }
    let mut ended = ended(Vec::new(), at);
    (ended.entry.path, ended.entry.request_id) = ("é".repeat(5000), "r".repeat(5000));
    assert!(shown(&spans(&ended)[0]).iter().all(|text| text.len() < 300));
}

#[test]
fn an_error_is_the_gateways_or_the_nodes_and_not_the_clients() {
    let at = Instant::now();
    for (status, is_error) in
        [(200, false), (404, false), (499, false), (500, true), (503, true), (504, true)]
    {
        let mut ended = ended(Vec::new(), at);
        ended.entry.status = status;
        let span = &spans(&ended)[0];
        assert_eq!(span.status == Status::error(""), is_error, "{status}");
        assert_eq!(shown(span).contains(&format!("error.type={status}")), is_error, "{status}");
    }
    for (status, outcome, note, want) in [
        (200, Outcome::Truncated, Some("the node broke off the response"), Some("truncated")),
        (200, Outcome::Stalled, None, Some("stalled")),
        (200, Outcome::Truncated, Some(FINISHED), None),
        (200, Outcome::ClientGone, Some("the client left"), None),
        (429, Outcome::Busy, None, None),
        (400, Outcome::Reset, None, None),
    ] {
        let mut ended = ended(vec![tried(at, "a", Some(200), outcome)], at);
        (ended.entry.status, ended.entry.note) = (status, note);
        let span = &spans(&ended)[0];
        assert_eq!(span.status == Status::error(""), want.is_some(), "{status} {outcome}");
        let told = want.map(|want| format!("error.type={want}"));
        assert!(told.is_none_or(|told| shown(span).contains(&told)), "{status} {outcome}");
    }
    for outcome in Outcome::ALL {
        let span = &spans(&ended(vec![tried(at, "a", None, outcome)], at))[1];
        let is_error = !matches!(outcome, Outcome::Ok | Outcome::ClientGone);
        assert_eq!(span.status == Status::error(""), is_error, "{outcome}");
        assert_eq!(shown(span).contains(&format!("error.type={outcome}")), is_error, "{outcome}");
    }
}

#[test]
fn nothing_that_names_a_client_or_its_secrets_is_told() {
    let ended = ended(vec![tried(Instant::now(), "a", None, Outcome::Reset)], Instant::now());
    let all: Vec<_> = spans(&ended).iter().flat_map(shown).collect();
    for secret in ["192.0.2", "httpx", "http://ui"] {
        assert!(!all.iter().any(|text| text.contains(secret)), "{secret}: {all:?}");
    }
}
