//! The admin address: is it alive, is it ready, how is it, in JSON and for Prometheus.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

use crate::fleet::NodeState;
use crate::live::Live;
use crate::metrics;
use crate::status::Snapshot;

/// The application behind `server.admin`.
pub struct Admin {
    live: Arc<Live>,
}

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Admin {
    pub fn new(live: Arc<Live>) -> Self {
        Self { live }
    }

    fn answer(&self, method: &Method, path: &str) -> (StatusCode, &'static str, String) {
        if *method != Method::GET && *method != Method::HEAD {
            return (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".into());
        }
        let snapshot = || self.live.snapshot(Instant::now());
        match path {
            "/livez" => (StatusCode::OK, PLAIN, "ok\n".into()),
            "/readyz" => self.ready(&snapshot()),
            "/api/status" => (StatusCode::OK, JSON, snapshot().to_json()),
            "/metrics" => (StatusCode::OK, PROMETHEUS, metrics::text(&snapshot())),
            "/" => (StatusCode::OK, PLAIN, "evenkeel: /livez /readyz /api/status /metrics\n".into()),
            _ => (StatusCode::NOT_FOUND, PLAIN, "try /livez /readyz /api/status /metrics\n".into()),
        }
    }

    /// Ready for traffic: not stopping, and every pool has a node to send it to.
    fn ready(&self, snapshot: &Snapshot) -> (StatusCode, &'static str, String) {
        if self.live.is_stopping() {
            return (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "stopping\n".into());
        }
        let usable = |state| matches!(state, NodeState::Up | NodeState::Probing);
        let without = |pool: &&crate::fleet::PoolSnapshot| !pool.nodes.iter().any(|node| usable(node.state));
        match snapshot.pools.iter().find(without) {
            Some(pool) => {
                (StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("pool {}: no node is up\n", pool.name))
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
