//! Requests over HTTP/1 that are refused for their head: no session reads them, but they leave the same traces as any other.

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue, ORIGIN, REFERER, USER_AGENT};
use pingora::http::RequestHeader;
use pingora::protocols::Stream;

use super::caller::{Arrival, Caller};
use super::downstream::client::{Client, Sent};
use super::downstream::http1::Http1;
use super::downstream::own_error::{Form, OwnError};
use super::downstream::wire::Wire;
use super::finish::{LoggedRequest, Served, finish};
use super::gateway::Gateway;
use super::intake::peer_of;
use crate::forwarded::{Sender, X_REQUEST_ID, request_id};
use crate::http1::{Rejection, ReplyTo, parts_of_head};
use crate::journey::Failure;
use crate::trace::{TRACEPARENT, Trace};

/// The status of a header that does not come within `client.header_timeout`. Nobody gets it, as with nginx: a client that
/// is as slow would not read it.
const TOO_SLOW: u16 = 408;

/// Answers a request that is refused for its head, which is among the unread bytes, and closes the connection.
pub(super) async fn refuse(gateway: &Gateway, wire: Wire, refusal: Rejection) {
    let Refused { caller, asked, form, spoken } = Refused::of(gateway, &wire);
    let id = caller.request_id.clone();
    log::debug!(rid:% = id; "request {id}: {}; it gets {}", refusal.message, refusal.status);
    let limit = caller.fleet.config.server.client.send_timeout;
    let mut client = Http1::new(wire, None, spoken, false, limit);
    let failure = Failure::from(refusal);
    let answered = client.refuse(&OwnError { failure: &failure, request_id: &id, form, limits: &[] }).await;
    finish(gateway, caller, asked, Served::unrouted(client.sent(), answered.is_err()));
    if answered.is_ok() {
        client.linger().await;
    }
}

/// Closes the connection of a client that takes too long for its header.
pub(super) fn give_up(gateway: &Gateway, wire: &Wire) {
    log::debug!("a client took longer than client.header_timeout for its header; its connection is closed");
    if wire.unread().is_empty() {
        return;
    }
    let Refused { caller, asked, .. } = Refused::of(gateway, wire);
    let sent = Sent { status: Some(TOO_SLOW), bytes: 0 };
    finish(gateway, caller, asked, Served::unrouted(sent, false));
}

/// As much of a refused request as can be told.
struct Refused {
    caller: Caller,
    asked: LoggedRequest,
    form: Form,
    spoken: ReplyTo,
}

impl Refused {
    fn of(gateway: &Gateway, wire: &Wire) -> Self {
        let Arrival { mut caller, .. } = Arrival::new(gateway.live.fleet());
        let (header, is_readable) = header_of(wire.unread());
        let server = &Arc::clone(&caller.fleet).config.server;
        let peer = peer_of(peer_address(wire.stream()));
        caller.request_id = request_id(&header.headers);
        caller.trace = Trace::of(&header.headers, server.tracing.as_ref());
        caller.sender = Some(Sender::of(peer, &header.headers, &server.trusted_proxies, "http"));
        let mut asked = LoggedRequest::of(&header);
        if !is_readable {
            // it may be anything, a secret for instance
            (asked.method, asked.path) = ("-".to_owned(), "-".to_owned());
        }
        caller.register(&gateway.live, &asked.method, &asked.path);
        let spoken = ReplyTo {
            is_head: header.method == http::Method::HEAD,
            is_http10: header.version == http::Version::HTTP_10,
        };
        Self { caller, asked, form: Form::of(&header, header.uri.path()), spoken }
    }
}

fn peer_address(stream: &Stream) -> Option<std::net::IpAddr> {
    let digest = stream.get_socket_digest()?;
    digest.peer_addr()?.as_inet().map(std::net::SocketAddr::ip)
}

/// The request line, if it is one, and the fields that are of use here, from a head that may be broken or not whole.
fn header_of(head: &[u8]) -> (RequestHeader, bool) {
    let (line, fields) = parts_of_head(head);
    let built = line.and_then(|(method, target, is_old)| {
        let mut header = RequestHeader::build(method, target, None).ok()?;
        header.set_version(if is_old { http::Version::HTTP_10 } else { http::Version::HTTP_11 });
        Some(header)
    });
    let is_readable = built.is_some();
    let mut header = built.unwrap_or_else(|| http::Request::new(()).into_parts().0.into());
    let of_use = [
        ORIGIN,
        REFERER,
        USER_AGENT,
        HeaderName::from_static("x-forwarded-for"),
        HeaderName::from_static("x-forwarded-proto"),
        HeaderName::from_static(TRACEPARENT),
    ];
    for (name, value) in fields {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let known = of_use.iter().find(|known| is(known.as_str())).cloned();
        let known = known.or_else(|| is(X_REQUEST_ID).then(|| HeaderName::from_static("x-request-id")));
        if let (Some(name), Ok(value)) = (known, HeaderValue::from_bytes(value)) {
            // a name that is known has a place
            let _ = header.append_header(name, value);
        }
    }
    (header, is_readable)
}
