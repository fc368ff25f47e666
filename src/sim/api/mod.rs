//! The simulated node's inference APIs, streamed or not, in the manner of the chosen engine.
//!
//! What is said is data (`rows`), in the form of templates; when it is said is common to all (`stream`, `plan`).

mod errors;
mod plan;
mod render;
mod reply;
mod request;
mod rows;
mod speech;
mod stream;
mod template;

pub(super) use errors::{ApiError, error_json};
pub(super) use reply::models;
pub(super) use rows::speech_of;
use speech::Speech;
use stream::TokenStream;

use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::answer::{Answer, cut, json_answer, never};
use super::body::Content;
use super::engine::{End, Sequence};
use super::fault::FaultKind;
use super::flight::Flight;
use super::stats::add;
use super::wire::Cut;
use plan::{Ending, Plan};
use render::Render;

/// Answers a generation request; `fault` strikes it after the head.
pub(super) async fn generate(
    flight: &Flight,
    speech: &'static Speech,
    body: &[u8],
    fault: Option<FaultKind>,
) -> Answer {
    let answer = answer(flight, speech, body, fault).await;
    answer.unwrap_or_else(|error| error.into_answer_of(speech))
}

async fn answer(
    flight: &Flight,
    speech: &'static Speech,
    body: &[u8],
    fault: Option<FaultKind>,
) -> Result<Answer, ApiError> {
    let request = request::parse(speech.form, body)?;
    let plan = Plan::new(fault.as_ref(), request.max_tokens, request.natural_end);
    let shared = &flight.shared;
    let full = || ApiError::full(shared.options.engine);
    if plan.ending == Ending::Full && !request.stream {
        return Err(full());
    }
    let sequence = shared.engine.submit(plan.tokens, plan.holds()).map_err(|_full| {
        add(&shared.counters.rejected, 1);
        full()
    })?;
    let stream = request.stream;
    let render = Render::new(speech, &shared.options, shared.next_id(), request);
    if !stream {
        return whole(flight, render, &plan, &sequence).await;
    }
    let mut answer = Response::new(Content::Events(Box::new(TokenStream::new(render, plan, sequence))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(speech.media));
    Ok(answer)
}

/// An answer that does not stream: its head comes when all tokens are generated.
async fn whole(
    flight: &Flight,
    mut render: Render,
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
        (_, Ending::Error { code }) => Err(ApiError::dead_engine(code)),
        (_, Ending::Finish | Ending::NoDone { .. } | Ending::Full) => {
            add(&shared.counters.succeeded, 1);
            Ok(json_answer(render.whole(tokens, plan.reason)))
        }
    }
}
