//! Limits on connections: how many there may be, and how long a request's header may take.
//!
//! Pingora limits the time of each read, so that a client which sends a byte now and then may stay for ever. Here the
//! header as a whole has a deadline, and so has its first byte.

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
use tokio::time::{Instant, sleep_until, timeout};

use super::Gateway;
use crate::live::Live;

/// How often a stop looks whether its time for silent connections has changed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// An HTTP/2 connection stays open at least this long between two requests: it has no other way to say that it ends.
const H2_IDLE_MIN: Duration = Duration::from_secs(1);

tokio::task_local! {
    static HEADER_COMPLETE: Cell<bool>;
    /// No request has come on the connection that this task serves.
    static UNUSED: Cell<bool>;
}

/// The header of the request that this task serves has been read.
pub fn header_is_complete() {
    let _ = HEADER_COMPLETE.try_with(|complete| complete.set(true));
}

/// What every HTTP/2 connection starts with.
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Enough of it: no HTTP/1 request starts so, and none is shorter.
const H2_START: usize = 3;

/// The application that listeners hand their connections to.
pub struct Edge {
    live: Arc<Live>,
    http1: Arc<Requests>,
    http2: Arc<Requests>,
}

/// The proxy, with a deadline on each request's header.
struct Requests {
    live: Arc<Live>,
    proxy: Arc<HttpProxy<Gateway>>,
    options: HttpServerOptions,
}

impl Edge {
    pub fn new(live: Arc<Live>, proxy: HttpProxy<Gateway>) -> Self {
        let idle = live.fleet().config.server.client.keepalive;
        let proxy = Arc::new(proxy);
        let requests = |h2c| {
            let mut options = HttpServerOptions::default();
            options.h2c = h2c;
            options.h2_idle_timeout = Some(idle.max(H2_IDLE_MIN));
            Arc::new(Requests { live: Arc::clone(&live), proxy: Arc::clone(&proxy), options })
        };
        Self { http1: requests(false), http2: requests(true), live }
    }

    /// Which protocol is spoken; `None`: nothing that could be one came within `client.header_timeout`. Pingora waits
    /// for as many bytes as HTTP/2 starts with, without a limit: a shorter request, or none, would hang.
    async fn protocol(&self, stream: &mut Stream) -> Option<&Arc<Requests>> {
        let limit = self.live.fleet().config.server.client.header_timeout;
        let look = async {
            let mut start = [0; H2_START];
            if !stream.try_peek(&mut start).await.ok()? || start != H2_PREFACE[..H2_START] {
                return Some(&self.http1);
            }
            let mut preface = [0; H2_PREFACE.len()];
            stream.try_peek(&mut preface).await.ok()?;
            Some(if preface == *H2_PREFACE { &self.http2 } else { &self.http1 })
        };
        timeout(limit, look).await.ok()?
    }
}

#[async_trait]
impl ServerApp for Edge {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let limit = self.live.fleet().config.server.client.max_connections;
        let Some(_open) = self.live.connections.try_add(1, limit as u64) else {
            if self.live.refused_connections.fetch_add(1, Ordering::Relaxed) == 0 {
                log::warn!(
                    "client.max_connections ({limit}) reached: further connections are closed at once"
                );
            }
            return None;
        };
        let requests = self.protocol(&mut stream).await?;
        UNUSED.scope(Cell::new(true), ServerApp::process_new(requests, stream, shutdown)).await
    }

    /// The listeners are closed. A request that was sent just before is still served, be it the first on its
    /// connection or the next: only connections that stay silent are closed, after a while.
    async fn cleanup(&self) {
        let closed = Instant::now();
        while closed.elapsed() < self.live.linger() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        // both have the same proxy
        ServerApp::cleanup(&*self.http1).await;
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
        let unused = UNUSED.try_with(|unused| unused.replace(false)).unwrap_or(false);
        // on a connection that is used again, the time between two requests comes first
        let idle = session.get_keepalive().filter(|_| !unused).map(Duration::from_secs).unwrap_or_default();
        let deadline = Instant::now() + idle + client.header_timeout;
        session.set_read_timeout(Some(client.header_timeout));
        HEADER_COMPLETE.scope(Cell::new(false), self.serve(session, shutdown, deadline)).await
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
