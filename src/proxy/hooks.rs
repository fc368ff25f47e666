//! `ProxyHttp`: each hook translates, asks for a decision and applies it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use super::caller::{Arrival, Stopped, cancelled};
use super::context::Ctx;
use super::downstream::client::{Presence, Sent};
use super::downstream::http1::Http1;
use super::downstream::http2::Http2;
use super::downstream::inlet::Inlet;
use super::downstream::lent::Connection;
use super::downstream::{linger, own_answer};
use super::finish::{LoggedRequest, Served, finish};
use super::gateway::Gateway;
use super::intake::{self, Received, no_switch, speaks_http2};
use super::relay::request::Request;
use super::relay::seek::{Found, Routed, seek};
use super::relay::{serve_http1, serve_http2};
use super::stock::{Stock, peer};
use crate::classify::dialect::Shape;
use crate::live::UnderWay;
use crate::route;

impl Gateway {
    /// Hands a request over to the relay. Over HTTP/1 the client's connection goes with it, and its own task goes on
    /// when the session has ended. `inlet`: for the rest of its body.
    async fn relay(
        &self,
        session: &mut Session,
        request: Box<Request>,
        inlet: Option<Box<Inlet>>,
    ) -> Result<()> {
        let downstream = session.as_downstream();
        let Some(slot) = Connection::of(downstream) else {
            return serve_http2(self, request, Http2::new(session, inlet)).await;
        };
        let keeps = downstream.as_http1().is_some_and(|http1| http1.will_keepalive());
        let wire = slot.take().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        let limit = request.caller.fleet.config.server.client.send_timeout;
        let client = Http1::new(wire, inlet, request.spoken, keeps, limit);
        slot.leave(Box::pin(serve_http1(self.clone(), request, client)));
        Ok(())
    }
}

/// The client of Pingora's own path. Nobody looks whether it has left: the bytes of a tunnel are not the gateway's to read. But an operator may end
/// its request.
struct Unwatched(Option<Arc<UnderWay>>);

impl Presence for Unwatched {
    fn gone(&mut self) -> impl Future<Output = ()> + Send {
        cancelled(self.0.clone())
    }
}

fn arrival(ctx: &mut Ctx) -> Result<&mut Arrival> {
    ctx.arrival().ok_or_else(|| Error::new(ErrorType::InternalError))
}

fn take_arrival(ctx: &mut Ctx) -> Result<Arrival> {
    match ctx.take() {
        Ctx::Arriving(arrival) => Ok(arrival),
        Ctx::Stock(_) | Ctx::Gone => Err(Error::new(ErrorType::InternalError)),
    }
}

fn stock(ctx: &mut Ctx) -> Result<&mut Stock> {
    match ctx {
        Ctx::Stock(stock) => Ok(stock),
        Ctx::Arriving(_) | Ctx::Gone => Err(Error::new(ErrorType::InternalError)),
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
        if let Some(slot) = Connection::of(session.as_downstream()) {
            slot.set_heard();
        }
        intake::admit(&self.live, session, arrival(ctx)?)
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if let Some(proof) = self.live.challenges.to_request(session.req_header().uri.path()) {
            // before everything else: the ACME server has no key, and no model
            let proof = (own_answer::BYTES, proof);
            own_answer::send(session, &arrival(ctx)?.caller.request_id, Vec::new(), proof).await?;
            return Ok(true);
        }
        match intake::receive(&self.live, session, arrival(ctx)?).await? {
            Received::Own(body) => {
                let (caller, body) = (&arrival(ctx)?.caller, (own_answer::JSON, body));
                own_answer::send(session, &caller.request_id, caller.limits(Shape::OpenAi), body).await?;
                Ok(true)
            }
            Received::Whole { member, place, body, share } => {
                let arrival = take_arrival(ctx)?;
                let raw = session.as_downstream().as_http1().map(|http1| http1.get_headers_raw_bytes());
                let header = session.req_header();
                let body = (body, share);
                let request = Request::new(arrival.caller, header, raw.as_deref(), member, place, body);
                self.relay(session, Box::new(request), None).await.map(|()| true)
            }
            Received::Unkept { member, place, unkept } => {
                let arrival = take_arrival(ctx)?;
                let raw = session.as_downstream().as_http1().map(|http1| http1.get_headers_raw_bytes());
                let header = session.req_header();
                let (request, inlet) =
                    Request::upload(arrival.caller, header, raw.as_deref(), member, place, unkept);
                self.relay(session, Box::new(request), Some(inlet)).await.map(|()| true)
            }
            Received::Tunnel { member, place } => {
                let arrival = take_arrival(ctx)?;
                let header = session.req_header();
                let profile = arrival.caller.profile(&member.conf, &header.headers, None);
                let due = arrival.caller.due(&member.conf, &header.headers);
                let mut stock = Stock::new(arrival, member, place, header.method == Method::POST);
                stock.journey.set_profile(profile);
                stock.journey.set_due(due);
                let (caller, member) = (&stock.arrival.caller, stock.journey.member());
                let other =
                    caller.other_once(member, &stock.place).filter(|other| !speaks_http2(&other.member));
                let other = caller.placed(other, member, &header.headers, None);
                stock.journey.may_spill_to(other);
                let path = stock.arrival.caller.node_path(header.uri.path());
                let method = header.method.as_str();
                stock.journey.converse(route::conversation(&stock.place, method, path, &[]));
                *ctx = Ctx::Stock(Box::new(stock));
                Ok(false)
            }
        }
    }

    /// For Pingora's own path; the relay seeks by itself, in the same place.
    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        let stock = stock(ctx)?;
        let under_way = stock.arrival.caller.under_way().cloned();
        if let Some(address) = stock.other_address() {
            let node = stock.attempt.as_ref().map(|attempt| Arc::clone(attempt.node()));
            let node = node.ok_or_else(|| Error::new(ErrorType::InternalError))?;
            return Ok(Box::new(peer(stock.journey.member(), (&node, address), &stock.tunnel, under_way)));
        }
        let caller = &mut stock.arrival.caller;
        let routed = Routed::Unread { place: &stock.place };
        let mut client = Unwatched(under_way.clone());
        match seek(self, caller, &mut stock.journey, &routed, &mut client).await {
            Found::Attempt(attempt) if caller.is_cancelled() => {
                // it was cancelled while it waited
                stock.attempt = Some(attempt);
                stock.close(true);
                stock.cancelled();
                Err(Error::new(ErrorType::HTTPStatus(403)).into_down())
            }
            // a reload has brought another pool
            Found::Attempt(attempt) if speaks_http2(stock.journey.member()) => {
                stock.attempt = Some(attempt);
                stock.close(true);
                stock.arrival.stopped = Stopped::With(no_switch());
                Err(Error::new(ErrorType::HTTPStatus(501)).into_down())
            }
            Found::Attempt(attempt) => {
                let to = (attempt.node(), attempt.address());
                let peer = peer(stock.journey.member(), to, &stock.tunnel, under_way);
                stock.attempt = Some(attempt);
                Ok(Box::new(peer))
            }
            Found::Stop(ending) => {
                if stock.arrival.caller.is_cancelled() {
                    stock.cancelled();
                } else {
                    stock.refuse(ending);
                }
                let status = stock.failure().map_or(502, |failure| failure.status);
                Err(Error::new(ErrorType::HTTPStatus(status)).into_up())
            }
            Found::Give(never) => match never {},
        }
    }

    fn fail_to_connect(&self, _s: &mut Session, _p: &HttpPeer, ctx: &mut Ctx, e: Box<Error>) -> Box<Error> {
        match stock(ctx) {
            Ok(stock) => stock.fail_to_connect(e),
            Err(_) => e,
        }
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        header: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let has_more_body = !session.as_downstream_mut().is_body_done();
        stock(ctx)?.upstream_request(header, has_more_body)
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        stock(ctx)?.request_body(body, end)
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        stock(ctx)?.upstream_response(head)
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        stock(ctx)?.upstream_body(body.as_ref().is_some_and(|body| !body.is_empty()));
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
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // the tunnel has a limit of its own, for both sides
            session.set_read_timeout(None);
            Connection::of(session.as_downstream()).iter().for_each(|slot| slot.open());
        }
        stock(ctx)?.dress(head, session.req_header().uri.path())
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        _session: &mut Session,
        e: Box<Error>,
        ctx: &mut Ctx,
        _reused: bool,
    ) -> Box<Error> {
        match stock(ctx) {
            Ok(stock) => stock.error_while_proxy(e),
            Err(_) => e,
        }
    }

    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, ctx: &mut Ctx) -> FailToProxy {
        match ctx.arrival() {
            Some(arrival) => intake::answer_failure(session, e, arrival).await,
            // the relay has given its answer
            None => FailToProxy { error_code: 0, can_reuse_downstream: false },
        }
    }

    async fn logging(&self, session: &mut Session, _e: Option<&Error>, ctx: &mut Ctx) {
        let client_left = match ctx.arrival() {
            Some(arrival) => matches!(arrival.stopped, Stopped::ClientGone),
            // the relay ends it
            None => return,
        };
        let asked = LoggedRequest::of(session.req_header());
        let status = session.response_written().map(|head| head.status.as_u16());
        let sent = Sent { status, bytes: session.body_bytes_sent() as u64 };
        match ctx.take() {
            Ctx::Arriving(arrival) => {
                finish(self, arrival.caller, asked, Served::unrouted(sent, client_left))
            }
            Ctx::Stock(mut stock) => {
                stock.close(client_left);
                let Stock { arrival, mut journey, ttft, .. } = *stock;
                // its body, which names the model, is not read
                let call = arrival.caller.call(journey.member(), (&asked.method, &asked.path), None);
                let way = Served::of(&mut journey, call, ttft, sent, client_left);
                finish(self, arrival.caller, asked, way);
            }
            Ctx::Gone => {}
        }
        if !client_left {
            linger::linger(session).await;
        }
    }

    /// Errors are logged once, by the gateway, in words that name the node and the next step.
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
