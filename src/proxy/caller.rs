//! A request on its arrival: who sent it, when, under which generation, and whether it was stopped.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::HeaderMap;

use crate::config;
use crate::fleet::{Fleet, Profile};
use crate::forwarded::Sender;
use crate::journey::Failure;
use crate::live::Share;
use crate::route::{self, Place};

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

impl Arrival {
    pub(crate) fn new(fleet: Arc<Fleet>) -> Self {
        let caller = Caller {
            started: Instant::now(),
            under_way: None,
            fleet,
            sender: None,
            request_id: String::new(),
        };
        Self { caller, stopped: Stopped::No }
    }
}
