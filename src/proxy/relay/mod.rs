//! The attempt loop: lease, connect, send, watch, settle; again, or end.
//!
//! The whole request is at hand before the first attempt, so that any attempt can be repeated, whatever its size,
//! until a byte of a response has gone to the client. Pingora's own proxy path can repeat 64 KiB.

mod attempt;
pub mod body;
mod chunked;
mod client;
mod events;
mod head;
mod held;
mod joined;
mod limit;
mod node;
mod passing;
mod request;
mod respond;
mod rest;

use std::time::Instant;

use bytes::Bytes;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

pub use held::Held;
pub use respond::dress;
pub use rest::Rest;

use super::Gateway;
use super::ctx::Ctx;
use super::reply::Failure;
use crate::classify;
use crate::fleet::{Member, Resumed};
use crate::outcome::Outcome;
use crate::resume::{Continuation, Refused};
use crate::retry::{self, Again, Verdict, Why};
use attempt::{Answer, Attempted};
use passing::{Broken, release};

/// What to do after an attempt.
enum Next {
    /// Ask for another node.
    Node,
    /// The same node, on a fresh connection.
    Fresh,
    /// The failed response that was kept, for no better one will come.
    Held(Held, Why),
    /// The client has its response, or there is nobody to give it to.
    Done,
}

/// Serves a request whose body is at hand.
pub async fn serve(gateway: &Gateway, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
    let served = attempts(gateway, session, ctx).await;
    if !ctx.broke_off || served.is_ok() || ctx.client_gone {
        return served;
    }
    // nobody goes on
    let farewell = std::mem::take(&mut ctx.farewell);
    if !farewell.is_empty() && respond::finish(session, farewell, false).await.is_err() {
        ctx.client_gone = true;
    }
    Err(respond::cut())
}

async fn attempts(gateway: &Gateway, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
    loop {
        let member = match gateway.lease(session, ctx).await {
            Ok(member) => member,
            Err(error) => match ctx.held.take() {
                Some(held) => return held.give(gateway, session, ctx, "no other node was left").await,
                None => {
                    if ctx.is_continuing() {
                        ctx.note = Some("not resumed: no node was there to go on");
                    }
                    return Err(error);
                }
            },
        };
        // a node must not see twice what may not be repeated, not even because its connection was stale
        let mut fresh = !ctx.repeatable;
        loop {
            match once(gateway, session, ctx, &member, fresh).await? {
                Next::Node => break,
                Next::Fresh => fresh = true,
                Next::Held(held, why) => return held.give(gateway, session, ctx, why.as_str()).await,
                Next::Done => return Ok(()),
            }
        }
    }
}

/// One attempt, and what follows from it.
async fn once(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    member: &Member,
    fresh: bool,
) -> Result<Next> {
    let answer = match attempt::run(&gateway.upstream, session, ctx, member, fresh).await? {
        Attempted::Answer(answer) => *answer,
        Attempted::Failed(outcome) => return failed(ctx, member, outcome),
    };
    let code = answer.head.status.as_u16();
    ctx.status = Some(code);
    let outcome = classify::status(code, member.conf.retry.on.status(code));
    // the head of a stream says nothing yet: its first event does
    if outcome == Outcome::Ok && answer.watch.is_none() {
        ctx.good_head(code);
    }
    if outcome == Outcome::Busy {
        ctx.busy(&answer.head);
    }
    match retry::decide(&member.conf.retry, &ctx.facts(outcome, Instant::now())) {
        Verdict::Again(why) => {
            if !ctx.is_continuing() {
                hold(gateway, session, ctx, member, answer).await?;
            }
            again(ctx, member, outcome, why, Instant::now());
            Ok(Next::Node)
        }
        Verdict::Fresh | Verdict::Stop(_) if ctx.is_continuing() && answer.watch.is_none() => {
            ctx.settle(outcome, Instant::now());
            ctx.note = Some("not resumed: the next node did not take the continuation");
            Err(respond::cut())
        }
        Verdict::Fresh | Verdict::Stop(_) => pass_on(gateway, session, ctx, member, answer, outcome).await,
    }
}

/// Keeps a failed response in case that no better one comes; what cannot be kept is dropped.
async fn hold(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    member: &Member,
    mut answer: Answer,
) -> Result<()> {
    match Held::read(session, ctx, &mut answer, Bytes::new()).await {
        Some(held) => {
            ctx.held = Some(held);
            release(gateway, member, answer.node);
        }
        None if ctx.client_gone => return Err(client_gone(ctx)),
        None => {}
    }
    Ok(())
}

/// Gives the client this response, as far as it comes.
async fn pass_on(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    member: &Member,
    answer: Answer,
    outcome: Outcome,
) -> Result<Next> {
    let end = respond::pass_on(gateway, session, ctx, member, answer, outcome).await;
    match end {
        Ok(()) => {
            ctx.settle(outcome, Instant::now());
            Ok(Next::Done)
        }
        Err(Broken { outcome: Outcome::ClientGone, .. }) => Err(client_gone(ctx)),
        Err(Broken { outcome, began: false, .. }) => failed(ctx, member, outcome),
        Err(Broken { outcome, began: true, farewell }) => {
            ctx.broke_off = true;
            ctx.farewell = farewell;
            broke_off(session, ctx, member, outcome).await
        }
    }
}

/// The response broke off after it had begun: another node goes on, or the client sees that it is not whole.
async fn broke_off(session: &mut Session, ctx: &mut Ctx, member: &Member, outcome: Outcome) -> Result<Next> {
    let node = ctx.node_name();
    ctx.settle(outcome, Instant::now());
    match ctx.go_on() {
        Ok(Continuation::Ask(body)) => {
            member.pool.count_resume(Resumed::Asked);
            log::debug!("request {}: node {node}: {outcome}; another node goes on", ctx.request_id);
            ctx.note = Some("resumed");
            ctx.body = Some(body);
            Ok(Next::Node)
        }
        Ok(Continuation::Finish(rest)) => {
            member.pool.count_resume(Resumed::Finished);
            ctx.note = Some("resumed: nothing but the end was missing");
            respond::finish(session, rest, true).await.map_err(|_| client_gone(ctx))?;
            Ok(Next::Done)
        }
        Err(why) => {
            not_resumed(ctx, why);
            Err(respond::cut())
        }
    }
}

/// Nobody goes on with the response that broke off: why not, if that was asked for.
fn not_resumed(ctx: &mut Ctx, why: Option<Refused>) {
    if let Some(member) = ctx.member.as_ref().filter(|_| why.is_some()) {
        member.pool.count_resume(Resumed::Refused);
    }
    ctx.note = Some(why.map_or("the node broke the response off", Refused::as_str));
}

fn failed(ctx: &mut Ctx, member: &Member, outcome: Outcome) -> Result<Next> {
    let now = Instant::now();
    let judged = ctx.reconsider(outcome);
    match retry::decide(&member.conf.retry, &ctx.facts(judged, now)) {
        Verdict::Again(why) => {
            again(ctx, member, outcome, why, now);
            Ok(Next::Node)
        }
        Verdict::Fresh => {
            ctx.note_stale();
            member.pool.count_retry(Again::Stale);
            Ok(Next::Fresh)
        }
        Verdict::Stop(Why::ClientGone) => Err(client_gone(ctx)),
        Verdict::Stop(why) => match ctx.held.take().filter(|_| why != Why::KillsNodes) {
            Some(held) => {
                ctx.settle(outcome, now);
                Ok(Next::Held(held, why))
            }
            None => Err(stop(ctx, outcome, why, now)),
        },
    }
}

fn again(ctx: &mut Ctx, member: &Member, outcome: Outcome, why: Again, now: Instant) {
    let node = ctx.node_name();
    log::debug!("request {}: node {node}: {outcome}; tries another node", ctx.request_id);
    ctx.settle(outcome, now);
    member.pool.count_retry(why);
}

/// The end of a request that no node has answered.
fn stop(ctx: &mut Ctx, outcome: Outcome, why: Why, now: Instant) -> Box<Error> {
    let node = ctx.node_name();
    ctx.settle(outcome, now);
    let (status, what) = match outcome {
        Outcome::Timeout | Outcome::Stalled => (504, "did not answer in time"),
        Outcome::Connect => (502, "could not be reached"),
        _ => (502, "broke the connection"),
    };
    let asked = ctx.attempts.len();
    let message = format!("node {node} {what} (attempt {asked}); not tried again: {}", why.as_str());
    let gets =
        if ctx.is_continuing() { "a stream that ends with an error".to_owned() } else { status.to_string() };
    log::warn!("request {}: {message}; the client gets {gets}", ctx.request_id);
    ctx.note = Some(why.as_str());
    ctx.failure = Some(Failure::new(status, message));
    Error::new(ErrorType::HTTPStatus(status)).into_up()
}

fn client_gone(ctx: &mut Ctx) -> Box<Error> {
    ctx.client_gone = true;
    ctx.settle(Outcome::ClientGone, Instant::now());
    Error::new(ErrorType::ConnectionClosed).into_down()
}
