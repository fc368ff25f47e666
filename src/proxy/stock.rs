//! The same accounting for what goes Pingora's own way: upgrades, HTTP/2 to the nodes, bodies too large to keep.
//!
//! Here a request is sent once. Only a connection that could not be made, or was kept for too long, leads to another
//! attempt, for then nobody has seen it.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::ctx::Ctx;
use super::framing::TOO_LARGE;
use super::headers::{give_host, strip_for_client, strip_for_node};
use super::intake::{introduce, is_client_lost, is_repeatable, is_upgrade};
use super::reply::Failure;
use crate::classify;
use crate::outcome::Outcome;
use crate::retry::{self, Verdict};

/// No connection: the next node, as long as one is left.
pub fn fail_to_connect(ctx: &mut Ctx, mut error: Box<Error>) -> Box<Error> {
    let now = Instant::now();
    let facts = ctx.facts(Outcome::Connect, now);
    let verdict = ctx.member.as_ref().map(|member| retry::decide(&member.conf.retry, &facts));
    ctx.settle(Outcome::Connect, now);
    match (verdict, &ctx.member) {
        (Some(Verdict::Again(why)), Some(member)) => {
            member.pool.count_retry(why);
            error.set_retry(true);
        }
        _ => {
            ctx.failure = Some(Failure::new(502, "the node could not be reached"));
            error.set_retry(false);
        }
    }
    error
}

/// The request as the node gets it. An upgrade keeps the two fields that make it one.
pub fn upstream_request(session: &mut Session, header: &mut RequestHeader, ctx: &mut Ctx) -> Result<()> {
    ctx.sent += 1;
    ctx.sent_at = Some(Instant::now());
    let uploads = ctx.unkept.is_some() || !session.as_downstream_mut().is_body_done();
    if let Some(lease) = ctx.lease.as_ref().filter(|_| uploads) {
        // it waits for its client's upload
        lease.pause_stall();
    }
    strip_for_node(header, is_upgrade(session))?;
    if let Some(lease) = &ctx.lease {
        give_host(header, lease.address())?;
    }
    introduce(header, ctx)
}

/// Puts what was already read in front of what comes, and keeps `client.max_body`.
pub fn request_body(body: &mut Option<Bytes>, end: bool, ctx: &mut Ctx) -> Result<()> {
    if let Some(start) = ctx.unkept.take().filter(|start| !start.is_empty()) {
        let mut joined = BytesMut::from(start);
        joined.extend_from_slice(body.as_deref().unwrap_or_default());
        *body = Some(joined.freeze());
        ctx.body_share = None;
    }
    if let Some(lease) = ctx.lease.as_ref().filter(|_| end && ctx.status.is_none()) {
        lease.resume_stall(Instant::now());
    }
    if end && body.as_ref().is_some_and(Bytes::is_empty) {
        // Pingora would write it as an empty chunk, which is the end, and then the end once more: the node takes that for
        // the beginning of its next request
        *body = None;
    }
    ctx.passed += body.as_ref().map_or(0, |body| body.len() as u64);
    if ctx.passed > ctx.fleet.config.server.client.max_body {
        ctx.failure = Some(TOO_LARGE.into());
        return Err(Error::new(ErrorType::HTTPStatus(TOO_LARGE.status)).into_down());
    }
    Ok(())
}

/// A response head: a sign of life, or of load.
pub fn upstream_response(head: &mut ResponseHeader, ctx: &mut Ctx) {
    strip_for_client(head);
    if head.status.is_informational() && head.status != 101 {
        return;
    }
    ctx.status = Some(head.status.as_u16());
    if let Some(lease) = ctx.lease.as_ref().filter(|_| head.status == 101) {
        lease.pause_stall();
    }
    ctx.ttft.get_or_insert_with(|| ctx.started.elapsed());
    match outcome(ctx) {
        Outcome::Ok => ctx.good_head(head.status.as_u16()),
        Outcome::Busy => ctx.busy(head),
        _ => {}
    }
}

/// Something of the response. From then on the node may be silent because its client does not read: Pingora does not say.
pub fn upstream_body(ctx: &mut Ctx) {
    ctx.progress(Instant::now());
    if let Some(lease) = ctx.lease.as_ref().filter(|_| !std::mem::replace(&mut ctx.has_begun, true)) {
        lease.pause_stall();
    }
}

/// What the status code of the attempt under way amounts to.
pub fn outcome(ctx: &Ctx) -> Outcome {
    let listed = |code| ctx.member.as_ref().is_some_and(|member| member.conf.retry.on.status(code));
    ctx.status.map_or(Outcome::ClientGone, |code| classify::status(code, listed(code)))
}

/// The exchange broke.
pub fn error_while_proxy(
    session: &mut Session,
    mut error: Box<Error>,
    ctx: &mut Ctx,
    reused: bool,
) -> Box<Error> {
    let outcome = match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, _) => Outcome::ClientGone,
        _ if ctx.status.is_some() => Outcome::Truncated,
        (_, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => Outcome::Timeout,
        _ => Outcome::Reset,
    };
    let repeatable = ctx.member.as_ref().is_some_and(|member| is_repeatable(session, member));
    let bodyless = session.as_downstream_mut().is_body_empty();
    let stale = reused && outcome == Outcome::Reset && repeatable && bodyless && ctx.sent <= 1;
    if stale {
        // a kept-alive connection that had been closed: the same request again, on another node if there is one
        ctx.settle(Outcome::Stale, Instant::now());
        error.set_retry(true);
        return error;
    }
    if outcome == Outcome::ClientGone {
        ctx.client_gone = ctx.failure.is_none() && is_client_lost(&error);
    } else {
        let status = if outcome == Outcome::Timeout { 504 } else { 502 };
        // the error's own words may quote the response header
        log::warn!(
            "request {}: node {}: {outcome} ({}); the client gets {status} unless its response had begun",
            ctx.request_id,
            ctx.node_name(),
            error.etype().as_str()
        );
        ctx.failure.get_or_insert_with(|| Failure::new(status, format!("the node failed: {outcome}")));
    }
    ctx.settle(outcome, Instant::now());
    error.set_retry(false);
    error
}
