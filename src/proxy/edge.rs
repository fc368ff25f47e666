//! A client's connection from its first byte to its end: one request after another, and limits.
//!
//! Pingora limits the time of each read, so that a client which sends a byte now and then may stay for ever. Here the
//! header as a whole has a deadline, from the connection's first byte on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::downstream::lent::Connection;
use super::downstream::preface::{self, Speaks};
use super::gateway::Gateway;
use crate::config::Client;
use crate::live::Live;

/// For the first request of a connection, in seconds; each request then has what its config says.
const KEEPALIVE: u64 = 60;
/// Interval at which a stop checks its time for silent connections.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// An HTTP/2 connection stays open at least this long between two requests: it has no other way to say that it ends.
const H2_IDLE_MIN: Duration = Duration::from_secs(1);

/// The application that listeners hand their connections to.
pub struct Edge {
    live: Arc<Live>,
    requests: Arc<Requests>,
}

/// The proxy, with a deadline on each request's header, and without a session once a request has been read.
struct Requests {
    live: Arc<Live>,
    proxy: Arc<HttpProxy<Gateway>>,
    options: HttpServerOptions,
}

impl Edge {
    pub fn new(live: Arc<Live>, proxy: HttpProxy<Gateway>) -> Self {
        let options = HttpServerOptions::default();
        let requests = Requests { live: Arc::clone(&live), proxy: Arc::new(proxy), options };
        Self { live, requests: Arc::new(requests) }
    }

    /// For one HTTP/2 connection: its idle time comes from the config that is in use when it begins.
    fn requests_over_h2(&self, client: &Client) -> Arc<Requests> {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(client.keepalive.max(H2_IDLE_MIN));
        let Requests { live, proxy, .. } = &*self.requests;
        Arc::new(Requests { live: Arc::clone(live), proxy: Arc::clone(proxy), options })
    }
}

#[async_trait]
impl ServerApp for Edge {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let client = self.live.fleet().config.server.client.clone();
        let limit = client.max_connections;
        let Some(_open) = self.live.connections.try_add(1, limit as u64) else {
            if self.live.refused_connections.fetch_add(1, Ordering::Relaxed) == 0 {
                log::warn!(
                    "client.max_connections ({limit}) reached: further connections are closed at once"
                );
            }
            return None;
        };
        let header_by = Instant::now() + client.header_timeout;
        let slot = Connection::new(stream);
        let Ok(detected) = timeout_at(header_by, preface::detect(&slot)).await else {
            say_too_slow();
            return None;
        };
        if detected? == Speaks::Http2 {
            let requests = self.requests_over_h2(&client);
            return ServerApp::process_new(&requests, Box::new(slot.lend()), shutdown).await;
        }
        self.requests.converse(slot, header_by, shutdown).await;
        None
    }

    /// The listeners are closed. A request that was sent just before is still served, be it the first on its
    /// connection or the next: only connections that stay silent are closed, after a while.
    async fn cleanup(&self) {
        let closed = Instant::now();
        while closed.elapsed() < self.live.linger() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        ServerApp::cleanup(&*self.requests).await;
    }
}

fn say_too_slow() {
    log::debug!("a client took longer than client.header_timeout for its header; its connection is closed");
}

#[async_trait]
impl HttpServerApp for Requests {
    /// Over HTTP/2, where the header is complete before there is a session.
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.proxy.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

impl Requests {
    /// One request after another, as long as the connection lasts; what Pingora 0.9.1's `ServerApp::process_new` does for
    /// HTTP/1.1, and between two of them the rest of the first one, after its session. The first header must be complete
    /// by `header_by`.
    async fn converse(self: &Arc<Self>, slot: Connection, header_by: Instant, shutdown: &ShutdownWatch) {
        let mut session = ServerSession::new_http1(Box::new(slot.lend()));
        session.set_keepalive((!*shutdown.borrow()).then_some(KEEPALIVE));
        let mut header_by = Some(header_by);
        loop {
            let next = self.serve(session, &slot, header_by.take(), shutdown).await;
            if let Some(sequel) = slot.sequel() {
                let Some(wire) = sequel.await else { return };
                slot.put(wire);
            }
            let Some((stream, settings)) = next.map(ReusedHttpStream::consume) else { return };
            session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
        }
    }

    async fn serve(
        self: &Arc<Self>,
        mut session: ServerSession,
        slot: &Connection,
        header_by: Option<Instant>,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let limit = self.live.fleet().config.server.client.header_timeout;
        session.set_read_timeout(Some(limit));
        slot.set_has_header(false);
        let header_by = header_by.unwrap_or_else(|| {
            // on a connection that is used again, the time between two requests comes first
            let idle = session.get_keepalive().map(Duration::from_secs).unwrap_or_default();
            Instant::now() + idle + limit
        });
        let mut served = self.proxy.process_new_http(session, shutdown);
        tokio::select! {
            biased;
            connection = &mut served => return connection,
            () = sleep_until(header_by) => {}
        }
        if slot.has_header() {
            return served.await;
        }
        say_too_slow();
        None
    }
}
