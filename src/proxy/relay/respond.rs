//! The beginning of a response: what is read before its head goes out, and how it goes on.

use bytes::Bytes;
use http::{StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::time::Instant;

use super::super::acquire::gone;
use super::super::connection;
use super::super::ctx::{Answered, Ctx};
use super::super::framing::content_length;
use super::super::{Gateway, headers};
use super::attempt::Answer;
use super::client::Client;
use super::events::Watch;
use super::head::{Told, head};
use super::held::Held;
use super::joined::Joined;
use super::passing::{Broken, give_back, pass_rest, patiently, release};
use super::rest;
use crate::classify::stream::{completion_tokens, whole_answer};
use crate::fleet::Member;
use crate::outcome::Outcome;
use crate::resume::{Kind, Refused, Story};

/// An answer of a known length up to this is read whole before its head goes out, so that one which breaks off can
/// still be asked of another node; in bytes.
const WHOLE_MAX: u64 = 256 * 1024;

/// Adds what the gateway tells the client about how it was served.
pub fn dress(head: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
    Told::of(ctx, &ctx.node_name()).dress(head)
}

/// Passes a response on: each chunk as it comes, byte for byte.
pub async fn pass_on(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    member: &Member,
    mut answer: Answer,
    outcome: Outcome,
) -> Result<(), Broken> {
    let length = content_length(&answer.head.headers);
    let whole = !answer.ended && ctx.repeatable && length.is_some_and(|length| length <= WHOLE_MAX);
    let start = if answer.watch.is_some() {
        begin_stream(session, ctx, member, &mut answer).await?
    } else if whole {
        read_whole(session, ctx, &mut answer).await?
    } else {
        Bytes::new()
    };
    let is_continuation = ctx.is_continuing();
    if answer.watch.is_some() && !is_continuation && member.conf.retry.resume {
        begin_story(session, ctx, member, length.is_some());
    }
    let (start, broken) = match &mut answer.watch {
        Some(watch) => watch.begin(start, answer.ended, ctx.story.as_mut(), member.conf.timeouts.stall),
        None => (start, None),
    };
    let ended = answer.ended && broken.is_none();
    if gateway.live.is_stopping() {
        session.set_keepalive(None);
    }
    let mut direct = if broken.is_none() { take_client(session, ctx, &answer) } else { None };
    let written = match &mut direct {
        Some((client, head)) => patiently(ctx, client.send(head, &start, ended)).await,
        None => {
            let tasks =
                tasks(session, ctx, &answer, start, ended).map_err(|_| Broken::before(Outcome::Reset))?;
            patiently(ctx, session.write_response_tasks(tasks)).await
        }
    };
    if written? {
        answer.watch.iter_mut().for_each(Watch::excuse);
    }
    // from here on the request cannot be repeated: its body may take a lot of memory, and the response a day
    ctx.body = Some(Bytes::new());
    ctx.held = None;
    give_back(ctx);
    if let Some(failed) = broken {
        return Err(Broken::after(failed));
    }
    match direct {
        Some((client, _)) if !ended => rest::hand_over(gateway, session, ctx, client, answer, outcome),
        Some((client, _)) => {
            ctx.answered = ctx.answered.map(|answered| Answered { sent: client.sent(), ..answered });
            connection::put_wire(client.into_wire());
            release(gateway, member, answer.node);
        }
        None => {
            pass_rest(session, ctx, &mut answer).await?;
            release(gateway, member, answer.node);
        }
    }
    Ok(())
}

/// The connection of an HTTP/1.1 client and the head for it, unless another node may have to continue the response: it can
/// do without Pingora's session from here on.
fn take_client(session: &mut Session, ctx: &mut Ctx, answer: &Answer) -> Option<(Client, Vec<u8>)> {
    let is_asked = session.req_header().version == Version::HTTP_11 && session.is_body_done();
    if !is_asked || ctx.story.is_some() {
        return None;
    }
    let wire = connection::take_wire()?;
    let keeps = session.as_downstream().as_http1().is_some_and(|http1| http1.will_keepalive());
    let node = ctx.node_name();
    let (head, coding) = head(&answer.head, session.req_header(), &Told::of(ctx, &node), keeps);
    ctx.answered = Some(Answered { status: answer.head.status.as_u16(), sent: 0 });
    Some((Client::new(wire, coding, ctx.fleet.config.server.client.send_timeout), head))
}

/// The same for Pingora's session: what it is to write first.
fn tasks(session: &Session, ctx: &Ctx, answer: &Answer, start: Bytes, ended: bool) -> Result<Vec<HttpTask>> {
    let mut tasks = Vec::with_capacity(2);
    let is_continuation = ctx.is_continuing();
    if !is_continuation {
        let mut head = answer.head.clone();
        headers::to_client(&mut head, session.req_header())?;
        dress(&mut head, ctx)?;
        tasks.push(HttpTask::Header(head, ended && start.is_empty()));
    }
    if !start.is_empty() || is_continuation && ended {
        tasks.push(HttpTask::Body(Some(start), ended));
    }
    Ok(tasks)
}

/// A stream that may be continued is listened to from its beginning.
fn begin_story(session: &Session, ctx: &mut Ctx, member: &Member, has_length: bool) {
    let Some(kind) = Kind::of(session.req_header().uri.path()) else { return };
    let request = ctx.body.clone().unwrap_or_default();
    // what another node says would not have the length that was announced
    let story = if has_length {
        Err(Refused::NotUnderstood)
    } else if !ctx.repeatable {
        Err(Refused::NotRepeatable)
    } else {
        Story::begin(kind, member.conf.engine, &request, &member.conf.retry)
    };
    match story {
        Ok(story) => ctx.story = Some(story),
        Err(why) => ctx.refused = Some(why),
    }
}

/// Reads up to the first event of a stream. An error there has reached nobody: another node may do better.
async fn begin_stream(
    session: &mut Session,
    ctx: &mut Ctx,
    member: &Member,
    answer: &mut Answer,
) -> Result<Bytes, Broken> {
    let deadline = Instant::now() + member.conf.timeouts.first_event;
    let begun = tokio::select! {
        begun = answer.first_event(deadline) => begun,
        () = gone(session) => return Err(Broken::before(Outcome::ClientGone)),
        () = ctx.given_up() => return Err(Broken::before(Outcome::Stalled)),
    };
    ctx.head_alone = true;
    let events = answer.watch.as_ref().map_or(0, Watch::events);
    let has_begun = events > 0;
    match begun {
        Ok(start) => {
            if !start.is_empty() {
                ctx.ttft.get_or_insert_with(|| ctx.started.elapsed());
            }
            if has_begun {
                let now = Instant::now().into_std();
                ctx.progress(now);
                ctx.worked(events, now);
            }
            Ok(start)
        }
        Err((outcome, code, start)) => {
            ctx.status = code.or(ctx.status);
            if outcome == Outcome::Busy {
                ctx.busy(&answer.head);
            }
            if !start.is_empty() && !ctx.is_continuing() {
                let held = Held::read(session, ctx, answer, start).await;
                ctx.held = held.or(ctx.held.take());
            }
            Err(Broken::before(outcome))
        }
    }
}

async fn read_whole(session: &mut Session, ctx: &mut Ctx, answer: &mut Answer) -> Result<Bytes, Broken> {
    let broken = Broken::before;
    let mut whole = Joined::default();
    while !answer.ended {
        let chunk = tokio::select! {
            chunk = answer.next() => chunk.map_err(broken)?,
            () = gone(session) => return Err(broken(Outcome::ClientGone)),
            () = ctx.given_up() => return Err(broken(Outcome::Stalled)),
        };
        ctx.progress(Instant::now().into_std());
        ctx.ttft.get_or_insert_with(|| ctx.started.elapsed());
        whole.push(chunk);
    }
    let whole = whole.into_bytes();
    let is_good = answer.head.status == StatusCode::OK;
    match whole_answer(session.req_header().uri.path(), &whole) {
        Outcome::Ok => {
            if is_good {
                let tokens = completion_tokens(&whole).unwrap_or(0);
                ctx.worked(tokens, Instant::now().into_std());
            }
            Ok(whole)
        }
        _ if !is_good => Ok(whole),
        outcome => {
            ctx.held = Some(Held::whole(ctx, answer, whole));
            Err(broken(outcome))
        }
    }
}

/// The last bytes of a response of which nothing else was missing, or that ends visibly.
pub async fn finish(session: &mut Session, rest: Bytes, is_whole: bool) -> Result<()> {
    session.write_response_tasks(vec![HttpTask::Body(Some(rest), is_whole)]).await.map(|_| ())
}

/// The error that cuts the client's connection, so that it sees that the response is not whole.
pub fn cut() -> Box<Error> {
    Error::explain(ErrorType::ConnectionClosed, "the node broke the response off").into_up()
}
