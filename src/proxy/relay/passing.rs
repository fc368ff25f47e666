//! A response on its way from the node to the client, after its head.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use pingora::protocols::http::HttpTask;
use pingora_proxy::Session;
use tokio::time::timeout_at;

use super::super::Gateway;
use super::super::acquire::gone;
use super::super::ctx::Ctx;
use super::attempt::Answer;
use super::events::{Failed, Passed, Watch};
use super::node::NodeSession;
use crate::fleet::{Lease, Member};
use crate::outcome::Outcome;
use crate::resume::Story;

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
    pub fn before(outcome: Outcome) -> Self {
        Self { outcome, began: false, farewell: Bytes::new() }
    }

    pub fn after(Failed { outcome, farewell }: Failed) -> Self {
        Self { outcome, began: true, farewell }
    }
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
        let now = Instant::now();
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

/// The body of the request is needed no more, unless the stream can still be continued.
pub fn give_back(ctx: &mut Ctx) {
    if ctx.story.as_ref().is_none_or(|story| story.lost().is_some()) {
        ctx.body_share = None;
    }
}

/// Says whether the client took its time. As long as it does, nobody listens to the node, and its silence means nothing.
pub async fn patiently<T, E>(ctx: &Ctx, write: impl Future<Output = Result<T, E>>) -> Result<bool, Broken> {
    let mut writing = pin!(write);
    let at_once = poll_fn(|context| Poll::Ready(writing.as_mut().poll(context))).await;
    let (written, waited) = match at_once {
        Poll::Ready(written) => (written, false),
        Poll::Pending => {
            ctx.lease.iter().for_each(Lease::pause_stall);
            let written = writing.await;
            ctx.lease.iter().for_each(|lease| lease.resume_stall(Instant::now()));
            (written, true)
        }
    };
    written.map(|_| waited).map_err(|_| client_gone())
}

fn client_gone() -> Broken {
    Broken { outcome: Outcome::ClientGone, began: true, farewell: Bytes::new() }
}

/// Keeps the connection for the next request, if the node and its framing allow that.
pub fn release(gateway: &Gateway, member: &Member, node: NodeSession) {
    if let Some((address, stream)) = node.into_reusable() {
        gateway.upstream.keep(address, stream, member.conf.timeouts.idle);
    }
}
