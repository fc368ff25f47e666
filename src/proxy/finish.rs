//! The end of a request: its numbers, its line in the access log, and its spans.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Version, header};
use pingora::http::RequestHeader;

use super::caller::Caller;
use super::downstream::client::Sent;
use super::gateway::Gateway;
use crate::access_log::Entry;
use crate::config::Class;
use crate::fleet::{Call, Finished, Member, NodeId};
use crate::journal;
use crate::journey::{CANCELLED, Journey, Tally, Tried};
use crate::spans::Ended;
use crate::trace::Parent;

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
    /// The id of its client's trace, if that is sampled.
    trace: Option<u128>,
}

/// The numbers of a request's journey.
pub(super) struct Served<'a> {
    pub pool: Option<&'a Member>,
    pub tried: Vec<Tried>,
    /// The node of the last of them.
    pub node: Option<Arc<NodeId>>,
    pub ttft: Option<Duration>,
    pub queued: Duration,
    pub tally: Tally,
    /// Tokens of the prompt as its bytes tell, for a node that says nothing of them. Zero where nobody asks.
    prompt_guess: u32,
    /// `None`: not asked for.
    pub call: Option<Box<Call>>,
    pub note: Option<&'static str>,
    /// `None`: it had no pool.
    pub class: Option<Class>,
    pub sent: Sent,
    pub client_left: bool,
}

impl<'a> Served<'a> {
    pub(super) fn of<H>(
        journey: &'a mut Journey<H>,
        call: Option<Box<Call>>,
        ttft: Option<Duration>,
        sent: Sent,
        client_left: bool,
    ) -> Self {
        let tried = journey.take_records();
        let (queued, note, tally) = (journey.queued(), journey.note(), *journey.tally());
        let (class, node) = (Some(journey.profile().class), journey.last_node().cloned());
        let prompt_guess = journey.profile().size.prompt;
        Self {
            pool: Some(journey.member()),
            tried,
            node,
            ttft,
            queued,
            tally,
            prompt_guess,
            call,
            note,
            class,
            sent,
            client_left,
        }
    }

    /// Tokens of the prompt and of the answer, as a key pays for them: a prompt that was answered costs something, though its node does
    /// not tell how long it was.
    fn paid(&self) -> [u64; 2] {
        let Tally { prompt_tokens: prompt, answer_tokens: answer, .. } = self.tally;
        let is_silent = prompt == 0 && answer > 0;
        [if is_silent { self.prompt_guess.into() } else { prompt }, answer]
    }

    /// Of a request that has not got as far as a pool.
    pub(super) fn unrouted(sent: Sent, client_left: bool) -> Self {
        let (tried, queued, tally) = (Vec::new(), Duration::ZERO, Tally::default());
        Self {
            pool: None,
            tried,
            node: None,
            ttft: None,
            queued,
            tally,
            prompt_guess: 0,
            call: None,
            note: None,
            class: None,
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
            trace: Parent::of(headers).filter(|parent| parent.is_sampled).map(|parent| parent.trace),
        }
    }
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> String {
    let value = headers.get(name).map(header::HeaderValue::as_bytes).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

/// Counts the request, writes its line, and hands over its spans.
pub(super) fn finish(gateway: &Gateway, caller: Caller, asked: LoggedRequest, way: Served<'_>) {
    let status = way.sent.status.filter(|status| *status >= 200 || *status == 101).unwrap_or(CLIENT_CLOSED);
    let now = Instant::now();
    let total = now.saturating_duration_since(caller.started);
    let trace = caller.trace.filter(|trace| trace.is_sampled);
    // first of all: its client may be asking again
    let tokens = way.paid();
    let key = caller.bearer.map(|bearer| bearer.ended(status, tokens, now));
    match way.pool {
        Some(member) => member.pool.count_finished(&Finished {
            at: now,
            status,
            class: way.class.unwrap_or_default(),
            duration: total,
            queued: way.queued,
            first_token: way.tally.began.map(|began| began.saturating_duration_since(caller.started)),
            inter_token: way.tally.inter_token(),
            gaps: way.tally.gaps(),
            prompt_tokens: way.tally.prompt_tokens,
            answer_tokens: way.tally.answer_tokens,
            trace: trace.as_ref().map(|trace| trace.id).or(asked.trace),
            request_id: &caller.request_id,
            server: way.node.as_deref().map(|node| &node.address),
            last: way.tried.last().map(|tried| tried.outcome),
            call: way.call.as_deref(),
        }),
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
        key,
        pool: way.pool.map(|member| Arc::clone(member.pool.name())),
        class: way.class,
        attempts: way.tried,
        ttft: way.ttft,
        total,
        queue: if way.queued < Duration::from_micros(500) { Duration::ZERO } else { way.queued },
        request_id: caller.request_id,
        note: match way.note {
            // its client may be gone for all that
            Some(CANCELLED) => way.note,
            _ if way.client_left => Some("the client left"),
            note => note,
        },
    };
    gateway.log.write(format, &entry);
    if let Some(trace) = trace {
        gateway.tracer.write(Ended { trace, entry, at: now, wall: SystemTime::now() });
    }
}
