//! `/api/nodes/{pool}/{node}`: one node's state, and orders about it.

use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Method, StatusCode, Uri};

use super::answer::Answer;
use super::origin;
use crate::config::{self, duration_of, units::show_duration};
use crate::fleet::{Member, NodeSnapshot, Order, PoolSnapshot, Refused};
use crate::journal::announce;
use crate::live::Live;
use crate::route::percent_decoded;
use crate::status::{self, Moment};

pub(super) const PREFIX: &str = "/api/nodes/";
const USAGE: &str = "try GET /api/nodes/{pool}/{node}, or POST to its /drain, /undrain, /eject or /restore";

/// The node that a path names, and what is asked of it.
struct Target {
    pool: String,
    node: String,
    verb: Option<Verb>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Drain,
    Undrain,
    Eject,
    Restore,
}

pub(super) fn answer(live: &Live, method: &Method, uri: &Uri, headers: &HeaderMap) -> Answer {
    let Some(target) = Target::parse(uri.path()) else {
        return Answer::error(StatusCode::NOT_FOUND, USAGE);
    };
    let Some(verb) = target.verb else {
        return match *method {
            Method::GET | Method::HEAD if let Some(why) = origin::read_refusal(live, uri, headers) => {
                Answer::error(StatusCode::FORBIDDEN, why)
            }
            Method::GET | Method::HEAD => show(live, &target),
            _ => Answer::error(StatusCode::METHOD_NOT_ALLOWED, USAGE).allowing("GET, HEAD"),
        };
    };
    if *method != Method::POST {
        return Answer::error(StatusCode::METHOD_NOT_ALLOWED, "an order is sent with POST").allowing("POST");
    }
    if let Some(why) = origin::refusal(live, uri, headers) {
        return Answer::error(StatusCode::FORBIDDEN, why);
    }
    match order(verb, uri.query()) {
        Ok(order) => obey(live, &target, order),
        Err(why) => Answer::error(StatusCode::BAD_REQUEST, &why),
    }
}

impl Target {
    fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix(PREFIX)?.split('/');
        let mut name = || percent_decoded(parts.next()?);
        let (pool, node) = (name()?, name()?);
        let verb = match parts.next() {
            None => None,
            Some("drain") => Some(Verb::Drain),
            Some("undrain") => Some(Verb::Undrain),
            Some("eject") => Some(Verb::Eject),
            Some("restore") => Some(Verb::Restore),
            Some(_) => return None,
        };
        parts.next().is_none().then_some(Self { pool, node, verb })
    }

    fn unknown(&self) -> Answer {
        let Self { pool, node, .. } = self;
        let message = format!("there is no node {node:?} in a pool {pool:?}; /api/status lists them all");
        Answer::error(StatusCode::NOT_FOUND, &message)
    }
}

/// `eject` alone takes something: `?for=10m`.
fn order(verb: Verb, query: Option<&str>) -> Result<Order, String> {
    let mut time: Option<Duration> = None;
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        match pair.strip_prefix("for=").filter(|_| verb == Verb::Eject && time.is_none()) {
            Some(value) => time = Some(duration_of(&percent_decoded(value).unwrap_or_default())?),
            None => return Err("only eject takes a parameter, and only once: ?for=10m".to_owned()),
        }
    }
    Ok(match verb {
        Verb::Drain => Order::Drain,
        Verb::Undrain => Order::Undrain,
        Verb::Eject => Order::Eject(time),
        Verb::Restore => Order::Restore,
    })
}

fn show(live: &Live, target: &Target) -> Answer {
    let fleet = live.fleet();
    let pool = fleet.live().find(|pool| **pool.name() == *target.pool);
    let moment = Moment { at: Instant::now(), wall: SystemTime::now() };
    let snapshot = pool.map(|pool| pool.snapshot(moment.at));
    match snapshot.as_ref().and_then(|pool| node_in(pool, &target.node)) {
        Some(node) => Answer::json(status::node_json(node, None, moment)),
        None => target.unknown(),
    }
}

fn obey(live: &Live, target: &Target, order: Order) -> Answer {
    let fleet = live.fleet();
    let Some(Member { conf, pool }) = fleet.pools.iter().find(|member| member.conf.name == target.pool)
    else {
        return target.unknown();
    };
    let now = Instant::now();
    match pool.obey(&target.node, order, now) {
        Ok(event) => event.iter().for_each(announce),
        Err(Refused::Unknown) => return target.unknown(),
        Err(Refused::Unresolved) => {
            let message = "the name in its address cannot be resolved: it is back by itself once it can be";
            return Answer::error(StatusCode::CONFLICT, message);
        }
    }
    let snapshot = pool.snapshot(now);
    match node_in(&snapshot, &target.node) {
        Some(node) => {
            let moment = Moment { at: now, wall: SystemTime::now() };
            Answer::json(status::node_json(node, warning(order, node, &snapshot, &conf.retry), moment))
        }
        None => target.unknown(),
    }
}

/// The node of this name. One that was removed and still has requests comes after one that has its name now.
fn node_in<'a>(pool: &'a PoolSnapshot, name: &str) -> Option<&'a NodeSnapshot> {
    pool.nodes.iter().filter(|node| *node.id.name == *name).min_by_key(|node| node.is_removed)
}

/// A consequence that the operator may not have thought of.
fn warning(order: Order, node: &NodeSnapshot, pool: &PoolSnapshot, retry: &config::Retry) -> Option<String> {
    match order {
        Order::Drain | Order::Eject(_) if !pool.nodes.iter().any(|node| node.state.is_usable()) => {
            Some(format!(
                "pool {} has no node that is up any more: its requests wait for one for up to retry.wait ({}), and /readyz says 503",
                pool.name,
                show_duration(retry.wait)
            ))
        }
        Order::Undrain if node.drain.by_config => {
            Some("the config drains it still: remove its `drain: true` and reload".to_owned())
        }
        Order::Restore if node.drain.is_on() => {
            Some("it is drained, and gets no new requests until that ends too".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_after_the_path_is_split() {
        let parse = |path: &str| Target::parse(path).map(|target| (target.pool, target.node, target.verb));
        let named = |pool: &str, node: &str, verb| Some((pool.to_owned(), node.to_owned(), verb));
        for (path, want) in [
            ("/api/nodes/p/a", named("p", "a", None)),
            ("/api/nodes/p/10.0.0.1:80/drain", named("p", "10.0.0.1:80", Some(Verb::Drain))),
            ("/api/nodes/p/10.0.0.1%3A80/undrain", named("p", "10.0.0.1:80", Some(Verb::Undrain))),
            ("/api/nodes/p%2Fq/%5B%3A%3A1%5D%3A80/eject", named("p/q", "[::1]:80", Some(Verb::Eject))),
            ("/api/nodes/p/a/restore", named("p", "a", Some(Verb::Restore))),
            ("/api/nodes/p", None),
            ("/api/nodes/p/a/stop", None),
            ("/api/nodes/p/a/", None),
            ("/api/nodes/p/a/drain/", None),
            ("/api/nodes/%ff/a/drain", None),
        ] {
            assert_eq!(parse(path), want, "{path}");
        }
    }

    #[test]
    fn only_an_ejection_takes_a_time() {
        let time = |seconds| Ok(Order::Eject(Some(Duration::from_secs(seconds))));
        for (verb, query, want) in [
            (Verb::Eject, None, Ok(Order::Eject(None))),
            (Verb::Eject, Some(""), Ok(Order::Eject(None))),
            (Verb::Eject, Some("for=10m"), time(600)),
            (Verb::Eject, Some("for=1h%330m"), time(5400)),
            (Verb::Eject, Some("for=90"), time(90)),
            (Verb::Eject, Some("for=0s"), Err(())),
            (Verb::Eject, Some("for=367d"), Err(())),
            (Verb::Eject, Some("for="), Err(())),
            (Verb::Eject, Some("for=1m&for=2m"), Err(())),
            (Verb::Eject, Some("form=1m"), Err(())),
            (Verb::Drain, Some("for=1m"), Err(())),
            (Verb::Restore, None, Ok(Order::Restore)),
        ] {
            assert_eq!(order(verb, query).map_err(drop), want, "{verb:?} {query:?}");
        }
    }
}
