//! The beginning of every request: its limits, its body, its pool; or why it is refused.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorSource, ErrorType, OrErr, Result};
use pingora_proxy::{FailToProxy, Session};

use super::caller::{Arrival, Chosen, Stopped};
use super::downstream::body::{
    self, BodyError, Limits, Read, TOO_LARGE, TOO_SLOW, UNFRAMED, Unkept, content_length,
};
use super::downstream::gate::is_malformed;
use super::downstream::own_error::{self, Form, OwnError};
use super::keyed;
use crate::config::{Client, HttpVersion};
use crate::fleet::{Fleet, Member};
use crate::forwarded::{Sender, request_id};
use crate::http1::{BAD_HOST, CONNECT, LARGE_HEAD, Rejection, is_host};
use crate::journey::Failure;
use crate::keys::Bearer;
use crate::live::{Live, Share};
use crate::route::{self, Draw, Place};
use crate::trace::Trace;

/// The ways that a request may go.
pub(super) enum Received {
    /// The gateway answers it itself, with this JSON.
    Own(String),
    /// Its body was read whole: the relay serves it.
    Whole { member: Member, place: Place, body: Bytes, share: Option<Share> },
    /// Its body is passed on piece by piece: the relay serves it.
    Unkept { member: Member, place: Place, unkept: Unkept },
    /// It asks for a switch of protocols: Pingora's own path serves it.
    Tunnel { member: Member, place: Place },
}

/// First of all, without any waiting: the limits.
pub(super) fn admit(live: &Live, session: &mut Session, arrival: &mut Arrival) -> Result<()> {
    let fleet = std::sync::Arc::clone(&arrival.caller.fleet);
    let server = &fleet.config.server;
    let client = &server.client;
    session.set_read_timeout(Some(client.body_timeout));
    session.set_write_timeout(Some(client.send_timeout));
    // `set_keepalive` would keep a connection too whose client speaks HTTP/1.0 and waits for its end
    let keeps = session.as_downstream().as_http1().is_none_or(|http1| http1.will_keepalive());
    let keepalive = idle_seconds(client);
    session.set_keepalive((keeps && keepalive > 0 && !live.is_stopping()).then_some(keepalive));
    let peer = peer_of(session.client_addr().and_then(|addr| addr.as_inet()).map(SocketAddr::ip));
    let request = session.req_header();
    let is_http1 = session.as_downstream().as_http1().is_some();
    arrival.caller.request_id = request_id(&request.headers);
    arrival.caller.trace = Trace::of(&request.headers, server.tracing.as_ref());
    let has_tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    let proto = if has_tls { "https" } else { "http" };
    arrival.caller.sender = Some(Sender::of(peer, &request.headers, &server.trusted_proxies, proto));
    arrival.caller.register(live, request.method.as_str(), request.uri.path());
    // over HTTP/1 it was checked before there was a session
    let checked = if is_http1 { Ok(()) } else { check_h2(request, client).map_err(Failure::from) };
    checked.and_then(|()| keyed::admit(live, request, &mut arrival.caller)).map_err(|failure| {
        let (id, Failure { message, status, .. }) = (&arrival.caller.request_id, &failure);
        log::debug!(rid:% = id; "request {id} from {peer}: {message}; it gets {status}");
        refuse(arrival, failure)
    })?;
    if is_http1 { Ok(()) } else { join_cookies(session.req_header_mut()) }
}

/// Over HTTP/2 cookies may come in several fields, over HTTP/1 in one (RFC 9113 section 8.2.3).
fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    let mut cookies = request.headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return Ok(()) };
    let all: Vec<_> = [first, second].into_iter().chain(cookies).map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&all.join(&b"; "[..]));
    request.insert_header(header::COOKIE, joined.or_err(ErrorType::InvalidHTTPHeader, "cookies")?)
}

/// `client.keepalive` in whole seconds, as Pingora counts.
pub(super) fn idle_seconds(client: &Client) -> u64 {
    client.keepalive.as_secs() + u64::from(client.keepalive.subsec_nanos() > 0)
}

/// The peer's address in logs and for nodes.
pub(super) fn peer_of(address: Option<IpAddr>) -> IpAddr {
    address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Checks the header of a request that came over HTTP/2.
fn check_h2(request: &RequestHeader, limits: &Client) -> Result<(), Rejection> {
    let headers = &request.headers;
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > limits.max_header || headers.len() > limits.max_headers {
        return Err(LARGE_HEAD);
    }
    if request.method == Method::CONNECT {
        return Err(CONNECT);
    }
    check_h2_target(request)?;
    if !headers.get_all(header::HOST).iter().all(|host| is_host(host.as_bytes())) {
        return Err(BAD_HOST);
    }
    check_length(content_length(headers), limits)
}

/// Checks the length of a body that a header announces.
pub(super) fn check_length(length: Option<u64>, limits: &Client) -> Result<(), Rejection> {
    if length.is_some_and(|length| length > limits.max_body) { Err(TOO_LARGE) } else { Ok(()) }
}

/// Anything that passes can stand in a request line.
fn check_h2_target(request: &RequestHeader) -> Result<(), Rejection> {
    let target = request.raw_path();
    let is_path = target.starts_with(b"/") || target == b"*" && request.method == Method::OPTIONS;
    if is_path && !target.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r' | b' ')) {
        return Ok(());
    }
    Err(Rejection { status: 400, message: "the request target is not a path" })
}

fn refuse(arrival: &mut Arrival, failure: Failure) -> Box<Error> {
    let status = failure.status;
    arrival.stopped = Stopped::With(failure);
    Error::new(ErrorType::HTTPStatus(status)).into_down()
}

fn client_gone(arrival: &mut Arrival) -> Box<Error> {
    arrival.stopped = Stopped::ClientGone;
    Error::new(ErrorType::ConnectionClosed).into_down()
}

/// Reads the body and finds the pool.
pub(super) async fn receive(live: &Live, session: &mut Session, arrival: &mut Arrival) -> Result<Received> {
    if body::invite(session).await.is_err() {
        return Err(client_gone(arrival));
    }
    let fleet = std::sync::Arc::clone(&arrival.caller.fleet);
    let header = session.req_header();
    let (choice, chosen) = fleet.chosen(header.uri.path(), &header.headers).unzip();
    arrival.caller.chosen = choice.map(|choice| Box::new(Chosen::By(choice)));
    let path = arrival.caller.node_path(header.uri.path());
    let place = place(header, path);
    let key = arrival.caller.bearer.as_deref().map(Bearer::key);
    let is_shown = |model: &str| key.is_none_or(|key| key.may_use(model));
    if let Some(own) = route::own_list(&fleet, chosen, &place, (header.method.as_str(), path), is_shown) {
        return own.map(Received::Own).map_err(|failure| refuse(arrival, failure));
    }
    let only = chosen.or_else(|| if fleet.routes_by_model() { None } else { fleet.route(None) }).cloned();
    // HTTP/2 has no such switch, and whoever cannot make one may ignore that it was asked for (RFC 9110 section 7.8)
    if is_upgrade(session) && !only.as_ref().is_some_and(speaks_http2) {
        keyed::check_model(&arrival.caller, place.named()).map_err(|failure| refuse(arrival, failure))?;
        let member = by_target(session, arrival, only, &place)?;
        if speaks_http2(&member) {
            return Err(refuse(arrival, no_switch()));
        }
        return Ok(Received::Tunnel { member, place });
    }
    let pools = fleet.pools.iter().map(|member| &member.conf.retry);
    let limits = Limits {
        max: fleet.config.server.client.max_body,
        keep: pools.clone().map(|retry| retry.body_limit).max().unwrap_or(0),
        keep_total: pools.map(|retry| retry.body_total).max().unwrap_or(0),
        silence: fleet.config.server.client.body_timeout,
        min_rate: fleet.config.server.client.body_min_rate,
    };
    let client = arrival.caller.sender.as_ref().map_or("", |sender| &sender.client);
    match body::read(session, limits, live, client).await {
        Ok(Read::Kept { body, share }) => {
            let headers = &session.req_header().headers;
            if keyed::needs_model(&arrival.caller) {
                let model = place.asked_alone(&body);
                keyed::check_model(&arrival.caller, model.as_deref()).map_err(|f| refuse(arrival, f))?;
            }
            let lot = &mut arrival.caller.chosen;
            let draw = || draw(&fleet, headers, Some((&place, &body)), lot);
            let member = only.or_else(|| route::by_model(&fleet, &place, &body, None, draw).cloned());
            let member = member.ok_or_else(|| refuse(arrival, route::not_served(place.model(&body))))?;
            let header = session.req_header();
            let model = arrival.caller.split_model(&place, &body, None);
            let path = arrival.caller.node_path(header.uri.path());
            let named = || route::conversation(&place, header.method.as_str(), path, &body).named;
            let member = route::at_home(&fleet, &member, model.as_deref(), named).clone();
            Ok(Received::Whole { member, place, body, share })
        }
        Ok(Read::Unkept(unkept))
            if keyed::needs_model(&arrival.caller)
                || needs_body(only.as_ref()) && place.named().is_none() =>
        {
            Err(refuse(arrival, unroutable(unkept.too_large)))
        }
        // what was read takes up memory until a node has it, and that may be `retry.wait` away
        Ok(Read::Unkept(mut unkept)) => {
            let member = by_target(session, arrival, only, &place)?;
            member.pool.count_unkept_body();
            let gathered = unkept.gather(session).await;
            gathered.map_err(|error| stopped(arrival, error))?;
            Ok(Received::Unkept { member, place, unkept })
        }
        Err(error) => Err(stopped(arrival, error)),
    }
}

fn stopped(arrival: &mut Arrival, error: BodyError) -> Box<Error> {
    match error {
        BodyError::ClientGone => client_gone(arrival),
        BodyError::Failed(failure) => refuse(arrival, failure),
    }
}

pub(super) fn speaks_http2(member: &Member) -> bool {
    member.conf.http_version == HttpVersion::H2
}

/// The answer to a request for a switch of protocols, whose pool cannot make one.
pub(super) fn no_switch() -> Failure {
    Failure::new(501, "the pool's http_version is 2, which has no switch of protocols")
}

/// The model is in the body, and decides the pool, or may have another name there.
fn needs_body(only: Option<&Member>) -> bool {
    only.is_none_or(|member| !member.conf.models.aliases.is_empty())
}

/// The place of the request's model. `path`: as nodes get it.
fn place(header: &RequestHeader, path: &str) -> Place {
    let field = |name| header.headers.get(name).and_then(|value| value.to_str().ok());
    Place::of(path, header.uri.query(), field(header::CONTENT_TYPE), field(header::CONTENT_ENCODING))
}

/// The lot of a request whose model is shared between pools: that of its session, if it has one.
fn draw(
    fleet: &Fleet,
    headers: &HeaderMap,
    body: Option<(&Place, &[u8])>,
    lot: &mut Option<Box<Chosen>>,
) -> Draw {
    let session = fleet.pools.first().and_then(|member| route::session(&member.conf, headers, body));
    let key = session.unwrap_or_else(|| fastrand::u64(..));
    *lot = Some(Box::new(Chosen::Lot(key)));
    Draw { key, now: Instant::now() }
}

/// A body that cannot be read whole does not tell its model: to guess the pool would be worse than to say so.
fn unroutable(too_large: bool) -> Failure {
    if too_large {
        Failure::new(413, "the request body is larger than retry.body_limit, so its model cannot be read")
    } else {
        Failure::new(503, "too many request bodies are kept (retry.body_total)").retry_after(1)
    }
}

/// The pool of a request whose body is not read, and which cannot be routed by its model.
fn by_target(
    session: &Session,
    arrival: &mut Arrival,
    only: Option<Member>,
    place: &Place,
) -> Result<Member> {
    let fleet = std::sync::Arc::clone(&arrival.caller.fleet);
    let lot = &mut arrival.caller.chosen;
    let draw = || draw(&fleet, &session.req_header().headers, None, lot);
    let Some(member) = only.or_else(|| route::by_target(&fleet, place, draw).cloned()) else {
        return Err(refuse(arrival, route::not_served_by_target(place)));
    };
    route::refuse_in_target(&member.conf.models, place).map_err(|failure| refuse(arrival, failure))?;
    Ok(member)
}

/// A switch of protocols is asked for, by whoever is next to the gateway: an Upgrade that Connection does not name came from
/// behind a proxy that does not know of it (RFC 9110 section 7.6.1). `Upgrade: h2c`, which Java's client puts on every first request, is an
/// offer that RFC 9113 section 3.1 has withdrawn; without it, such a request is like any other and may be repeated.
fn is_upgrade(session: &Session) -> bool {
    let protocols = session.req_header().headers.get_all(header::UPGRADE);
    let connection = session.req_header().headers.get_all(header::CONNECTION);
    let mut options = connection.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let is_named = options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    is_named
        && session.is_upgrade_req()
        && !protocols.iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"h2c"))
}

/// The client's connection broke, as opposed to what it said on it.
fn is_client_lost(error: &Error) -> bool {
    let is_known = matches!(error.etype(), ErrorType::InvalidHTTPHeader | ErrorType::ReadTimedout);
    let answerable = is_known || is_malformed(error);
    *error.esource() == ErrorSource::Downstream && !answerable
}

/// The answer to a request that ended within its session, without a node's response.
pub(super) async fn answer_failure(
    session: &mut Session,
    error: &Error,
    arrival: &mut Arrival,
) -> FailToProxy {
    let failure = match &arrival.stopped {
        Stopped::With(failure) => Some(failure.clone()),
        Stopped::ClientGone => None,
        Stopped::No if is_client_lost(error) => None,
        Stopped::No => Some(failure_of(error, &arrival.caller.request_id)),
    };
    let began = session.response_written().is_some_and(|head| !head.status.is_informational());
    let Some(failure) = failure else {
        arrival.stopped = Stopped::ClientGone;
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    };
    if began {
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    }
    let header = session.req_header();
    let form = Form::of(header, arrival.caller.node_path(header.uri.path()));
    let limits = arrival.caller.limits(form.shape);
    let error = OwnError { failure: &failure, request_id: &arrival.caller.request_id, form, limits: &limits };
    let keeps = keyed::keeps(session, &failure).await;
    if own_error::send(session, &error, keeps).await.is_err() {
        arrival.stopped = Stopped::ClientGone;
    }
    FailToProxy { error_code: failure.status, can_reuse_downstream: keeps }
}

fn failure_of(error: &Error, request_id: &str) -> Failure {
    match error.etype() {
        ErrorType::HTTPStatus(code) => Failure::new(*code, "the request cannot be served"),
        _ if *error.esource() == ErrorSource::Downstream => match error.etype() {
            ErrorType::ReadTimedout => TOO_SLOW.into(),
            _ => UNFRAMED.into(),
        },
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => {
            Failure::new(504, "the node did not answer in time")
        }
        _ if *error.esource() == ErrorSource::Upstream => Failure::new(502, "the node broke the connection"),
        _ => {
            log::error!(rid:% = request_id; "request {request_id}: {error}; the client gets 500");
            Failure::new(500, "the gateway failed; its log says why")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_joined_in_their_order() {
        for (fields, joined) in [
            (&[][..], &[][..]),
            (&["a=b"], &["a=b"]),
            (&["a=b", "c=d"], &["a=b; c=d"]),
            (&["a=b", "c=d; e=f", ""], &["a=b; c=d; e=f; "]),
        ] {
            let mut request = RequestHeader::build(Method::GET, b"/", None).expect("a request");
            for field in fields {
                request.append_header(header::COOKIE, *field).expect("a field");
            }
            join_cookies(&mut request).expect("nothing to refuse");
            let cookies: Vec<_> = request.headers.get_all(header::COOKIE).iter().collect();
            assert_eq!(cookies, joined, "{fields:?}");
        }
    }
}
