//! Limits on connections: how many there may be, and how long a request's header may take.
//!
//! Pingora limits the time of each read, so that a client which sends a byte now and then may stay for ever; and before
//! that it waits, without any limit, for as many bytes as the preface of HTTP/2 has, which a short HTTP/1.0 request
//! never sends. Here the header as a whole has a deadline, and a connection is HTTP/1 as soon as its first bytes differ
//! from the preface.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Gateway;
use crate::config::Client;
use crate::live::Live;

/// How an HTTP/2 connection begins (RFC 9113 section 3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

tokio::task_local! {
    static CONNECTION: Connection;
}

/// What is known of the HTTP/1 connection that this task serves.
struct Connection {
    /// The first request's header must be complete by then; `None` once that request is read.
    first_header_by: Cell<Option<Instant>>,
    /// The header of the present request has been read.
    header_complete: Cell<bool>,
}

/// The header of the request that this task serves has been read.
pub fn header_is_complete() {
    let _ = CONNECTION.try_with(|connection| connection.header_complete.set(true));
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
        options.h2_idle_timeout = Some(client.keepalive.max(client.header_timeout.min(H2_IDLE_MIN)));
        let Requests { live, proxy, .. } = &*self.requests;
        Arc::new(Requests { live: Arc::clone(live), proxy: Arc::clone(proxy), options })
    }
}

/// An HTTP/2 connection is given so long for its first request, even where connections are not kept.
const H2_IDLE_MIN: Duration = Duration::from_secs(5);

#[async_trait]
impl ServerApp for Edge {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
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
        let h2 = match timeout_at(header_by, speaks_h2(&mut stream)).await {
            Ok(Ok(h2)) => h2,
            Ok(Err(_)) => return None,
            Err(_) => {
                say_too_slow();
                return None;
            }
        };
        if h2 {
            return ServerApp::process_new(&self.requests_over_h2(&client), stream, shutdown).await;
        }
        let connection =
            Connection { first_header_by: Cell::new(Some(header_by)), header_complete: Cell::new(false) };
        CONNECTION.scope(connection, ServerApp::process_new(&self.requests, stream, shutdown)).await
    }

    async fn cleanup(&self) {
        ServerApp::cleanup(&*self.requests).await;
    }
}

/// Looks at no more bytes than it takes to tell; with TLS the handshake has told.
async fn speaks_h2(stream: &mut Stream) -> io::Result<bool> {
    if stream.get_ssl_digest().is_some() {
        return Ok(matches!(stream.selected_alpn_proto(), Some(ALPN::H2)));
    }
    let mut seen = [0; PREFACE.len()];
    for length in 1..=PREFACE.len() {
        let is_peeked = stream.try_peek(&mut seen[..length]).await?;
        if !is_peeked || seen[..length] != PREFACE[..length] {
            return Ok(false);
        }
    }
    Ok(true)
}

fn say_too_slow() {
    log::debug!("a client took longer than client.header_timeout for its header; its connection is closed");
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
        session.set_read_timeout(Some(client.header_timeout));
        let first = CONNECTION.try_with(|connection| {
            connection.header_complete.set(false);
            connection.first_header_by.take()
        });
        let deadline = first.ok().flatten().unwrap_or_else(|| {
            // on a connection that is used again, the time between two requests comes first
            let idle = session.get_keepalive().map(Duration::from_secs).unwrap_or_default();
            Instant::now() + idle + client.header_timeout
        });
        self.serve(session, shutdown, deadline).await
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
        if CONNECTION.try_with(|connection| connection.header_complete.get()).unwrap_or(true) {
            return served.await;
        }
        say_too_slow();
        None
    }
}
