//! `POST /api/nodes`: a node registers itself, or renews its lease; `DELETE`: it leaves. Both with the same words.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::json;
use tokio::time::sleep;

use super::answer::Answer;
use super::{nodes, origin, views};
use crate::config::{
    Claim, ClaimedAddress, Config, FoundNode, HostPort, Node, NodeAddress, Origin, Pool, duration_of,
    units::show_duration,
};
use crate::fleet::Standing;
use crate::journal::announce_found;
use crate::live::{Followed, Live};
use crate::material::leases as state;
use crate::route::percent_decoded;
use crate::sources::{Denied, Registered, Registrant};

/// The path of a registration.
pub(super) const PATH: &str = views::NODES;
/// The most bytes of the body.
pub(super) const BODY_MAX: usize = 16 << 10;
/// The longest time for which a node that leaves may wait until it is idle.
const WAIT_MAX: Duration = Duration::from_hours(1);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const KEPT_WITHIN: Duration = Duration::from_secs(1);
const KEPT_LOOK_EVERY: Duration = Duration::from_millis(10);
/// A node that says three times within its `ttl` that it is there may be lost twice.
const RENEWALS: u32 = 3;
const USAGE: &str = "send DELETE to /api/nodes/{pool}/{node}, or to /api/nodes with the words that registered the node; \
                     with ?wait=5m it answers once the node is idle";

/// A request of a node.
pub(super) struct Asked<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    /// Its sender.
    pub peer: Option<IpAddr>,
    pub body: &'a str,
}

/// The request is for this part.
pub(super) fn is_it(method: &Method, path: &str) -> bool {
    match *method {
        Method::POST => path == PATH,
        Method::DELETE => path == PATH || path.starts_with(nodes::PREFIX),
        _ => false,
    }
}

pub(super) async fn answer(live: &Live, asked: Asked<'_>) -> Answer {
    if let Some(why) = origin::refusal(live, asked.uri, asked.headers) {
        return Answer::error(StatusCode::FORBIDDEN, why);
    }
    if live.is_stopping() {
        let why = "this process is about to end: send it again, and the one that follows takes it";
        return Answer::error(StatusCode::SERVICE_UNAVAILABLE, why);
    }
    let answer =
        if *asked.method == Method::POST { register(live, &asked) } else { leave(live, &asked).await };
    kept(live).await;
    answer.unwrap_or_else(|(status, why)| Answer::error(status, &why))
}

/// Waits until the leases as they are now are in the state file, so that what was answered well is not forgotten in a restart. A
/// disk that is slow or full keeps nobody from registering.
async fn kept(live: &Live) {
    if state::file(&live.fleet().config).is_none() {
        return;
    }
    let deadline = Instant::now() + KEPT_WITHIN;
    while !live.leases.is_kept() && Instant::now() < deadline {
        sleep(KEPT_LOOK_EVERY).await;
    }
}

type Refused = (StatusCode, String);

fn bad(why: String) -> Refused {
    (StatusCode::BAD_REQUEST, why)
}

fn register(live: &Live, asked: &Asked) -> Result<Answer, Refused> {
    let fleet = live.fleet();
    let (conf, node) = claimed(&fleet.config, asked)?;
    let (pool, now) = (conf.name.as_str(), Instant::now());
    let (name, ttl) = (node.name.clone(), node.ttl);
    let address = node.address.to_string();
    let (registered, followed) = live.leases.register(|| live.fleet(), pool, node, now).map_err(|why| {
        log::info!(pool, node = &*name; "pool {pool}, node {name} at {address}: not registered: {why}");
        (status_of(&why), format!("pool {pool}: {why}"))
    })?;
    if let Registered::Renamed { from } = &registered {
        log::info!(pool, node = &*name; "pool {pool}, node {name}: takes the place of {from}, which was registered at {address}");
    }
    tell(followed.as_ref());
    let (status, word) = match registered {
        Registered::New => (StatusCode::CREATED, "new"),
        Registered::Renewed => (StatusCode::OK, "renewed"),
        Registered::Changed => (StatusCode::OK, "changed"),
        Registered::Renamed { .. } => (StatusCode::OK, "renamed"),
    };
    let standing = live.pool(pool).and_then(|pool| pool.standing(&name));
    let every = show_duration(ttl / RENEWALS);
    let mut body = json!({
        "pool": pool,
        "node": name,
        "address": address,
        "registered": word,
        "ends_in_seconds": ttl.as_secs_f64(),
        "next": format!("send the same every {every}, or its lease ends in {}; DELETE it when the node stops", show_duration(ttl)),
    });
    if let Some(Standing { state, reason, .. }) = standing {
        body["state"] = json!(state.as_str());
        body["reason"] = json!(reason.map(|reason| reason.to_string()));
    }
    Ok(Answer::json(format!("{body:#}\n")).with_status(status))
}

fn status_of(why: &Denied) -> StatusCode {
    match why {
        Denied::Off | Denied::Elsewhere => StatusCode::FORBIDDEN,
        Denied::Fixed { .. } | Denied::Taken { .. } | Denied::Full { .. } => StatusCode::CONFLICT,
        Denied::NothingToLearn => StatusCode::BAD_REQUEST,
    }
}

/// The pool and the node that the body names.
fn claimed<'a>(config: &'a Config, asked: &Asked) -> Result<(&'a Pool, Registrant), Refused> {
    let Claim { pool, address, name, weight, max_in_flight, ttl } = Claim::parse(asked.body).map_err(bad)?;
    let conf = pool_of(config, pool.as_deref())?;
    let address = match (address, asked.peer) {
        (ClaimedAddress::Whole(address), _) => address,
        (ClaimedAddress::Port(port), Some(peer)) => {
            NodeAddress::Http(HostPort { host: peer.to_canonical().to_string(), port })
        }
        (ClaimedAddress::Port(_), None) => {
            return Err(bad("address: is missing, and the sender of this has none".to_owned()));
        }
    };
    // what the config would refuse is refused here
    let found = FoundNode { name, weight, max_in_flight, ..FoundNode::at(address) };
    let Node { name, address, .. } = conf.defaults.node(&found, Origin::Registered).map_err(bad)?;
    Ok((conf, Registrant { name, address, weight, max_in_flight, ttl }))
}

/// The pool of this name, or the only one that takes nodes.
fn pool_of<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a Pool, Refused> {
    let takers = || config.pools.iter().filter(|pool| pool.registration().is_some());
    let known = || {
        match takers().map(|pool| pool.name.as_str()).collect::<Vec<_>>() {
        names if names.is_empty() => {
            "none takes nodes that register themselves: give one `sources: [{ registration: on }]` in the config".to_owned()
        }
        names => format!("those that take nodes: {}", names.join(", ")),
    }
    };
    let not_found = |why: String| (StatusCode::NOT_FOUND, why);
    match name {
        Some(name) => {
            let found = config.pools.iter().find(|pool| pool.name == name);
            found.ok_or_else(|| not_found(format!("there is no pool {name:?}; {}", known())))
        }
        None => match (takers().next(), takers().nth(1)) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(not_found(known())),
            (Some(_), Some(_)) => Err(bad(format!("pool: is missing; {}", known()))),
        },
    }
}

async fn leave(live: &Live, asked: &Asked<'_>) -> Result<Answer, Refused> {
    let wait = wait(asked.uri.query()).map_err(bad)?;
    let (pool, name) = target(live, asked)?;
    let ended = live.leases.deregister(|| live.fleet(), &pool, &name, Instant::now());
    if let Some((_, followed)) = &ended {
        log::info!(pool = &*pool, node = &*name; "pool {pool}, node {name}: leaves: it has ended its lease");
        tell(followed.as_ref());
    } else if !standing(live, &pool, &name).is_some_and(|standing| standing.is_removed) {
        return Err(no_lease(live, &pool, &name));
    }
    let deadline = Instant::now() + wait;
    loop {
        let left =
            standing(live, &pool, &name).filter(|standing| standing.is_removed && standing.in_flight > 0);
        let body =
            |in_flight: u32| json!({ "pool": pool, "node": name, "left": true, "in_flight": in_flight });
        match left {
            None => return Ok(Answer::json(format!("{:#}\n", body(0)))),
            Some(standing) if Instant::now() >= deadline || live.is_stopping() => {
                let body = format!("{:#}\n", body(standing.in_flight));
                return Ok(Answer::json(body).with_status(StatusCode::ACCEPTED));
            }
            Some(_) => sleep(LOOK_EVERY).await,
        }
    }
}

fn standing(live: &Live, pool: &str, name: &str) -> Option<Standing> {
    live.pool(pool)?.standing(name)
}

/// `?wait=5m`; default: none.
fn wait(query: Option<&str>) -> Result<Duration, String> {
    let mut wait = None;
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let value = pair.strip_prefix("wait=").filter(|_| wait.is_none()).ok_or(USAGE)?;
        wait = Some(duration_of(&percent_decoded(value).unwrap_or_default())?);
    }
    match wait.unwrap_or_default() {
        wait if wait <= WAIT_MAX => Ok(wait),
        _ => Err(format!("wait: {} is the longest", show_duration(WAIT_MAX))),
    }
}

/// The pool and the name of the node that leaves: those in the path, or else those in the body.
fn target(live: &Live, asked: &Asked) -> Result<(String, String), Refused> {
    if let Some(rest) = asked.uri.path().strip_prefix(nodes::PREFIX) {
        let both = rest.split_once('/').filter(|(_, node)| !node.contains('/'));
        let both = both.and_then(|(pool, node)| Some((percent_decoded(pool)?, percent_decoded(node)?)));
        return both.ok_or_else(|| (StatusCode::NOT_FOUND, USAGE.to_owned()));
    }
    let fleet = live.fleet();
    let (conf, node) = claimed(&fleet.config, asked)?;
    Ok((conf.name.clone(), node.name))
}

fn no_lease(live: &Live, pool: &str, name: &str) -> Refused {
    let fleet = live.fleet();
    let conf = fleet.config.pools.iter().find(|conf| conf.name == pool);
    if conf.is_some_and(|conf| conf.nodes.iter().any(|node| node.name == name)) {
        let why = format!(
            "the config has node {name}, which has no lease to end: remove it there and reload, or POST to its /drain"
        );
        return (StatusCode::CONFLICT, why);
    }
    (
        StatusCode::NOT_FOUND,
        format!("no node {name:?} has a lease in a pool {pool:?}: it has ended, or never was"),
    )
}

fn tell(followed: Option<&Followed>) {
    if let Some(Followed { pool, nodes, applied }) = followed {
        announce_found(pool, &Origin::Registered, *nodes, applied);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_a_post_to_all_nodes_or_a_delete() {
        for (method, path, want) in [
            (Method::POST, "/api/nodes", true),
            (Method::DELETE, "/api/nodes", true),
            (Method::DELETE, "/api/nodes/p/a", true),
            (Method::POST, "/api/nodes/", false),
            (Method::POST, "/api/nodes/p/a/drain", false),
            (Method::GET, "/api/nodes", false),
            (Method::DELETE, "/api/requests", false),
        ] {
            assert_eq!(is_it(&method, path), want, "{method} {path}");
        }
    }

    #[test]
    fn a_node_that_leaves_may_wait_for_an_hour_at_most() {
        let seconds = |seconds| Ok(Duration::from_secs(seconds));
        for (query, want) in [
            (None, seconds(0)),
            (Some(""), seconds(0)),
            (Some("wait=5m"), seconds(300)),
            (Some("wait=1%68"), seconds(3600)),
            (Some("wait=61m"), Err(())),
            (Some("wait="), Err(())),
            (Some("wait=1s&wait=2s"), Err(())),
            (Some("for=1s"), Err(())),
        ] {
            assert_eq!(wait(query).map_err(drop), want, "{query:?}");
        }
    }
}
