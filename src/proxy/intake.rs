//! The beginning and the end of every request: limits, route, body; failure and log entry.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Version, header};
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, Session};

use super::ctx::Ctx;
use super::framing::BODY_TOO_SLOW;
use super::headers::{self, Sender};
use super::relay::body::{self, Limits, Read, ReadError};
use super::reply::{self, Failure};
use super::{framing, headers::request_id};
use crate::access_log::{Attempt, Entry};
use crate::classify;
use crate::config::HttpVersion;
use crate::fleet::Member;
use crate::journal;
use crate::live::Live;

/// nginx's status for a client that left before it had an answer.
const CLIENT_CLOSED: u16 = 499;

const NOT_SERVED: &str = "no pool serves this model; see `models` in the configuration";

/// Which of the two ways a request goes.
pub enum Way {
    /// The attempt loop of our own.
    Relay,
    /// Pingora's own path.
    Stock,
}

/// First of all, without any waiting: the limits.
pub fn admit(live: &Live, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
    ctx.under_way = Some(live.requests.add(1));
    let server = &ctx.fleet.config.server;
    let client = &server.client;
    session.set_read_timeout(Some(client.body_timeout));
    session.set_write_timeout(Some(client.send_timeout));
    // `set_keepalive` would keep a connection too whose client speaks HTTP/1.0 and waits for its end
    let keeps = session.as_downstream().as_http1().is_none_or(|http1| http1.will_keepalive());
    // Pingora counts in seconds
    let keepalive = client.keepalive.as_secs() + u64::from(client.keepalive.subsec_nanos() > 0);
    session.set_keepalive((keeps && keepalive > 0 && !live.is_stopping()).then_some(keepalive));
    session.as_downstream_mut().set_pipelining_enabled(true);
    let peer = session.client_addr().and_then(|addr| addr.as_inet()).map(|addr| addr.ip());
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let request = session.req_header();
    ctx.request_id = request_id(&request.headers);
    ctx.sender = Some(Sender::of(peer, &request.headers, &server.trusted_proxies, "http"));
    let raw = session.as_downstream().as_http1().map(|http1| http1.get_headers_raw_bytes());
    framing::check(request, raw.as_deref(), client).map_err(|rejection| {
        log::debug!(
            "request {} from {peer}: {}; it gets {}",
            ctx.request_id,
            rejection.message,
            rejection.status
        );
        refuse(ctx, rejection.into())
    })
}

fn refuse(ctx: &mut Ctx, failure: Failure) -> Box<Error> {
    let status = failure.status;
    ctx.failure = Some(failure);
    Error::new(ErrorType::HTTPStatus(status)).into_down()
}

fn client_gone(ctx: &mut Ctx) -> Box<Error> {
    ctx.client_gone = true;
    Error::new(ErrorType::ConnectionClosed).into_down()
}

/// Reads the body and finds the pool.
pub async fn receive(live: &Live, session: &mut Session, ctx: &mut Ctx) -> Result<Way> {
    if body::invite(session).await.is_err() {
        return Err(client_gone(ctx));
    }
    ctx.is_work = session.req_header().method == Method::POST;
    let only = if ctx.fleet.routes_by_model() { None } else { ctx.fleet.route(None).cloned() };
    if is_upgrade(session) || only.as_ref().is_some_and(|member| member.conf.http_version == HttpVersion::H2)
    {
        return stock(ctx);
    }
    let pools = ctx.fleet.pools.iter().map(|member| &member.conf.retry);
    let limits = Limits {
        max: ctx.fleet.config.server.client.max_body,
        keep: pools.clone().map(|retry| retry.body_limit).max().unwrap_or(0),
        keep_total: pools.map(|retry| retry.body_total).max().unwrap_or(0),
        silence: ctx.fleet.config.server.client.body_timeout,
    };
    match body::read(session, limits, &live.kept_bytes).await {
        Ok(Read::Kept { body, share }) => {
            ctx.body_share = share;
            route_whole(session, ctx, body, only)
        }
        Ok(Read::Unkept { too_large, .. }) if only.is_none() => Err(refuse(ctx, unroutable(too_large))),
        Ok(Read::Unkept { start, share, .. }) => {
            // what was read takes up memory until a node has it, and that may be `retry.wait` away
            ctx.unkept = Some(start);
            ctx.body_share = share;
            let way = stock(ctx)?;
            ctx.member.iter().for_each(|member| member.pool.count_unkept_body());
            Ok(way)
        }
        Err(ReadError::ClientGone) => Err(client_gone(ctx)),
        Err(ReadError::Failed(failure)) => Err(refuse(ctx, failure)),
    }
}

/// A body that cannot be read whole does not tell its model: to guess the pool would be worse than to say so.
fn unroutable(too_large: bool) -> Failure {
    if too_large {
        Failure::new(413, "the request body is larger than retry.body_limit, so its model cannot be read")
    } else {
        Failure::new(503, "too many request bodies are kept (retry.body_total)").retry_after(1)
    }
}

fn route_whole(session: &Session, ctx: &mut Ctx, body: Bytes, only: Option<Member>) -> Result<Way> {
    let model = if only.is_some() { None } else { model_of(&body) };
    let Some(member) = only.or_else(|| ctx.fleet.route(model.as_deref()).cloned()) else {
        return Err(refuse(ctx, Failure::new(404, NOT_SERVED)));
    };
    ctx.repeatable = is_repeatable(session, &member);
    ctx.member = Some(member);
    ctx.body = Some(body);
    Ok(Way::Relay)
}

/// Another pool for a request that needs a node and whose pool a reload took away.
pub async fn route_again(live: &Live, session: &Session, ctx: &mut Ctx) -> Result<Member> {
    let fleet = live.fleet();
    let model = ctx.body.as_deref().and_then(model_of);
    let Some(member) = fleet.route(model.as_deref()).cloned() else {
        return Err(refuse(ctx, Failure::new(404, NOT_SERVED)));
    };
    if ctx.body.is_some() && member.conf.http_version == HttpVersion::H2 {
        let message = "a reload moved the request to a pool that speaks HTTP/2; send it again";
        return Err(refuse(ctx, Failure::new(503, message).retry_after(1)));
    }
    ctx.repeatable = is_repeatable(session, &member);
    ctx.move_to(fleet, member.clone());
    Ok(member)
}

/// Pingora's own path, for what cannot be routed by its model.
fn stock(ctx: &mut Ctx) -> Result<Way> {
    let Some(member) = ctx.fleet.route(None).cloned() else {
        let message = "a request of this kind cannot be routed by its model, and no pool has the model `*`";
        return Err(refuse(ctx, Failure::new(404, message)));
    };
    ctx.member = Some(member);
    Ok(Way::Stock)
}

/// Whether a switch of protocols is asked for. `Upgrade: h2c`, which Java's client puts on every first request, is an
/// offer that RFC 9113 section 3.1 has withdrawn; without it, such a request is like any other and may be repeated.
pub fn is_upgrade(session: &Session) -> bool {
    let protocols = session.req_header().headers.get_all(header::UPGRADE);
    session.is_upgrade_req() && !protocols.iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"h2c"))
}

/// Whether a node may see the request twice.
pub fn is_repeatable(session: &Session, member: &Member) -> bool {
    let request = session.req_header();
    classify::is_repeatable(request.method.as_str(), request.uri.path(), &member.conf.retry.methods)
}

/// The `model` of a JSON body, without building the rest.
fn model_of(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        model: Option<String>,
    }
    serde_json::from_slice::<Named>(body).ok()?.model
}

/// The client's connection broke, as opposed to what it said on it.
pub fn is_client_lost(error: &Error) -> bool {
    let answerable = matches!(error.etype(), ErrorType::InvalidHTTPHeader | ErrorType::ReadTimedout);
    *error.esource() == ErrorSource::Downstream && !answerable
}

/// The answer to a request that ended without a node's response.
pub async fn fail(session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
    let gone = ctx.client_gone || ctx.failure.is_none() && is_client_lost(error);
    let began = ctx.answered.is_some()
        || session.response_written().is_some_and(|head| !head.status.is_informational());
    if gone || began {
        ctx.client_gone = gone;
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    }
    let failure = ctx.failure.clone().unwrap_or_else(|| match error.etype() {
        ErrorType::HTTPStatus(code) => Failure::new(*code, "the request cannot be served"),
        _ if *error.esource() == ErrorSource::Downstream => match error.etype() {
            ErrorType::ReadTimedout => BODY_TOO_SLOW.into(),
            _ => Failure::new(400, "the request is not framed as HTTP demands"),
        },
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => {
            Failure::new(504, "the node did not answer in time")
        }
        _ if *error.esource() == ErrorSource::Upstream => Failure::new(502, "the node broke the connection"),
        _ => {
            log::error!("request {}: {error}; the client gets 500", ctx.request_id);
            Failure::new(500, "the gateway failed; its log says why")
        }
    });
    if reply::send(session, &failure, &ctx.request_id).await.is_err() {
        ctx.client_gone = true;
    }
    FailToProxy { error_code: failure.status, can_reuse_downstream: false }
}

/// What the access log says of the request and of the response's head.
pub struct Asked {
    method: Method,
    path: String,
    protocol: &'static str,
    status: u16,
    referer: String,
    user_agent: String,
    forwarded_for: String,
}

pub fn asked(session: &Session, ctx: &Ctx) -> Asked {
    let request = session.req_header();
    let text = |name: &header::HeaderName| {
        let value = request.headers.get(name).map(header::HeaderValue::as_bytes).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    };
    let by_session = || session.response_written().map_or(0, |head| head.status.as_u16());
    let status = ctx.answered.map_or_else(by_session, |answered| answered.status);
    let protocol = match request.version {
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    Asked {
        method: request.method.clone(),
        path: request.uri.path().to_owned(),
        protocol,
        status: if status < 200 && status != 101 { CLIENT_CLOSED } else { status },
        referer: text(&header::REFERER).split(['?', '#']).next().unwrap_or_default().to_owned(),
        user_agent: text(&header::USER_AGENT),
        forwarded_for: text(&header::HeaderName::from_static("x-forwarded-for")),
    }
}

/// What the access log says of the request at its end.
pub fn entry(
    asked: Asked,
    bytes_sent: u64,
    sender: Option<Sender>,
    attempts: Vec<Attempt>,
    ctx: &Ctx,
) -> Entry {
    Entry {
        client: sender.map(|sender| sender.client),
        at: journal::now(),
        method: asked.method.to_string(),
        path: asked.path,
        protocol: asked.protocol,
        status: asked.status,
        bytes_sent,
        referer: asked.referer,
        user_agent: asked.user_agent,
        forwarded_for: asked.forwarded_for,
        pool: ctx.member.as_ref().map(|member| Arc::clone(member.pool.name())),
        attempts,
        ttft: ctx.ttft,
        total: ctx.started.elapsed(),
        queue: if ctx.queued < Duration::from_micros(500) { Duration::ZERO } else { ctx.queued },
        request_id: ctx.request_id.clone(),
        note: if ctx.client_gone { Some("the client left") } else { ctx.note },
    }
}

/// Adds what a node is told, on Pingora's own path.
pub fn introduce(header: &mut pingora::http::RequestHeader, ctx: &Ctx) -> Result<()> {
    let told = ctx.sender.as_ref().map(|sender| headers::introduction(sender, &ctx.request_id));
    told.into_iter().flatten().try_for_each(|(name, value)| header.insert_header(name, value))
}
