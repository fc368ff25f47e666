//! The gateway's own list of models: what the nodes serve, as far as a request for it would get there.

use std::collections::HashSet;
use std::sync::Arc;

use super::not_served;
use super::place::Place;
use crate::fleet::{Fleet, Listed, Member};
use crate::journey::Failure;

/// The most entries in a list.
const ENTRIES_MAX: usize = 4096;

/// The gateway's own answer to a request for the list of models, or for one of them; `None`: it goes to a node like any other.
/// `only`: the request's pool, if something else than the model chooses it. The path is that for nodes. `is_shown`: its client may
/// know of the model.
pub fn own_list(
    fleet: &Fleet,
    only: Option<&Member>,
    place: &Place,
    (method, path): (&str, &str),
    is_shown: impl Fn(&str) -> bool,
) -> Option<Result<String, Failure>> {
    let path = path.trim_end_matches('/');
    let is_list = path == "/v1/models";
    let is_asked = matches!(method, "GET" | "HEAD") && (is_list || path.starts_with("/v1/models/"));
    if !is_asked || !fleet.lists_models() {
        return None;
    }
    let lists = Lists::of(fleet, only);
    if is_list {
        return Some(Ok(body(lists.models().filter(|entry| is_shown(entry.id())))));
    }
    let model = place.named()?;
    Some(
        lists
            .find(model)
            .filter(|_| is_shown(model))
            .map(Entry::json)
            .ok_or_else(|| not_served(Some(model.to_owned()))),
    )
}

/// The lists of all pools, or of the only one that a request can reach, as they are now.
struct Lists<'a> {
    fleet: &'a Fleet,
    is_whole: bool,
    pools: Vec<(&'a Member, Vec<Arc<[Listed]>>)>,
}

/// A model in a list, perhaps for the second time.
#[derive(Clone, Copy)]
enum Entry<'a> {
    Served(&'a Listed),
    /// A name that no node gives.
    Own(&'a str),
}

impl<'a> Entry<'a> {
    fn id(self) -> &'a str {
        match self {
            Self::Served(listed) => &listed.id,
            Self::Own(id) => id,
        }
    }

    fn json(self) -> String {
        match self {
            Self::Served(listed) => listed.json.clone(),
            Self::Own(id) => {
                serde_json::json!({ "id": id, "object": "model", "created": 0, "owned_by": "evenkeel" })
                    .to_string()
            }
        }
    }
}

impl<'a> Lists<'a> {
    /// `only`: requests to this pool, which was chosen by something else than the model.
    fn of(fleet: &'a Fleet, only: Option<&Member>) -> Self {
        let pools = fleet.pools.iter().filter(|member| only.is_none_or(|only| is_same(member, only)));
        let pools = pools.map(|member| (member, member.pool.lists())).collect();
        Self { fleet, is_whole: only.is_none(), pools }
    }

    /// All that stands in the lists, each entry with its pool.
    fn all(&self) -> impl Iterator<Item = (Option<&'a Member>, Entry<'_>)> {
        let of_pools = self.pools.iter().flat_map(|(member, lists)| {
            let models = &member.conf.models;
            let served = lists.iter().flat_map(|list| list.iter()).map(Entry::Served);
            let named = models.names.iter().filter(|_| lists.is_empty());
            let own = named.chain(models.aliases.keys()).map(|name| Entry::Own(name));
            served.chain(own).map(|entry| (Some(*member), entry))
        });
        let splits = self.fleet.config.splits.iter().filter(|_| self.is_whole);
        of_pools.chain(splits.map(|split| (None, Entry::Own(&split.model))))
    }

    /// A request for this model would get to the pool that lists it.
    fn is_served(&self, member: Option<&Member>, id: &str) -> bool {
        let Some(member) = member.filter(|_| self.is_whole) else { return true };
        match self.fleet.split(id) {
            Some(shares) => shares.iter().any(|(place, _)| is_same(&self.fleet.pools[*place], member)),
            None => self.fleet.route(Some(id)).is_some_and(|served| is_same(served, member)),
        }
    }

    /// The models that requests may name, in the order of the config.
    fn models(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut seen = HashSet::new();
        let served = self.all().filter(|(member, entry)| self.is_served(*member, entry.id()));
        served.map(|(_, entry)| entry).filter(move |entry| seen.insert(entry.id())).take(ENTRIES_MAX)
    }

    fn find(&self, model: &str) -> Option<Entry<'_>> {
        let mut named = self.all().filter(|(_, entry)| entry.id() == model);
        named.find(|(member, _)| self.is_served(*member, model)).map(|(_, entry)| entry)
    }
}

fn is_same(one: &Member, other: &Member) -> bool {
    Arc::ptr_eq(&one.pool, &other.pool)
}

/// The body of `GET /v1/models`.
fn body<'a>(models: impl Iterator<Item = Entry<'a>>) -> String {
    let entries: Vec<_> = models.map(Entry::json).collect();
    format!(r#"{{"object":"list","data":[{}]}}"#, entries.join(","))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::Config;

    fn fleet() -> Fleet {
        let text = "server: { listen: 127.0.0.1:1 }\npools:\n  \
                    a: { nodes: [10.0.0.1:1, 10.0.0.1:2], models: [m, 'q/*'], aliases: { z: m } }\n  \
                    b: { nodes: [10.0.0.1:3], models: ['*', x], aliases: { y: x } }\n";
        Fleet::first(Config::parse(text, "t").expect("a config"), Instant::now())
    }

    fn ids(fleet: &Fleet, only: Option<usize>) -> String {
        let lists = Lists::of(fleet, only.map(|place| &fleet.pools[place]));
        let ids: Vec<_> = lists.models().map(Entry::id).collect();
        for id in ["m", "q/1", "elsewhere", "x", "y", "nowhere"] {
            assert_eq!(lists.find(id).map(Entry::id), Some(id).filter(|id| ids.contains(id)), "{id}");
        }
        ids.join(" ")
    }

    /// The next nodes of the pool that are to be asked answer with these.
    fn answer(fleet: &Fleet, pool: usize, lists: &[&str]) {
        let pool = &fleet.pools[pool].pool;
        let due = pool.lists_due(Instant::now());
        for (ask, models) in due.into_iter().zip(lists) {
            let entry = |id: &str| format!(r#"{{"id":"{id}","n":1.0}}"#);
            let entries: Vec<_> = models.split(' ').map(entry).collect();
            pool.set_list(ask.key, Listed::read(format!(r#"{{"data":[{}]}}"#, entries.join(",")).as_bytes()));
        }
    }

    #[test]
    fn the_union_of_what_requests_can_reach() {
        let fleet = fleet();
        assert_eq!(ids(&fleet, None), "m z x y", "names of the config, as long as no node is heard");
        answer(&fleet, 0, &["m q/1 elsewhere", "q/2 m"]);
        assert_eq!(ids(&fleet, None), "m q/1 q/2 z x y");
        answer(&fleet, 1, &["x q/3 elsewhere m"]);
        assert_eq!(ids(&fleet, None), "m q/1 q/2 z x elsewhere y");
        assert_eq!(ids(&fleet, Some(0)), "m q/1 elsewhere q/2 z", "all that the pool has");
        let body = body(Lists::of(&fleet, None).models().take(2));
        assert_eq!(body, r#"{"object":"list","data":[{"id":"m","n":1.0},{"id":"q/1","n":1.0}]}"#);
    }
}
