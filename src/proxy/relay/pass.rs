//! A response on its way from the node to the client, after its head.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use tokio::time::timeout_at;

use super::super::caller::{Caller, cancelled};
use super::super::downstream::client::{Client, First, Unwritten};
use super::super::gateway::tell;
use super::answer::Answer;
use super::events::{Failed, Passed, Watch};
use super::fallback::Fallback;
use super::request::Request;
use crate::journey::{Attempt, How};
use crate::outcome::Outcome;
use crate::resume::Transcript;

/// From after the first bytes to the end.
pub(super) async fn pass_rest(
    request: &mut Request,
    attempt: &mut Attempt,
    answer: &mut Answer,
    client: &mut impl Client,
) -> How<Fallback> {
    while !answer.ended {
        let events = answer.events();
        let is_opening = answer.watch.as_ref().is_some_and(Watch::is_opening);
        let has_limit = (is_opening || attempt.has_head_alone())
            && request.journey.member().conf.timeouts.stall.is_some();
        let given_up = has_limit.then(|| attempt.given_up());
        let passed = {
            let watched = pin!(watched(answer, request.journey.transcript_mut(), given_up));
            client.attend(First::Node, watched).await
        };
        let Ok((chunk, failed)) = passed else {
            request.say_farewell(answer.watch.as_ref());
            return How::Left;
        };
        let now = Instant::now();
        // comments show nothing: a server can send them while its engine hangs
        let more = answer.watch.as_ref().map(|watch| watch.events().saturating_sub(events));
        let is_life = more.map_or(failed.is_none(), |more| more > 0);
        if is_life {
            request.journey.progress(attempt, now);
            tell(&mut request.journey);
        }
        if failed.is_none() {
            attempt.worked(more.unwrap_or(0), now);
        }
        request.journey.read_usage(attempt, answer.watch.as_mut().and_then(Watch::take_usage));
        if is_opening && !answer.watch.as_ref().is_some_and(Watch::is_opening) {
            request.journey.speaks();
        }
        if !chunk.is_empty() && request.journey.has_begun() {
            request.note_first_byte(now);
            if let Some(watch) = &answer.watch {
                attempt.spoke(watch.silent(), now);
            }
        }
        if is_life && failed.is_none() {
            request.hears(request.journey.said(attempt), now);
        }
        let ended = answer.ended && failed.is_none();
        if !chunk.is_empty() || ended {
            let chunk = request.rename(chunk);
            match write_pausing_stall(&request.caller, attempt, client.write(chunk, ended)).await {
                Ok(true) => {
                    attempt.excuse_silence();
                    answer.watch.iter_mut().for_each(Watch::restart_stall_clock);
                }
                Ok(false) => {}
                Err(unwritten) => {
                    request.say_nothing(unwritten);
                    return client_error(unwritten);
                }
            }
        }
        request.release();
        if let Some(Failed { outcome, closing_event }) = failed {
            return How::Broken { outcome, closing_event };
        }
    }
    How::Whole
}

/// The next bytes for the client, which may be none, and how the stream has failed, if it has.
async fn watched(
    answer: &mut Answer,
    transcript: Option<&mut Transcript>,
    given_up: Option<impl Future<Output = ()> + Send>,
) -> Passed {
    let deadline = answer.watch.as_ref().and_then(Watch::deadline);
    let chunk = match (deadline, given_up) {
        (Some(deadline), _) => timeout_at(deadline, answer.next()).await.unwrap_or(Err(Outcome::Stalled)),
        // before it says something a stream has no limit of its own
        (None, Some(given_up)) => tokio::select! {
            chunk = answer.next() => chunk,
            () = given_up => Err(Outcome::Stalled),
        },
        (None, None) => answer.next().await,
    };
    match (chunk, &mut answer.watch) {
        (Ok(chunk), Some(watch)) => watch.look(chunk, answer.ended, transcript),
        (Ok(chunk), None) => (chunk, None),
        (Err(outcome), watch) => {
            let closing_event = watch.as_ref().map(|watch| watch.closing_event(outcome)).unwrap_or_default();
            (Bytes::new(), Some(Failed { outcome, closing_event }))
        }
    }
}

/// Says whether the client took its time. As long as it does, nobody listens to the node, and its silence means nothing.
pub(super) async fn write_pausing_stall(
    caller: &Caller,
    attempt: &Attempt,
    write: impl Future<Output = Result<(), Unwritten>>,
) -> Result<bool, Unwritten> {
    let mut writing = pin!(write);
    let at_once = poll_fn(|context| Poll::Ready(writing.as_mut().poll(context))).await;
    match at_once {
        Poll::Ready(written) => written.map(|()| false),
        Poll::Pending => {
            attempt.pause_stall();
            let cancelled = pin!(cancelled(caller.under_way().cloned()));
            let written = tokio::select! {
                biased;
                written = writing => written,
                () = cancelled => Err(Unwritten::ClientLeft),
            };
            attempt.resume_stall(Instant::now());
            written.map(|()| true)
        }
    }
}

/// The end of an attempt whose response could not be written.
pub(super) fn client_error(unwritten: Unwritten) -> How<Fallback> {
    match unwritten {
        Unwritten::ClientLeft => How::Left,
        Unwritten::Unspeakable => How::Failed { outcome: Outcome::Gateway, fallback: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_the_gateway_cannot_write_is_no_reset_by_the_node() {
        let how = client_error(Unwritten::Unspeakable);
        assert!(matches!(how, How::Failed { outcome: Outcome::Gateway, fallback: None }), "{how:?}");
        assert!(matches!(client_error(Unwritten::ClientLeft), How::Left));
    }
}
