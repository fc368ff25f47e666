//! A request on its arrival: who sent it, when, under which generation, and whether it was stopped.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::HeaderMap;

use crate::config;
use crate::fleet::{Choice, Fleet, Member, Profile};
use crate::forwarded::Sender;
use crate::journey::Failure;
use crate::live::Share;
use crate::route::{self, Draw, Place};

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
    /// Counted as long as this lives.
    pub under_way: Option<Share>,
    /// The generation that the request keeps.
    pub fleet: Arc<Fleet>,
    pub sender: Option<Sender>,
    pub request_id: String,
    /// What has chosen its pool, where that was not the name of its model alone.
    pub chosen: Option<Box<Chosen>>,
}

/// What has chosen a request's pool: to be kept if a reload routes it anew.
pub enum Chosen {
    By(Choice),
    /// Its model is shared between pools, and this is its lot.
    Lot(u64),
}

impl Caller {
    /// See [`route::profile`].
    pub(crate) fn profile(
        &self,
        pool: &config::Pool,
        headers: &HeaderMap,
        body: Option<(&Place, &[u8])>,
    ) -> Profile {
        let client = self.sender.as_ref().map_or("", |sender| &sender.client);
        route::profile(pool, headers, client, body)
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
}

impl Caller {
    /// The target as nodes get it.
    pub(crate) fn node_target<'a>(&self, target: &'a [u8]) -> Cow<'a, [u8]> {
        match self.chosen.as_deref() {
            Some(Chosen::By(choice)) => choice.stripped(target),
            Some(Chosen::Lot(_)) | None => target.into(),
        }
    }

    /// The path as nodes get it.
    pub(crate) fn node_path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match self.node_target(path.as_bytes()) {
            Cow::Borrowed(rest) => path[path.len() - rest.len()..].into(),
            Cow::Owned(path) => String::from_utf8_lossy(&path).into_owned().into(),
        }
    }

    /// Its model, if that is shared between pools.
    pub(crate) fn split_model(&self, place: &Place, body: &[u8]) -> Option<String> {
        matches!(self.chosen.as_deref(), Some(Chosen::Lot(_))).then(|| place.model(body)).flatten()
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

impl Arrival {
    pub(crate) fn new(fleet: Arc<Fleet>) -> Self {
        let caller = Caller {
            started: Instant::now(),
            under_way: None,
            fleet,
            sender: None,
            request_id: String::new(),
            chosen: None,
        };
        Self { caller, stopped: Stopped::No }
    }
}
