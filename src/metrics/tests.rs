use std::time::{Duration, Instant};

use super::*;
use crate::config::{Class, Config};
use crate::fleet::{Finished, Profile};
use crate::live::Live;
use crate::outcome::Outcome;

/// A gateway whose pool has ended two requests, one of a trace.
fn live() -> Live {
    let text =
        "server: { listen: 127.0.0.1:1 }\npools:\n  x: { nodes: [{ address: 127.0.0.1:2, name: a }] }\n";
    let live = Live::new(Config::parse(text, "a test").expect("a valid config"));
    let (pool, now) = (live.fleet().pools[0].pool.clone(), Instant::now());
    let mut lease = pool.lease_by(Profile::default(), &[], now).expect("a node");
    lease.worked(1, now);
    lease.spoke(Duration::from_millis(100), now);
    lease.worked(9, now + Duration::from_millis(900));
    let _ = lease.settle(Outcome::Ok, now + Duration::from_secs(1));
    for (class, trace, request_id) in
        [(Class::Normal, Some("4bf92f3577b34da6a3ce929d0e0e4736"), "r1"), (Class::Batch, None, "r\"2")]
    {
        pool.count_finished(&Finished {
            at: now,
            status: 200,
            class,
            duration: Duration::from_secs(2),
            queued: Duration::ZERO,
            first_token: Some(Duration::from_millis(250)),
            inter_token: None,
            prompt_tokens: 100,
            answer_tokens: 10,
            trace,
            request_id,
        });
    }
    live
}

fn shown(format: Format) -> String {
    text(live().snapshot(Instant::now() + Duration::from_secs(1)), format)
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
    assert_eq!(exemplars.len(), 6, "of three histograms, two classes: {exemplars:?}");
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
