//! A client's connection from its first byte to its end: one request after another, and limits.
//!
//! Over HTTP/1 the gateway reads and checks each head itself, and Pingora's session gets what has passed: it would refuse some
//! heads without a trace, and limits the time of each read, so that a client which sends a byte now and then may stay for ever.
//! Here the header as a whole has a deadline.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::protocols::{ALPN, Stream};
use pingora::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::downstream::lent::Connection;
use super::downstream::preface::{self, Speaks};
use super::downstream::wire::Wire;
use super::gateway::Gateway;
use super::intake::{check_length, idle_seconds};
use super::limit::within;
use super::refuse::{give_up, refuse};
use crate::config::Client;
use crate::http1::{HeadLimits, HeadReader, Rejection, RequestHead};
use crate::live::Live;
use crate::tls::{self, NoTls};

/// Interval at which a stop checks its time for silent connections.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// An HTTP/2 connection stays open at least this long between two requests: it has no other way to say that it ends.
const H2_IDLE_MIN: Duration = Duration::from_secs(1);

/// The answer to a request without TLS where there is TLS (nginx: 400, "The plain HTTP request was sent to HTTPS port").
const NEEDS_TLS: Rejection = Rejection { status: 400, message: "this port speaks TLS; use https://" };

/// The answer to a head that has passed, and that Pingora does not read.
const UNREADABLE: Rejection = Rejection { status: 400, message: "the request header cannot be read" };

/// The application that listeners hand their connections to.
pub struct Edge {
    live: Arc<Live>,
    requests: Arc<Requests>,
    /// The most connections at one time, whatever the config says.
    connections_max: usize,
}

/// The proxy: its sessions begin with a head that has been checked, and end once the request has been read.
struct Requests {
    gateway: Gateway,
    proxy: Arc<HttpProxy<Gateway>>,
    options: HttpServerOptions,
    /// True once connections without a request are to be closed.
    closing: watch::Sender<bool>,
}

/// The end of the wait for a request.
enum Next {
    Head(RequestHead),
    Refused(Rejection),
    /// The header has begun, and not come to its end in time.
    TooSlow,
    /// The client has left, was silent for as long as it may, or the process stops.
    Nothing,
}

impl Edge {
    pub fn new(gateway: Gateway, mut proxy: HttpProxy<Gateway>, connections_max: usize) -> Self {
        let live = Arc::clone(&gateway.live);
        // Pingora would refuse CONNECT without a trace; the gateway does it itself
        let mut options = HttpServerOptions::default();
        options.allow_connect_method_proxying = true;
        proxy.server_options = Some(options);
        let (options, closing) = (HttpServerOptions::default(), watch::Sender::new(false));
        let requests = Arc::new(Requests { gateway, proxy: Arc::new(proxy), options, closing });
        Self { live, requests, connections_max }
    }

    /// The connection after its handshake, if it has one, and the protocol that is spoken on it.
    async fn open(&self, stream: Stream) -> Option<(Connection, Speaks)> {
        let tls = self.live.material.load().tls.of(&stream);
        let Some(tls) = tls else {
            let slot = Connection::new(stream);
            let speaks = preface::detect(&slot).await?;
            return Some((slot, speaks));
        };
        match Box::pin(tls::accept(&tls, &self.live.challenges, stream)).await {
            Ok(stream) => {
                let agreed = stream.selected_alpn_proto();
                let slot = Connection::new(stream);
                let speaks = match agreed {
                    Some(ALPN::H1) => Speaks::Http1,
                    _ => preface::detect(&slot).await?,
                };
                // one that has agreed on HTTP/2 and then speaks something else is left alone (RFC 9113 section 3.4)
                (agreed != Some(ALPN::H2) || speaks == Speaks::Http2).then_some((slot, speaks))
            }
            Err(NoTls::Plain(stream)) => {
                refuse(&self.requests.gateway, Wire::new(stream), NEEDS_TLS).await;
                None
            }
            Err(NoTls::Gone | NoTls::Proven) => None,
            Err(NoTls::Failed(error)) => {
                self.live.failed_handshakes.fetch_add(1, Ordering::Relaxed);
                log::debug!("a client's TLS handshake failed: {error}");
                None
            }
        }
    }

    /// For one HTTP/2 connection: its idle time comes from the config that is in use when it begins.
    fn requests_over_h2(&self, client: &Client) -> Arc<Requests> {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(client.keepalive.max(H2_IDLE_MIN));
        let Requests { gateway, proxy, closing, .. } = &*self.requests;
        let (gateway, closing) = (gateway.clone(), closing.clone());
        Arc::new(Requests { gateway, proxy: Arc::clone(proxy), options, closing })
    }
}

#[async_trait]
impl ServerApp for Edge {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let client = self.live.fleet().config.server.client.clone();
        let limit = client.max_connections.min(self.connections_max);
        let Some(_open) = self.live.connections.try_add(1, limit as u64) else {
            if self.live.refused_connections.fetch_add(1, Ordering::Relaxed) == 0 {
                log::warn!(
                    "client.max_connections reached ({limit}): further connections are closed at once"
                );
            }
            return None;
        };
        let header_by = Instant::now() + client.header_timeout;
        let Ok(opened) = timeout_at(header_by, self.open(stream)).await else {
            log::debug!("a client took longer than client.header_timeout; its connection is closed");
            return None;
        };
        let (slot, speaks) = opened?;
        if speaks == Speaks::Http2 {
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
        self.requests.closing.send_replace(true);
        ServerApp::cleanup(&*self.requests).await;
    }
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
        let mut stream: Stream = Box::new(slot.lend());
        let mut closing = self.closing.subscribe();
        let mut header_by = Some(header_by);
        loop {
            let head = match self.next(&slot, header_by.take(), &mut closing).await {
                Next::Head(head) => head,
                Next::Refused(refusal) => return self.refuse(&slot, refusal).await,
                Next::TooSlow => return slot.take().iter().for_each(|wire| give_up(&self.gateway, wire)),
                Next::Nothing => return,
            };
            let mut session = ServerSession::new_http1(stream);
            session.set_pipelined_prefix(slot.begin(head));
            let served = self.proxy.process_new_http(session, shutdown).await;
            if let Some(sequel) = slot.sequel() {
                let Some(wire) = sequel.await else { return };
                slot.put(wire);
                // a session that has not read the whole body gives none back
                let lent = served.map(ReusedHttpStream::consume).map(|(lent, _)| lent);
                stream = lent.unwrap_or_else(|| Box::new(slot.lend()));
                if slot.is_settled() {
                    continue;
                }
                return;
            }
            if !slot.is_heard() && !*closing.borrow() {
                return self.refuse(&slot, UNREADABLE).await;
            }
            let Some((lent, _)) = served.map(ReusedHttpStream::consume).filter(|_| slot.is_settled()) else {
                return;
            };
            stream = lent;
        }
    }

    /// Waits for a request and reads its head.
    async fn next(
        &self,
        slot: &Connection,
        header_by: Option<Instant>,
        closing: &mut watch::Receiver<bool>,
    ) -> Next {
        tokio::select! {
            biased;
            next = self.head(slot, header_by) => next,
            _ = closing.wait_for(|closing| *closing) => Next::Nothing,
        }
    }

    async fn head(&self, slot: &Connection, header_by: Option<Instant>) -> Next {
        if header_by.is_none() {
            // on a connection that is used again, the time between two requests comes first
            let idle = idle_seconds(&self.gateway.live.fleet().config.server.client);
            let some = poll_fn(|cx| slot.poll(|wire| wire.poll_some(cx)));
            if !matches!(timeout(Duration::from_secs(idle), some).await, Ok(Ok(()))) {
                return Next::Nothing;
            }
        }
        let fleet = self.gateway.live.fleet();
        let client = &fleet.config.server.client;
        let limits = HeadLimits { bytes: client.max_header, fields: client.max_headers };
        let mut reader = HeadReader::default();
        let mut head = pin!(poll_fn(|cx| slot.poll(|wire| wire.poll_head(cx, &mut reader, limits))));
        let read = match header_by {
            Some(by) => timeout_at(by, head).await.ok(),
            None => within(client.header_timeout, head.as_mut()).await,
        };
        match read {
            Some(Ok(Ok(head))) => match check_length(head.framing.length(), client) {
                Ok(()) => Next::Head(head),
                Err(refusal) => Next::Refused(refusal),
            },
            Some(Ok(Err(refusal))) => Next::Refused(refusal),
            Some(Err(_)) => Next::Nothing,
            None => Next::TooSlow,
        }
    }

    async fn refuse(&self, slot: &Connection, refusal: Rejection) {
        if let Some(wire) = slot.take() {
            refuse(&self.gateway, wire, refusal).await;
        }
    }
}
