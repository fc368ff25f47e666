//! One attempt on one node, up to the response head.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::Method;
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

use super::super::acquire::gone;
use super::super::ctx::Ctx;
use super::super::reply::Failure;
use super::super::upstream::{Opening, Upstream};
use super::events::{HELD_BACK_MAX, Watch};
use super::limit::within;
use super::node::{NodeSession, Unread};
use super::request;
use crate::fleet::Member;
use crate::outcome::Outcome;
use crate::retry::STALE_WITHIN;

/// Bodies up to this size go out in one write with the header, in bytes.
const ONE_WRITE_MAX: usize = 64 * 1024;
/// How much is written under one `timeouts.send`, in bytes.
const WRITE_STEP: usize = 256 * 1024;
/// How long a node that stopped reading may take to say why.
const EARLY_ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A response head, and the connection with the rest of the response.
pub struct Answer {
    pub node: NodeSession,
    pub head: Box<ResponseHeader>,
    /// There is no (more) body.
    pub ended: bool,
    /// Looks on, if it is a stream of events.
    pub watch: Option<Watch>,
}

impl Answer {
    /// The next piece of the body, which may be empty.
    pub async fn next(&mut self) -> Result<Bytes, Outcome> {
        let chunk = self.node.next().await.map_err(|unread| match unread {
            Unread::Silent => Outcome::Timeout,
            Unread::Closed | Unread::Broken | Unread::Malformed | Unread::BadLength => Outcome::Truncated,
        })?;
        self.ended = self.node.is_done();
        Ok(chunk)
    }

    /// Reads until the first event of a stream is complete, or nothing more may be held back. The outcome is that of a
    /// first event which is an error, with its code and what was read.
    pub async fn first_event(
        &mut self,
        deadline: tokio::time::Instant,
    ) -> Result<Bytes, (Outcome, Option<u16>, Bytes)> {
        let mut start = BytesMut::new();
        while !self.ended && start.len() < HELD_BACK_MAX {
            let Ok(chunk) = timeout_at(deadline, self.next()).await else { break };
            let chunk = chunk.map_err(|outcome| (outcome, None, Bytes::new()))?;
            start.extend_from_slice(&chunk);
            match self.watch.as_mut().and_then(|watch| watch.look_at_first(&chunk)) {
                None => {}
                Some(Ok(())) => break,
                Some(Err((outcome, code))) => return Err((outcome, code, start.freeze())),
            }
        }
        // one that is over before its first event has told nobody anything: llama-cpp-python's answer to a long prompt
        let is_empty = self.ended && self.watch.as_ref().is_some_and(Watch::lacks_first);
        if is_empty { Err((Outcome::EngineError, None, Bytes::new())) } else { Ok(start.freeze()) }
    }
}

pub enum Attempted {
    Answer(Box<Answer>),
    Failed(Outcome),
}

/// Why a write to the node ended.
enum Unsent {
    Timeout,
    Closed,
}

/// Sends the request to the leased node and reads the response head. An error is the gateway's own fault.
pub async fn run(
    upstream: &Upstream,
    session: &mut Session,
    ctx: &mut Ctx,
    member: &Member,
    fresh: bool,
) -> Result<Attempted> {
    let body = ctx.body.clone().unwrap_or_default();
    let sender = ctx.sender.as_ref().ok_or_else(|| Error::new(ErrorType::InternalError))?;
    let lease = ctx.lease.as_ref().ok_or_else(|| Error::new(ErrorType::InternalError))?;
    let (name, address) = (Arc::clone(&lease.node().name), lease.address());
    let in_one = if body.len() <= ONE_WRITE_MAX { body.len() } else { 0 };
    let mut wire =
        request::header(session.req_header(), body.len(), sender, &ctx.request_id, address, in_one);
    wire.extend_from_slice(&body[..in_one]);
    let connected = tokio::select! {
        connected = connect(upstream, address, member, fresh) => connected,
        () = gone(session) => return Ok(Attempted::Failed(Outcome::ClientGone)),
    };
    let (mut stream, reused) = match connected {
        Ok(connected) => connected,
        Err(error) if is_our_fault(&error) => return Err(our_fault(ctx, &error)),
        Err(error) => {
            log::debug!("node {name}: cannot connect: {error}");
            return Ok(Attempted::Failed(Outcome::Connect));
        }
    };
    ctx.sent += 1;
    let sent_at = Instant::now();
    ctx.sent_at = Some(sent_at);
    let is_head = session.req_header().method == Method::HEAD;
    let exchange = async {
        let sent = send(&mut stream, &wire, &body[in_one..], member.conf.timeouts.send).await;
        if matches!(sent, Err(Unsent::Timeout)) {
            return Err(Outcome::Timeout);
        }
        // a node may answer, and close, before it has read everything
        let limit = if sent.is_ok() { member.conf.timeouts.first_byte } else { Some(EARLY_ANSWER_WITHIN) };
        let mut node = NodeSession::new(address, stream, member.conf.timeouts.read);
        let head = read_head(&mut node, &name, is_head, limit).await?;
        Ok((node, head))
    };
    let exchanged = tokio::select! {
        exchanged = exchange => exchanged,
        () = gone(session) => Err(Outcome::ClientGone),
        () = ctx.given_up() => Err(Outcome::Stalled),
    };
    Ok(match exchanged {
        Ok((node, head)) => {
            // there are no events in the answer to HEAD
            let watch = if is_head { None } else { Watch::of(&head, session.req_header().uri.path()) };
            let ended = node.is_done();
            Attempted::Answer(Box::new(Answer { node, head, ended, watch }))
        }
        Err(Outcome::Stale) if reused && sent_at.elapsed() < STALE_WITHIN => {
            // nobody took it: it does not count as sent
            ctx.sent -= 1;
            Attempted::Failed(Outcome::Stale)
        }
        Err(Outcome::Stale) => Attempted::Failed(Outcome::Reset),
        Err(outcome) => Attempted::Failed(outcome),
    })
}

async fn connect(
    upstream: &Upstream,
    node: SocketAddr,
    member: &Member,
    fresh: bool,
) -> io::Result<(TcpStream, bool)> {
    if !fresh && let Some(stream) = upstream.reuse(node) {
        return Ok((stream, true));
    }
    let timeouts = &member.conf.timeouts;
    let opening = Opening { limit: timeouts.connect, patience: timeouts.send };
    Ok((Upstream::open(node, opening).await?, false))
}

/// Out of files, buffers or memory: no node is to blame, and none could be reached.
fn is_our_fault(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    error.raw_os_error().is_some_and(|code| [ENOMEM, ENFILE, EMFILE, ENOBUFS].contains(&code))
}

fn our_fault(ctx: &mut Ctx, error: &io::Error) -> Box<Error> {
    log::error!("cannot open a connection to any node: {error}; raise the limit of open files (ulimit -n)");
    ctx.lease = None;
    ctx.failure = Some(Failure::new(503, "the gateway cannot open another connection").retry_after(1));
    Error::new(ErrorType::HTTPStatus(503)).into_in()
}

async fn send(stream: &mut TcpStream, start: &[u8], rest: &[u8], limit: Duration) -> Result<(), Unsent> {
    for step in std::iter::once(start).chain(rest.chunks(WRITE_STEP)) {
        match within(limit, pin!(stream.write_all(step))).await {
            Some(Ok(())) => {}
            Some(Err(_)) => return Err(Unsent::Closed),
            None => return Err(Unsent::Timeout),
        }
    }
    Ok(())
}

async fn read_head(
    node: &mut NodeSession,
    name: &str,
    is_head: bool,
    limit: Option<Duration>,
) -> Result<Box<ResponseHeader>, Outcome> {
    let read = final_head(node, name, is_head);
    match limit {
        Some(limit) => timeout(limit, read).await.unwrap_or(Err(Outcome::Timeout)),
        None => read.await,
    }
}

/// The first head that is not informational. 100 was answered by the gateway itself, and a node that switches
/// protocols without having been asked is out of its mind.
async fn final_head(
    node: &mut NodeSession,
    name: &str,
    is_head: bool,
) -> Result<Box<ResponseHeader>, Outcome> {
    loop {
        match node.head(is_head).await {
            Ok(head) if head.status == 101 => return Err(Outcome::Reset),
            Ok(head) if head.status.is_informational() => {}
            Ok(head) => return Ok(head),
            Err(Unread::BadLength) => {
                log::warn!(
                    "node {name}: the Content-Length of its response is no number, or two of them; it counts as a reset"
                );
                return Err(Outcome::Reset);
            }
            Err(Unread::Malformed) => {
                log::warn!(
                    "node {name}: its response has no valid HTTP/1.1 header, or one above 1 MiB or 256 fields; \
                     it counts as a reset"
                );
                return Err(Outcome::Reset);
            }
            Err(Unread::Silent) => return Err(Outcome::Timeout),
            // nobody took the request, if the connection had been kept for a while
            Err(Unread::Closed | Unread::Broken) if !node.has_begun() => return Err(Outcome::Stale),
            Err(Unread::Closed | Unread::Broken) => return Err(Outcome::Reset),
        }
    }
}
