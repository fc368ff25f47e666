use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::config::{Class, Config, HostPort, NodeAddress};
use crate::fleet::{Call, Finished, Profile};
use crate::live::Live;
use crate::outcome::Outcome;
use crate::tls::{Certificate, Renewal};

/// A gateway whose pool has ended two requests, one of a trace.
fn live() -> Live {
    let text = "server: { listen: 127.0.0.1:1, metrics: { genai: on } }\npools:\n  x: { nodes: [{ address: 127.0.0.1:2, name: a }] }\n";
    let live = Live::new(Config::parse(text, "a test").expect("a valid config"));
    let (pool, now) = (live.fleet().pools[0].pool.clone(), Instant::now());
    let mut lease = pool.lease_by(Profile::default(), &[], now).expect("a node");
    lease.worked(1, now);
    lease.spoke(Duration::from_millis(100), 0, now);
    lease.worked(9, now + Duration::from_millis(900));
    let _ = lease.settle(Outcome::Ok, now + Duration::from_secs(1));
    for (class, trace, request_id) in
        [(Class::Normal, Some(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736), "r1"), (Class::Batch, None, "r\"2")]
    {
        pool.count_finished(&Finished { class, ..ended(request_id, trace) });
    }
    live
}

fn at(port: u16) -> NodeAddress {
    NodeAddress::Http(HostPort { host: "127.0.0.1".into(), port })
}

fn ended(request_id: &str, trace: Option<u128>) -> Finished<'_> {
    Finished {
        at: Instant::now(),
        status: 200,
        class: Class::Normal,
        duration: Duration::from_secs(2),
        queued: Duration::ZERO,
        first_token: Some(Duration::from_millis(250)),
        inter_token: Some(Duration::from_millis(20)),
        gaps: 9,
        prompt_tokens: 100,
        answer_tokens: 10,
        trace,
        request_id,
        server: None,
        last: None,
        call: None,
    }
}

fn shown(format: Format) -> String {
    let live = live();
    let mut snapshot = live.snapshot(Instant::now() + Duration::from_secs(1));
    let (not_before, not_after) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(9));
    let renewal = Renewal { last_success: Some(not_before), failures: 2, ..Renewal::default() };
    for (name, renewal) in [("a.example", Some(renewal)), ("b.example", None)] {
        let (names, file) = (vec![name.to_owned()], "/c.pem".into());
        snapshot.tls.certificates.push(Certificate { names, file, not_before, not_after, renewal });
    }
    text(snapshot, live.ended(), format)
}

/// Each family with its type.
fn families(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE evenkeel_")).collect()
}

#[test]
fn names_and_types_are_what_dashboards_rely_on() {
    let both = [
        ("build_info", "gauge"),
        ("config_generation", "gauge"),
        ("config_reload_success", "gauge"),
        ("requests_in_flight", "gauge"),
        ("connections", "gauge"),
        ("kept_body_bytes", "gauge"),
        ("config_reload_failures", "counter"),
        ("refused_connections", "counter"),
        ("lost_log_lines", "counter"),
        ("lost_own_log_lines", "counter"),
        ("tls_handshake_failures", "counter"),
        ("file_reload_failures", "counter"),
        ("lost_spans", "counter"),
        ("certificate_expiry_timestamp_seconds", "gauge"),
        ("acme_failures", "counter"),
        ("acme_last_success_timestamp_seconds", "gauge"),
        ("requests", "counter"),
        ("retries", "counter"),
        ("unkept_bodies", "counter"),
        ("resumes", "counter"),
        ("choices", "counter"),
        ("spills", "counter"),
        ("queue_length", "gauge"),
        ("class_queue_length", "gauge"),
        ("tokens", "counter"),
        ("node_in_flight", "gauge"),
        ("node_weight", "gauge"),
        ("node_answer_tokens", "counter"),
        ("node_time_to_first_token_seconds", "gauge"),
        ("node_inter_token_seconds", "gauge"),
        ("node_state", "gauge"),
        ("attempts", "counter"),
        ("ejections", "counter"),
        ("time_to_first_token_seconds", "histogram"),
        ("inter_token_seconds", "histogram"),
        ("request_duration_seconds", "histogram"),
        ("queue_wait_seconds", "histogram"),
    ];
    let named = |total: &str| {
        both.map(|(name, kind)| format!("{name}{} {kind}", if kind == "counter" { total } else { "" }))
    };
    assert_eq!(families(&shown(Format::Prometheus)), named("_total"));
    assert_eq!(families(&shown(Format::OpenMetrics)), named(""));
}

#[test]
fn a_histogram_is_written_in_both_formats_and_has_exemplars_in_one() {
    let [plain, open] = [Format::Prometheus, Format::OpenMetrics].map(shown);
    let bucket = "evenkeel_request_duration_seconds_bucket{class=\"batch\",pool=\"x\",le=";
    for want in [
        format!("{bucket}\"1.0\"}} 0\n{bucket}\"2.5\"}} 1\n{bucket}\"5.0\"}} 1\n"),
        format!(
            "{bucket}\"+Inf\"}} 1\nevenkeel_request_duration_seconds_sum{{class=\"batch\",pool=\"x\"}} 2.0\n"
        ),
        "evenkeel_tokens_total{class=\"batch\",kind=\"answer\",pool=\"x\"} 10\n".into(),
        "evenkeel_node_answer_tokens_total{node=\"a\",pool=\"x\"} 10\n".into(),
        "evenkeel_attempts_total{node=\"a\",outcome=\"ok\",pool=\"x\"} 1\n".into(),
        "evenkeel_requests_total{code=\"200\",pool=\"x\"} 2\n".into(),
    ] {
        assert!(plain.contains(&want), "{want} in {plain}");
    }
    assert!(!plain.contains(" # ") && !plain.contains("# EOF"), "{plain}");
    let is_exemplar = |line: &&str| line.contains(" # {");
    let exemplars: Vec<_> = open.lines().filter(is_exemplar).collect();
    assert_eq!(exemplars.len(), 8, "of four histograms, two classes: {exemplars:?}");
    for want in
        [" # {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"} 0.25 1", " # {request_id=\"r\\\"2\"} 2.0 1"]
    {
        assert!(exemplars.iter().any(|line| line.contains(want)), "{want} in {exemplars:?}");
    }
    assert!(open.ends_with("\n# EOF\n"), "{open}");
}

#[test]
fn a_node_tells_how_fast_it_has_been() {
    let text = shown(Format::Prometheus);
    let value = |name: &str, part: &str| -> f64 {
        let labels = format!("evenkeel_node_{name}_seconds{{node=\"a\",percentile=\"{part}\",pool=\"x\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&*labels));
        line.unwrap_or_else(|| panic!("{labels} in {text}")).parse().expect("a number")
    };
    for part in ["50", "99"] {
        assert!((0.066..0.15).contains(&value("time_to_first_token", part)));
        assert!((0.066..0.15).contains(&value("inter_token", part)));
    }
}

/// The tables of the conventions, version 1.41.1: name and unit in Prometheus' spelling, boundaries, attributes. Required ones and those
/// that are recommended; `evenkeel_pool` is the gateway's own.
const GENAI: [(&str, &str, &[&str]); 4] = [
    (
        "gen_ai_client_operation_duration_seconds",
        "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92 +Inf",
        &["error_type"],
    ),
    (
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92 +Inf",
        &[],
    ),
    (
        "gen_ai_client_operation_time_per_output_chunk_seconds",
        "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92 +Inf",
        &[],
    ),
    (
        "gen_ai_client_token_usage",
        "1.0 4.0 16.0 64.0 256.0 1024.0 4096.0 16384.0 65536.0 262144.0 1048576.0 4194304.0 16777216.0 67108864.0 +Inf",
        &["gen_ai_token_type"],
    ),
];
const ATTRIBUTES: [&str; 7] = [
    "evenkeel_pool",
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_request_model",
    "gen_ai_response_model",
    "server_address",
    "server_port",
];

/// The value of a label on a line.
fn label<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let start = line.find(&format!("{name}=\""))? + name.len() + 2;
    line[start..].split('"').next()
}

#[test]
fn generative_ai_is_told_as_the_conventions_have_it() {
    let live = live();
    let pool = live.fleet().pools[0].pool.clone();
    assert!(
        !text(live.snapshot(Instant::now()), live.ended(), Format::Prometheus).contains("gen_ai"),
        "off by default"
    );
    let call = Call {
        operation: "chat",
        provider: "openai",
        models: Some(["gpt-4o".into(), "Qwen/Qwen3-8B".into()]),
    };
    for (status, last) in [(200, Outcome::Ok), (503, Outcome::Busy), (200, Outcome::Truncated)] {
        pool.count_finished(&Finished {
            status,
            last: Some(last),
            server: Some(&at(2)),
            call: Some(&call),
            ..ended("r", None)
        });
    }
    let text = text(live.snapshot(Instant::now()), live.ended(), Format::Prometheus);
    for (name, bounds, own) in GENAI {
        assert!(text.contains(&format!("# TYPE {name} histogram\n")), "{name} in {text}");
        let start = format!("{name}_bucket{{");
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with(&*start)).collect();
        let series = lines.len() / 15;
        let told: Vec<_> = lines.iter().take(15).filter_map(|line| label(line, "le")).collect();
        assert_eq!(told.join(" "), bounds, "{name}");
        for line in &lines {
            let names = line[start.len()..].split('}').next().unwrap_or_default().split(',');
            let names: Vec<_> = names.filter_map(|pair| pair.split('=').next()).collect();
            let of_all: Vec<_> = names.iter().copied().filter(|name| ATTRIBUTES.contains(name)).collect();
            assert_eq!(of_all, ATTRIBUTES, "{line}");
            let others = names.iter().filter(|name| !ATTRIBUTES.contains(name));
            assert!(others.into_iter().all(|name| *name == "le" || own.contains(name)), "{line}");
        }
        let values = |name| lines.iter().filter_map(|line| label(line, name)).collect::<BTreeSet<_>>();
        match own {
            ["error_type"] => {
                assert_eq!((series, values("error_type")), (3, BTreeSet::from(["503", "truncated"])));
            }
            ["gen_ai_token_type"] => {
                assert_eq!((series, values("gen_ai_token_type")), (2, BTreeSet::from(["input", "output"])));
            }
            _ => assert_eq!(series, 1, "{name}"),
        }
        for (label, want) in [
            ("gen_ai_operation_name", "chat"),
            ("gen_ai_provider_name", "openai"),
            ("gen_ai_request_model", "gpt-4o"),
            ("gen_ai_response_model", "Qwen/Qwen3-8B"),
            ("server_address", "127.0.0.1"),
            ("server_port", "2"),
        ] {
            assert_eq!(values(label), BTreeSet::from([want]), "{name}");
        }
    }
    // the mean of a stream counts once for each of its tokens but the first
    assert!(
        text.contains("time_per_output_chunk_seconds_count{")
            && text.lines().any(|line| {
                line.starts_with("gen_ai_client_operation_time_per_output_chunk_seconds_count")
                    && line.ends_with(" 27")
            })
    );
}

#[test]
fn sets_of_labels_are_bounded() {
    let live = live();
    let pool = live.fleet().pools[0].pool.clone();
    for at in 0..2000 {
        let model: Arc<str> = format!("m{at}").into();
        let call = Call { operation: "chat", provider: "openai", models: Some([model.clone(), model]) };
        pool.count_finished(&Finished { call: Some(&call), ..ended("r", None) });
    }
    let text = text(live.snapshot(Instant::now()), live.ended(), Format::Prometheus);
    let counts =
        text.lines().filter(|line| line.starts_with("gen_ai_client_operation_duration_seconds_count"));
    let counts: Vec<u64> = counts.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (513, 2000), "none is lost");
}

/// The sets of labels of all calls; each may be there but once.
fn sets(text: &str) -> Vec<&str> {
    let of_calls = |line: &&str| line.starts_with("gen_ai_client_operation_duration_seconds_count{");
    let sets: Vec<_> =
        text.lines().filter(of_calls).filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
    assert_eq!(sets.iter().collect::<BTreeSet<_>>().len(), sets.len(), "{sets:?}");
    sets
}

#[test]
fn the_series_of_nodes_that_have_gone_go_too() {
    let live = live();
    let reload = |nodes: &str, genai: &str| {
        let server = format!("server: {{ listen: 127.0.0.1:1, metrics: {{ genai: {genai} }} }}");
        let text = format!("{server}\npools:\n  x: {{ nodes: [{nodes}] }}\n");
        let next = live.fleet().next(Config::parse(&text, "a test").expect("a valid config"), Instant::now());
        live.replace(next, Instant::now());
    };
    let [a, b, c] = [("a", 2), ("b", 3), ("c", 4)]
        .map(|(name, port)| format!("{{ address: 127.0.0.1:{port}, name: {name} }}"));
    reload(&format!("{a}, {b}"), "on");
    let pool = live.fleet().pools[0].pool.clone();
    let call = Call { operation: "chat", provider: "openai", models: Some(["m".into(), "m".into()]) };
    let count = |port: Option<u16>| {
        let server = port.map(at);
        pool.count_finished(&Finished { call: Some(&call), server: server.as_ref(), ..ended("r", None) });
    };
    let shown = || text(live.snapshot(Instant::now()), live.ended(), Format::Prometheus);
    for port in [Some(2), Some(3), None] {
        count(port);
    }
    assert_eq!(sets(&shown()).len(), 3);
    reload(&c, "on");
    assert_eq!(sets(&shown()).len(), 1, "of the request that had no node");
    count(Some(2));
    count(Some(4));
    assert_eq!(sets(&shown()).len(), 2, "a late one at a node that has gone is not told");
    reload(&c, "off");
    assert!(!shown().contains("gen_ai"), "nobody asks for them any more");
}

#[test]
fn errors_are_bounded() {
    let live = live();
    let pool = live.fleet().pools[0].pool.clone();
    let call = Call { operation: "chat", provider: "openai", models: None };
    for status in (400..600).chain([200]) {
        pool.count_finished(&Finished { status, call: Some(&call), ..ended("r", None) });
    }
    let text = text(live.snapshot(Instant::now()), live.ended(), Format::Prometheus);
    let sets = sets(&text);
    let errors: BTreeSet<_> = sets.iter().map(|set| label(set, "error_type")).collect();
    assert_eq!((sets.len(), errors.len()), (18, 18));
    assert!(errors.contains(&None) && errors.contains(&Some("_OTHER")), "{errors:?}");
}

#[test]
fn a_cluster_has_its_numbers_and_without_one_there_are_none() {
    use crate::status::{ClusterState, Peer, PeerState, Standing};
    assert!(
        !shown(Format::Prometheus).contains("cluster") && !shown(Format::Prometheus).contains("elsewhere")
    );
    let live = live();
    let now = Instant::now();
    let mut snapshot = live.snapshot(now);
    let peer =
        |id: &str, state| Peer { id: id.into(), address: "10.0.0.1:7".into(), state, silent: Duration::ZERO };
    snapshot.cluster = Some(ClusterState {
        name: "evenkeel".into(),
        redis: "redis://redis:6379".into(),
        id: "gw-1".into(),
        standing: Standing::Alone { since: now, why: "Redis does not answer".into() },
        is_settled: true,
        members: vec![peer("gw-1", PeerState::Present), peer("gw-2", PeerState::Silent)],
        last_exchange: Some(now - Duration::from_millis(1500)),
        exchanges: 7,
        failures: 2,
        lost_ledgers: 1,
    });
    let node = &mut snapshot.pools[0].nodes[0];
    (node.held, node.elsewhere) = (Some(3), Some(4));
    let json: serde_json::Value = serde_json::from_str(&snapshot.to_json()).expect("JSON");
    let cluster = &json["cluster"];
    assert_eq!((&cluster["state"], &cluster["members"][1]["state"]), (&"alone".into(), &"silent".into()));
    assert_eq!(
        (&cluster["reason"], &cluster["last_exchange_seconds_ago"]),
        (&"Redis does not answer".into(), &1.5.into())
    );
    assert_eq!(
        (&json["pools"][0]["nodes"][0]["held"], &json["pools"][0]["nodes"][0]["elsewhere"]),
        (&3.into(), &4.into())
    );
    let body = text(snapshot, live.ended(), Format::Prometheus);
    for line in [
        "evenkeel_cluster_state{state=\"alone\"} 1",
        "evenkeel_cluster_state{state=\"joined\"} 0",
        "evenkeel_cluster_members{state=\"present\"} 1",
        "evenkeel_cluster_members{state=\"silent\"} 1",
        "evenkeel_cluster_settled 1",
        "evenkeel_cluster_last_exchange_age_seconds 1.5",
        "evenkeel_cluster_exchanges_total 7",
        "evenkeel_cluster_failed_exchanges_total 2",
        "evenkeel_cluster_lost_ledgers_total 1",
        "evenkeel_node_credits{node=\"a\",pool=\"x\"} 3",
        "evenkeel_node_in_flight_elsewhere{node=\"a\",pool=\"x\"} 4",
    ] {
        assert!(body.lines().any(|one| one == line), "{line}\n{body}");
    }
}
