//! The paths of the admin address, and of the probes.

use std::sync::Arc;
use std::time::Instant;

use http::header::ACCEPT;
use http::{HeaderMap, Method, StatusCode, Uri};

use super::answer::Answer;
use super::feed::Feed;
use super::{access, nodes, origin, page, requests, views};
use crate::fleet::Member;
use crate::live::Live;
use crate::metrics::{self, Format};

/// The application behind `server.admin`.
pub struct Admin {
    pub(super) live: Arc<Live>,
    pub(super) feed: Arc<Feed>,
    audience: Audience,
}

/// Those for whom an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    /// Those who show a token, if the config has tokens.
    Operators,
    /// Anybody.
    All,
}

impl Audience {
    /// The paths served in addition to `/`.
    fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Operators => &ALL,
            Self::All => &FOR_ALL,
        }
    }
}

const NODES: &str = "/api/nodes/{pool}/{node}/{drain|undrain|eject|restore}";
pub(super) const LIVE: &str = "/api/live";
const ALL: [&str; 10] = [
    "/livez",
    "/readyz",
    "/api/status",
    LIVE,
    views::HISTORY,
    views::EVENTS,
    views::NODES,
    "/metrics",
    NODES,
    requests::PATH,
];
const FOR_ALL: [&str; 3] = ["/livez", "/readyz", "/metrics"];

impl Admin {
    pub fn new(live: Arc<Live>) -> Self {
        Self { feed: Arc::new(Feed::new(Arc::clone(&live))), live, audience: Audience::Operators }
    }

    /// For an address that may be reached from outside.
    pub fn probes(live: Arc<Live>) -> Self {
        Self { feed: Arc::new(Feed::new(Arc::clone(&live))), live, audience: Audience::All }
    }

    /// The answer to one who may not ask this.
    pub(super) fn refusal(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Answer> {
        match self.audience {
            Audience::All => None,
            Audience::Operators => {
                access::refusal(&self.live.material.load().tokens, method, uri.path(), headers)
            }
        }
    }

    /// The path is one of this address.
    pub(super) fn serves(&self, path: &str) -> bool {
        self.audience.paths().contains(&path)
    }

    pub(super) fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Answer {
        let path = uri.path();
        if path.starts_with(nodes::PREFIX) && self.serves(NODES) {
            return nodes::answer(&self.live, method, uri, headers);
        }
        if path.starts_with(requests::PATH) && self.serves(requests::PATH) {
            return requests::answer(&self.live, method, uri, headers);
        }
        if *method != Method::GET && *method != Method::HEAD {
            return Answer::plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n").allowing("GET, HEAD");
        }
        let paths = || self.audience.paths().join(" ");
        match path {
            "/" if self.serves(LIVE) && page::is_wanted(headers) => self.page(uri, headers),
            "/" | "/api" => Answer::plain(StatusCode::OK, format!("evenkeel: {}\n", paths())),
            _ if !self.serves(path) => Answer::plain(StatusCode::NOT_FOUND, format!("try {}\n", paths())),
            LIVE => {
                Answer::plain(StatusCode::METHOD_NOT_ALLOWED, "only GET: it has no end\n").allowing("GET")
            }
            "/livez" => Answer::plain(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            "/api/status" if let Some(why) = origin::read_refusal(&self.live, uri, headers) => {
                Answer::error(StatusCode::FORBIDDEN, why)
            }
            "/api/status" => Answer::json(self.live.explained(Instant::now()).to_json()),
            "/metrics" => {
                let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
                let format = Format::of(accept);
                let text = metrics::text(self.live.snapshot(Instant::now()), self.live.ended(), format);
                Answer::metrics(text, format)
            }
            _ => views::answer(&self.live, uri, headers),
        }
    }

    fn page(&self, uri: &Uri, headers: &HeaderMap) -> Answer {
        match origin::page_refusal(&self.live, uri, headers) {
            Some(why) => Answer::plain(StatusCode::FORBIDDEN, why),
            None => page::answer(headers),
        }
    }

    /// Ready for traffic: the gateway is not stopping, it has reached its cluster if it has one, and every configured pool has a
    /// usable node. A pool that is leaving has none, and needs none.
    fn ready(&self) -> Answer {
        if self.live.is_stopping() {
            return Answer::plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
        }
        if let Some(why) = self.live.has_no_credits() {
            return Answer::plain(StatusCode::SERVICE_UNAVAILABLE, why);
        }
        let without = |member: &&Member| !member.pool.has_usable();
        match self.live.fleet().pools.iter().find(without) {
            Some(Member { pool, .. }) => Answer::plain(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("pool {}: no node is up\n", pool.name()),
            ),
            None => Answer::plain(StatusCode::OK, "ok\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::status::{ClusterState, Standing};

    fn answer(admin: &Admin, method: Method, path: &str) -> Answer {
        let headers =
            HeaderMap::from_iter([(http::header::HOST, http::HeaderValue::from_static("127.0.0.1"))]);
        admin.answer(&method, &path.parse().expect("a path"), &headers)
    }

    #[test]
    fn the_probes_address_has_neither_the_status_nor_orders() {
        let text = "server: { listen: 127.0.0.1:1 }\npools: { x: { nodes: [127.0.0.1:2] } }\n";
        let live = Arc::new(Live::new(Config::parse(text, "a test").expect("a valid config")));
        let answers = |admin: &Admin| {
            ["/livez", "/readyz", "/metrics", "/api/status", "/api/nodes/x/127.0.0.1:2", "/", "/x"]
                .map(|path| answer(admin, Method::GET, path).status.as_u16())
        };
        assert_eq!(answers(&Admin::new(Arc::clone(&live))), [200, 200, 200, 200, 200, 200, 404]);
        assert_eq!(answers(&Admin::probes(Arc::clone(&live))), [200, 200, 200, 404, 404, 200, 404]);
        let order = answer(&Admin::probes(live), Method::POST, "/api/nodes/x/127.0.0.1:2/drain");
        assert_eq!((order.status.as_u16(), order.allow), (405, Some("GET, HEAD")), "no method does it there");
    }

    #[test]
    fn a_gateway_that_has_not_reached_its_cluster_is_not_ready() {
        let text = "server: { listen: 127.0.0.1:1 }\npools: { x: { nodes: [127.0.0.1:2] } }\n";
        let config = || Config::parse(text, "a test").expect("a valid config");
        let live = Arc::new(Live::new(config()));
        let (admin, now) = (Admin::new(Arc::clone(&live)), Instant::now());
        live.replace(live.fleet().next_in(Some(Arc::default()), config(), now), now);
        let is_ready = |standing: Option<Standing>| {
            *live.cluster.lock() = standing.map(|standing| ClusterState {
                name: "c".into(),
                redis: "r".into(),
                id: "1".into(),
                standing,
                is_settled: false,
                members: Vec::new(),
                last_exchange: None,
                exchanges: 0,
                failures: 0,
                lost_ledgers: 0,
            });
            admin.ready().status == StatusCode::OK
        };
        assert!(!is_ready(None), "nothing is known of it yet");
        let why = "the connection is refused";
        assert!(!is_ready(Some(Standing::NeverReached { since: now, why: why.into() })));
        assert!(live.has_no_credits().is_some_and(|text| text.contains("Redis") && text.contains(why)));
        assert!(is_ready(Some(Standing::Joined { since: now })));
        assert!(
            is_ready(Some(Standing::Alone { since: now, why: why.into() })),
            "it goes on with what it has"
        );
        live.replace(live.fleet().next_in(None, config(), now), now);
        assert!(is_ready(None));
    }

    #[test]
    fn a_pool_that_is_leaving_does_not_make_the_gateway_unready() {
        let config = |second: &str| {
            let text = format!(
                "server: {{ listen: 127.0.0.1:1 }}\npools:\n  x: {{ nodes: [127.0.0.1:2] }}\n{second}"
            );
            Config::parse(&text, "a test").expect("a valid config")
        };
        let live = Arc::new(Live::new(config("  y: { nodes: [127.0.0.1:3], models: [m] }\n")));
        let admin = Admin::new(Arc::clone(&live));
        assert_eq!(admin.ready().status, StatusCode::OK);
        let old = live.fleet();
        let _held = old.pools[1].pool.lease(&[], Instant::now()).expect("a node");
        live.replace(old.next(config(""), Instant::now()), Instant::now());
        assert_eq!(live.fleet().leaving().count(), 1);
        assert_eq!(admin.ready().status, StatusCode::OK);
    }
}
