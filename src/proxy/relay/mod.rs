//! The relay: it moves the bytes of a request's [`Journey`](crate::journey::Journey), between its client and one node after
//! the other.
//!
//! The whole request is at hand before the first attempt, so that any attempt can be repeated, whatever its size,
//! until a byte of a response has gone to the client. Pingora's own proxy path can repeat 64 KiB.

mod answer;
mod attempt;
mod begin;
mod events;
mod fallback;
mod pass;
pub(super) mod request;
pub(super) mod seek;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use pingora::{Error, ErrorType, Result};

use super::downstream::client::Client;
use super::downstream::http1::Http1;
use super::downstream::own_error::OwnError;
use super::downstream::wire::Wire;
use super::finish::{Served, finish};
use super::gateway::{Gateway, tell};
use attempt::NoAnswer;
use fallback::Fallback;
use request::{KeptBody, Request};
use seek::{Found, Routed};

use crate::classify::retry_after;
use crate::journey::{Answered, Attempt, Ending, Head, How, Step};

/// Serves a request on a client's own connection, after its session. Gives the connection back if another may come on it.
pub(super) async fn serve_http1(
    gateway: Gateway,
    mut request: Box<Request>,
    mut client: Http1,
) -> Option<Wire> {
    log::debug!("request {}: it goes on without a session", request.caller.request_id);
    let ending = serve(&gateway, &mut request, &mut client).await;
    let reads = ending != Ending::Left;
    if end(&gateway, *request, &mut client, ending).await {
        return client.into_wire();
    }
    client.break_off(reads).await;
    None
}

/// Serves a request within its session.
pub(super) async fn serve_http2(
    gateway: &Gateway,
    mut request: Box<Request>,
    client: &mut impl Client,
) -> Result<()> {
    let ending = serve(gateway, &mut request, client).await;
    if end(gateway, *request, client, ending).await {
        return Ok(());
    }
    // the stream is reset, so that the client sees that it is not whole
    Err(Error::explain(ErrorType::ConnectionClosed, "the response ended early").into_up())
}

/// One attempt after the other, until the client has an answer or there can be none.
async fn serve(gateway: &Gateway, request: &mut Request, client: &mut impl Client) -> Ending {
    let mut same_node = None;
    loop {
        let (attempt, fresh) = match same_node.take() {
            Some(attempt) => (attempt, true),
            None => match find(gateway, request, client).await {
                // a node must not see twice what may not be repeated, not even because its connection was stale
                Found::Attempt(attempt) => (attempt, !request.is_repeatable()),
                Found::Give(fallback) => return give(gateway, request, fallback, client).await,
                Found::Stop(ending) => return ending,
            },
        };
        match try_node(gateway, request, attempt, fresh, client).await {
            Step::Node(_) => {}
            Step::Fresh(attempt) => same_node = Some(attempt),
            Step::Continue(body) => request.go_on_with(body),
            Step::Finish(rest) => return last_bytes(client, rest).await,
            Step::Give(fallback) => return give(gateway, request, fallback, client).await,
            Step::Stop(ending) => return ending,
        }
    }
}

async fn find(gateway: &Gateway, request: &mut Request, client: &mut impl Client) -> Found<Fallback> {
    let bytes = match &request.body {
        KeptBody::Kept { bytes, .. } => bytes.clone(),
        KeptBody::Released => Bytes::new(),
    };
    let routed = Routed::Whole {
        place: &request.place,
        body: &bytes,
        method: &request.asked.method,
        path: &request.asked.path,
    };
    seek::seek(gateway, &mut request.caller, &mut request.journey, &routed, client).await
}

/// One attempt, and what follows from it.
async fn try_node(
    gateway: &Gateway,
    request: &mut Request,
    mut attempt: Attempt,
    fresh: bool,
    client: &mut impl Client,
) -> Step<Fallback> {
    let how = exchange(gateway, request, &mut attempt, fresh, client).await;
    let node = log::log_enabled!(log::Level::Debug).then(|| Arc::clone(attempt.node()));
    let step = request.journey.end(attempt, how, Instant::now());
    tell(&mut request.journey);
    if let (Step::Node(why), Some(node)) = (&step, node) {
        let id = &request.caller.request_id;
        log::debug!("request {id}: node {}: {}; another node is tried", node.name, why.as_str());
    }
    step
}

/// One exchange with the node, and how it has ended.
async fn exchange(
    gateway: &Gateway,
    request: &mut Request,
    attempt: &mut Attempt,
    fresh: bool,
    client: &mut impl Client,
) -> How<Fallback> {
    let mut answer = match attempt::run(gateway, request, attempt, fresh, client).await {
        Ok(answer) => answer,
        Err(NoAnswer::ClientLeft) => return How::Left,
        Err(NoAnswer::Failed(outcome)) => return How::Failed { outcome, fallback: None },
    };
    let head = Head {
        status: answer.head.status,
        is_stream: answer.watch.is_some(),
        retry_after: answer.head.fields.get("retry-after").and_then(retry_after),
    };
    let answered = request.journey.head(attempt, head, Instant::now());
    tell(&mut request.journey);
    let how = match answered {
        Answered::Pass => begin::pass(gateway, request, attempt, &mut answer, client).await,
        Answered::Drop => return How::Declined { fallback: None },
        Answered::HoldBack => {
            let declined = |fallback| How::Declined { fallback };
            begin::hold_back(attempt, &mut answer, Bytes::new(), client, declined).await
        }
    };
    let idle = request.journey.member().conf.timeouts.idle;
    if let (How::Whole | How::Declined { .. }, Some((address, stream))) = (&how, answer.node.into_reusable())
    {
        gateway.connections.keep(address, stream, idle);
    }
    how
}

async fn give(gateway: &Gateway, request: &Request, fallback: Fallback, client: &mut impl Client) -> Ending {
    match begin::give(gateway, request, fallback, client).await {
        Ok(()) => Ending::Whole,
        Err(_) => Ending::Left,
    }
}

async fn last_bytes(client: &mut impl Client, rest: Bytes) -> Ending {
    match client.write(rest, true).await {
        Ok(()) => Ending::Whole,
        Err(_) => Ending::Left,
    }
}

/// Carries out what is left to be done, and writes the request's line. Whether the client has a whole answer, after which
/// the connection may go on.
async fn end(gateway: &Gateway, request: Request, client: &mut impl Client, ending: Ending) -> bool {
    let id = &request.caller.request_id;
    let mut client_left = false;
    let is_whole = ending == Ending::Whole;
    match ending {
        Ending::Whole => {}
        Ending::Left => client_left = true,
        Ending::Failed(failure) => {
            log::warn!("request {id}: {}; the client gets {}", failure.message, failure.status);
            let error = OwnError { failure: &failure, request_id: id, form: request.form };
            client_left = client.refuse(&error).await.is_err();
        }
        Ending::Broken { closing_event } => {
            let note = request.journey.note().unwrap_or_default();
            log::warn!("request {id}: {note}; the client gets a stream that ends with an error");
            client_left = !closing_event.is_empty() && client.write(closing_event, false).await.is_err();
        }
    }
    let Request { caller, asked, mut journey, ttft, .. } = request;
    let way = Served::of(&mut journey, ttft, client.sent(), client_left);
    finish(gateway, caller, asked, way);
    is_whole
}
