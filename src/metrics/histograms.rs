//! The histograms, with their exemplars. `prometheus-client` writes exemplars of its own histograms alone, which are not to be
//! had as a snapshot; both formats write a histogram alike.

use std::fmt::{self, Write};

use jiff::Timestamp;

use super::format::Format;
use super::series::{self, escaped};
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
    series::family(out, &name, help)?;
    for (pool, class, histogram) in all {
        let labels = format!("class=\"{}\",pool=\"{}\"", class.as_str(), escaped(&pool.name));
        let mut exemplars = histogram.exemplars();
        series::histogram(out, &name, &labels, histogram.counts(), |out| {
            let exemplar = exemplars.next().flatten().filter(|_| format == Format::OpenMetrics);
            exemplar.map_or(Ok(()), |exemplar| write_exemplar(out, s, exemplar))
        })?;
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
