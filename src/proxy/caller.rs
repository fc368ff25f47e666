//! A request on its arrival: who sent it, when, under which generation, and whether it was stopped.

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Instant, SystemTime};

use http::HeaderMap;

use crate::config::{self, Class};
use crate::fleet::{Call, Choice, Fleet, Member, NodeId, Profile};
use crate::forwarded::Sender;
use crate::journey::{Failure, Other};
use crate::live::{Goes, Live, Registered, UnderWay};
use crate::route::{self, Draw, Place};
use crate::status::Asked;
use crate::trace::Trace;

/// A request that has come.
pub struct Arrival {
    pub caller: Caller,
    pub stopped: Stopped,
}

/// The reason that a request goes no further, if there is one.
#[derive(Debug, Default)]
pub enum Stopped {
    #[default]
    No,
    /// The client gets this.
    With(Failure),
    ClientGone,
}

/// The client of a request, the time it began, and the generation of the config that serves it.
pub struct Caller {
    pub started: Instant,
    /// Shown and counted as long as this lives.
    under_way: Option<Registered>,
    /// The generation that the request keeps.
    pub fleet: Arc<Fleet>,
    pub sender: Option<Sender>,
    pub request_id: String,
    /// The trace that the gateway adds to; `None`: it adds nothing.
    pub trace: Option<Box<Trace>>,
    /// The way to its pool, where that was not the name of its model alone.
    pub chosen: Option<Box<Chosen>>,
}

/// The way to a request's pool: to be kept if a reload routes it anew.
pub enum Chosen {
    By(Choice),
    /// Its model is shared between pools, and this is its lot.
    Lot(u64),
}

impl Caller {
    /// From now on the request is under way.
    pub(crate) fn register(&mut self, live: &Live, method: &str, path: &str) {
        let asked = Asked::new(&self.request_id, method, path);
        self.under_way = Some(live.requests.register(asked, self.started));
    }

    /// The request as it is shown.
    pub(crate) fn under_way(&self) -> Option<&Arc<UnderWay>> {
        self.under_way.as_ref().map(Registered::shared)
    }

    /// An operator has ended the request.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.under_way().is_some_and(|one| one.is_cancelled())
    }

    /// The request waits for a node of this pool.
    pub(crate) fn waits(&self, member: &Member, class: Class) {
        self.under_way().iter().for_each(|one| one.waits(member.pool.name(), class, Instant::now()));
    }

    /// The request goes to a node.
    pub(crate) fn asks(&self, member: &Member, node: &Arc<NodeId>, class: Class) {
        let goes = Goes { pool: member.pool.name(), node, class };
        self.under_way().iter().for_each(|one| one.asks(goes, Instant::now()));
    }

    /// Its answer begins, or goes on.
    pub(crate) fn is_answered(&self, now: Instant) {
        self.under_way().iter().for_each(|one| one.answers(now));
    }

    /// Its nodes have said so many tokens so far.
    pub(crate) fn hears(&self, tokens: u64, now: Instant) {
        self.under_way().iter().for_each(|one| one.said(tokens, now));
    }

    /// See [`route::profile`].
    pub(crate) fn profile(
        &self,
        pool: &config::Pool,
        headers: &HeaderMap,
        body: Option<(&Place, &[u8])>,
    ) -> Profile {
        let client = self.sender.as_ref().map_or("", |sender| &sender.client);
        route::profile(pool, headers, client, None, body)
    }

    /// The request in OpenTelemetry's words, if the config asks for them. `body`: the place of its model in that.
    pub(crate) fn call(
        &self,
        member: &Member,
        (method, path): (&str, &str),
        body: Option<(&Place, &[u8])>,
    ) -> Option<Box<Call>> {
        if !self.fleet.config.server.metrics.genai {
            return None;
        }
        let model = body.and_then(|(place, body)| place.model(body));
        route::call(&member.conf.models, method, self.node_path(path), model.as_deref()).map(Box::new)
    }

    /// The time after which the request is of no use, if it says that.
    pub(crate) fn due(&self, pool: &config::Pool, headers: &HeaderMap) -> Option<Instant> {
        let route::Deadline { within, at } = route::deadline(pool, headers);
        let within = within.and_then(|time| self.started.checked_add(time));
        let at = at.and_then(|at| {
            let left = at.duration_since(SystemTime::now()).unwrap_or_default();
            Instant::now().checked_add(left)
        });
        within.into_iter().chain(at).min()
    }

    /// The target as nodes get it.
    pub(crate) fn node_target<'a>(&self, target: &'a [u8]) -> Cow<'a, [u8]> {
        match self.chosen.as_deref() {
            Some(Chosen::By(choice)) => choice.stripped(target),
            Some(Chosen::Lot(_)) | None => target.into(),
        }
    }

    /// The path as nodes get it: what is read in it means the same with a prefix and without.
    pub(crate) fn node_path<'a>(&self, path: &'a str) -> &'a str {
        match self.node_target(path.as_bytes()) {
            Cow::Borrowed(rest) => &path[path.len() - rest.len()..],
            // nothing but the prefix
            Cow::Owned(_) => "/",
        }
    }

    /// The client's name for its model, if that is shared between pools. `asked`: that name, where the body has another.
    pub(crate) fn split_model(&self, place: &Place, body: &[u8], asked: Option<&str>) -> Option<String> {
        let named = || asked.map(str::to_owned).or_else(|| place.model(body));
        self.is_by_lot().then(named).flatten()
    }

    /// The pool to which it goes if it would have to wait in this one. `asked`: the client's name for the model, where the body has
    /// another. `way`: method and path.
    pub(crate) fn other(
        &self,
        member: &Member,
        place: &Place,
        (body, asked): (&[u8], Option<&str>),
        way: (&str, &str),
    ) -> Option<Other> {
        let model = self.split_model(place, body, asked);
        route::other(&self.fleet, member, model.as_deref(), way)
    }

    /// The same of a request whose body is not read.
    pub(crate) fn other_once(&self, member: &Member, place: &Place) -> Option<Other> {
        route::other_once(&self.fleet, member, place.named().filter(|_| self.is_by_lot()))
    }

    /// The other pool with the request's profile there, where that pool places by rules of its own.
    pub(crate) fn placed(
        &self,
        other: Option<Other>,
        own: &Member,
        headers: &HeaderMap,
        body: Option<(&Place, &[u8])>,
    ) -> Option<Other> {
        let mut other = other?;
        if !other.places_like(own) {
            other.profile = Some(self.profile(&other.member.conf, headers, body));
        }
        Some(other)
    }

    /// Its model is shared between pools, and nothing else has chosen its pool.
    fn is_by_lot(&self) -> bool {
        matches!(self.chosen.as_deref(), Some(Chosen::Lot(_)))
    }

    /// The request's pool in this generation, for one that was routed before: by what chose it, or by its model.
    pub(crate) fn pool_again<'a>(
        &self,
        fleet: &'a Fleet,
        place: &Place,
        body: Option<(&[u8], Option<&str>)>,
    ) -> Result<&'a Member, Failure> {
        let lot = match self.chosen.as_deref() {
            Some(Chosen::By(choice)) => return fleet.chosen_by(choice).ok_or_else(route::not_chosen),
            Some(Chosen::Lot(lot)) => Some(*lot),
            None => None,
        };
        let draw = || Draw { key: lot.unwrap_or_else(|| fastrand::u64(..)), now: Instant::now() };
        match body {
            Some((body, asked)) => route::by_model(fleet, place, body, asked, draw)
                .ok_or_else(|| route::not_served(asked.map(str::to_owned).or_else(|| place.model(body)))),
            None => route::by_target(fleet, place, draw).ok_or_else(|| route::not_served_by_target(place)),
        }
    }
}

/// Resolves when an operator ends the request.
pub(crate) fn cancelled(under_way: Option<Arc<UnderWay>>) -> impl Future<Output = ()> + Send {
    poll_fn(move |cx| under_way.as_ref().map_or(Poll::Pending, |one| one.poll_cancelled(cx)))
}

impl Arrival {
    pub(crate) fn new(fleet: Arc<Fleet>) -> Self {
        let caller = Caller {
            started: Instant::now(),
            under_way: None,
            fleet,
            sender: None,
            request_id: String::new(),
            trace: None,
            chosen: None,
        };
        Self { caller, stopped: Stopped::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn caller(chosen: Option<Chosen>) -> Caller {
        let text = "server: { listen: 127.0.0.1:1 }\nsplits: { m: { a: 50, b: 50 } }\npools:\n  \
                    a: { nodes: [n:1], path_prefix: /files }\n  b: { nodes: [n:2], models: off }\n";
        let fleet = Fleet::first(Config::parse(text, "t").expect("a config"), Instant::now());
        let mut caller = Arrival::new(Arc::new(fleet)).caller;
        caller.chosen = chosen.map(Box::new);
        caller
    }

    fn prefix() -> Option<Chosen> {
        Some(Chosen::By(Choice::Prefix("/files".into())))
    }

    /// A model that is shared between pools matters only if it has chosen the request's.
    #[test]
    fn what_chose_the_pool_says_whether_there_is_another() {
        let body = br#"{"model":"m"}"#;
        let named = Place::of("/v1/realtime", Some("model=m"), None, None);
        for (chosen, want) in [(Some(Chosen::Lot(1)), Some("b")), (prefix(), None), (None, None)] {
            let caller = caller(chosen);
            let own = &caller.fleet.pools[0];
            let whole = |asked| caller.other(own, &Place::default(), (body, asked), ("POST", "/"));
            for other in [whole(None), whole(Some("m")), caller.other_once(own, &named)] {
                assert_eq!(other.as_ref().map(|other| &*other.member.conf.name), want);
            }
            assert!(whole(Some("other")).is_none());
        }
    }

    #[test]
    fn nodes_get_the_path_without_its_prefix() {
        for (path, node) in [("/files/v1/x", "/v1/x"), ("/files/", "/"), ("/files", "/")] {
            assert_eq!(caller(prefix()).node_path(path), node);
            assert_eq!(caller(None).node_path(path), path);
        }
    }
}
