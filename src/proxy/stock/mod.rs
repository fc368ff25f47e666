//! Journeys on Pingora's own proxy path: of requests that ask for a switch of protocols, such as WebSocket.
//!
//! Such a request is sent once. Only a connection that could not be made leads to another attempt, because then no node has seen
//! the request. An answer that is no switch goes on as it is.

pub(super) mod fields;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::caller::{Arrival, Stopped};
use super::downstream::body::TOO_LARGE;
use super::gateway::tell;
use super::served_by::ServedBy;
use super::upstream::connections::connect_outcome;
use super::upstream::switch::{Connector, Tunnel};
use super::upstream::target::path;
use crate::classify;
use crate::classify::dialect::{Dialect, OTHER};
use crate::fleet::{Member, NodeId};
use crate::forwarded::id_suffix;
use crate::http1::announced;
use crate::journal::announce;
use crate::journey::{Attempt, Continuity, Ending, Failure, Head, How, Journey, Step};
use crate::live::UnderWay;
use crate::outcome::Outcome;
use crate::retry::Repeat;
use crate::route::Place;
use crate::tls::nodes::{Opening, tcp_keepalive};

/// The time after a tunnel's limit at which Pingora's own would end it.
const MARGIN: Duration = Duration::from_secs(60);

/// A request on this path.
pub struct Stock {
    pub arrival: Arrival,
    pub journey: Journey<Infallible>,
    pub attempt: Option<Attempt>,
    pub(crate) tunnel: Tunnel,
    /// The place of the request's model.
    pub place: Place,
    /// Addresses of the node's name that are left, once one has accepted no connection.
    others: Option<VecDeque<SocketAddr>>,
    /// Times that its head was written.
    written: u32,
    /// Bytes of body that went through.
    passed: u64,
    /// Something of the response's body has come.
    has_begun: bool,
    pub ttft: Option<Duration>,
}

impl Stock {
    pub fn new(arrival: Arrival, member: Member, place: Place, is_work: bool) -> Self {
        Self {
            arrival,
            tunnel: Tunnel::new(member.conf.timeouts.tunnel),
            journey: Journey::new(member, is_work, Repeat::Once),
            attempt: None,
            place,
            others: None,
            written: 0,
            passed: 0,
            has_begun: false,
            ttft: None,
        }
    }

    /// No connection: the next node, as long as one is left and the gateway can reach it.
    pub fn fail_to_connect(&mut self, mut error: Box<Error>) -> Box<Error> {
        if let Some(attempt) = &self.attempt {
            self.others.get_or_insert_with(|| attempt.node().addresses.after(attempt.address()).into());
        }
        if self.others.as_ref().is_some_and(|others| !others.is_empty()) {
            // the same attempt, at another address of the node's name
            error.set_retry(true);
            return error;
        }
        self.others = None;
        let cause = error.root_cause().downcast_ref::<io::Error>();
        let outcome = cause.map_or(Outcome::Connect, connect_outcome);
        let again = self.end(How::Failed { outcome, fallback: None });
        error.set_retry(again);
        error
    }

    /// The next address of the node's name, where the one before accepted no connection.
    pub fn other_address(&mut self) -> Option<SocketAddr> {
        let address = self.others.as_mut()?.pop_front()?;
        let attempt = self.attempt.as_ref()?;
        // if it does not accept any either, the next request begins behind it
        let moved = self.journey.member().pool.moved(attempt.node(), address, Instant::now());
        moved.iter().for_each(announce);
        Some(address)
    }

    /// The request as the node gets it.
    pub fn upstream_request(&mut self, header: &mut RequestHeader, has_more_body: bool) -> Result<()> {
        let Some(attempt) = &mut self.attempt else { return Err(Error::new(ErrorType::InternalError)) };
        self.journey.send(attempt, Instant::now());
        self.written += 1;
        self.others = None;
        if has_more_body {
            // it waits for its client's upload
            attempt.pause_stall();
        }
        fields::strip_for_node(header, self.arrival.caller.hides_keys())?;
        fields::give_host(header, attempt.node(), attempt.address())?;
        fields::authorize(header, attempt.node())?;
        let caller = &self.arrival.caller;
        if caller.chosen.is_some() {
            let target = caller.node_target(path(header)).into_owned();
            header.set_raw_path(&target)?;
        }
        if let Some(trace) = &caller.trace {
            fields::trace(header, trace, self.journey.attempts())?;
        }
        let id = format!("{}{}", caller.request_id, id_suffix(self.written));
        fields::introduce(header, caller.sender.as_ref(), &id)
    }

    /// Keeps `client.max_body`.
    pub fn request_body(&mut self, body: &mut Option<Bytes>, end: bool) -> Result<()> {
        if let Some(attempt) = self.attempt.as_ref().filter(|attempt| end && attempt.status().is_none()) {
            attempt.resume_stall(Instant::now());
        }
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            // Pingora would write it as an empty chunk, which is the end, and then the end once more: the node takes that for
            // the beginning of its next request
            *body = None;
        }
        self.passed += body.as_ref().map_or(0, |body| body.len() as u64);
        if self.passed > self.arrival.caller.fleet.config.server.client.max_body {
            self.arrival.stopped = Stopped::With(TOO_LARGE.into());
            return Err(Error::new(ErrorType::HTTPStatus(TOO_LARGE.status)).into_down());
        }
        Ok(())
    }

    /// A response head: a sign of life, or of load. One whose end is in doubt is none.
    pub fn upstream_response(&mut self, head: &mut ResponseHeader) -> Result<()> {
        let announced = announced(head.headers.iter().map(|(name, value)| (name.as_ref(), value.as_bytes())));
        if announced.is_err() {
            let (id, node) = (&self.arrival.caller.request_id, self.node());
            log::warn!(
                rid:% = id, node:%;
                "request {id}: node {node}: Content-Length or Transfer-Encoding of the response is invalid, repeated or in conflict"
            );
            return Err(Error::new(ErrorType::InvalidHTTPHeader).into_up());
        }
        fields::strip_for_client(head);
        let status = head.status.as_u16();
        if status < 200 && status != 101 {
            return Ok(());
        }
        self.note_first_byte();
        let Some(attempt) = &mut self.attempt else { return Ok(()) };
        if status == 101 {
            self.tunnel.open();
            attempt.pause_stall();
        }
        let after = head.headers.get(http::header::RETRY_AFTER);
        let retry_after = after.and_then(|value| classify::retry_after(value.as_bytes(), SystemTime::now()));
        let head = Head { status, is_stream: false, retry_after };
        // any response goes on: the request is sent once
        let _passed = self.journey.head(attempt, head, Instant::now());
        self.journey.begin(Continuity::Never);
        tell(&mut self.journey);
        Ok(())
    }

    /// Something of the response, or of what its node says in the tunnel. From then on the node may be silent because its client
    /// does not read: Pingora does not say.
    pub fn upstream_body(&mut self, has_bytes: bool) {
        let Some(attempt) = &mut self.attempt else { return };
        self.journey.progress(attempt, Instant::now());
        tell(&mut self.journey);
        if has_bytes && !std::mem::replace(&mut self.has_begun, true) {
            attempt.pause_stall();
        }
    }

    /// Adds what the gateway tells the client about how it was served.
    pub fn dress(&mut self, head: &mut ResponseHeader, path: &str) -> Result<()> {
        let node = self.node();
        let by = self.journey.reason(self.attempt.as_ref().map(Attempt::by).unwrap_or_default());
        let caller = &self.arrival.caller;
        let shape = Dialect::of(caller.node_path(path)).unwrap_or(&OTHER).shape;
        let served_by = ServedBy::new(caller, shape, &node, by, self.journey.attempts());
        let fields = served_by.fields();
        fields.as_slice().iter().try_for_each(|(name, value)| head.insert_header((*name).to_owned(), *value))
    }

    /// The exchange broke.
    pub fn error_while_proxy(&mut self, mut error: Box<Error>) -> Box<Error> {
        let has_head = self.attempt.as_ref().is_some_and(|attempt| attempt.status().is_some());
        let is_cancelled = self.arrival.caller.is_cancelled();
        let outcome = match (error.esource(), error.etype()) {
            (ErrorSource::Downstream, _) => Outcome::ClientGone,
            _ if is_cancelled => Outcome::ClientGone,
            _ if has_head => Outcome::Truncated,
            (_, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => Outcome::Timeout,
            _ => Outcome::Reset,
        };
        if outcome != Outcome::ClientGone {
            // the error's own words may quote the response header
            let (id, node) = (&self.arrival.caller.request_id, self.node());
            log::warn!(rid:% = id, node:%; "request {id}: node {node}: {outcome} ({})", error.etype().as_str());
        }
        if is_cancelled {
            self.cancelled();
        }
        let closing_event = Bytes::new();
        self.end(match outcome {
            Outcome::ClientGone => How::Left,
            outcome if has_head => How::Broken { outcome, closing_event },
            outcome => How::Failed { outcome, fallback: None },
        });
        error.set_retry(false);
        error
    }

    /// Ends the attempt under way; whether another node is to be tried.
    fn end(&mut self, how: How<Infallible>) -> bool {
        let Some(attempt) = self.attempt.take() else { return false };
        let is_left = matches!(how, How::Left);
        let step = self.journey.end(attempt, how, Instant::now());
        tell(&mut self.journey);
        match step {
            Step::Node(_) => return true,
            Step::Stop(Ending::Left) if is_left => {}
            Step::Stop(ending) => self.refuse(ending),
            Step::Fresh(_) | Step::Continue(_) | Step::Finish(_) => {}
            Step::Give(never) => match never {},
        }
        false
    }

    /// Pingora's path leaves its last attempt open.
    pub fn close(&mut self, client_left: bool) {
        self.end(if client_left { How::Left } else { How::Whole });
    }

    /// The client's answer, if it can still get one.
    pub fn refuse(&mut self, ending: Ending) {
        let refusal = &mut self.arrival.stopped;
        match ending {
            Ending::Failed(failure) if matches!(refusal, Stopped::No) => *refusal = Stopped::With(failure),
            Ending::Left => *refusal = Stopped::ClientGone,
            Ending::Failed(_) | Ending::Whole | Ending::Broken { .. } => {}
        }
    }

    /// An operator has ended it.
    pub fn cancelled(&mut self) {
        let ending = self.journey.cancelled(None);
        self.refuse(ending);
    }

    /// Of the attempt under way; empty without one.
    pub fn node(&self) -> Arc<str> {
        self.attempt.as_ref().map(|attempt| attempt.node().name.clone()).unwrap_or_default()
    }

    pub fn failure(&self) -> Option<&Failure> {
        match &self.arrival.stopped {
            Stopped::With(failure) => Some(failure),
            Stopped::No | Stopped::ClientGone => None,
        }
    }

    fn note_first_byte(&mut self) {
        let (caller, now) = (&self.arrival.caller, Instant::now());
        self.ttft.get_or_insert_with(|| now.saturating_duration_since(caller.started));
        caller.is_answered(now);
    }
}

/// The node as it is to be reached for a tunnel.
pub(super) fn peer(
    member: &Member,
    (node, address): (&Arc<NodeId>, SocketAddr),
    tunnel: &Tunnel,
    under_way: Option<Arc<UnderWay>>,
) -> HttpPeer {
    let mut peer = HttpPeer::new(address, false, String::new());
    let timeouts = &member.conf.timeouts;
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    // here one limit applies to each read, and the tunnel's own limit is to end it
    peer.options.read_timeout = Some(timeouts.read.max(timeouts.tunnel + MARGIN));
    peer.options.write_timeout = Some(timeouts.send);
    peer.options.tcp_keepalive = Some(tcp_keepalive(timeouts.send));
    let opening = Opening { limit: timeouts.connect, patience: timeouts.send };
    let (node, tunnel) = (Arc::clone(node), tunnel.clone());
    peer.options.custom_l4 = Some(Arc::new(Connector { node, address, opening, tunnel, under_way }));
    // no connection that another request has left: what is sent once must not miss its node
    peer.group_key = fastrand::u64(1..);
    peer
}
