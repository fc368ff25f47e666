use std::collections::BTreeSet;

use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::config::Config;

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

fn tracing(sample: &str) -> Tracing {
    let text = format!(
        "server: {{ listen: 127.0.0.1:1, tracing: {{ otlp: \"http://127.0.0.1:2\", sample: {sample} }} }}\n\
         pools: {{ p: {{ nodes: [n:1] }} }}"
    );
    Config::parse(&text, "t").expect("a config").server.tracing.expect("it is on")
}

fn headers(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(TRACEPARENT, value.parse().expect("a value"));
    }
    headers
}

/// The examples of section 3.2 and those of the working group's test suite.
#[test]
fn a_traceparent_is_valid_to_the_letter() {
    let parent = |is_sampled| Some(Parent { trace: TRACE, span: SPAN, is_sampled });
    let span = "00f067aa0ba902b7";
    for (value, want) in [
        (format!("00-{ID}-{span}-01"), parent(true)),
        (format!("00-{ID}-{span}-00"), parent(false)),
        (format!("00-{ID}-{span}-03"), parent(true)),
        (format!("00-{ID}-{span}-02"), parent(false)),
        (format!("00-{ID}-{span}-ff"), parent(true)),
        (format!("01-{ID}-{span}-01"), parent(true)),
        (format!("cc-{ID}-{span}-01-what-the-future-brings"), parent(true)),
        (format!("cc-{ID}-{span}-01.what"), None),
        (format!("cc-{ID}-{span}-01what"), None),
        (format!("00-{ID}-{span}-01-what"), None),
        (format!("00-{ID}-{span}-01-"), None),
        (format!("ff-{ID}-{span}-01"), None),
        (format!("0-{ID}-{span}-01"), None),
        (format!("000-{ID}-{span}-01"), None),
        (format!("0x-{ID}-{span}-01"), None),
        (format!("00-{}-{span}-01", "0".repeat(32)), None),
        (format!("00-{ID}-{}-01", "0".repeat(16)), None),
        (format!("00-{}-{span}-01", ID.to_uppercase()), None),
        (format!("00-{ID}-{}-01", span.to_uppercase()), None),
        (format!("00-{ID}-{span}-0A"), None),
        (format!("00-{ID}-{span}-1"), None),
        (format!("00-{ID}-{span}"), None),
        (format!("00-{ID}"), None),
        (format!("00_{ID}_{span}_01"), None),
        (format!("00-{}.-{span}-01", &ID[1..]), None),
        (format!(" 00-{ID}-{span}-01"), None),
        (String::new(), None),
    ] {
        assert_eq!(Parent::read(value.as_bytes()), want, "{value}");
        assert_eq!(Parent::of(&headers(&[&value])).is_some(), want.is_some(), "{value}");
    }
}

#[test]
fn a_trace_goes_on_or_begins() {
    let sampled = format!("00-{ID}-00f067aa0ba902b7-01");
    let unsampled = format!("00-{ID}-00f067aa0ba902b7-00");
    let on = tracing("1.0");
    assert_eq!(Trace::of(&headers(&[&sampled]), None), None, "it is off");
    assert_eq!(Trace::of(&headers(&[&unsampled]), Some(&on)), None, "its client does not sample it");
    for sample in ["0", "1"] {
        let joined = Trace::of(&headers(&[&sampled]), Some(&tracing(sample))).expect("a trace");
        let is_begun = (joined.id, joined.parent, joined.is_sampled, joined.keeps_state());
        assert_eq!(is_begun, (TRACE, Some(SPAN), true, true));
    }
    for (fields, sample) in [
        (&[][..], "1.0"),
        (&["x"], "1"),
        (&[&*sampled, &*sampled], "1"),
        (&[&*unsampled, "x"], "1"),
        (&[], "0.0"),
        (&["x"], "0"),
    ] {
        let begun = Trace::of(&headers(fields), Some(&tracing(sample))).expect("a trace");
        assert_eq!((begun.parent, begun.keeps_state()), (None, false), "{fields:?}");
        assert_eq!(begun.is_sampled, sample.starts_with('1'), "{fields:?}");
        assert_ne!((begun.id, begun.id), (0, TRACE), "{fields:?}");
    }
}

#[test]
fn sample_is_the_part_of_the_requests_that_is_traced() {
    let conf = tracing("0.25");
    fastrand::seed(7);
    let traces = (0..4000).filter_map(|_| Trace::of(&HeaderMap::new(), Some(&conf)));
    let sampled = traces.filter(|trace| trace.is_sampled).count();
    // 5 standard deviations
    assert!((863..=1137).contains(&sampled), "{sampled} of 4000");
}

proptest! {
    #[test]
    fn what_a_node_gets_is_a_valid_child_of_the_request(id in 1_u128.., span in 1_u64.., is_sampled: bool) {
        let trace = Trace { id, parent: None, span, is_sampled };
        let mut spans = BTreeSet::from([span]);
        for nth in 1..=40 {
            let parent = Parent::read(&trace.traceparent(nth)).expect("a valid field");
            prop_assert_eq!((parent.trace, parent.is_sampled), (id, is_sampled));
            prop_assert_eq!(parent.span, trace.attempt(nth));
            prop_assert!(spans.insert(parent.span), "each has its own");
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(value: Vec<u8>) {
        let _ = Parent::read(&value);
    }
}
