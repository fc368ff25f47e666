//! The schema of `server.tracing`.

use http::{HeaderName, HeaderValue};

use super::HostPort;
use super::model::{Listener, Tracing};
use super::raw::{Raw, Value};
use super::section::{Place, Section};
use super::values::{count, header_name, or_word, shown, text};

const HEADERS_MAX: usize = 32;
const HEADER_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 128;
/// The path of traces behind a collector's own (OTLP, section "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";
/// The fields that the exporter writes itself.
const OWN: [&str; 6] =
    ["content-type", "content-length", "content-encoding", "transfer-encoding", "connection", "host"];

/// `leads_back`: the listener that a connection to this address would reach.
pub(super) fn tracing<'a>(
    s: &mut Section,
    leads_back: impl FnOnce(&HostPort) -> Option<&'a Listener>,
) -> Option<Tracing> {
    let collector = s.get("otlp", None, or_word("off", collector));
    let back = collector.as_ref().and_then(|(address, _)| leads_back(address));
    if let Some(back) = back {
        let message = || format!("{} is the gateway itself; name the collector", back.address);
        s.rule("otlp", &[], false, message);
    }
    let sample = s.get("sample", 1.0, sample);
    let service_name = s.get("service_name", "evenkeel".to_owned(), service_name);
    let headers = s.take("headers").and_then(|place| headers(&place)).unwrap_or_default();
    collector.map(|(collector, url)| Tracing { collector, url, sample, service_name, headers })
}

/// The address in a collector's URL, and the URL for traces.
fn collector(raw: &Raw) -> Result<(HostPort, String), String> {
    let given = text(raw)?;
    // a password that should not be there is not repeated
    let named = if given.contains('@') { "the URL".to_owned() } else { shown(raw) };
    let wrong = |why: &str| format!("{named} is not the URL of a collector: {why}");
    if given.starts_with("https://") {
        return Err(wrong("TLS is not supported; run a collector beside the gateway, which may speak TLS"));
    }
    let example = "write its address for OTLP over HTTP, such as http://127.0.0.1:4318";
    let rest = given.strip_prefix("http://").ok_or_else(|| wrong(example))?;
    if let Some(part) = rest.chars().find(|c| matches!(c, '?' | '#') || !c.is_ascii_graphic()) {
        return Err(wrong(&format!("it has no {part:?}; put keys into `headers`")));
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address: HostPort = authority.parse().map_err(|why: String| wrong(&why))?;
    let path = path.trim_matches('/');
    let base = if path.is_empty() { String::new() } else { format!("/{path}") };
    let base = base.strip_suffix(PATH).unwrap_or(&base);
    let url = format!("http://{address}{base}{PATH}");
    match url.parse::<http::Uri>() {
        Ok(_) => Ok((address, url)),
        Err(_) => Err(wrong(example)),
    }
}

fn sample(raw: &Raw) -> Result<f64, String> {
    let number = match &raw.value {
        Value::Integer(0) => Some(0.0),
        Value::Integer(1) => Some(1.0),
        Value::Float(value) => Some(*value).filter(|value| (0.0..=1.0).contains(value)),
        _ => None,
    };
    number.ok_or_else(|| format!("{} is not a part of the requests; use a number from 0 to 1", shown(raw)))
}

fn service_name(raw: &Raw) -> Result<String, String> {
    let name = text(raw)?;
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control) {
        return Ok(name);
    }
    Err(format!("{} is not the name of a service; use 1 to {NAME_BYTES_MAX} bytes", shown(raw)))
}

fn headers(place: &Place) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let named = place.section()?.named();
    count(named.len(), &(0..=HEADERS_MAX), "fields").map_err(|message| place.problem(message)).ok()?;
    let mut headers = Vec::new();
    for (name, place) in named {
        let known = header_name(&Raw { line: 0, value: Value::Text(name), written: None });
        let value = place.read(header_value);
        match known {
            Ok(name) if OWN.contains(&name.as_str()) => {
                place.problem("is written by the gateway itself; remove it");
            }
            Ok(name) => headers.extend(value.map(|value| (name, value))),
            Err(message) => place.problem(message),
        }
    }
    Some(headers)
}

/// A value that no message repeats: it may be a key.
fn header_value(raw: &Raw) -> Result<HeaderValue, String> {
    let wrong =
        || format!("is not the value of a field; use text of at most {HEADER_BYTES_MAX} visible characters");
    let text = text(raw).map_err(|_| wrong())?;
    let is_visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let mut value =
        HeaderValue::from_str(&text).ok().filter(|_| is_visible && text.len() <= HEADER_BYTES_MAX);
    value.iter_mut().for_each(|value| value.set_sensitive(true));
    value.ok_or_else(wrong)
}
