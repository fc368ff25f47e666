//! The schema of a pool's `sources`: each names one place where nodes are found.

use std::sync::Arc;
use std::time::Duration;

use super::NodeAddress;
use super::address::is_host_name;
use super::raw::Raw;
use super::registration::registration;
use super::section::{Place, Section};
use super::source::{Ask, DnsSource, FileSource, Source};
use super::values::{duration_or_zero, file, shown, text};

const SOURCES_MAX: usize = 16;
const HOLD: Duration = Duration::from_mins(10);

/// The places under the key `sources`, all distinct, except those with problems. `None`: there are none.
pub(super) fn sources(s: &mut Section) -> Option<Vec<Source>> {
    let items = s.take("sources")?.items(0..=SOURCES_MAX, "sources");
    if items.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    let mut sources: Vec<Source> = Vec::new();
    for item in items.iter().flatten() {
        let Some(source) = item.section().and_then(|section| section.finish(|s| source(item, s))) else {
            continue;
        };
        if let Some(first) = sources.iter().position(|other| other.origin() == source.origin()) {
            item.problem(format!("{} is already sources[{first}]", source.origin()));
        } else {
            sources.push(source);
        }
    }
    Some(sources)
}

fn source(place: &Place, s: &mut Section) -> Option<Source> {
    let (dns, srv) = (s.take("dns"), s.take("srv"));
    let (file_of, registers) = (s.take("file"), s.take("registration"));
    match (dns, srv, file_of, registers) {
        (Some(name), None, None, None) => {
            let read = name.read(addresses);
            let hold = hold(s);
            read.map(|(ask, https)| Source::Dns(DnsSource { ask, https, hold }))
        }
        (None, Some(name), None, None) => {
            let read = name.read(services);
            let hold = hold(s);
            read.map(|(ask, https)| Source::Dns(DnsSource { ask, https, hold }))
        }
        (None, None, Some(path), None) => path.read(file).map(|path| Source::File(FileSource { path })),
        (None, None, None, Some(place)) => registration(&place).map(Source::Registered),
        (None, None, None, None) => {
            place.problem(
                "names no place; write `dns: name:port`, `srv: _http._tcp.name`, `file: nodes.yaml` or `registration: on`",
            );
            None
        }
        _ => {
            place.problem(SEVERAL);
            None
        }
    }
}

const SEVERAL: &str = "names several places; give each of them an entry of its own";

fn hold(s: &mut Section) -> Duration {
    s.get("hold", HOLD, duration_or_zero)
}

/// A host name with a port, with or without `https://`.
fn addresses(raw: &Raw) -> Result<(Ask, bool), String> {
    let wrong = |why: &str| format!("{} is not a name to look up: {why}", shown(raw));
    let address = text(raw)?.parse::<NodeAddress>().map_err(|why| wrong(&why))?;
    let https = matches!(address, NodeAddress::Https(_));
    match address.host_port() {
        Some(host) if host.ip().is_none() => {
            Ok((Ask::Addresses { name: Arc::from(&*host.host), port: host.port }, https))
        }
        Some(_) => Err(wrong("an IP address has no further ones; write it under `nodes`")),
        None => Err(wrong("a socket is no name; write it under `nodes`")),
    }
}

/// The name of SRV records, with or without `https://`.
fn services(raw: &Raw) -> Result<(Ask, bool), String> {
    let text = text(raw)?;
    let (name, https) = match text.strip_prefix("https://") {
        Some(name) => (name, true),
        None => (&*text, false),
    };
    if !name.contains('.') || !is_host_name(name) {
        return Err(format!(
            "{} is not the name of SRV records, which have no port; write it as _http._tcp.name",
            shown(raw)
        ));
    }
    Ok((Ask::Services { name: name.to_ascii_lowercase().into() }, https))
}
