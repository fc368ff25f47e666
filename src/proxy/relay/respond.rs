//! The node's response on its way to the client, and failed responses that are kept meanwhile.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::acquire::gone;
use super::super::connection;
use super::super::ctx::{Answered, Ctx};
use super::super::framing::content_length;
use super::super::{Gateway, headers};
use super::attempt::Answer;
use super::client::Client;
use super::events::{Failed, Passed, Watch};
use super::head::{Told, head};
use super::joined::Joined;
use super::node::NodeSession;
use super::rest;
use crate::classify::stream::{completion_tokens, whole_answer};
use crate::fleet::{Lease, Member};
use crate::outcome::Outcome;
use crate::resume::{Kind, Refused, Story};

/// A failed response is kept up to this size, in bytes.
const HELD_MAX: usize = 256 * 1024;
/// How long a failed response may take to be read.
const HELD_WITHIN: Duration = Duration::from_secs(2);
/// An answer of a known length up to this is read whole before its head goes out, so that one which breaks off can
/// still be asked of another node; in bytes.
const WHOLE_MAX: u64 = 256 * 1024;

/// A failed response: what the client gets if no better one comes.
#[derive(Debug)]
pub struct Held {
    pub node: std::sync::Arc<str>,
    head: Box<ResponseHeader>,
    body: Bytes,
}

/// A response that ended too early.
#[derive(Debug)]
pub struct Broken {
    pub outcome: Outcome,
    /// Whether a byte has gone to the client.
    pub began: bool,
    /// What the client gets at its end if it is not continued.
    pub farewell: Bytes,
}

impl Broken {
    fn before(outcome: Outcome) -> Self {
        Self { outcome, began: false, farewell: Bytes::new() }
    }

    fn after(Failed { outcome, farewell }: Failed) -> Self {
        Self { outcome, began: true, farewell }
    }
}

/// Reads a failed response to its end, within bounds.
pub async fn hold(session: &mut Session, ctx: &mut Ctx, mut answer: Answer) -> Option<Held> {
    hold_from(session, ctx, &mut answer, Bytes::new()).await
}

/// The same if `start` has been read.
async fn hold_from(session: &mut Session, ctx: &mut Ctx, answer: &mut Answer, start: Bytes) -> Option<Held> {
    let node = ctx.lease.as_ref().map(|lease| lease.node().name.clone())?;
    let read = async {
        let mut body = BytesMut::from(start);
        while !answer.ended {
            let chunk = answer.next().await.ok()?;
            body.extend_from_slice(&chunk);
            if body.len() > HELD_MAX {
                return None;
            }
        }
        Some(body.freeze())
    };
    let body = tokio::select! {
        body = timeout(HELD_WITHIN, read) => body.ok().flatten()?,
        () = gone(session) => {
            ctx.client_gone = true;
            return None;
        }
    };
    Some(Held { node, head: answer.head.clone(), body })
}

/// Gives the client a failed response, unchanged; `why` goes to the log.
pub async fn held(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    mut held: Held,
    why: &'static str,
) -> Result<()> {
    ctx.note = Some(why);
    if gateway.live.is_stopping() {
        session.set_keepalive(None);
    }
    headers::to_client(&mut held.head, session.req_header())?;
    Told::of(ctx, &held.node).dress(&mut held.head)?;
    let tasks =
        vec![HttpTask::Header(held.head, held.body.is_empty()), HttpTask::Body(Some(held.body), true)];
    session.write_response_tasks(tasks).await.map(|_| ())
}

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
    let mut direct = if broken.is_none() { direct(session, ctx, &answer) } else { None };
    let written = match &mut direct {
        Some((client, head)) => patiently(ctx, client.begin(head, &start, ended)).await,
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
fn direct(session: &mut Session, ctx: &mut Ctx, answer: &Answer) -> Option<(Client, Vec<u8>)> {
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

/// Where the rest of a response goes.
pub trait Receiver {
    /// Sends these bytes, which may be none at the end. Not to be called again before it has returned.
    fn write(&mut self, chunk: Bytes, ended: bool) -> impl Future<Output = Result<(), ClientLeft>> + Send;
    /// Resolves when the client has left.
    fn gone(&mut self) -> impl Future<Output = ()> + Send;
}

/// Nobody takes the response.
#[derive(Debug)]
pub struct ClientLeft;

impl Receiver for Session {
    async fn write(&mut self, chunk: Bytes, ended: bool) -> Result<(), ClientLeft> {
        let tasks = vec![HttpTask::Body(Some(chunk), ended)];
        self.write_response_tasks(tasks).await.map(|_| ()).map_err(|_| ClientLeft)
    }

    async fn gone(&mut self) {
        gone(self).await;
    }
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

/// The body of the request is needed no more, unless the stream can still be continued.
fn give_back(ctx: &mut Ctx) {
    if ctx.story.as_ref().is_none_or(|story| story.lost().is_some()) {
        ctx.body_share = None;
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
                let held = hold_from(session, ctx, answer, start).await;
                ctx.held = held.or(ctx.held.take());
            }
            Err(Broken::before(outcome))
        }
    }
}

/// The next bytes for the client, which may be none, and what has become of the stream.
async fn watched(
    answer: &mut Answer,
    story: Option<&mut Story>,
    given_up: Option<impl Future<Output = ()>>,
) -> Passed {
    let deadline = answer.watch.as_ref().and_then(Watch::deadline);
    let chunk = match (deadline, given_up) {
        (Some(deadline), _) => timeout_at(deadline, answer.next()).await.unwrap_or(Err(Outcome::Stalled)),
        // before its first event a stream has no limit of its own
        (None, Some(given_up)) => tokio::select! {
            chunk = answer.next() => chunk,
            () = given_up => Err(Outcome::Stalled),
        },
        (None, None) => answer.next().await,
    };
    match (chunk, &mut answer.watch) {
        (Ok(chunk), Some(watch)) => watch.look(chunk, answer.ended, story),
        (Ok(chunk), None) => (chunk, None),
        (Err(outcome), watch) => {
            let farewell = watch.as_ref().map(|watch| watch.farewell(outcome)).unwrap_or_default();
            (Bytes::new(), Some(Failed { outcome, farewell }))
        }
    }
}

/// From after the first bytes to the end.
pub async fn pass_rest(client: &mut impl Receiver, ctx: &mut Ctx, answer: &mut Answer) -> Result<(), Broken> {
    while !answer.ended {
        let events = answer.watch.as_ref().map(Watch::events);
        let given_up = ctx.head_alone.then(|| ctx.given_up());
        let (chunk, broken) = tokio::select! {
            watched = watched(answer, ctx.story.as_mut(), given_up) => watched,
            () = client.gone() => return Err(client_gone()),
        };
        let now = Instant::now().into_std();
        // comments show nothing: a server can send them while its engine hangs
        let more = answer.watch.as_ref().map(|watch| watch.events().saturating_sub(events.unwrap_or(0)));
        if more.map_or(broken.is_none(), |more| more > 0) {
            ctx.progress(now);
        }
        if broken.is_none() {
            ctx.worked(more.unwrap_or(0), now);
        }
        if !chunk.is_empty() {
            ctx.ttft.get_or_insert_with(|| ctx.started.elapsed());
        }
        let ended = answer.ended && broken.is_none();
        let has_news = !chunk.is_empty() || ended;
        if has_news && patiently(ctx, client.write(chunk, ended)).await? {
            answer.watch.iter_mut().for_each(Watch::excuse);
        }
        if ctx.body_share.is_some() {
            give_back(ctx);
        }
        if let Some(failed) = broken {
            return Err(Broken::after(failed));
        }
    }
    Ok(())
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
            let node = ctx.node_name();
            ctx.held = Some(Held { node, head: answer.head.clone(), body: whole });
            Err(broken(outcome))
        }
    }
}

/// Says whether the client took its time. As long as it does, nobody listens to the node, and its silence means nothing.
async fn patiently<T, E>(ctx: &Ctx, write: impl Future<Output = Result<T, E>>) -> Result<bool, Broken> {
    let mut writing = pin!(write);
    let at_once = poll_fn(|context| Poll::Ready(writing.as_mut().poll(context))).await;
    let (written, waited) = match at_once {
        Poll::Ready(written) => (written, false),
        Poll::Pending => {
            ctx.lease.iter().for_each(Lease::may_be_silent);
            let written = writing.await;
            ctx.lease.iter().for_each(|lease| lease.is_at_work(std::time::Instant::now()));
            (written, true)
        }
    };
    written.map(|_| waited).map_err(|_| client_gone())
}

fn client_gone() -> Broken {
    Broken { outcome: Outcome::ClientGone, began: true, farewell: Bytes::new() }
}

/// The last bytes of a response of which nothing else was missing, or that ends visibly.
pub async fn finish(session: &mut Session, rest: Bytes, is_whole: bool) -> Result<()> {
    session.write_response_tasks(vec![HttpTask::Body(Some(rest), is_whole)]).await.map(|_| ())
}

/// Keeps the connection for the next request, if the node and its framing allow that.
pub fn release(gateway: &Gateway, member: &Member, node: NodeSession) {
    if let Some((address, stream)) = node.into_reusable() {
        gateway.upstream.keep(address, stream, member.conf.timeouts.idle);
    }
}

/// The error that cuts the client's connection, so that it sees that the response is not whole.
pub fn cut() -> Box<Error> {
    Error::explain(ErrorType::ConnectionClosed, "the node broke the response off").into_up()
}
