//! Active checks and queues: of nginx's subscription, and of Tengine.

use super::super::draft::{Draft, Mapping};
use super::super::note::{Kind, Origin};
use super::parse::Directive;
use super::plan::Planned;
use super::scope::origin;
use super::units;

/// `health_check` of a location, `check` and `queue` of an upstream. `false`: nobody checks the nodes.
pub(super) fn active(planned: &Planned, pool: &mut Mapping, draft: &mut Draft) -> bool {
    let mut is_checked = false;
    if let Some(check) = planned.scopes().find_map(|scope| scope.one("health_check")) {
        let path = parameter(check, "uri").unwrap_or("/");
        let times = [("interval", "interval"), ("passes", "rise"), ("fails", "fall")];
        section(pool, path, check, &times, |text| units::time(text).map(units::word));
        is_checked = true;
        if parameter(check, "port").is_some() || parameter(check, "match").is_some() {
            let reason = "a check asks at the node's own address, and 200 is a pass";
            draft.note(Kind::Left, Some(check.place.clone()), "health_check", reason, "");
        }
    }
    let Some(upstream) = planned.upstream else { return is_checked };
    let own = |name: &str| upstream.children().iter().find(|one| one.name == name);
    if let Some(check) =
        own("check").filter(|check| parameter(check, "type").is_none_or(|kind| kind == "http"))
    {
        let path =
            own("check_http_send").and_then(|send| send.arg(0).split_whitespace().nth(1)).unwrap_or("/");
        let times = [("interval", "interval"), ("timeout", "timeout"), ("rise", "rise"), ("fall", "fall")];
        is_checked = true;
        section(pool, path, check, &times, |millis| Some(format!("{}ms", millis.parse::<u64>().ok()?)));
    } else if let Some(check) = own("check") {
        draft.note(
            Kind::Left,
            Some(check.place.clone()),
            "check",
            "a check is a request of HTTP",
            "see `health.check`",
        );
    }
    if let Some(queue) = own("queue") {
        let from = origin(queue);
        pool.section("queue", |section| {
            if queue.arg(0).parse::<u32>().is_ok() {
                section.word("size", queue.arg(0), Some(&from));
            }
            if let Some(time) = parameter(queue, "timeout").and_then(units::time) {
                section.word("timeout", units::word(time), Some(&from));
            }
        });
    }
    is_checked
}

/// The value of `name=value`.
fn parameter<'a>(directive: &'a Directive, name: &str) -> Option<&'a str> {
    directive
        .args
        .iter()
        .find_map(|arg| arg.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

fn section(
    pool: &mut Mapping,
    path: &str,
    check: &Directive,
    keys: &[(&str, &str)],
    time: impl Fn(&str) -> Option<String>,
) {
    let from: Origin = origin(check);
    pool.section("health", |health| {
        health.section("check", |section| {
            section.text("path", path, Some(&from));
            for (name, key) in keys {
                let Some(value) = parameter(check, name) else { continue };
                let is_count = matches!(*key, "rise" | "fall");
                let word = if is_count {
                    value.parse::<u16>().ok().map(|count| count.to_string())
                } else {
                    time(value)
                };
                if let Some(word) = word {
                    section.word(key, word, Some(&from));
                }
            }
        });
    });
}
