//! LiteLLM's proxy: entries of `model_list` with one name are the nodes of a pool, `router_settings` those of all pools.

mod beyond;
mod deployment;
mod groups;
mod known;
mod router;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;

use self::beyond::{Names, Spare};
use self::deployment::Deployment;
use self::groups::Group;
use self::router::Router;
use self::tree::{Taken, Tree};
use super::draft::{Draft, Item, Mapping, Value};
use super::engine;
use super::note::{Kind, Place};
use super::settle::{Check, Import, Refusal, settle};
use super::source::SourceFile;
use crate::config::Raw;

/// The address that LiteLLM's proxy has unless its command line says otherwise.
const LISTEN: &str = "0.0.0.0:4000";

/// Translates a config.yaml of LiteLLM's proxy.
pub fn import(main: &SourceFile, check: Check) -> Result<Import, Refusal> {
    let file: Arc<str> = main.name.as_str().into();
    let raw = Raw::read(&main.text, &main.name).map_err(|problems| {
        let first = problems.list.first();
        let place = first.and_then(|problem| problem.line).map(|line| Place::new(&file, line));
        Refusal::new(place, first.map_or_else(String::new, |problem| problem.message.clone()))
    })?;
    let taken = Taken::default();
    let mut draft = Draft::default();
    if let Err(refusal) = translate(Tree::new(&raw, &file, &taken), &mut draft) {
        return Err(Refusal { notes: draft.notes, ..refusal });
    }
    let title = format!(
        "Translated from {} by `evenkeel import litellm`; conf/evenkeel.yaml explains every key",
        main.name
    );
    settle(draft, &title, check)
}

fn translate(root: Tree, draft: &mut Draft) -> Result<(), Refusal> {
    let deployments = deployment::deployments(root, draft);
    let groups = groups::groups(&deployments, draft);
    let router = router::router(root, draft);
    let names = beyond::aliases(root, &groups, draft);
    let spares = beyond::spares(root, &groups, draft);
    let cluster = beyond::cluster(root, draft);
    known::sweep(root, draft);
    if groups.is_empty() {
        let message = "no entry of `model_list` has an `api_base` of a server of your own, so there is nothing to balance";
        return Err(Refusal::new(None, message));
    }
    keys(&deployments, draft);
    engine::unchecked(None, draft);
    draft.note(
        Kind::Warning,
        None,
        "listen",
        "LiteLLM's address is on its command line",
        "4000 is its default",
    );
    let mut pools = Mapping::default();
    for group in &groups {
        let spare = spares.iter().find(|spare| spare.of == group.name);
        pools.set(&group.name, pool(group, spare, &names, &router).into(), None);
    }
    for spare in &spares {
        pools.set(&spare.name, spare_pool(spare, &router).into(), spare.from.as_ref());
    }
    let root = &mut draft.root;
    root.section("server", |server| server.text("listen", LISTEN, None));
    root.section("pools", |section| *section = pools);
    root.section("splits", |section| splits(&groups, section));
    root.section("cluster", |section| *section = cluster);
    Ok(())
}

/// A key that a node wants is not copied.
fn keys(deployments: &[Deployment], draft: &mut Draft) {
    for key in deployments.iter().filter_map(|one| one.key.as_ref()) {
        let reason = "the key of a node is not copied, and without it the node gets what the client sent";
        let advice =
            "write it into a file that the gateway can read, and `authorization: { file: ... }` to its node";
        draft.note(Kind::Warning, Some(key.place.clone()), "api_key", reason, advice);
    }
}

fn pool(group: &Group, spare: Option<&Spare>, names: &Names, router: &Router) -> Mapping {
    let mut pool = Mapping::default();
    let further: Vec<_> =
        names.iter().filter(|(name, _)| *name == group.name).map(|(_, names)| names.clone()).collect();
    group.choice(&mut pool, &further);
    if let Some(spare) = spare {
        pool.text("spill", spare.name.clone(), spare.from.as_ref());
    }
    nodes(&group.members, router, &mut pool);
    pool
}

fn spare_pool(spare: &Spare, router: &Router) -> Mapping {
    let mut pool = Mapping::default();
    pool.word("models", "off", None);
    let mut aliases = Mapping::default();
    for (name, model) in &spare.aliases {
        aliases.text(name, model.clone(), spare.from.as_ref());
    }
    pool.set("aliases", aliases.into(), None);
    nodes(&spare.members, router, &mut pool);
    pool
}

/// The nodes, with what holds for all pools.
fn nodes(members: &[&Deployment], router: &Router, pool: &mut Mapping) {
    let hints =
        members.iter().flat_map(|one| [one.provider.as_str(), one.name.as_str(), one.address.as_str()]);
    engine::remark(hints, pool);
    router.policy(pool);
    let first = members
        .iter()
        .filter_map(|one| one.order.as_ref())
        .map(|(order, _)| *order)
        .fold(f64::INFINITY, f64::min);
    let mut items: Vec<Item> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for one in members {
        // a server under several names is one node
        if seen.contains(&one.address.as_str()) {
            continue;
        }
        seen.push(&one.address);
        let is_backup = one.order.as_ref().is_some_and(|(order, _)| *order > first);
        let node = one.node(router.by_weight, is_backup);
        let value = if node.is_address() { Value::Text(one.address.clone()) } else { node.into() };
        let origin = matches!(value, Value::Text(_)).then(|| one.address_from.clone()).flatten();
        items.push(Item { value, origin });
    }
    pool.set("nodes", Value::List(items), None);
    router.settings(pool);
}

/// Shares of a name whose servers do not all call the model alike.
fn splits(groups: &[Group], splits: &mut Mapping) {
    for group in groups.iter().filter(|group| group.share_of.is_none()) {
        let name = &group.models[0].0;
        let all: Vec<&Group> =
            groups.iter().filter(|other| other.share_of.as_ref() == Some(name)).chain([group]).collect();
        if all.len() == 1 {
            continue;
        }
        let total: usize = all.iter().map(|one| one.addresses().len()).sum();
        let mut left: usize = 100;
        let mut shares = Mapping::default();
        for (at, one) in all.iter().enumerate() {
            let share = if at + 1 == all.len() {
                left
            } else {
                (100 * one.addresses().len() / total.max(1)).min(left)
            };
            left -= share;
            shares.word(&one.name, share.to_string(), None);
        }
        splits.set(name, shares.into(), group.members.first().and_then(|one| one.from.as_ref()));
    }
}
