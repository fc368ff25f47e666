//! The gateway's own list of models: what the nodes serve, as far as a request for it would get there.

use std::collections::BTreeSet;

use crate::fleet::{Fleet, Listed, Member};

/// The most entries in a list.
const ENTRIES_MAX: usize = 4096;

/// The models that requests may name, in the order of the config. `only`: requests to this pool, which was chosen by something else.
pub(super) fn models(fleet: &Fleet, only: Option<&Member>) -> Vec<Listed> {
    let mut listed = Vec::new();
    let mut seen = BTreeSet::new();
    let pools = fleet.pools.iter().filter(|member| only.is_none_or(|only| is_same(member, only)));
    for member in pools {
        let is_served = |id: &str| match fleet.split(id) {
            Some(shares) => shares.iter().any(|(place, _)| is_same(&fleet.pools[*place], member)),
            None => fleet.route(Some(id)).is_some_and(|served| is_same(served, member)),
        };
        let models = &member.conf.models;
        let lists = member.pool.lists();
        let named = models.names.iter().filter(|_| lists.is_empty()).map(|name| own(name));
        let served = lists.iter().flat_map(|list| list.iter().cloned());
        let aliases = models.aliases.keys().map(|alias| own(alias));
        let all = served.chain(named).chain(aliases).filter(|entry| only.is_some() || is_served(&entry.id));
        listed.extend(all.filter(|entry| seen.insert(entry.id.clone())));
    }
    let splits = fleet.config.splits.iter().filter(|_| only.is_none()).map(|split| own(&split.model));
    listed.extend(splits.filter(|entry| seen.insert(entry.id.clone())));
    listed.truncate(ENTRIES_MAX);
    listed
}

fn is_same(one: &Member, other: &Member) -> bool {
    one.conf.name == other.conf.name
}

/// An entry for a name that no node gives.
fn own(id: &str) -> Listed {
    let json = serde_json::json!({ "id": id, "object": "model", "created": 0, "owned_by": "evenkeel" });
    Listed { id: id.to_owned(), json: json.to_string() }
}

/// The body of `GET /v1/models`.
pub(super) fn list(models: &[Listed]) -> String {
    let entries: Vec<_> = models.iter().map(|listed| &*listed.json).collect();
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
        let models = models(fleet, only.map(|place| &fleet.pools[place]));
        models.iter().map(|listed| listed.id.as_str()).collect::<Vec<_>>().join(" ")
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
        let body = list(&models(&fleet, None)[..2]);
        assert_eq!(body, r#"{"object":"list","data":[{"id":"m","n":1.0},{"id":"q/1","n":1.0}]}"#);
    }
}
