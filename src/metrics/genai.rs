//! OpenTelemetry's metrics of generative AI, in Prometheus' spelling: underscores for dots, the unit behind the name.

use std::fmt::{self, Write as _};

use super::series::{escaped, family, histogram};
use crate::config::NodeAddress;
use crate::fleet::{CallError, CallKey, Calls, Counts, Ended};

/// A histogram with the label that is its own.
type Series<'a> = (Option<(&'static str, String)>, &'a Counts);

/// Name, help, and where it is.
type Family = (&'static str, &'static str, for<'a> fn(&'a Calls) -> Vec<Series<'a>>);

const FAMILIES: [Family; 4] = [
    ("gen_ai_client_operation_duration_seconds", "GenAI operation duration.", durations),
    (
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "Time to receive the first chunk of a stream.",
        |calls| vec![(None, &calls.first_chunk)],
    ),
    (
        "gen_ai_client_operation_time_per_output_chunk_seconds",
        "Time per output chunk of a stream, after the first: the mean of the stream, once for each.",
        |calls| vec![(None, &calls.per_chunk)],
    ),
    ("gen_ai_client_token_usage", "Number of input and output tokens used.", |calls| {
        let of = |kind: &str| Some(("gen_ai_token_type", kind.to_owned()));
        vec![(of("input"), &calls.input), (of("output"), &calls.output)]
    }),
];

fn durations(calls: &Calls) -> Vec<Series<'_>> {
    let kind = |error: CallError| match error {
        CallError::Status(status) => status.to_string(),
        CallError::Broken(how) => how.to_owned(),
        // the conventions' word
        CallError::Other => "_OTHER".to_owned(),
    };
    let of = |error: &Option<CallError>| error.map(|error| ("error_type", kind(error)));
    calls.duration.iter().map(|(error, counts)| (of(error), counts)).collect()
}

/// Empty where nothing has been counted by these names.
pub(super) fn text(ended: &[Ended]) -> String {
    let mut out = String::new();
    for (name, help, of) in &FAMILIES {
        let mut is_first = true;
        for of_pool in ended {
            let all = of_pool.genai.iter().flat_map(|genai| &genai.series);
            for (key, calls) in all {
                for (own, counts) in of(calls).into_iter().filter(|(_, counts)| counts.count() > 0) {
                    if std::mem::take(&mut is_first) {
                        let _ = family(&mut out, name, help);
                    }
                    let labels = labels(&of_pool.pool, key, own.as_ref());
                    // a String takes everything
                    let _ = histogram(&mut out, name, &labels, counts, |_| Ok(()));
                }
            }
        }
    }
    out
}

/// `server.address` and `server.port`; a unix socket has no port.
fn place(server: &NodeAddress) -> (String, Option<String>) {
    match server {
        NodeAddress::Http(at) | NodeAddress::Https(at) => (at.host.clone(), Some(at.port.to_string())),
        NodeAddress::Unix(path) => (path.display().to_string(), None),
    }
}

fn labels(pool: &str, key: &CallKey, own: Option<&(&'static str, String)>) -> String {
    let mut labels = String::new();
    let mut put = |name: &str, value: &str| -> fmt::Result {
        let comma = if labels.is_empty() { "" } else { "," };
        write!(labels, "{comma}{name}=\"{}\"", escaped(value))
    };
    let [request, response] = [0, 1].map(|at: usize| key.models.as_ref().map(|names| &*names[at]));
    let (server, port) = key.server.as_ref().map(place).unzip();
    let port = port.flatten();
    let all = [
        ("evenkeel_pool", Some(pool)),
        ("gen_ai_operation_name", Some(key.operation)),
        ("gen_ai_provider_name", Some(key.provider)),
        ("gen_ai_request_model", request),
        ("gen_ai_response_model", response),
        ("server_address", server.as_deref()),
        ("server_port", port.as_deref()),
        own.map_or(("", None), |(name, value)| (*name, Some(&**value))),
    ];
    for (name, value) in all {
        if let Some(value) = value {
            let _ = put(name, value);
        }
    }
    labels
}
