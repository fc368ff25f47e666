//! The simulated node's OpenAI API, with the quirks of the chosen engine: chat and text completions, streamed or not.

mod errors;
mod manners;
mod plan;
mod render;
mod reply;
mod request;
mod stream;

pub(super) use errors::{ApiError, error_json};
pub(super) use reply::models;
pub(super) use request::Kind;
use stream::TokenStream;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use super::answer::{Answer, cut, error_answer, json_answer, never};
use super::body::Content;
use super::engine::{End, Sequence};
use super::fault::FaultKind;
use super::flight::Flight;
use super::stats::add;
use super::wire::Cut;
use errors::{DEAD_ENGINE, QUEUE_FULL};
use plan::{Ending, Plan};
use render::Render;

/// Answers a generation request; `fault` strikes it after the head.
pub(super) async fn generate(
    flight: &Flight,
    kind: Kind,
    body: &[u8],
    fault: Option<FaultKind>,
) -> Result<Answer, ApiError> {
    let request = request::parse(kind, body)?;
    let plan = Plan::new(fault.as_ref(), request.max_tokens, request.natural_end);
    if plan.ending == Ending::Full && !request.stream {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, QUEUE_FULL));
    }
    let shared = &flight.shared;
    let sequence = shared.engine.submit(plan.tokens, plan.holds()).map_err(|_full| {
        add(&shared.counters.rejected, 1);
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, QUEUE_FULL)
    })?;
    let stream = request.stream;
    let render = Render::new(kind, &shared.options, shared.next_id(), request);
    if !stream {
        return whole(flight, &render, &plan, &sequence).await;
    }
    let mut answer = Response::new(Content::Events(Box::new(TokenStream::new(render, plan, sequence))));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(answer)
}

/// An answer that does not stream: its head comes when all tokens are generated.
async fn whole(
    flight: &Flight,
    render: &Render,
    plan: &Plan,
    sequence: &Sequence,
) -> Result<Answer, ApiError> {
    let shared = &flight.shared;
    let (tokens, end) = sequence.finished().await;
    match (end, plan.ending) {
        (End::Lost, _) | (_, Ending::Stall) => never().await,
        (End::Aborted, _) | (_, Ending::Abort) => Ok(json_answer(render.whole(tokens, "abort"))),
        (_, Ending::Die) => cut(&flight.conn, Cut::Rst).await,
        (_, Ending::Crash) => {
            shared.crash_by_fault();
            never().await
        }
        (_, Ending::Truncate) => {
            let body = bytes::Bytes::from(render.whole(tokens, plan.reason));
            let content = Content::Short { part: body.slice(..body.len() / 2), declared: body.len() as u64 };
            let mut answer = Response::new(content);
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(answer)
        }
        (_, Ending::Error { code }) => {
            Ok(error_answer(code, error_json(code, "InternalServerError", DEAD_ENGINE)))
        }
        (_, Ending::Finish | Ending::NoDone { .. } | Ending::Full) => {
            add(&shared.counters.succeeded, 1);
            Ok(json_answer(render.whole(tokens, plan.reason)))
        }
    }
}
