//! The admin address: `/livez`, `/readyz`, `/api/status` in JSON, and `/metrics` for Prometheus; and the address of the
//! probes, which may be reached from outside and has all but the status.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

use crate::fleet::{Member, NodeState};
use crate::live::Live;
use crate::metrics;

/// The application behind `server.admin`.
pub struct Admin {
    live: Arc<Live>,
    /// The paths served in addition to `/`.
    paths: &'static [&'static str],
}

const ALL: [&str; 4] = ["/livez", "/readyz", "/api/status", "/metrics"];
const FOR_ALL: [&str; 3] = ["/livez", "/readyz", "/metrics"];

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Admin {
    pub fn new(live: Arc<Live>) -> Self {
        Self { live, paths: &ALL }
    }

    /// For an address that may be reached from outside.
    pub fn probes(live: Arc<Live>) -> Self {
        Self { live, paths: &FOR_ALL }
    }

    fn answer(&self, method: &Method, path: &str) -> (StatusCode, &'static str, String) {
        if *method != Method::GET && *method != Method::HEAD {
            return (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".into());
        }
        let snapshot = || self.live.snapshot(Instant::now());
        let paths = || self.paths.join(" ");
        match path {
            "/" => (StatusCode::OK, PLAIN, format!("evenkeel: {}\n", paths())),
            _ if !self.paths.contains(&path) => (StatusCode::NOT_FOUND, PLAIN, format!("try {}\n", paths())),
            "/livez" => (StatusCode::OK, PLAIN, "ok\n".into()),
            "/readyz" => self.ready(),
            "/api/status" => (StatusCode::OK, JSON, snapshot().to_json()),
            _ => (StatusCode::OK, PROMETHEUS, metrics::text(&snapshot())),
        }
    }

    /// Ready for traffic: the gateway is not stopping, and every configured pool has a usable node. A pool
    /// that is leaving has none, and needs none.
    fn ready(&self) -> (StatusCode, &'static str, String) {
        if self.live.is_stopping() {
            return (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "stopping\n".into());
        }
        let usable = |state| matches!(state, NodeState::Up | NodeState::Probing);
        let now = Instant::now();
        let without =
            |member: &&Member| !member.pool.snapshot(now).nodes.iter().any(|node| usable(node.state));
        match self.live.fleet().pools.iter().find(without) {
            Some(Member { pool, .. }) => {
                (StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("pool {}: no node is up\n", pool.name()))
            }
            None => (StatusCode::OK, PLAIN, "ok\n".into()),
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let (status, kind, body) = self.answer(&request.method, request.uri.path());
        let body = if request.method == Method::HEAD { Vec::new() } else { body.into_bytes() };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let length = response.body().len().into();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
        headers.insert(header::CONTENT_LENGTH, length);
        headers.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_probes_address_does_not_show_the_status() {
        let text = "server: { listen: 127.0.0.1:1 }\npools: { x: { nodes: [127.0.0.1:2] } }\n";
        let live = Arc::new(Live::new(Config::parse(text, "a test").expect("a valid config")));
        let answers = |admin: &Admin| {
            ["/livez", "/readyz", "/metrics", "/api/status", "/", "/x"]
                .map(|path| admin.answer(&Method::GET, path).0.as_u16())
        };
        assert_eq!(answers(&Admin::new(Arc::clone(&live))), [200, 200, 200, 200, 200, 404]);
        assert_eq!(answers(&Admin::probes(live)), [200, 200, 200, 404, 200, 404]);
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
        assert_eq!(admin.ready().0, StatusCode::OK);
        let old = live.fleet();
        let _held = old.pools[1].pool.lease(&[], Instant::now()).expect("a node");
        live.replace(old.next(config(""), Instant::now()), Instant::now());
        assert_eq!(live.fleet().leaving().count(), 1);
        assert_eq!(admin.ready().0, StatusCode::OK);
    }
}
