//! Limits on connections: how many there may be, and how long a request's header may take.
//!
//! Pingora limits the time of each read, so that a client which sends a byte now and then may stay for ever. Here the
//! header as a whole has a deadline.

use std::cell::Cell;
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
use tokio::time::{Instant, sleep_until};

use super::Gateway;
use super::preface::{self, Speaks};
use crate::config::Client;
use crate::live::Live;

/// An HTTP/2 connection has so long for its first request, and between two, even where connections are not kept.
const HTTP2_IDLE_MIN: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// The HTTP/1 connection that this task serves.
    static CONNECTION: Connection;
}

#[derive(Default)]
struct Connection {
    /// It has had a request before this one.
    used: Cell<bool>,
    /// The header of its present request has been read.
    header_complete: Cell<bool>,
}

/// The header of the request that this task serves has been read.
pub fn header_is_complete() {
    let _ = CONNECTION.try_with(|connection| connection.header_complete.set(true));
}

/// The application that listeners hand their connections to.
pub struct Edge {
    live: Arc<Live>,
    http1: Arc<Requests>,
}

/// The proxy, with a deadline on each request's header.
struct Requests {
    live: Arc<Live>,
    proxy: Arc<HttpProxy<Gateway>>,
    options: HttpServerOptions,
}

impl Edge {
    pub fn new(live: Arc<Live>, proxy: HttpProxy<Gateway>) -> Self {
        let options = HttpServerOptions::default();
        let http1 = Requests { live: Arc::clone(&live), proxy: Arc::new(proxy), options };
        Self { http1: Arc::new(http1), live }
    }

    /// For one HTTP/2 connection: its idle time is that of the config in use when it begins.
    fn http2(&self, client: &Client) -> Arc<Requests> {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(client.keepalive.max(HTTP2_IDLE_MIN));
        let Requests { live, proxy, .. } = &*self.http1;
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
        let first = tokio::time::timeout(client.header_timeout, preface::detect(stream));
        match first.await.ok().flatten()? {
            (stream, Speaks::Http1) => {
                let served = ServerApp::process_new(&self.http1, stream, shutdown);
                CONNECTION.scope(Connection::default(), served).await
            }
            (stream, Speaks::Http2) => ServerApp::process_new(&self.http2(&client), stream, shutdown).await,
        }
    }

    async fn cleanup(&self) {
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
        let used = CONNECTION.with(|connection| {
            connection.header_complete.set(false);
            connection.used.replace(true)
        });
        // on a connection that is used again, the time between two requests comes first
        let idle = if used { client.keepalive } else { Duration::ZERO };
        let deadline = Instant::now() + idle + client.header_timeout;
        if !used {
            session.set_keepalive(Some(client.header_timeout.as_secs().max(1)));
        }
        let mut served = self.proxy.process_new_http(session, shutdown);
        tokio::select! {
            biased;
            connection = &mut served => return connection,
            () = sleep_until(deadline) => {}
        }
        if CONNECTION.with(|connection| connection.header_complete.get()) {
            return served.await;
        }
        log::debug!(
            "a client took longer than client.header_timeout for its header; its connection is closed"
        );
        None
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
