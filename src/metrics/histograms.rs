//! The histograms, with their exemplars. `prometheus-client` writes exemplars of its own histograms alone, which are not to be
//! had as a snapshot; both formats write a histogram alike.

use std::fmt::{self, Write};

use jiff::Timestamp;

use super::format::Format;
use super::sheet::PREFIX;
use crate::fleet::{Exemplar, Histogram, Timings, Trail};
use crate::status::Snapshot;

/// Name, help, and where it is.
type Family = (&'static str, &'static str, fn(&Timings) -> &Histogram);

const FAMILIES: [Family; 4] = [
    (
        "time_to_first_token_seconds",
        "Time from a request's head to the first words of its answer, of streams.",
        |timings| &timings.first_token,
    ),
    (
        "inter_token_seconds",
        "Mean time from one token of a stream to the next, once for each stream.",
        |timings| &timings.inter_token,
    ),
    ("request_duration_seconds", "Time from a request's head to its end, however it ended.", |timings| {
        &timings.duration
    }),
    ("queue_wait_seconds", "Time that a request had no node; 0 for those that did not wait.", |timings| {
        &timings.queue_wait
    }),
];

pub(super) fn text(s: &Snapshot, format: Format) -> String {
    let mut out = String::new();
    for family in &FAMILIES {
        // a String takes everything
        let _ = write_family(&mut out, s, family, format);
    }
    out
}

fn write_family(out: &mut String, s: &Snapshot, family: &Family, format: Format) -> fmt::Result {
    let (name, help, histogram) = family;
    let all = s.pools.iter().flat_map(|pool| pool.timings().map(move |(class, of)| (pool, class, of)));
    let mut all = all.map(|(pool, class, timings)| (pool, class, histogram(timings))).peekable();
    if all.peek().is_none() {
        return Ok(());
    }
    let name = format!("{PREFIX}_{name}");
    write!(out, "# HELP {name} {help}\n# TYPE {name} histogram\n")?;
    for (pool, class, histogram) in all {
        let labels = format!("class=\"{}\",pool=\"{}\"", class.as_str(), escaped(&pool.name));
        let mut count = 0;
        for (bound, more, exemplar) in histogram.buckets() {
            count += more;
            write!(out, "{name}_bucket{{{labels},le=\"{}\"}} {count}", Bound(bound))?;
            if let Some(exemplar) = exemplar.filter(|_| format == Format::OpenMetrics) {
                write_exemplar(out, s, exemplar)?;
            }
            out.push('\n');
        }
        write!(out, "{name}_sum{{{labels}}} {:?}\n{name}_count{{{labels}}} {count}\n", histogram.sum())?;
    }
    Ok(())
}

/// Its time is told, or Prometheus would take it for another one at each scrape.
fn write_exemplar(out: &mut String, s: &Snapshot, exemplar: &Exemplar) -> fmt::Result {
    let (label, id) = match &exemplar.trail {
        Trail::Trace(id) => ("trace_id", id),
        Trail::Request(id) => ("request_id", id),
    };
    write!(out, " # {{{label}=\"{}\"}} {:?}", escaped(id), exemplar.seconds)?;
    let ago = s.at.saturating_duration_since(exemplar.at);
    let at = s.wall.checked_sub(ago).and_then(|at| Timestamp::try_from(at).ok());
    at.map_or(Ok(()), |at| write!(out, " {:.3}", at.as_millisecond() as f64 / 1e3))
}

/// A bound as OpenMetrics has it: always with a point.
struct Bound(f64);

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_infinite() { f.write_str("+Inf") } else { write!(f, "{:?}", self.0) }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
