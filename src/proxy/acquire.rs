//! A node for the next attempt, now or as soon as one comes back.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use pingora_proxy::Session;
use tokio::time::sleep_until;

use super::connection;
use super::ctx::Ctx;
use super::reply::Failure;
use crate::fleet::{Lease, Member, Refusal};

/// What `Retry-After` says when no node came back in time, in seconds.
const RETRY_AFTER: u64 = 10;

/// Why there is no lease.
#[derive(Debug)]
pub enum NoLease {
    /// All nodes that could be used have answered, and the last answer is at hand.
    UseWhatIsHeld,
    ClientGone,
    /// A reload took the pool out of the config: the next generation may have another for the request.
    Retired,
    Failed(Failure),
}

/// Leases the best node that this request has not tried. Where there is none, and the request has no answer yet or the
/// others are only full, it waits, up to `retry.wait` from when it was first stranded until it reaches a node. A node
/// that failed it before is better than none, but only as long as there is no answer.
pub async fn acquire(session: &mut Session, ctx: &mut Ctx, member: &Member) -> Result<Lease, NoLease> {
    let mut began = Instant::now();
    if let Some(ends) = ctx.deaths.pause_ends(member.conf.retry.wait, began) {
        pause(session, ctx, began, ends).await?;
        began = Instant::now();
    }
    let refusal = match member.pool.lease(&ctx.tried, began) {
        Ok(lease) => return Ok(lease),
        Err(refusal) if ctx.held.is_some() && refusal != Refusal::Full => return Err(NoLease::UseWhatIsHeld),
        Err(refusal) => refusal,
    };
    let since = *ctx.stranded.get_or_insert(began);
    // nodes that take their time to refuse would otherwise keep it for ever, without its ever waiting here
    if began > since + member.conf.retry.wait {
        return match ctx.held {
            Some(_) => Err(NoLease::UseWhatIsHeld),
            None => Err(NoLease::Failed(failure(refusal, member, since.elapsed()))),
        };
    }
    if refusal == Refusal::Retired {
        return Err(NoLease::Retired);
    }
    let result = wait(session, ctx, member, since).await;
    ctx.queued += began.elapsed();
    result
}

/// Two nodes have just died under the request: the next one may be dying too.
async fn pause(session: &mut Session, ctx: &mut Ctx, began: Instant, ends: Instant) -> Result<(), NoLease> {
    log::debug!("request {}: nodes die one after the other, it pauses", ctx.request_id);
    let result = tokio::select! {
        () = sleep_until(ends.into()) => Ok(()),
        () = gone(session), if ctx.body.is_some() => Err(NoLease::ClientGone),
    };
    ctx.queued += began.elapsed();
    result
}

async fn wait(session: &mut Session, ctx: &Ctx, member: &Member, since: Instant) -> Result<Lease, NoLease> {
    let deadline = since + member.conf.retry.wait;
    let mut told = false;
    loop {
        let changed = member.pool.changed(&ctx.tried);
        let now = Instant::now();
        let refusal = match lease(ctx, member, now, now >= deadline) {
            Ok(lease) => return Ok(lease),
            Err(refusal) => refusal,
        };
        if refusal == Refusal::Retired && ctx.held.is_none() {
            return Err(NoLease::Retired);
        }
        if ctx.held.is_some() && (refusal != Refusal::Full || now >= deadline) {
            return Err(NoLease::UseWhatIsHeld);
        }
        if now >= deadline {
            return Err(NoLease::Failed(failure(refusal, member, since.elapsed())));
        }
        if !told {
            log::debug!("pool {}: {refusal:?}, request {} waits", member.pool.name(), ctx.request_id);
            told = true;
        }
        let wake = match refusal {
            Refusal::Unreachable { until } => until,
            // a node that refused a connection a moment ago may be taken again before a slot comes back
            Refusal::Full | Refusal::AllTried | Refusal::Retired => member.pool.hold_ends(now),
        };
        tokio::select! {
            () = changed => {}
            () = sleep_until(wake.map_or(deadline, |at| at.min(deadline)).into()) => {}
            () = gone(session), if ctx.body.is_some() => return Err(NoLease::ClientGone),
        }
    }
}

fn lease(ctx: &Ctx, member: &Member, now: Instant, last_chance: bool) -> Result<Lease, Refusal> {
    if ctx.held.is_some() {
        return member.pool.lease(&ctx.tried, now);
    }
    match member.pool.lease_again(&ctx.tried, now) {
        // those that it has not tried are still full
        Err(_) if last_chance => member.pool.lease(&[], now),
        result => result,
    }
}

/// Resolves when the client has left. Only after the request body has been read: before, it could eat a byte of it.
pub async fn gone(session: &mut Session) {
    // Pingora's session would look no further once a byte of the next request has come
    if poll_fn(|cx| Poll::Ready(connection::poll_gone(cx))).await.is_some() {
        return poll_fn(|cx| connection::poll_gone(cx).unwrap_or(Poll::Pending)).await;
    }
    let _ = session.as_downstream_mut().read_body_or_idle(true).await;
}

fn failure(refusal: Refusal, member: &Member, waited: Duration) -> Failure {
    let pool = member.pool.name();
    let why = match refusal {
        Refusal::Full => "all nodes are at their max_in_flight",
        Refusal::AllTried | Refusal::Unreachable { .. } => "no node can be reached",
        Refusal::Retired => "it is no longer in the configuration",
    };
    log::warn!("pool {pool}: {why} for {waited:.1?} (retry.wait); the request gets 503");
    let message = format!("pool {pool}: {why}; waited {:.0} s", waited.as_secs_f64());
    Failure::new(503, message).retry_after(RETRY_AFTER)
}
