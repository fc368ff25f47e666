//! Warnings of traps that one line alone does not show.

use super::super::draft::Draft;
use super::super::note::Kind;
use super::parse::Directive;
use super::plan::Planned;
use super::scope::origin;

/// A pool that nobody checks, of an engine that no name tells.
pub(super) fn unchecked(planned: &Planned, draft: &mut Draft) {
    let reason = "a dead node is found by the requests that fail there, as nginx found it; Evenkeel can ask it by itself";
    let advice = "write `engine: vllm` (or sglang, llamacpp) if the nodes are that, or `health: { check: { path: ... } }`";
    draft.note(Kind::Warning, planned.origin().map(|from| from.place), "", reason, advice);
}

/// Traps of upstreams.
pub(super) fn of_the_whole(plan: &[Planned], all: &[Directive], draft: &mut Draft) {
    let is_whole = all.iter().any(|one| one.name == "http");
    let workers = all.iter().find(|one| one.name == "worker_processes").map(|one| one.arg(0));
    // a fragment does not say; the files that distributions ship say `auto`
    let workers = workers.unwrap_or(if is_whole { "1" } else { "auto" });
    for upstream in plan.iter().filter_map(|planned| planned.upstream) {
        let has = |name: &str| upstream.children().iter().any(|one| one.name == name);
        let place = Some(upstream.place.clone());
        if !has("zone") && workers != "1" {
            let reason = "without `zone` each worker of nginx counts requests and failures for itself, so its choice is that of one \
                          that sees a part; Evenkeel counts as one";
            draft.note(Kind::Warning, place.clone(), "", reason, "");
        }
        if !has("keepalive") {
            let reason = "without `keepalive`, `proxy_http_version 1.1` and an empty `Connection` nginx opens a connection for each \
                          request; Evenkeel keeps them";
            draft.note(Kind::Warning, place.clone(), "", reason, "");
        }
        let idle = upstream.children().iter().find(|one| one.name == "keepalive_timeout");
        if let Some(idle) = idle {
            let reason =
                "servers on uvicorn, such as vLLM, close a connection after 5s, so it is kept for 4s";
            draft.note(
                Kind::Left,
                Some(idle.place.clone()),
                &origin(idle).words,
                reason,
                "see `timeouts.idle`",
            );
        }
        let capped =
            upstream.children().iter().find(|one| one.args.iter().any(|arg| arg.starts_with("max_conns=")));
        if let Some(capped) = capped.filter(|_| !has("queue")) {
            let reason = "nginx answers 502 when all servers are at `max_conns`; Evenkeel lets requests wait";
            draft.note(
                Kind::Warning,
                Some(capped.place.clone()),
                "max_conns",
                reason,
                "see `queue.size` and `queue.timeout`",
            );
        }
    }
}
