//! Retries, timeouts and the queue of a pool.

use std::time::Duration;

use super::super::draft::{Draft, Mapping, Value};
use super::super::note::Kind;
use super::parse::Line;
use super::proxy::Proxy;
use super::server::Nodes;
use super::units;

/// A generation without streaming is silent longer than that.
const READ_SHORT: Duration = Duration::from_mins(5);
/// Most attempts that the config takes.
const ATTEMPTS_MAX: u64 = 16;

/// Writes down `retry`, `queue` and `timeouts`.
pub(super) fn settings(proxy: &Proxy, nodes: &Nodes, pool: &mut Mapping, draft: &mut Draft) {
    pool.section("retry", |section| retry(proxy, section, draft));
    queue(proxy, nodes, pool, draft);
    pool.section("timeouts", |section| timeouts(proxy, section, draft));
}

fn retry(proxy: &Proxy, retry: &mut Mapping, draft: &mut Draft) {
    let on = proxy.last("retry-on");
    if let Some(line) = on {
        let words = failures(line, draft);
        let value = if words.is_empty() { Value::Word("off".to_owned()) } else { Value::Row(words) };
        retry.set("on", value, Some(&line.origin()));
    } else {
        let reason = "without `retry-on` HAProxy repeats what it could not send, so each generation on a server that fails is \
                      lost; Evenkeel repeats those whose answer has not begun";
        let place = Some(proxy.section.head.place.clone());
        draft.note(Kind::Warning, place, "", reason, "`retry: { on: off }` stops that");
    }
    if let Some(line) = proxy.last("retries")
        && let Ok(retries) = line.word(1).parse::<u64>()
    {
        let attempts = retries.saturating_add(1).min(ATTEMPTS_MAX);
        retry.word("attempts", attempts.to_string(), Some(&line.origin()));
    }
}

/// The entries of `retry.on`, in HAProxy's words.
fn failures(line: &Line, draft: &mut Draft) -> Vec<Value> {
    const ALL: [&str; 6] = ["error", "timeout", "http_500", "http_502", "http_503", "http_504"];
    let mut found: Vec<String> = Vec::new();
    for word in line.words.iter().skip(1) {
        let new: Vec<String> = match word.as_str() {
            "none" => Vec::new(),
            "conn-failure" | "empty-response" | "junk-response" => vec!["error".to_owned()],
            "response-timeout" => vec!["timeout".to_owned()],
            "all-retryable-errors" => ALL.map(str::to_owned).to_vec(),
            status if status.parse::<u16>().is_ok_and(|status| (400..600).contains(&status)) => {
                vec![format!("http_{status}")]
            }
            _ => {
                let reason = "it is not a failure that Evenkeel repeats a request after";
                draft.note(Kind::Left, Some(line.place.clone()), word, reason, "");
                continue;
            }
        };
        for word in new {
            if !found.contains(&word) {
                found.push(word);
            }
        }
    }
    found.into_iter().map(Value::Word).collect()
}

fn queue(proxy: &Proxy, nodes: &Nodes, pool: &mut Mapping, draft: &mut Draft) {
    let capped = nodes.servers.iter().find_map(|server| server.get("maxconn"));
    match (proxy.last("timeout queue"), capped) {
        (Some(line), Some(_)) => {
            if let Some(time) = units::time(line.word(2)) {
                pool.section("queue", |queue| queue.word("timeout", units::word(time), Some(&line.origin())));
            }
        }
        (Some(line), None) => {
            let reason = "requests wait in line only where nodes have a limit, and no server has `maxconn`";
            draft.note(Kind::Needless, Some(line.place.clone()), "timeout queue", reason, "");
        }
        (None, Some((_, from))) => {
            let reason = "without `timeout queue` a request waits as long as `timeout connect` and then gets 503; here it waits up to 10m";
            draft.note(Kind::Warning, Some(from.place), "maxconn", reason, "see `queue.timeout`");
        }
        (None, None) => {}
    }
}

fn timeouts(proxy: &Proxy, timeouts: &mut Mapping, draft: &mut Draft) {
    for (name, key) in [("connect", "connect"), ("server", "read"), ("tunnel", "tunnel")] {
        let Some(line) = proxy.last(&format!("timeout {name}")) else { continue };
        let Some(time) = units::time(line.word(2)) else { continue };
        timeouts.word(key, units::word(time), Some(&line.origin()));
        if key == "read" && time < READ_SHORT {
            let reason =
                "an answer that is not streamed is silent until its end, and is cut off after that time";
            let advice = "make it longer than the longest generation";
            draft.note(Kind::Warning, Some(line.place.clone()), "timeout server", reason, advice);
        }
    }
}
