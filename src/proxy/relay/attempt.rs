//! One request sent to one node: connects, writes, and reads the response head.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{Sleep, sleep, sleep_until, timeout};

use super::super::downstream::client::{First, Left, Presence};
use super::super::gateway::Gateway;
use super::super::limit::within;
use super::super::upload::Stage;
use super::super::upstream::connections::{Connections, connect_outcome};
use super::super::upstream::ended::ReadError;
use super::super::upstream::exchange::{Exchange, Line};
use super::super::upstream::http1::Http1;
use super::super::upstream::http2::Http2;
use super::super::upstream::outlet::Outlet;
use super::answer::Answer;
use super::events::Watch;
use super::fallback::Fallback;
use super::request::{Request, Sending};
use crate::config::{HttpVersion, Pool, Timeouts};
use crate::fleet::NodeId;
use crate::http1::{Rejection, ResponseHead};
use crate::journal::announce;
use crate::journey::{Attempt, Journey};
use crate::outcome::Outcome;
use crate::resume::NodeBody;
use crate::retry::STALE_WITHIN;
use crate::tls::nodes::{self, Endpoint, Opening};

/// Most of a body that goes out in one write with the head, in bytes.
const ONE_WRITE_MAX: usize = 64 * 1024;
/// The most bytes written under one `timeouts.send`.
const WRITE_STEP: usize = 256 * 1024;
/// A node that is well takes a connection sooner, wherever it is.
const SLOW_CONNECT: Duration = Duration::from_millis(250);
/// Interval at which a request whose node is lost looks for another one to go to.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The longest time in which a node that stopped reading may say why.
const EARLY_ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The reason for which there is no answer.
pub(super) enum NoAnswer {
    ClientLeft,
    /// The deadline of the request has passed.
    Late,
    Failed(Outcome),
    /// The node says that it has not taken the request: at once, on a connection that had been used before.
    NotTaken,
    /// The same later.
    Missed,
    /// No node of the pool could be sent it.
    Unsayable(&'static Rejection),
}

impl From<Left> for NoAnswer {
    fn from(_: Left) -> Self {
        Self::ClientLeft
    }
}

/// The reason for which a request that was sent has no head of a response.
enum NoHead {
    Failed(Outcome),
    /// The node says that it has not taken the request, so long after it was sent.
    Unprocessed {
        after: Duration,
    },
    /// It was not sent.
    Unsayable(&'static Rejection),
}

impl From<Outcome> for NoHead {
    fn from(outcome: Outcome) -> Self {
        Self::Failed(outcome)
    }
}

/// The end of a write to the node.
enum SendError {
    Timeout,
    /// It has closed the connection, or answered before it had the whole body.
    Ended,
}

/// Sends the request to the leased node, and reads the head of its response. `fresh`: not on a connection that was used
/// before.
pub(super) async fn run(
    gateway: &Gateway,
    request: &mut Request,
    attempt: &mut Attempt,
    fresh: bool,
    client: &mut impl Presence,
) -> Result<Answer, NoAnswer> {
    let conf = Arc::clone(&request.journey.member().conf);
    let timeouts = &conf.timeouts;
    let connected = {
        let due = request.journey.due();
        let connecting = pin!(connect_in_time(&gateway.connections, attempt, &conf, fresh, due));
        client.attend(First::Client, connecting).await?
    };
    let Connected { line, address, reused } = match connected {
        Some(Ok(connected)) => connected,
        None => return Err(NoAnswer::Late),
        Some(Err(error)) => {
            let name = &attempt.node().name;
            log::debug!(node:% = name; "node {name}: cannot connect: {error}");
            return Err(NoAnswer::Failed(connect_outcome(&error)));
        }
    };
    let is_head = request.is_head;
    if address != attempt.address() {
        request
            .journey
            .member()
            .pool
            .moved(attempt.node(), address, Instant::now())
            .iter()
            .for_each(announce);
    }
    if request.journey.is_due(Instant::now()) {
        return Err(NoAnswer::Late);
    }
    request.journey.send(attempt, Instant::now());
    let exchanged = {
        let (sending, journey) = request.wire((attempt.node(), address), timeouts.send);
        let mut exchanging = pin!(exchange(sending, is_head, attempt, (address, line), timeouts));
        let mut lost = pin!(lost(journey, attempt, &conf));
        let exchanging = pin!(poll_fn(|cx| {
            if let Poll::Ready(exchanged) = exchanging.as_mut().poll(cx) {
                return Poll::Ready(exchanged);
            }
            lost.as_mut().poll(cx).map(|()| Err(Outcome::Stalled.into()))
        }));
        let exchanging = pin!(before(journey.due(), exchanging));
        client.attend(First::Client, exchanging).await?.ok_or(NoAnswer::Late)?
    };
    match exchanged {
        Ok((node, mut head)) => {
            request.answers_with(&head);
            if request.renames_stream() {
                head.set_length(None);
            }
            // there are no events in the answer to HEAD
            let watch = if is_head { None } else { Watch::of(&head, request.node_path()) };
            Ok(Answer::new(node, head, watch))
        }
        Err(NoHead::Failed(Outcome::Stale)) if !reused => Err(NoAnswer::Failed(Outcome::Reset)),
        Err(NoHead::Failed(outcome)) => Err(NoAnswer::Failed(outcome)),
        // one that refuses a connection's first request refuses all
        Err(NoHead::Unprocessed { .. }) if !reused => Err(NoAnswer::Failed(Outcome::Connect)),
        Err(NoHead::Unprocessed { after }) if after < STALE_WITHIN => Err(NoAnswer::NotTaken),
        Err(NoHead::Unprocessed { .. }) => Err(NoAnswer::Missed),
        Err(NoHead::Unsayable(why)) => Err(NoAnswer::Unsayable(why)),
    }
}

/// The result of the work, or `None` if the request's deadline passes before.
pub(super) fn before<T>(
    due: Option<Instant>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> impl Future<Output = Option<T>> {
    // few requests have a deadline, and all would hold its timer
    let mut late = due.map(|due| Box::pin(sleep_until(due.into())));
    poll_fn(move |cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        late.as_mut().map_or(Poll::Pending, |late| late.as_mut().poll(cx).map(|()| None))
    })
}

/// Resolves when the node is found stalled; never without `timeouts.stall`.
pub(super) async fn given_up(attempt: &Attempt, timeouts: &Timeouts) {
    match timeouts.stall {
        Some(_) => attempt.given_up().await,
        None => std::future::pending().await,
    }
}

/// Resolves when the request is to leave its node before it has an answer; never where nothing looks for such nodes.
async fn lost(journey: &Journey<Fallback>, attempt: &Attempt, conf: &Pool) {
    if conf.timeouts.stall.is_none() && conf.health.check.is_none() {
        return std::future::pending().await;
    }
    attempt.lost().await;
    while !journey.leaves(attempt, Instant::now()) {
        // there is no node for it, so far
        sleep(LOOK_AGAIN).await;
    }
}

struct Connected {
    line: Line,
    address: SocketAddr,
    /// It has served a request before.
    reused: bool,
}

/// The same until the request is late; `None`: the node is not to blame for that.
async fn connect_in_time(
    connections: &Connections,
    attempt: &Attempt,
    conf: &Pool,
    fresh: bool,
    due: Option<Instant>,
) -> Option<io::Result<Connected>> {
    let began = Instant::now();
    let connecting = pin!(connect(connections, attempt, conf, fresh));
    let connected = before(due, connecting).await;
    // or else a node that takes none would be given one such request after the other
    let is_slow = connected.is_none() && began.elapsed() >= SLOW_CONNECT;
    if is_slow { Some(Err(io::ErrorKind::TimedOut.into())) } else { connected }
}

/// A connection to the address in use, or to another one of the node's name.
async fn connect(
    connections: &Connections,
    attempt: &Attempt,
    conf: &Pool,
    fresh: bool,
) -> io::Result<Connected> {
    let (node, address) = (attempt.node(), attempt.address());
    let opened = line(connections, node, address, conf, fresh).await;
    let Err(error) = &opened else { return opened };
    let name = &node.name;
    for other in node.addresses.after(address) {
        log::debug!(node:% = name; "node {name}: {address}: {error}; {other} is tried");
        if let Ok(connected) = line(connections, node, other, conf, true).await {
            log::info!(node:% = name; "node {name}: {address} accepts no connection: {error}; {other} is used");
            return Ok(connected);
        }
    }
    opened
}

/// A place on a connection that is kept, or on one that is opened.
async fn line(
    connections: &Connections,
    node: &NodeId,
    address: SocketAddr,
    conf: &Pool,
    fresh: bool,
) -> io::Result<Connected> {
    let timeouts = &conf.timeouts;
    let opening = Opening { limit: timeouts.connect, patience: timeouts.send };
    if conf.http_version == HttpVersion::H2 {
        // in a box, as long as it takes to have one
        let stream = Box::pin(connections.stream((node, address), opening, timeouts.idle, fresh));
        let (slot, reused) = stream.await?;
        return Ok(Connected { line: Line::Http2(slot), address, reused });
    }
    if !fresh && let Some(stream) = connections.reuse(&Endpoint::of(&node.access.link, address)) {
        return Ok(Connected { line: Line::Http1(stream), address, reused: true });
    }
    let stream = nodes::connect(node, address, opening).await?;
    Ok(Connected { line: Line::Http1(stream), address, reused: false })
}

async fn exchange(
    sending: Sending<'_>,
    is_head: bool,
    attempt: &Attempt,
    (address, line): (SocketAddr, Line),
    timeouts: &Timeouts,
) -> Result<(Exchange, ResponseHead), NoHead> {
    let (head, body) = match sending {
        Sending::Kept(head, body) => (head, body),
        Sending::Passing(outlet) => {
            return Box::pin(exchange_passing(outlet, is_head, attempt, (address, line), timeouts)).await;
        }
    };
    // of HTTP/1 nobody asks
    let sent_at = matches!(line, Line::Http2(_)).then(Instant::now);
    let endpoint = Endpoint::of(&attempt.node().access.link, address);
    let mut exchange = Exchange::new(endpoint, line, timeouts.read);
    let sent = send(&mut exchange, head, &body, timeouts.send).await;
    drop(body);
    if matches!(sent, Err(SendError::Timeout)) {
        return Err(Outcome::Timeout.into());
    }
    // a node may answer, and close, before it has read everything
    let limit = if sent.is_ok() { timeouts.first_byte } else { Some(EARLY_ANSWER_WITHIN) };
    if sent.is_err() {
        exchange.close_after();
    }
    let read = final_head(&mut exchange, attempt.node(), is_head, sent_at);
    let head = match limit {
        Some(limit) => timeout(limit, read).await.unwrap_or(Err(Outcome::Timeout.into())),
        None => read.await,
    };
    Ok((exchange, head?))
}

/// Sends a body as it comes, while the head of the response is waited for. A node may refuse it before it has read it (RFC 9112
/// section 9.5), and gets no more then; one that begins a good answer may go on to read.
async fn exchange_passing(
    outlet: Box<Outlet>,
    is_head: bool,
    attempt: &Attempt,
    (address, line): (SocketAddr, Line),
    timeouts: &Timeouts,
) -> Result<(Exchange, ResponseHead), NoHead> {
    let sent_at = Some(Instant::now());
    let upload = Arc::clone(outlet.upload());
    // it waits for its client
    attempt.pause_stall();
    let endpoint = Endpoint::of(&attempt.node().access.link, address);
    let mut exchange = Exchange::new(endpoint, line, timeouts.read).sending(outlet);
    let head = {
        let mut reading = pin!(final_head(&mut exchange, attempt.node(), is_head, sent_at));
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        let mut has_ended = false;
        let head = poll_fn(|cx| {
            if let Poll::Ready(head) = reading.as_mut().poll(cx) {
                return Poll::Ready(head);
            }
            let limit = match upload.stage() {
                Stage::Coming | Stage::Read => return Poll::Pending,
                Stage::Sent => timeouts.first_byte,
                Stage::Unwanted => Some(EARLY_ANSWER_WITHIN),
            };
            if !std::mem::replace(&mut has_ended, true) {
                attempt.resume_stall(Instant::now());
            }
            let Some(limit) = limit else { return Poll::Pending };
            let timer = timer.get_or_insert_with(|| Box::pin(sleep(limit)));
            timer.as_mut().poll(cx).map(|()| Err(Outcome::Timeout.into()))
        });
        head.await.map_err(|error| match error {
            // what is left of it is no request for another node
            NoHead::Failed(Outcome::Connect) | NoHead::Unprocessed { .. } if upload.has_begun() => {
                Outcome::Reset.into()
            }
            error => error,
        })?
    };
    if head.status >= 400 {
        exchange.stop_sending();
    }
    Ok((exchange, head))
}

async fn send(node: &mut Exchange, head: &[u8], body: &NodeBody, limit: Duration) -> Result<(), SendError> {
    let NodeBody { start, tail } = body;
    let node = match node {
        Exchange::Http1(node) => node,
        Exchange::Http2(node) => return send_http2(node, head, body, limit).await,
    };
    if body.len() <= ONE_WRITE_MAX {
        return step(limit, node.write([head, start, tail])).await;
    }
    step(limit, node.write([head, b"", b""])).await?;
    for part in start.chunks(WRITE_STEP).chain([*tail]) {
        write_listening(node, part, limit).await?;
    }
    step(limit, poll_fn(|cx| node.poll_flush(cx))).await
}

/// Writes while it listens for an answer; each piece that the node takes begins the limit anew.
async fn write_listening(node: &mut Http1, mut left: &[u8], limit: Duration) -> Result<(), SendError> {
    while !left.is_empty() {
        let mut written = 0;
        step(limit, poll_fn(|cx| node.poll_write(cx, left).map_ok(|length| written = length))).await?;
        left = &left[written..];
    }
    Ok(())
}

/// The same on a stream of HTTP/2.
async fn send_http2(
    node: &mut Http2,
    head: &[u8],
    body: &NodeBody,
    limit: Duration,
) -> Result<(), SendError> {
    node.begin(head, body.is_empty()).map_err(|_| SendError::Ended)?;
    let (mut start, mut tail) = (body.start.clone(), Bytes::from_static(body.tail));
    while !start.is_empty() {
        step(limit, poll_fn(|cx| node.poll_send(cx, &mut start, tail.is_empty()))).await?;
    }
    while !tail.is_empty() {
        step(limit, poll_fn(|cx| node.poll_send(cx, &mut tail, true))).await?;
    }
    Ok(())
}

async fn step<E>(limit: Duration, write: impl Future<Output = Result<(), E>>) -> Result<(), SendError> {
    match within(limit, pin!(write)).await {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) => Err(SendError::Ended),
        None => Err(SendError::Timeout),
    }
}

/// The first head that is not informational. 100 was answered by the gateway itself, and an unsolicited 101 is a protocol
/// violation.
async fn final_head(
    exchange: &mut Exchange,
    node: &NodeId,
    is_head: bool,
    sent_at: Option<Instant>,
) -> Result<ResponseHead, NoHead> {
    let name = &node.name;
    loop {
        match exchange.head(is_head).await {
            Ok(head) if head.status == 101 => return Err(Outcome::Reset.into()),
            Ok(head) if head.status < 200 => {}
            Ok(head) => {
                nodes::tell(node, None);
                return Ok(head);
            }
            Err(ReadError::Unprocessed) => {
                return Err(NoHead::Unprocessed {
                    after: sent_at.map(|at| at.elapsed()).unwrap_or_default(),
                });
            }
            Err(ReadError::Unsayable(why)) => return Err(NoHead::Unsayable(why)),
            Err(ReadError::BadFraming) => {
                log::warn!(
                    node:% = name;
                    "node {name}: Content-Length or Transfer-Encoding of the response is invalid, repeated or in conflict; \
                     treated as a reset"
                );
                return Err(Outcome::Reset.into());
            }
            Err(ReadError::Malformed) => {
                log::warn!(
                    node:% = name;
                    "node {name}: no valid HTTP header in the response, or one above 1 MiB or 256 fields; \
                     treated as a reset"
                );
                return Err(Outcome::Reset.into());
            }
            Err(ReadError::Refused(words)) => {
                nodes::tell(node, Some(words));
                return Err(Outcome::Connect.into());
            }
            Err(ReadError::Silent) => return Err(Outcome::Timeout.into()),
            // nobody took the request, if the connection had been kept for a while
            Err(ReadError::Closed | ReadError::Broken) if !exchange.has_begun() => {
                return Err(Outcome::Stale.into());
            }
            Err(ReadError::Closed | ReadError::Broken) => return Err(Outcome::Reset.into()),
        }
    }
}
