//! The relay: it moves the bytes of a request's [`Journey`](crate::journey::Journey), between its client and one node after
//! the other.
//!
//! The whole request is at hand before the first attempt, so that any attempt can be repeated, whatever its size,
//! until a byte of a response has gone to the client. Pingora's own proxy path can repeat 64 KiB. A body that is not kept is sent
//! once, as it comes (`upload`).

mod answer;
mod attempt;
mod begin;
pub(super) mod events;
mod fallback;
mod keyed;
mod node_head;
mod opening;
mod pass;
pub(super) mod request;
pub(super) mod seek;
mod upload;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pingora::{Error, ErrorType, Result};
use tokio::time::timeout;

use super::downstream::client::{Client, Unwritten};
use super::downstream::http1::Http1;
use super::downstream::keepalive::{Accompanied, Beat};
use super::downstream::own_error::{self, Form, OwnError};
use super::downstream::wire::Wire;
use super::finish::{Served, finish};
use super::gateway::{Gateway, tell};
use answer::Answer;
use attempt::NoAnswer;
use begin::begin;
use fallback::Fallback;
use pass::pass_rest;
use request::{KeptBody, Request};
use seek::{Found, Routed};

use crate::journey::{Answered, Attempt, Ending, Head, How, Step};

/// Serves a request on a client's own connection, after its session. Gives the connection back if another may come on it.
pub(super) async fn serve_http1(gateway: Gateway, mut request: Box<Request>, client: Http1) -> Option<Wire> {
    let id = &request.caller.request_id;
    log::debug!(rid:% = id; "request {id}: it goes on without a session");
    let under_way = request.caller.under_way().cloned();
    let mut client = Accompanied::new(client, under_way, beat(&gateway, &request));
    let ending = serve(&gateway, &mut request, &mut client).await;
    let ending = request.ending(ending);
    let reads = ending != Ending::Left;
    let is_whole = end(&gateway, request, &mut client, ending).await;
    let client = client.into_inner();
    if client.is_sending() && reads {
        Box::pin(client.end_sending(is_whole)).await;
        return None;
    }
    if is_whole {
        return client.into_wire();
    }
    client.break_off(reads).await;
    None
}

/// The comments that the client gets while its stream is silent, if it asks for one and the config for them.
fn beat(gateway: &Gateway, request: &Request) -> Option<Box<Beat>> {
    let every = request.caller.fleet.config.server.client.sse_keepalive?;
    let Form { shape, is_cross_origin, .. } = request.form;
    let id = request.caller.request_id.clone();
    let live = Arc::clone(&gateway.live);
    let limits = request.caller.limits(shape);
    request.asks_for_events().then(|| Beat::new(live, every, shape, id, is_cross_origin, limits))
}

/// The time in which the connection's task may send a closing event: h2 drops what is queued when a stream is reset, and
/// cannot say that its queue is empty.
const CLOSING_EVENT_WITHIN: Duration = Duration::from_millis(100);

/// Serves a request within its session.
pub(super) async fn serve_http2(
    gateway: &Gateway,
    mut request: Box<Request>,
    client: impl Client,
) -> Result<()> {
    let under_way = request.caller.under_way().cloned();
    let mut client = Accompanied::new(client, under_way, beat(gateway, &request));
    let ending = serve(gateway, &mut request, &mut client).await;
    let ending = request.ending(ending);
    let has_closing_event = match &ending {
        Ending::Broken { closing_event } => !closing_event.is_empty(),
        Ending::Failed(_) => client.sent().status.is_some(),
        Ending::Whole | Ending::Left => false,
    };
    if end(gateway, request, &mut client, ending).await {
        return Ok(());
    }
    if has_closing_event {
        let _ = timeout(CLOSING_EVENT_WITHIN, client.into_inner().gone()).await;
    }
    // the stream is reset, so that the client sees that it is not whole
    Err(Error::explain(ErrorType::ConnectionClosed, "the response ended early").into_up())
}

/// One attempt after the other, until the client has an answer or there can be none. The rest of a response, which may take
/// a day, is passed on here: each event of a stream is polled through as few futures as can be.
async fn serve(gateway: &Gateway, request: &mut Request, client: &mut impl Client) -> Ending {
    if let Err(failure) = request.fit() {
        return Ending::Failed(failure);
    }
    // one place for all attempts: they are most of this future
    let mut held: Option<Attempt> = None;
    loop {
        let (attempt, fresh) = match &mut held {
            Some(attempt) => (attempt, true),
            none => match find(gateway, request, client).await {
                Found::Attempt(attempt) => (none.insert(attempt), request.needs_fresh_connection()),
                Found::Give(fallback) => return give(gateway, request, fallback, client).await,
                Found::Stop(ending) => return ending,
            },
        };
        if let Err(failure) = request.fit() {
            return Ending::Failed(failure);
        }
        let how = match open(gateway, request, attempt, fresh, client).await {
            Ok(mut answer) => {
                let how = pass_rest(request, attempt, &mut answer, client).await;
                if answer.node.is_sending() && matches!(how, How::Whole) {
                    Box::pin(upload::send_rest(&mut answer, client)).await;
                }
                keep(gateway, request, &how, answer);
                how
            }
            Err(how) => how,
        };
        request.note_head(client.sent());
        let Some(attempt) = held.take() else { continue };
        match next(request, attempt, how) {
            Step::Node(_) => {}
            Step::Fresh(attempt) => held = Some(attempt),
            Step::Continue(next) => request.go_on_with(next),
            Step::Finish(rest) => return last_bytes(request, client, rest).await,
            Step::Give(fallback) => return give(gateway, request, fallback, client).await,
            Step::Stop(ending) => return ending,
        }
    }
}

async fn find(gateway: &Gateway, request: &mut Request, client: &mut impl Client) -> Found<Fallback> {
    let bytes = match &request.body {
        KeptBody::Kept { bytes, .. } => Some(bytes.clone()),
        KeptBody::Released => Some(Bytes::new()),
        KeptBody::Passing { .. } => None,
    };
    let routed = match &bytes {
        Some(bytes) => Routed::Whole {
            place: &request.place,
            head: request.head.as_sent(),
            body: bytes,
            asked: request.renamed.as_deref().map(|renamed| renamed.alias.asked()),
            method: &request.asked.method,
            path: request.caller.node_path(&request.asked.path),
        },
        None => Routed::Unread { place: &request.place },
    };
    let found = seek::seek(gateway, &mut request.caller, &mut request.journey, &routed, client).await;
    request.note_head(client.sent());
    found
}

/// The next step after an attempt that ended so.
fn next(request: &mut Request, attempt: Attempt, how: How<Fallback>) -> Step<Fallback> {
    let node = log::log_enabled!(log::Level::Debug).then(|| Arc::clone(attempt.node()));
    let step = request.journey.end(attempt, how, Instant::now());
    tell(&mut request.journey);
    if let (Step::Node(why), Some(node)) = (&step, node) {
        let id = &request.caller.request_id;
        let (name, why) = (&node.name, why.as_str());
        log::debug!(rid:% = id, node:% = name; "request {id}: node {name}: {why}; another node is tried");
    }
    step
}

/// An exchange with the node, up to a response that has begun at the client. An error is the end of the attempt.
async fn open(
    gateway: &Gateway,
    request: &mut Request,
    attempt: &mut Attempt,
    fresh: bool,
    client: &mut impl Client,
) -> Result<Box<Answer>, How<Fallback>> {
    let mut answer = match attempt::run(gateway, request, attempt, fresh, client).await {
        Ok(answer) => Box::new(answer),
        Err(NoAnswer::ClientLeft) => return Err(How::Left),
        Err(NoAnswer::Late) => return Err(How::Late),
        Err(NoAnswer::Missed) => return Err(How::Missed),
        Err(NoAnswer::NotTaken) => return Err(How::NotTaken),
        Err(NoAnswer::Unsayable(why)) => return Err(How::Unsayable((*why).into())),
        Err(NoAnswer::Failed(outcome)) => return Err(How::Failed { outcome, fallback: None }),
    };
    request.note_head(client.sent());
    let head = Head {
        status: answer.head.status,
        is_stream: answer.watch.is_some(),
        retry_after: answer.retry_after(),
    };
    if request.journey.needs_subject_for(head.status) {
        request.name_subject();
    }
    let answered = request.journey.head(attempt, head, Instant::now());
    tell(&mut request.journey);
    match answered {
        Answered::Pass => {
            if answer.watch.is_none() {
                client.leave_alone();
            }
            answer.recorder = request.journey.recorder(attempt);
            begin(gateway, request, attempt, &mut answer, client).await?;
            Ok(answer)
        }
        Answered::Drop => Err(How::Declined { fallback: None }),
        Answered::HoldBack => {
            let declined = |fallback| How::Declined { fallback };
            let how = begin::hold_back(attempt, &mut answer, Bytes::new(), client, declined).await;
            keep(gateway, request, &how, answer);
            Err(how)
        }
    }
}

/// Keeps the connection for the next request, if the node and its framing allow that.
fn keep(gateway: &Gateway, request: &Request, how: &How<Fallback>, answer: Box<Answer>) {
    let is_read = matches!(how, How::Whole | How::Declined { .. });
    if let Some((address, stream)) = answer.node.into_reusable().filter(|_| is_read) {
        gateway.connections.keep(address, stream, request.journey.member().conf.timeouts.idle);
    }
}

/// Gives a response that was held back; under a head that is out it can only be told as an event.
async fn give(
    gateway: &Gateway,
    request: &mut Request,
    fallback: Fallback,
    client: &mut impl Client,
) -> Ending {
    if request.journey.has_head() {
        return Ending::Failed(fallback.failure());
    }
    let given = begin::give(gateway, request, fallback, client).await;
    written(request, given)
}

async fn last_bytes(request: &mut Request, client: &mut impl Client, rest: Bytes) -> Ending {
    let rest = request.rename(rest);
    let given = client.write(rest, true).await;
    written(request, given)
}

/// The ending after the last of an answer was written.
fn written(request: &mut Request, written: Result<(), Unwritten>) -> Ending {
    match written {
        Ok(()) => Ending::Whole,
        Err(unwritten) => {
            request.say_nothing(unwritten);
            Ending::Left
        }
    }
}

/// Carries out the ending, and writes the request's line. Returns whether the client has a whole answer, after which
/// the connection may go on.
async fn end(gateway: &Gateway, request: Box<Request>, client: &mut impl Client, ending: Ending) -> bool {
    let id = &request.caller.request_id;
    let mut client_left = false;
    let is_whole = ending == Ending::Whole;
    let has_head = client.sent().status.is_some();
    match ending {
        Ending::Whole => {}
        Ending::Left => client_left = true,
        Ending::Failed(failure) => {
            log::warn!(rid:% = id; "request {id}: {}; the client gets {}", failure.message, failure.status);
            let limits = request.caller.limits(request.form.shape);
            let error = OwnError { failure: &failure, request_id: id, form: request.form, limits: &limits };
            let told = if has_head {
                client.write(own_error::event(&error), false).await
            } else {
                client.refuse(&error).await
            };
            client_left = told.is_err();
        }
        Ending::Broken { closing_event } => {
            let note = request.journey.note().unwrap_or_default();
            log::warn!(rid:% = id; "request {id}: {note}; the client gets a stream that ends with an error");
            client_left = !closing_event.is_empty() && client.write(closing_event, false).await.is_err();
        }
    }
    let Request { caller, asked, mut journey, call, ttft, .. } = *request;
    let way = Served::of(&mut journey, call, ttft, client.sent(), client_left);
    finish(gateway, caller, asked, way);
    is_whole
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest future of a request, in bytes. Thousands of requests wait at a time, and each holds one.
    const SIZE_MAX: usize = 3360;

    #[test]
    fn a_request_on_its_way_is_small() {
        fn size<F>(_: impl Fn(Gateway, Box<Request>, Http1) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(serve_http1);
        assert!(size <= SIZE_MAX, "{size} bytes");
    }
}
