//! Access-log lines, one per request: nginx's `main` format followed by the upstream fields, or JSON.
//!
//! A line holds no query string, body or credential. API keys are often put into query strings.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use serde::Serialize;

use crate::balance::By;
use crate::config::{Class, LogFormat};
use crate::journey::Tried;

/// The longest part of a header that goes into a line, in bytes.
const FIELD_MAX: usize = 256;

/// A second of local time, formatted for lines. Thousands of requests can end within one second, so it is
/// formatted once.
#[derive(Debug)]
pub struct Second {
    main: String,
    /// The parts before and after the milliseconds.
    json: [String; 2],
}

impl Second {
    pub fn of(time: &Zoned) -> Self {
        let written = |format: &str| time.strftime(format).to_string();
        Self { main: written("%d/%b/%Y:%H:%M:%S %z"), json: [written("%Y-%m-%dT%H:%M:%S"), written("%:z")] }
    }
}

/// One finished request, as the access log shows it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The client's address.
    pub client: Option<String>,
    /// The time it ended: the second, and the milliseconds within it.
    pub at: (Arc<Second>, u32),
    pub method: String,
    /// Without the query string.
    pub path: String,
    pub protocol: &'static str,
    /// 499 if the client left before there was a response, as in nginx.
    pub status: u16,
    pub bytes_sent: u64,
    /// Without the query string, too.
    pub referer: String,
    pub user_agent: String,
    pub forwarded_for: String,
    /// The name of the client's key, where keys are asked for.
    pub key: Option<Arc<str>>,
    pub pool: Option<Arc<str>>,
    /// In the JSON format only.
    pub class: Option<Class>,
    pub attempts: Vec<Tried>,
    /// From the end of the request's header to the first byte of the response's body; on Pingora's own path to its head.
    pub ttft: Option<Duration>,
    pub total: Duration,
    /// The time spent waiting for a node.
    pub queue: Duration,
    pub request_id: String,
    /// The reason for the end, where the status does not tell.
    pub note: Option<&'static str>,
}

/// The line for an entry, without a line end, or `None` if the log is off.
pub fn line(format: LogFormat, entry: &Entry) -> Option<String> {
    match format {
        LogFormat::Off => None,
        LogFormat::Main => Some(main(entry)),
        LogFormat::Json => serde_json::to_string(&JsonLine::from(entry)).ok(),
    }
}

fn main(e: &Entry) -> String {
    let mut line = String::with_capacity(320);
    let client = e.client.as_deref().unwrap_or("-");
    line.push_str(client);
    line.push_str(" - - [");
    line.push_str(&e.at.0.main);
    line.push_str("] \"");
    escape(&mut line, &e.method);
    line.push(' ');
    escape(&mut line, &e.path);
    let _ = write!(line, " {}\" {} {}", e.protocol, e.status, e.bytes_sent);
    for field in [&e.referer, &e.user_agent, &e.forwarded_for] {
        line.push_str(" \"");
        escape(&mut line, if field.is_empty() { "-" } else { field });
        line.push('"');
    }
    each(&mut line, "upstream", &e.attempts, |line, attempt| line.push_str(&attempt.node));
    each(&mut line, "status", &e.attempts, |line, attempt| match attempt.status {
        Some(status) => drop(write!(line, "{status}")),
        None => line.push('-'),
    });
    each(&mut line, "outcome", &e.attempts, |line, attempt| line.push_str(attempt.outcome.as_str()));
    if e.attempts.iter().any(|attempt| attempt.by != By::LeastInFlight) {
        each(&mut line, "by", &e.attempts, |line, attempt| line.push_str(attempt.by.as_str()));
    }
    line.push_str(" ttft=");
    match e.ttft {
        Some(ttft) => seconds(&mut line, ttft),
        None => line.push('-'),
    }
    line.push_str(" total=");
    seconds(&mut line, e.total);
    line.push_str(" queue=");
    seconds(&mut line, e.queue);
    line.push_str(" rid=");
    escape(&mut line, &e.request_id);
    if let Some(key) = &e.key {
        let _ = write!(line, " key={key}");
    }
    if let Some(note) = e.note {
        let _ = write!(line, " note=\"{note}\"");
    }
    line
}

/// Writes a field with one part for each attempt.
fn each(line: &mut String, name: &str, attempts: &[Tried], put: impl Fn(&mut String, &Tried)) {
    line.push(' ');
    line.push_str(name);
    line.push_str("=\"");
    for (index, attempt) in attempts.iter().enumerate() {
        line.push_str(if index > 0 { ", " } else { "" });
        put(line, attempt);
    }
    line.push('"');
}

/// Writes seconds with three decimals. Floating point would take several times as long.
fn seconds(line: &mut String, time: Duration) {
    let micros = u64::from(time.subsec_micros()) + 500;
    let (seconds, ms) = (time.as_secs() + micros / 1_000_000, micros / 1000 % 1000);
    let _ = write!(line, "{seconds}.");
    for unit in [100, 10, 1] {
        line.push(char::from(b'0' + (ms / unit % 10) as u8));
    }
}

/// Escapes as nginx does: quotes, backslashes and everything outside printable ASCII become `\xHH`, so that
/// no client can forge a line.
fn escape(line: &mut String, text: &str) {
    let is_plain = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\';
    if text.len() <= FIELD_MAX && text.bytes().all(is_plain) {
        return line.push_str(text);
    }
    for byte in text.bytes().take(FIELD_MAX) {
        if is_plain(byte) {
            line.push(char::from(byte));
        } else {
            let _ = write!(line, "\\x{byte:02X}");
        }
    }
}

#[derive(Serialize)]
struct JsonLine<'a> {
    time: String,
    client: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    protocol: &'a str,
    status: u16,
    bytes_sent: u64,
    referer: &'a str,
    user_agent: &'a str,
    forwarded_for: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    pool: Option<&'a str>,
    class: Option<&'static str>,
    attempts: Vec<JsonAttempt<'a>>,
    ttft: Option<f64>,
    total: f64,
    queue: f64,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonAttempt<'a> {
    node: &'a str,
    by: &'a str,
    status: Option<u16>,
    outcome: &'a str,
}

impl<'a> From<&'a Entry> for JsonLine<'a> {
    fn from(e: &'a Entry) -> Self {
        let attempt = |a: &'a Tried| JsonAttempt {
            node: &a.node,
            by: a.by.as_str(),
            status: a.status,
            outcome: a.outcome.as_str(),
        };
        let seconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e6;
        Self {
            time: format!("{}.{:03}{}", e.at.0.json[0], e.at.1, e.at.0.json[1]),
            client: e.client.as_deref(),
            method: cut(&e.method),
            path: cut(&e.path),
            protocol: e.protocol,
            status: e.status,
            bytes_sent: e.bytes_sent,
            referer: cut(&e.referer),
            user_agent: cut(&e.user_agent),
            forwarded_for: cut(&e.forwarded_for),
            key: e.key.as_deref(),
            pool: e.pool.as_deref(),
            class: e.class.map(Class::as_str),
            attempts: e.attempts.iter().map(attempt).collect(),
            ttft: e.ttft.map(seconds),
            total: seconds(e.total),
            queue: seconds(e.queue),
            request_id: &e.request_id,
            note: e.note,
        }
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(FIELD_MAX)]
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::outcome::Outcome;

    fn entry() -> Entry {
        let now = Instant::now();
        let attempt = |node: &str, status, outcome| Tried {
            node: node.into(),
            by: By::LeastInFlight,
            status,
            outcome,
            began: now,
            ended: now,
        };
        Entry {
            client: Some("192.0.2.7".into()),
            at: (Arc::new(Second::of(&"2026-11-22T08:48:10+00:00[+00:00]".parse().unwrap())), 500),
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            protocol: "HTTP/1.1",
            status: 200,
            bytes_sent: 1234,
            referer: String::new(),
            user_agent: "python-httpx/0.27".into(),
            forwarded_for: String::new(),
            key: None,
            pool: Some("vllm".into()),
            class: Some(Class::Batch),
            attempts: vec![
                attempt("a", Some(500), Outcome::Http5xx),
                attempt("b", None, Outcome::Reset),
                attempt("c", Some(200), Outcome::Ok),
            ],
            ttft: Some(Duration::from_millis(213)),
            total: Duration::from_millis(41_200),
            queue: Duration::ZERO,
            request_id: "4f1c".into(),
            note: None,
        }
    }

    #[test]
    fn main_is_nginxs_format_with_the_attempts_behind_it() {
        assert_eq!(
            line(LogFormat::Main, &entry()).unwrap(),
            "192.0.2.7 - - [22/Nov/2026:08:48:10 +0000] \"POST /v1/chat/completions HTTP/1.1\" 200 1234 \
             \"-\" \"python-httpx/0.27\" \"-\" upstream=\"a, b, c\" status=\"500, -, 200\" \
             outcome=\"http_5xx, reset, ok\" ttft=0.213 total=41.200 queue=0.000 rid=4f1c"
        );
    }

    #[test]
    fn other_reasons_for_a_node_are_told() {
        let mut entry = entry();
        (entry.attempts[0].by, entry.attempts[1].by) = (By::Affinity, By::AffinityOverflow);
        let text = line(LogFormat::Main, &entry).unwrap();
        assert!(text.contains("ok\" by=\"affinity, affinity_overflow, least_in_flight\" ttft="), "{text}");
    }

    #[test]
    fn json_has_the_same_facts() {
        let text = line(LogFormat::Json, &entry()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["status"], 200);
        assert_eq!(value["time"], "2026-11-22T08:48:10.500+00:00");
        assert_eq!(value["attempts"][1]["status"], serde_json::Value::Null);
        assert_eq!(value["attempts"][0]["outcome"], "http_5xx");
        assert_eq!(value["attempts"][0]["by"], "least_in_flight");
        assert_eq!(value["ttft"], 0.213);
        assert_eq!(value["class"], "batch");
    }

    #[test]
    fn no_client_can_forge_a_line() {
        let mut entry = entry();
        entry.user_agent = "x\" 200 0\n10.0.0.1 - - é\\".into();
        let text = line(LogFormat::Main, &entry).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains(r"x\x22 200 0\x0A10.0.0.1 - - \xC3\xA9\x5C"), "{text}");
        entry.user_agent = "é".repeat(10_000);
        entry.method = "M".repeat(10_000);
        assert!(line(LogFormat::Main, &entry).unwrap().len() < 2000);
        assert!(line(LogFormat::Json, &entry).unwrap().len() < 2000);
    }
}
