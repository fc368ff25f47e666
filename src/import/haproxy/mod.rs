//! HAProxy: a `backend` or `listen` with servers is a pool; `frontend` and `defaults` say which requests it gets, and how long they may take.

mod balance;
mod choice;
mod front;
mod health;
mod known;
mod parse;
mod proxy;
mod server;
#[cfg(test)]
mod tests;
mod timing;
mod units;

use self::choice::Planned;
use self::parse::Section;
use self::proxy::Proxy;
use super::draft::{Draft, Mapping, Value};
use super::engine;
use super::note::Kind;
use super::settle::{Check, Import, Refusal, settle};
use super::source::SourceFile;

/// Most lines of a config.
const LINES_MAX: usize = 10_000;

/// Translates a config of HAProxy.
pub fn import(main: &SourceFile, check: Check) -> Result<Import, Refusal> {
    let mut draft = Draft::default();
    let sections = parse::sections(main);
    if sections.iter().map(|section| 1 + section.lines.len()).sum::<usize>() > LINES_MAX {
        return Err(Refusal::new(None, format!("there are more than {LINES_MAX} lines")));
    }
    if let Err(refusal) = translate(&sections, &mut draft) {
        return Err(Refusal { notes: draft.notes, ..refusal });
    }
    let title = format!(
        "Translated from {} by `evenkeel import haproxy`; conf/evenkeel.yaml explains every key",
        main.name
    );
    settle(draft, &title, check)
}

fn translate(sections: &[Section], draft: &mut Draft) -> Result<(), Refusal> {
    let proxies = proxy::proxies(sections);
    let plan = choice::plan(&proxies, draft);
    known::sweep(sections, &plan, draft);
    if plan.is_empty() {
        return Err(Refusal::new(
            None,
            "no `backend` or `listen` has a `server`, so there is nothing to balance",
        ));
    }
    let mut root = Mapping::default();
    root.section("server", |section| front::front(&fronts(&plan), sections, section, draft));
    let mut pools = Mapping::default();
    let mut has_nodes = false;
    for planned in &plan {
        let pool = pool(planned, plan.len() == 1, draft);
        has_nodes |= pool.has("nodes") || pool.has("sources");
        pools.set(planned.name(), pool.into(), Some(&planned.backend.section.head.origin()));
    }
    if !has_nodes {
        return Err(Refusal::new(
            None,
            "no `server` has an address that can be a node's, so there is nothing to balance",
        ));
    }
    root.section("pools", |section| *section = pools);
    draft.root = root;
    Ok(())
}

/// The frontends that lead to a pool, each once.
fn fronts<'a>(plan: &[Planned<'a>]) -> Vec<Proxy<'a>> {
    let mut found: Vec<Proxy> = Vec::new();
    for front in plan.iter().flat_map(|planned| &planned.fronts) {
        if !found.iter().any(|other| std::ptr::eq(other.section, front.section)) {
            found.push(front.clone());
        }
    }
    found
}

fn pool(planned: &Planned, is_only: bool, draft: &mut Draft) -> Mapping {
    let proxy = &planned.backend;
    let mut pool = Mapping::default();
    planned.choice(&mut pool, is_only);
    let servers = proxy
        .section
        .lines
        .iter()
        .filter(|line| line.word(0).starts_with("server"))
        .flat_map(|line| [line.word(1), line.word(3)]);
    engine::remark([planned.name()].into_iter().chain(servers), &mut pool);
    balance::balance(proxy, &mut pool, draft);
    let nodes = server::nodes(proxy, draft);
    pool.append(&nodes.of_found);
    for (key, items) in [("nodes", &nodes.items), ("sources", &nodes.sources)] {
        if !items.is_empty() {
            pool.set(key, Value::List(items.clone()), None);
        }
    }
    if let Some((_, from)) =
        nodes.servers.iter().find_map(|server| server.get("proto").filter(|(proto, _)| *proto == "h2"))
    {
        pool.word("http_version", "2", Some(&from));
    }
    health::health(proxy, &nodes, &mut pool, draft);
    timing::settings(proxy, &nodes, &mut pool, draft);
    if proxy.is_tcp() {
        let what = format!("{} {}", proxy.section.kind, proxy.section.name);
        let reason = "HAProxy passed on bytes (`mode tcp`); Evenkeel reads requests, so what is no HTTP is refused, and TLS must end here";
        draft.note(Kind::Warning, Some(proxy.section.head.place.clone()), &what, reason, "");
    }
    pool
}
