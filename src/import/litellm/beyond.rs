//! Other names and other pools for a model (`model_group_alias`, `fallbacks`), and other gateways (`redis_host`).

use super::super::draft::{Draft, Mapping};
use super::super::note::{Kind, Origin};
use super::deployment::Deployment;
use super::groups::{Group, POOLS_MAX};
use super::tree::Tree;

/// A pool that takes what another one cannot take at once.
#[derive(Debug)]
pub(super) struct Spare<'a> {
    pub name: String,
    /// The pool that it stands behind.
    pub of: String,
    /// The names of that pool's models, each with the name that these servers get.
    pub aliases: Vec<(String, String)>,
    pub members: Vec<&'a Deployment>,
    pub from: Option<Origin>,
}

/// Further names of models by the pool that has them, each with its line.
pub(super) type Names = Vec<(String, (String, String))>;

/// `model_group_alias: { name: group }`, or `{ model: group, hidden: true }` in place of the group.
pub(super) fn aliases(root: Tree, groups: &[Group], draft: &mut Draft) -> Names {
    let found = root.get("router_settings").and_then(|router| router.get("model_group_alias"));
    let mut names = Names::new();
    for (alias, at) in found.into_iter().flat_map(Tree::entries) {
        let group = at.text().or_else(|| at.get("model")?.text()).unwrap_or_default();
        match groups.iter().find_map(|pool| Some((pool, pool.model_of(&group)?))) {
            Some((pool, model)) => names.push((pool.name.clone(), (alias, model.to_owned()))),
            None => {
                draft.note(
                    Kind::Left,
                    at.place(),
                    &alias,
                    "there is no server of the model that it stands for",
                    "",
                );
            }
        }
    }
    names
}

/// `fallbacks: [{ a: [b, c] }]`: the first other pool of each.
pub(super) fn spares<'a>(root: Tree, groups: &[Group<'a>], draft: &mut Draft) -> Vec<Spare<'a>> {
    let mut spares: Vec<Spare> = Vec::new();
    let sections = ["router_settings", "litellm_settings"].iter().filter_map(|key| root.get(key));
    let lists = sections.filter_map(|section| section.get("fallbacks"));
    let entries: Vec<(String, Tree)> = lists.flat_map(Tree::items).flat_map(Tree::entries).collect();
    for (model, targets) in entries {
        let mut note = |kind, reason: &str, advice: &str| {
            draft.note(kind, targets.place(), &format!("fallbacks of {model}"), reason, advice);
        };
        let pool = groups.iter().find(|pool| pool.model_of(&model).is_some());
        let target = targets.items().find_map(Tree::text);
        let other = target
            .as_ref()
            .and_then(|target| groups.iter().find_map(|pool| Some((pool, pool.model_of(target)?))));
        let (Some(pool), Some((other, other_model))) = (pool, other) else {
            note(
                Kind::Left,
                "one of the two has no server of your own here",
                "leave it to LiteLLM, with this gateway behind it",
            );
            continue;
        };
        if targets.items().count() > 1 {
            note(Kind::Left, "of several the first is taken: one step is all", "");
        }
        if groups.len() + spares.len() >= POOLS_MAX {
            note(Kind::Left, "a config has at most 64 pools", "");
            continue;
        }
        if pool.name == other.name {
            note(
                Kind::Needless,
                "the servers are the same, and a request that fails on one goes to the next",
                "",
            );
            continue;
        }
        let alias = (model.clone(), other_model.to_owned());
        if let Some(spare) = spares.iter_mut().find(|spare| spare.of == pool.name) {
            // one pool has one other, whichever model it is
            if spare.members.iter().map(|one| &one.address).eq(other.members.iter().map(|one| &one.address)) {
                spare.aliases.push(alias);
            } else {
                note(Kind::Left, "a pool has one other to spill over to", "");
            }
            continue;
        }
        note(
            Kind::Warning,
            "LiteLLM goes there after errors; Evenkeel does while no node of its own is up or has room, and first tries all of those. The servers \
             are in two pools, which count their requests each for itself",
            "give them a `max_in_flight` in both",
        );
        let from = targets.place().map(|place| Origin::new(place, "fallbacks"));
        spares.push(Spare {
            name: format!("{}-fallback", pool.name),
            of: pool.name.clone(),
            aliases: vec![alias],
            members: other.members.clone(),
            from,
        });
    }
    spares
}

/// The Redis at which several proxies met, where no password is needed: that is not copied.
pub(super) fn cluster(root: Tree, draft: &mut Draft) -> Mapping {
    let mut cluster = Mapping::default();
    let Some(router) = root.get("router_settings") else { return cluster };
    let Some((key, host)) = router.any(&["redis_host", "redis_url"]) else { return cluster };
    let port = router.get("redis_port").and_then(Tree::text).unwrap_or_else(|| "6379".to_owned());
    let (text, has_password) = (host.text().unwrap_or_default(), router.get("redis_password").is_some());
    let url = if key == "redis_url" { text } else { format!("redis://{text}:{port}") };
    let reason = "LiteLLM shared failures and limits a minute there; gateways of Evenkeel share the limits of nodes and keys";
    if has_password || url.contains('@') || url.contains("os.environ/") {
        let advice = "write `cluster: { redis: \"redis://:${REDIS_PASSWORD}@HOST:PORT\" }`, with the variable set where the gateway is started";
        draft.note(Kind::Left, host.place(), key, &format!("a password is not copied. {reason}"), advice);
        return cluster;
    }
    draft.note(Kind::Warning, host.place(), key, reason, "without other gateways, remove `cluster`");
    cluster.text("redis", url, host.origin(key).as_ref());
    cluster
}
