//! `GET /metrics`: a snapshot of the gateway in the text of Prometheus, or of OpenMetrics for those who ask for it.
//!
//! Counters live in the parts that count. A scrape takes a snapshot and writes it, so that metrics cost the requests nothing
//! extra. Labels are bounded: pools, nodes and classes come from the config, outcomes and reasons from enums, codes from HTTP.

mod certificates;
mod format;
mod genai;
mod histograms;
mod keys;
mod leases;
mod nodes;
mod pools;
mod series;
mod sheet;
mod sources;

use std::fmt::{self, Write as _};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

pub use self::format::Format;
use self::sheet::{NONE, PREFIX, Sheet};
use crate::fleet::Ended;
use crate::status::Snapshot;

/// The body of `GET /metrics`. `ended`: the requests of each pool that have ended.
pub fn text(snapshot: Snapshot, ended: Vec<Ended>, format: Format) -> String {
    let histograms = histograms::text(&snapshot, &ended, format) + &genai::text(&ended);
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Families { snapshot, ended }));
    let mut body = String::with_capacity(64 * 1024);
    let written = match format {
        Format::Prometheus => {
            prometheus_text::encode(&mut body, &registry).and_then(|()| body.write_str(&histograms))
        }
        Format::OpenMetrics => text::encode_registry(&mut body, &registry)
            .and_then(|()| body.write_str(&histograms))
            .and_then(|()| text::encode_eof(&mut body)),
    };
    match written {
        Ok(()) => body,
        Err(error) => format!("# {error}\n"),
    }
}

#[derive(Debug)]
struct Families {
    snapshot: Snapshot,
    ended: Vec<Ended>,
}

impl Collector for Families {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet::new(encoder);
        process(&mut sheet, &self.snapshot)?;
        keys::write(&mut sheet, &self.snapshot)?;
        leases::write(&mut sheet, &self.snapshot)?;
        pools::write(&mut sheet, &self.snapshot, &self.ended)?;
        sources::write(&mut sheet, &self.snapshot.pools)?;
        nodes::write(&mut sheet, &self.snapshot.pools)
    }
}

fn process(sheet: &mut Sheet<'_>, s: &Snapshot) -> fmt::Result {
    let version = env!("CARGO_PKG_VERSION");
    sheet.gauges("build_info", "The running version; always 1.", [([("version", version)], 1_u64)])?;
    let gauges = [
        (
            "config_generation",
            "Generation of the configuration in use; counts from 1 at the start.",
            s.generation,
        ),
        ("config_reload_success", "1 if the last reload succeeded.", u64::from(s.reload.error.is_none())),
        ("requests_in_flight", "Requests under way.", s.requests),
        ("connections", "Open client connections.", s.connections),
        ("kept_body_bytes", "Request bodies kept for another attempt, in bytes.", s.kept_bytes),
    ];
    for (name, help, value) in gauges {
        sheet.gauges(name, help, [(NONE, value)])?;
    }
    let counters = [
        ("config_reload_failures", "Reloads that were refused.", s.reload.failures),
        (
            "refused_connections",
            "Connections refused because client.max_connections was reached.",
            s.refused_connections,
        ),
        ("lost_log_lines", "Access-log lines dropped because of a slow disk.", s.lost_log_lines),
        (
            "lost_own_log_lines",
            "Lines of the gateway's own log dropped because nobody read standard error.",
            s.lost_own_log_lines,
        ),
        ("tls_handshake_failures", "TLS handshakes with clients that failed.", s.tls.failed_handshakes),
        (
            "file_reload_failures",
            "Times that certificates or tokens had changed and could not be used.",
            s.tls.files.failures,
        ),
        ("lost_spans", "Spans dropped because the collector was away or too slow.", s.lost_spans),
    ];
    for (name, help, value) in counters {
        sheet.counters(name, help, [(NONE, value)])?;
    }
    certificates::write(sheet, &s.tls.certificates)
}

#[cfg(test)]
mod tests;
