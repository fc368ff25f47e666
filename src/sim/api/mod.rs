//! The simulated node's inference APIs, streamed or not, in the manner of the chosen engine.
//!
//! The words are data (`rows`), in the form of templates; their time is common to all (`stream`, `plan`).

mod errors;
mod plan;
mod render;
mod reply;
mod request;
mod rows;
mod speech;
mod stream;
mod template;
mod upload;

pub(super) use errors::{ApiError, error_json};
pub(super) use reply::models;
pub(super) use rows::speech_of;
use speech::{Abort, Speech};
use stream::TokenStream;

use std::time::Duration;

use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::answer::{Answer, cut, json_answer, never};
use super::batch::{Prompt, Refused, Work};
use super::body::Content;
use super::engine::{End, Sequence};
use super::fault::FaultKind;
use super::flight::Flight;
use super::options::Options;
use super::stats::add;
use super::wire::Cut;
use crate::config::Engine;
use plan::{Ending, Plan};
use render::Render;
use request::GenerationRequest;

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
    let request = request::parse(speech, body)?;
    let mut plan = Plan::new(fault.as_ref(), request.max_tokens, request.natural_end);
    let shared = &flight.shared;
    let full = || ApiError::full(shared.options.engine);
    let sequence = match shared.engine.submit(work(&request, &plan, &shared.options)) {
        Ok(sequence) => sequence,
        Err(Refused::TooLong) => return Err(ApiError::too_long(request.prompt.len, shared.options.engine)),
        Err(Refused::Full) => {
            add(&shared.counters.rejected, 1);
            plan = Plan::full();
            shared.engine.submit(Work::answer(0)).map_err(|_full| full())?
        }
    };
    match plan.ending {
        Ending::Full if !(request.stream && speech.full_in_stream) => return Err(full()),
        Ending::QueueTimeout { delay_ms } if !(request.stream && speech.full_in_stream) => {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            return Err(ApiError::queue_timeout());
        }
        _ => {}
    }
    let (stream, plain) = (request.stream, request.plain);
    let render = Render::new(speech, &shared.options, shared.next_id(), request);
    if !stream {
        let mut answer = whole(flight, render, &plan, &sequence).await?;
        let media = if plain { "text/plain; charset=utf-8" } else { speech.media[1] };
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
        return Ok(answer);
    }
    let mut answer = Response::new(Content::Events(Box::new(TokenStream::new(render, plan, sequence))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(speech.media[0]));
    Ok(answer)
}

/// The engine's work for it.
fn work(request: &GenerationRequest, plan: &Plan, options: &Options) -> Work {
    // the engine's own order: vLLM serves the lower number first, SGLang the higher
    let priority = if options.engine == Engine::Sglang { -request.priority } else { request.priority };
    let prompt = if options.limits.prefix_cache {
        Prompt::of_ids(request.prompt.token_ids())
    } else {
        Prompt::of_tokens(request.prompt.len)
    };
    Work { prompt, tokens: plan.tokens, hold: plan.holds(), priority }
}

/// An answer that does not stream: its head comes when all tokens are generated.
async fn whole(
    flight: &Flight,
    mut render: Render,
    plan: &Plan,
    sequence: &Sequence,
) -> Result<Answer, ApiError> {
    let shared = &flight.shared;
    let speech = render.speech;
    let (tokens, end) = sequence.finished().await;
    render.count_prompt(flight, sequence.cached());
    match (end, plan.ending) {
        (End::Lost, _) | (_, Ending::Stall) => never().await,
        (End::Aborted, _) | (_, Ending::Abort) if speech.abort == Abort::Cut => {
            cut(&flight.conn, Cut::Fin).await
        }
        (End::Aborted, _) | (_, Ending::Abort) => Ok(json_answer(render.whole(tokens, "abort"))),
        (_, Ending::Die) => cut(&flight.conn, Cut::Rst).await,
        (_, Ending::Crash) => {
            shared.crash_by_fault();
            never().await
        }
        (_, Ending::Truncate | Ending::Cut { .. }) => {
            let body = bytes::Bytes::from(render.whole(tokens, plan.reason));
            let content = Content::Short { part: body.slice(..body.len() / 2), declared: body.len() as u64 };
            Ok(Response::new(content))
        }
        (_, Ending::Error { code }) => {
            Err(ApiError::of_engine(code, render.prompt_tokens(), shared.options.engine))
        }
        (_, Ending::Finish | Ending::NoDone { .. } | Ending::Full | Ending::QueueTimeout { .. }) => {
            add(&shared.counters.succeeded, 1);
            Ok(json_answer(render.whole(tokens, plan.reason)))
        }
    }
}
