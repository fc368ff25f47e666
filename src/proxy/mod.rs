//! The gateway as Pingora's `ProxyHttp`: each hook translates, asks a decision and applies the answer.
//!
//! Requests are served by an attempt loop of our own (`relay`), called from `request_filter`. What it does not
//! serve (upgrades, HTTP/2 to the nodes, bodies that are too large to keep) goes Pingora's own way. Both ways get
//! their node from `Gateway::lease`: the one place where a node is chosen. A response that has begun outlives its session:
//! `edge` goes on with what the loop has left in `connection`.

mod acquire;
mod connection;
mod ctx;
mod edge;
mod framing;
mod headers;
mod intake;
mod linger;
mod preface;
mod relay;
mod reply;
pub mod selection;
mod stock;
mod upgrade;
mod upstream;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::l4::ext::TcpKeepalive;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

pub use ctx::Ctx;
pub use edge::Edge;
pub use upstream::{Closing, Upstream};

use crate::config::HttpVersion;
use crate::fleet::Member;
use crate::journal::AccessLogWriter;
use crate::live::Live;
use crate::outcome::Outcome;
use acquire::NoLease;
use intake::{Asked, Way};

/// A host that vanishes without a FIN is noticed, so that no lease hangs for a day. `patience` is how long it may leave
/// data unacknowledged, or take none; Linux measures unanswered keep-alive probes against it too.
pub fn tcp_keepalive(patience: Duration) -> TcpKeepalive {
    TcpKeepalive {
        idle: Duration::from_secs(15),
        interval: Duration::from_secs(5),
        count: 3,
        user_timeout: patience.max(Duration::from_secs(30)),
    }
}

/// The proxy of one process.
#[derive(Clone)]
pub struct Gateway {
    pub live: Arc<Live>,
    log: AccessLogWriter,
    upstream: Arc<Upstream>,
}

impl Gateway {
    pub fn new(live: Arc<Live>, log: AccessLogWriter, upstream: Arc<Upstream>) -> Self {
        Self { live, log, upstream }
    }

    /// The end of a request: its numbers, and its line in the access log.
    fn finish(&self, asked: Asked, bytes_sent: u64, ctx: &mut Ctx) {
        let format = ctx.fleet.config.server.access_log.format;
        let (sender, attempts) = (ctx.sender.take(), std::mem::take(&mut ctx.attempts));
        let entry = intake::entry(asked, bytes_sent, sender, attempts, ctx);
        match &ctx.member {
            Some(member) => member.pool.count_request(entry.status),
            None => self.live.unrouted.lock().count_request(entry.status),
        }
        self.log.write(format, &entry);
        ctx.under_way = None;
    }

    /// Chooses and leases the node of the next attempt. The pool may be another than before, after a reload.
    async fn lease(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Member> {
        let mut member = ctx.member.clone().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        let mut acquired = acquire::acquire(session, ctx, &member).await;
        while let Err(NoLease::Retired) = acquired {
            member = intake::route_again(&self.live, session, ctx).await?;
            acquired = acquire::acquire(session, ctx, &member).await;
        }
        match acquired {
            Ok(lease) => {
                ctx.lease = Some(lease);
                Ok(member)
            }
            Err(NoLease::UseWhatIsHeld | NoLease::Retired) => {
                Error::e_explain(ErrorType::HTTPStatus(502), "no other node is left")
            }
            Err(NoLease::ClientGone) => {
                ctx.client_gone = true;
                Err(Error::new(ErrorType::ConnectionClosed).into_down())
            }
            Err(NoLease::Failed(failure)) => {
                let status = failure.status;
                ctx.failure = Some(failure);
                Err(Error::new(ErrorType::HTTPStatus(status)).into_up())
            }
        }
    }

    fn peer(member: &Member, address: std::net::SocketAddr, is_upgrade: bool) -> HttpPeer {
        let mut peer = HttpPeer::new(address, false, String::new());
        let timeouts = &member.conf.timeouts;
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.total_connection_timeout = Some(timeouts.connect);
        // for Pingora's own path, where one limit applies to each read; the attempt loop has its own
        peer.options.read_timeout = Some(timeouts.read);
        peer.options.write_timeout = Some(timeouts.send);
        peer.options.idle_timeout = Some(timeouts.idle);
        peer.options.tcp_keepalive = Some(tcp_keepalive(timeouts.send));
        if member.conf.http_version == HttpVersion::H2 {
            peer.options.set_http_version(2, 2);
        } else if is_upgrade {
            peer.options.custom_l4 = Some(Arc::new(upgrade::Connector { limit: timeouts.connect }));
            // no connection that another kind of request has left
            peer.group_key = 1;
        }
        peer
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(self.live.fleet())
    }

    /// No modules: nothing is compressed or changed on its way.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        connection::complete_header();
        intake::admit(&self.live, session, ctx)
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        match intake::receive(&self.live, session, ctx).await? {
            Way::Relay => relay::serve(self, session, ctx).await.map(|()| true),
            Way::Stock => Ok(false),
        }
    }

    /// For Pingora's own path; `relay` leases by itself.
    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        let member = self.lease(session, ctx).await?;
        let lease = ctx.lease.as_ref().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        Ok(Box::new(Self::peer(&member, lease.address(), session.is_upgrade_req())))
    }

    fn fail_to_connect(&self, _s: &mut Session, _p: &HttpPeer, ctx: &mut Ctx, e: Box<Error>) -> Box<Error> {
        stock::fail_to_connect(ctx, e)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        header: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        stock::upstream_request(session, header, ctx)
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        stock::request_body(body, end, ctx)
    }

    async fn upstream_response_filter(
        &self,
        _s: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        stock::upstream_response(head, ctx);
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _s: &mut Session,
        body: &mut Option<Bytes>,
        _end: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        match body {
            Some(body) if !body.is_empty() => stock::upstream_body(ctx),
            _ => ctx.progress(Instant::now()),
        }
        Ok(None)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if self.live.is_stopping() {
            session.set_keepalive(None);
        }
        relay::dress(head, ctx)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        e: Box<Error>,
        ctx: &mut Ctx,
        reused: bool,
    ) -> Box<Error> {
        stock::error_while_proxy(session, e, ctx, reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, ctx: &mut Ctx) -> FailToProxy {
        intake::fail(session, e, ctx).await
    }

    async fn logging(&self, session: &mut Session, _e: Option<&Error>, ctx: &mut Ctx) {
        // the rest of the response has taken the request along, and logs it
        if ctx.handed_over {
            return;
        }
        if ctx.lease.is_some() {
            // only Pingora's own path leaves its last attempt open
            let outcome = if ctx.client_gone { Outcome::ClientGone } else { stock::outcome(ctx) };
            ctx.settle(outcome, Instant::now());
        }
        let sent = ctx.answered.map_or(session.body_bytes_sent() as u64, |answered| answered.sent);
        self.finish(intake::asked(session, ctx), sent, ctx);
        if !ctx.client_gone {
            linger::linger(session).await;
        }
    }

    /// What went wrong is said once, by us, in words that name the node and what happens next.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Ctx, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Ctx,
        _error: &Error,
        _context: pingora_proxy::ProxyWarnLogContext,
    ) -> bool {
        true
    }
}
