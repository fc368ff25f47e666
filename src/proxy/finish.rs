//! The end of a request: its numbers, and its line in the access log.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Version, header};
use pingora::http::RequestHeader;

use super::caller::Caller;
use super::downstream::client::Sent;
use super::gateway::Gateway;
use crate::access_log::Entry;
use crate::fleet::Member;
use crate::journal;
use crate::journey::{Journey, Tried, Why};

/// nginx's status for a client that left before it had an answer.
const CLIENT_CLOSED: u16 = 499;

/// The log's fields from a request's header.
pub(super) struct LoggedRequest {
    pub method: String,
    /// Without its query.
    pub path: String,
    protocol: &'static str,
    referer: String,
    user_agent: String,
    forwarded_for: String,
}

/// The log's fields from a request's journey.
pub(super) struct Served<'a> {
    pub pool: Option<&'a Member>,
    /// It is not its own pool: how it got there.
    pub by: Option<&'static str>,
    pub tried: Vec<Tried>,
    pub ttft: Option<Duration>,
    pub queued: Duration,
    pub note: Option<&'static str>,
    pub sent: Sent,
    pub client_left: bool,
}

impl<'a> Served<'a> {
    pub(super) fn of<H>(
        journey: &'a mut Journey<H>,
        ttft: Option<Duration>,
        sent: Sent,
        client_left: bool,
    ) -> Self {
        let tried = journey.take_records();
        let (queued, note) = (journey.queued(), journey.note());
        let by = journey.spilled().map(Why::as_str);
        Self { pool: Some(journey.member()), by, tried, ttft, queued, note, sent, client_left }
    }

    /// Of a request that has not got as far as a pool.
    pub(super) fn unrouted(sent: Sent, client_left: bool) -> Self {
        let tried = Vec::new();
        Self {
            pool: None,
            by: None,
            tried,
            ttft: None,
            queued: Duration::ZERO,
            note: None,
            sent,
            client_left,
        }
    }
}

impl LoggedRequest {
    pub(super) fn of(request: &RequestHeader) -> Self {
        let headers = &request.headers;
        let protocol = match request.version {
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        let mut referer = text(headers, &header::REFERER);
        if let Some(query) = referer.find(['?', '#']) {
            referer.truncate(query);
        }
        Self {
            method: request.method.as_str().to_owned(),
            path: request.uri.path().to_owned(),
            protocol,
            referer,
            user_agent: text(headers, &header::USER_AGENT),
            forwarded_for: text(headers, &header::HeaderName::from_static("x-forwarded-for")),
        }
    }
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> String {
    let value = headers.get(name).map(header::HeaderValue::as_bytes).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

/// Counts the request, and writes its line.
pub(super) fn finish(gateway: &Gateway, caller: Caller, asked: LoggedRequest, way: Served<'_>) {
    let status = way.sent.status.filter(|status| *status >= 200 || *status == 101).unwrap_or(CLIENT_CLOSED);
    match way.pool {
        Some(member) => member.pool.count_request(status),
        None => gateway.live.unrouted.lock().count_request(status),
    }
    let format = caller.fleet.config.server.access_log.format;
    let entry = Entry {
        client: caller.sender.map(|sender| sender.client),
        at: journal::now(),
        method: asked.method,
        path: asked.path,
        protocol: asked.protocol,
        status,
        bytes_sent: way.sent.bytes,
        referer: asked.referer,
        user_agent: asked.user_agent,
        forwarded_for: asked.forwarded_for,
        pool: way.pool.map(|member| Arc::clone(member.pool.name())),
        by: way.by,
        attempts: way.tried,
        ttft: way.ttft,
        total: caller.started.elapsed(),
        queue: if way.queued < Duration::from_micros(500) { Duration::ZERO } else { way.queued },
        request_id: caller.request_id,
        note: if way.client_left { Some("the client left") } else { way.note },
    };
    gateway.log.write(format, &entry);
}
