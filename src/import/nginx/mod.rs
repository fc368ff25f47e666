//! nginx: `server` and `location` lead to pools, `upstream` is one.
//!
//! No parser crate is used: those that there are take a fixed list of directives, or neither addresses, regular expressions nor Lua.

mod check;
mod dump;
mod front;
mod include;
mod known;
mod parse;
mod path;
mod plan;
mod proxy;
mod reasons;
mod scope;
mod site;
mod target;
#[cfg(test)]
mod tests;
mod traps;
mod units;
mod upstream;

use self::parse::Directive;
use self::plan::Planned;
use self::scope::Scope;
use self::site::Server;
use super::draft::{Draft, Mapping, Value};
use super::engine;
use super::note::Kind;
use super::settle::{Check, Import, Refusal, settle};
use super::source::{Include, SourceFile};

/// Translates a config of nginx, or a fragment of one that has an `upstream` or a `server`.
pub fn import(main: &SourceFile, include: Include, check: Check) -> Result<Import, Refusal> {
    let mut draft = Draft::default();
    let all = match dump::files(main) {
        Some(files) => {
            let within = |pattern: &str| Ok(dump::matching(&files, pattern));
            include::expanded(files.first().unwrap_or(main), &within, &mut draft)
        }
        None => include::expanded(main, include, &mut draft),
    };
    let all = match all {
        Ok(all) => all,
        Err(refusal) => return Err(Refusal { notes: draft.notes, ..refusal }),
    };
    if let Err(refusal) = translate(&all, &mut draft) {
        return Err(Refusal { notes: draft.notes, ..refusal });
    }
    let title = format!(
        "Translated from {} by `evenkeel import nginx`; conf/evenkeel.yaml explains every key",
        main.name
    );
    settle(draft, &title, check)
}

fn translate(all: &[Directive], draft: &mut Draft) -> Result<(), Refusal> {
    let outer = Scope::default().within(all);
    let blocks = all.iter().filter(|directive| directive.name == "http" && directive.block.is_some());
    let contexts: Vec<&[Directive]> = blocks.map(Directive::children).chain([all]).collect();
    let mut servers: Vec<Server> = contexts.iter().flat_map(|http| site::servers(http, &outer)).collect();
    let upstreams: Vec<&Directive> = contexts
        .iter()
        .copied()
        .flatten()
        .filter(|one| one.name == "upstream" && one.block.is_some())
        .collect();
    let fragment = fragment(all, &outer);
    servers.extend(fragment);
    let plan = plan::plan(&servers, &upstreams, draft);
    let used: Vec<&Server> = servers.iter().filter(|server| !server.passes.is_empty()).collect();
    let blocks: Vec<&Directive> = used.iter().map(|server| server.directive).collect();
    streams(all, draft);
    known::sweep(all, &blocks, draft);
    if plan.is_empty() {
        return Err(Refusal::new(None, "no `proxy_pass` leads to a node, so there is nothing to balance"));
    }
    let mut root = Mapping::default();
    root.section("server", |section| front::front(&used, section, draft));
    let mut pools = Mapping::default();
    for planned in &plan {
        pool(planned, plan.len() == 1, &mut pools, draft);
    }
    root.section("pools", |section| *section = pools);
    traps::of_the_whole(&plan, all, draft);
    draft.root = root;
    Ok(())
}

/// A file with nothing but places, as one that other files include.
fn fragment<'a>(all: &'a [Directive], outer: &Scope<'a>) -> Option<Server<'a>> {
    let first = all.iter().find(|directive| matches!(&*directive.name, "location" | "proxy_pass"))?;
    let mut passes = Vec::new();
    site::walk(all, outer, site::Location::Prefix("/"), None, &mut passes);
    Some(Server { directive: first, scope: outer.clone(), passes })
}

fn pool(planned: &Planned, is_only: bool, pools: &mut Mapping, draft: &mut Draft) {
    let mut pool = Mapping::default();
    planned.choice(&mut pool, is_only);
    let nodes = match planned.upstream {
        Some(upstream) => {
            let servers = upstream.children().iter().filter(|one| one.name == "server").map(|one| one.arg(0));
            engine::remark([upstream.arg(0)].into_iter().chain(servers), &mut pool);
            upstream::balance(upstream, &mut pool, draft);
            upstream::nodes(upstream, planned.scheme, draft)
        }
        None => {
            let Some(pass) = planned.uses.first().map(|one| one.pass.directive) else { return };
            match upstream::address(planned.scheme, &planned.authority) {
                Ok(address) => {
                    engine::remark([address.as_str()].into_iter(), &mut pool);
                    upstream::warn_of_name(&address, &scope::origin(pass), draft);
                    upstream::single(address, pass)
                }
                Err(why) => {
                    draft.note(Kind::Left, Some(pass.place.clone()), &scope::origin(pass).words, &why, "");
                    return;
                }
            }
        }
    };
    if !nodes.items.is_empty() || nodes.sources.is_empty() {
        pool.set("nodes", Value::List(nodes.items.clone()), None);
    }
    if !nodes.sources.is_empty() {
        pool.set("sources", Value::List(nodes.sources.clone()), None);
    }
    nodes.health(&mut pool, draft);
    if !check::active(planned, &mut pool, draft) {
        traps::unchecked(planned, draft);
    }
    proxy::settings(planned, &mut pool, draft);
    pools.set(&planned.name, pool.into(), planned.origin().as_ref());
}

/// `stream` passes bytes on, not requests.
fn streams(all: &[Directive], draft: &mut Draft) {
    for stream in all.iter().filter(|directive| directive.name == "stream" && directive.block.is_some()) {
        draft.note(
            Kind::Left,
            Some(stream.place.clone()),
            "stream",
            "it passes on bytes; Evenkeel passes on requests of HTTP",
            "if its servers are inference servers, write them as nodes of a pool",
        );
    }
}
