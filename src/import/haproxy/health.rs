//! Checks, and failures that take a server out. The schema has them for the pool as a whole: the most patient value counts.

use super::super::draft::{Draft, Mapping};
use super::super::engine;
use super::super::note::{Kind, Origin};
use super::proxy::Proxy;
use super::server::{Nodes, Server};
use super::units;

/// Failures that `on-error` waits for, unless `error-limit` says otherwise.
const ERROR_LIMIT: &str = "10";
const DIFFER: &str = "the servers of this backend differ in it, and a pool has one value";

/// Writes down `health`.
pub(super) fn health(proxy: &Proxy, nodes: &Nodes, pool: &mut Mapping, draft: &mut Draft) {
    pool.section("health", |health| {
        passive(proxy, nodes, health, draft);
        if let Some((time, from)) = longest(nodes, "slowstart", draft) {
            health.word("slow_start", units::word(time), Some(&from));
        }
        let checked = nodes.servers.iter().find(|server| server.has("check"));
        match checked {
            Some(checked) => health.section("check", |check| active(proxy, nodes, checked, check, draft)),
            None => engine::unchecked(Some(proxy.section.head.place.clone()), draft),
        }
    });
}

fn passive(proxy: &Proxy, nodes: &Nodes, health: &mut Mapping, draft: &mut Draft) {
    let observes = nodes.servers.iter().find_map(|server| {
        let takes_out =
            server.get("on-error").is_none_or(|(what, _)| what == "mark-down" || what == "sudden-death");
        server.get("observe").filter(|_| takes_out).map(|(_, from)| (server, from))
    });
    match observes {
        Some((server, from)) => {
            let (limit, from) = server.get("error-limit").unwrap_or((ERROR_LIMIT, from));
            if let Ok(limit @ 1..) = limit.parse::<u32>() {
                health.word("max_fails", limit.to_string(), Some(&from));
            }
        }
        None => {
            let reason = "without `observe` HAProxy takes a server out only for its checks, so requests go on to one that fails them; \
                          Evenkeel takes it out after 5 failures within 30s, and asks before it comes back";
            let place = Some(proxy.section.head.place.clone());
            draft.note(Kind::Warning, place, "", reason, "see `health.max_fails` and `fail_timeout`");
        }
    }
}

fn active(proxy: &Proxy, nodes: &Nodes, server: &Server, check: &mut Mapping, draft: &mut Draft) {
    let Some(option) = proxy.option("httpchk") else {
        let (_, from) = server.get("check").unwrap_or(("", server.line.origin()));
        let reason = "checks that only connect find an engine healthy that hangs; Evenkeel's ask for a path";
        let advice = "say which `engine` it is, or write `health.check.path`";
        draft.note(Kind::Warning, Some(from.place), "check", reason, advice);
        return;
    };
    let from = option.origin();
    let path = path(proxy);
    check.text("path", path.0, Some(&path.1.unwrap_or(from)));
    for (name, key) in [("inter", "interval")] {
        if let Some((time, from)) = longest(nodes, name, draft) {
            check.word(key, units::word(time), Some(&from));
        }
    }
    if let Some(line) = proxy.last("timeout check")
        && let Some(time) = units::time(line.word(2))
    {
        check.word("timeout", units::word(time), Some(&line.origin()));
    }
    for name in ["rise", "fall"] {
        if let Some((count, from)) = server.get(name)
            && let Ok(count @ 1..) = count.parse::<u32>()
        {
            check.word(name, count.to_string(), Some(&from));
        }
    }
    expects(proxy, draft);
    for name in ["port", "addr"] {
        if let Some((_, from)) = server.get(name) {
            let reason = "a check asks where the requests go";
            draft.note(Kind::Left, Some(from.place.clone()), &from.words, reason, "");
        }
    }
}

/// The path that is asked for, and the line that says it if it is not the option.
fn path(proxy: &Proxy) -> (String, Option<Origin>) {
    let send = proxy.last("http-check send").and_then(|line| Some((line.after("uri")?, line)));
    if let Some((uri, line)) = send {
        return (uri.to_owned(), Some(line.said(&format!("http-check send uri {uri}"))));
    }
    let option = proxy.option("httpchk");
    let uri = option.and_then(|line| line.words.iter().skip(2).find(|word| word.starts_with('/')));
    (uri.map_or("/", String::as_str).to_owned(), None)
}

fn expects(proxy: &Proxy, draft: &mut Draft) {
    let Some(line) = proxy.last("http-check expect") else { return };
    if line.word(2) == "status" && line.word(3) == "200" {
        return;
    }
    let reason = "200 is a pass, and nothing else is";
    draft.note(Kind::Warning, Some(line.place.clone()), "http-check expect", reason, "");
}

/// The longest time that servers say for a parameter.
fn longest(nodes: &Nodes, name: &str, draft: &mut Draft) -> Option<(std::time::Duration, Origin)> {
    let mut found: Vec<_> = nodes
        .servers
        .iter()
        .filter_map(|server| server.get(name))
        .filter_map(|(value, from)| Some((units::time(value)?, from)))
        .collect();
    found.sort_by(|(a, _), (b, _)| b.cmp(a));
    if let (Some((most, _)), Some((least, from))) = (found.first(), found.last())
        && most != least
    {
        draft.note(Kind::Warning, Some(from.place.clone()), name, DIFFER, "the longest is taken");
    }
    found.into_iter().next()
}
