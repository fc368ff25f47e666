//! Limits on connections: how many there may be, and how long a request's header may take.
//!
//! Pingora limits the time of each read, so that a client which sends a byte now and then may stay for ever. Here the
//! header as a whole has a deadline.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::time::{Instant, sleep_until};

use super::Gateway;
use crate::live::Live;

/// How often a stop looks whether its time for silent connections has changed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

tokio::task_local! {
    static HEADER_COMPLETE: Cell<bool>;
}

/// The header of the request that this task serves has been read.
pub fn header_is_complete() {
    let _ = HEADER_COMPLETE.try_with(|complete| complete.set(true));
}

/// The application that listeners hand their connections to.
pub struct Edge {
    live: Arc<Live>,
    requests: Arc<Requests>,
}

/// The proxy, with a deadline on each request's header.
struct Requests {
    live: Arc<Live>,
    proxy: Arc<HttpProxy<Gateway>>,
}

impl Edge {
    pub fn new(live: Arc<Live>, mut proxy: HttpProxy<Gateway>) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        proxy.server_options = Some(options);
        let requests = Arc::new(Requests { live: Arc::clone(&live), proxy: Arc::new(proxy) });
        Self { live, requests }
    }
}

#[async_trait]
impl ServerApp for Edge {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let limit = self.live.fleet().config.server.client.max_connections;
        let Some(_open) = self.live.connections.try_add(1, limit as u64) else {
            if self.live.refused_connections.fetch_add(1, Ordering::Relaxed) == 0 {
                log::warn!(
                    "client.max_connections ({limit}) reached: further connections are closed at once"
                );
            }
            return None;
        };
        ServerApp::process_new(&self.requests, stream, shutdown).await
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

#[async_trait]
impl HttpServerApp for Requests {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if session.is_http2() {
            // its header is complete before there is a session
            return self.proxy.process_new_http(session, shutdown).await;
        }
        let client = self.live.fleet().config.server.client.clone();
        // on a connection that is used again, the time between two requests comes first
        let idle = session.get_keepalive().map(Duration::from_secs).unwrap_or_default();
        let deadline = Instant::now() + idle + client.header_timeout;
        session.set_read_timeout(Some(client.header_timeout));
        HEADER_COMPLETE.scope(Cell::new(false), self.serve(session, shutdown, deadline)).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.proxy.server_options()
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

impl Requests {
    async fn serve(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
        deadline: Instant,
    ) -> Option<ReusedHttpStream> {
        let mut served = self.proxy.process_new_http(session, shutdown);
        tokio::select! {
            biased;
            connection = &mut served => return connection,
            () = sleep_until(deadline) => {}
        }
        if HEADER_COMPLETE.with(Cell::get) {
            return served.await;
        }
        log::debug!(
            "a client took longer than client.header_timeout for its header; its connection is closed"
        );
        None
    }
}
