//! The beginning of a response: what is read before its head goes out.

use std::pin::pin;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::downstream::client::{Client, First, Left, Presence, Start, Unwritten};
use super::super::gateway::{Gateway, tell};
use super::super::served_by::ServedBy;
use super::answer::{Answer, FirstEvent};
use super::attempt::{before, given_up};
use super::events::{Failed, Passed, Watch};
use super::fallback::Fallback;
use super::pass::{client_error, write_pausing_stall};
use super::request::{KeptBody, Request};
use crate::classify::{self, Usage, whole_answer};
use crate::http1::{Fields, Joined, ResponseHead};
use crate::journey::{Attempt, Continuity, How};
use crate::outcome::Outcome;
use crate::resume::{NotResumable, Original, Transcript, Vocabularies};

/// An answer of a known length up to this is read whole before its head goes out, so that one which breaks off can
/// still be asked of another node; in bytes.
const WHOLE_MAX: u64 = 256 * 1024;
/// So much is read ahead of a JSON object of unknown length, which may be an error.
const AHEAD_MAX: usize = 64 * 1024;

/// Begins a response at the client: its head, and the bytes that are there. An error is its end already.
pub(super) async fn begin(
    gateway: &Gateway,
    request: &mut Request,
    attempt: &mut Attempt,
    answer: &mut Answer,
    client: &mut impl Client,
) -> Result<(), How<Fallback>> {
    let start = read_start(request, attempt, answer, client).await?;
    match write_start(gateway, request, attempt, answer, client, start).await? {
        Some(Failed { outcome, closing_event }) => Err(How::Broken { outcome, closing_event }),
        None => Ok(()),
    }
}

/// Reads the bytes that must be judged before anything goes to the client.
async fn read_start(
    request: &mut Request,
    attempt: &mut Attempt,
    answer: &mut Answer,
    client: &mut impl Presence,
) -> Result<Bytes, How<Fallback>> {
    if answer.watch.is_some() {
        return first_event(request, attempt, answer, client).await;
    }
    let is_short =
        answer.head.content_length().map_or_else(|| is_json(&answer.head), |length| length <= WHOLE_MAX);
    if !answer.ended && request.is_repeatable() && is_short {
        return read_whole(request, attempt, answer, client).await;
    }
    Ok(Bytes::new())
}

fn is_json(head: &ResponseHead) -> bool {
    const JSON: &[u8] = b"application/json";
    let kind = head.fields.get("content-type").unwrap_or_default();
    let (kind, parameters) = kind.split_at(kind.len().min(JSON.len()));
    kind.eq_ignore_ascii_case(JSON)
        && parameters.first().is_none_or(|next| matches!(next, b';' | b' ' | b'\t'))
}

/// More of an answer of unknown length may be waited for. One that is no object goes on piece by piece, as a list of events
/// would, and blanks before it too: some servers send them against time-outs. So do several objects, each with its end of
/// line. `from`: what stands before has been looked at.
fn may_wait(start: &[u8], from: usize) -> bool {
    let is_object = || start.trim_ascii_start().starts_with(b"{") && start.len() < AHEAD_MAX;
    let is_line = |pair: &[u8]| pair[0] == b'}' && matches!(pair[1], b'\n' | b'\r' | 0);
    start.is_empty() || is_object() && !start[from.saturating_sub(1)..].windows(2).any(is_line)
}

/// The head goes out, and the first bytes of the body: what has failed in them is left to be ended.
async fn write_start(
    gateway: &Gateway,
    request: &mut Request,
    attempt: &mut Attempt,
    answer: &mut Answer,
    client: &mut impl Client,
    start: Bytes,
) -> Result<Option<Failed>, How<Fallback>> {
    request.note_head(client.sent());
    let has_head = request.journey.has_head();
    let judged = judge_start(request, answer, start, &gateway.live.vocabularies);
    let (start, failed) = judged.map_err(|outcome| failed(outcome, None))?;
    if let Some(watch) = answer.watch.as_ref().filter(|_| request.journey.has_begun() && !start.is_empty()) {
        let now = Instant::now().into_std();
        attempt.spoke(watch.silent(), now);
        request.hears(request.journey.said(attempt), now);
    }
    let ended = answer.ended && failed.is_none();
    let written = if has_head {
        if start.is_empty() && !ended {
            Ok(false)
        } else {
            {
                let start = request.rename(start);
                write_pausing_stall(&request.caller, attempt, client.write(start, ended)).await
            }
        }
    } else {
        let start = request.rename_start(&mut answer.head, start, ended);
        let node = &attempt.node().name;
        let served_by = ServedBy::new(
            &request.caller,
            request.form.shape,
            node,
            request.journey.reason(attempt.by()),
            request.journey.attempts(),
        );
        let ours = served_by.fields();
        let head = Start { head: &answer.head, ours: ours.as_slice(), closes: gateway.live.is_stopping() };
        write_pausing_stall(&request.caller, attempt, client.begin(head, start, ended)).await
    };
    if let Err(unwritten) = written {
        request.say_nothing(unwritten);
    }
    let waited = written.map_err(client_error)?;
    if let Some(watch) = answer.watch.as_mut().filter(|_| waited) {
        watch.restart_stall_clock();
    }
    // it shares the buffer that it came in
    answer.head.fields = Fields::default();
    request.release();
    Ok(failed)
}

/// The bytes of the beginning that go to the client. A stream that says nothing yet is only opened; one that has failed before is an
/// error.
fn judge_start(
    request: &mut Request,
    answer: &mut Answer,
    mut start: Bytes,
    vocabularies: &Vocabularies,
) -> Result<Passed, Outcome> {
    let stall = request.journey.member().conf.timeouts.stall;
    let continuity = continuity(request, answer, vocabularies);
    let may_begin_again = may_begin_again(request, answer);
    let Some(watch) = &mut answer.watch else {
        request.journey.begin(continuity);
        return Ok((start, None));
    };
    if may_begin_again {
        match watch.open(start, answer.ended, stall) {
            Ok(all) => start = all,
            // the client has nothing at all
            Err((_, Some(Failed { outcome, .. }))) if !request.journey.has_head() => {
                return Err(outcome);
            }
            Err(passed) => {
                request.journey.open(continuity);
                return Ok(passed);
            }
        }
    }
    request.journey.begin(continuity);
    Ok(watch.begin(start, answer.ended, request.journey.transcript_mut(), stall))
}

/// Another node's stream would fit under this one's head, as long as it says nothing: there is no length that it would not have.
fn may_begin_again(request: &Request, answer: &Answer) -> bool {
    !request.journey.has_begun() && request.is_repeatable() && answer.head.content_length().is_none()
}

/// Gives the client the response that was held back, unchanged; one that says the node is full tells it when to come back.
pub(super) async fn give(
    gateway: &Gateway,
    request: &mut Request,
    fallback: Fallback,
    client: &mut impl Client,
) -> Result<(), Unwritten> {
    let Fallback { node, mut head, body } = fallback;
    request.answers_with(&head);
    let body = request.rename_start(&mut head, body, true);
    // none is under way
    let (by, attempts) = (request.journey.by(&node), request.journey.attempts() - 1);
    let served_by = ServedBy::new(&request.caller, request.form.shape, &node, by, attempts);
    let seconds = request.journey.retry_after(Instant::now().into_std()).to_string();
    let is_busy = classify::status(head.status, false) == Outcome::Busy;
    let retry_after = (is_busy && !head.fields.contains("retry-after")).then_some(("Retry-After", &*seconds));
    let ours: Vec<_> = served_by.fields().as_slice().iter().copied().chain(retry_after).collect();
    let start = Start { head: &head, ours: &ours, closes: gateway.live.is_stopping() };
    client.begin(start, body, true).await
}

/// The continuity of a stream: the transcript that another node needs is kept from its beginning on.
fn continuity(request: &mut Request, answer: &Answer, vocabularies: &Vocabularies) -> Continuity {
    let original = request.take_original().filter(|_| answer.watch.is_some());
    let (Some(original), true) = (original, request.journey.is_unanswered()) else {
        return Continuity::Never;
    };
    let KeptBody::Kept { bytes, .. } = &request.body else { return Continuity::Never };
    Continuity::of(transcript(original, request, &answer.head, bytes, vocabularies))
}

fn transcript(
    original: Result<Original, NotResumable>,
    request: &Request,
    head: &ResponseHead,
    body: &Bytes,
    vocabularies: &Vocabularies,
) -> Result<Transcript, NotResumable> {
    // what another node says would not have the length that was announced
    if head.content_length().is_some() {
        return Err(NotResumable::NotUnderstood);
    }
    if !request.is_repeatable() {
        return Err(NotResumable::NotRepeatable);
    }
    let (original, member) = (original?, request.journey.member());
    let vocabulary = vocabularies.of(&member.conf.name, original.model());
    Ok(Transcript::begin(original, body, &member.conf.retry, vocabulary))
}

/// Reads up to the first event of a stream. An error there has reached nobody: another node may do better.
async fn first_event(
    request: &mut Request,
    attempt: &mut Attempt,
    answer: &mut Answer,
    client: &mut impl Presence,
) -> Result<Bytes, How<Fallback>> {
    let conf = std::sync::Arc::clone(&request.journey.member().conf);
    let deadline = Instant::now() + conf.timeouts.first_event;
    let begun = {
        let reading = pin!(async {
            tokio::select! {
                biased;
                begun = answer.first_event(deadline) => Some(begun),
                () = given_up(attempt, &conf.timeouts) => None,
            }
        });
        let reading = pin!(before(request.journey.due(), reading));
        client.attend(First::Client, reading).await.map_err(|_| How::Left)?.ok_or(How::Late)?
    };
    match begun {
        None => Err(failed(Outcome::Stalled, None)),
        Some(FirstEvent::Good(start)) => {
            let now = Instant::now().into_std();
            if !start.is_empty() {
                request.note_first_byte(now);
            }
            let events = answer.events();
            if events > 0 {
                request.journey.progress(attempt, now);
                tell(&mut request.journey);
                attempt.worked(events, now);
                request.hears(0, now);
                request.journey.read_usage(attempt, answer.watch.as_mut().and_then(Watch::take_usage));
            }
            Ok(start)
        }
        Some(FirstEvent::Failed { outcome, code, start }) => {
            let now = Instant::now().into_std();
            request.journey.first_event_failed(attempt, outcome, code, answer.retry_after(), now);
            // a client repeats a 503, but no error event
            if start.is_empty() || request.journey.is_continuing() || outcome == Outcome::Busy {
                return Err(failed(outcome, None));
            }
            Err(hold_back(attempt, answer, start, client, |fallback| failed(outcome, fallback)).await)
        }
    }
}

fn failed(outcome: Outcome, fallback: Option<Fallback>) -> How<Fallback> {
    How::Failed { outcome, fallback }
}

/// Keeps a failed response in case no better one comes; a response that cannot be kept is dropped.
pub(super) async fn hold_back(
    attempt: &Attempt,
    answer: &mut Answer,
    start: Bytes,
    client: &mut impl Presence,
    ended: impl FnOnce(Option<Fallback>) -> How<Fallback>,
) -> How<Fallback> {
    let mut reading = Box::pin(Fallback::read(attempt, answer, start));
    match client.attend(First::Client, reading.as_mut()).await {
        Ok(fallback) => ended(fallback),
        Err(Left) => How::Left,
    }
}

/// Reads an answer that is short to its end, and judges it. One of unknown length may turn out to be long: its beginning.
async fn read_whole(
    request: &mut Request,
    attempt: &mut Attempt,
    answer: &mut Answer,
    client: &mut impl Presence,
) -> Result<Bytes, How<Fallback>> {
    let conf = std::sync::Arc::clone(&request.journey.member().conf);
    let mut whole = Joined::default();
    while !answer.ended {
        let chunk = {
            let reading = pin!(async {
                tokio::select! {
                    biased;
                    chunk = answer.next() => chunk.map_err(|outcome| failed(outcome, None)),
                    () = client.gone() => Err(How::Left),
                    () = given_up(attempt, &conf.timeouts) => Err(failed(Outcome::Stalled, None)),
                }
            });
            before(request.journey.due(), reading).await.ok_or(How::Late)??
        };
        let now = Instant::now().into_std();
        request.journey.progress(attempt, now);
        request.note_first_byte(now);
        let before = whole.len();
        whole.push(chunk);
        if !may_wait(whole.bytes(), before) && answer.head.content_length().is_none() {
            return Ok(whole.into_bytes());
        }
    }
    let whole = whole.into_bytes();
    if answer.head.status != 200 {
        return Ok(whole);
    }
    let now = Instant::now().into_std();
    match whole_answer(request.node_path(), &whole) {
        Outcome::Ok => {
            let usage = Usage::told(&whole);
            let tokens = usage.and_then(|usage| usage.answer).unwrap_or(0);
            attempt.worked(tokens, now);
            request.hears(tokens, now);
            request.journey.read_usage(attempt, usage);
            Ok(whole)
        }
        // a client repeats a 503, but no 200
        outcome @ Outcome::Busy => {
            request.journey.first_event_failed(attempt, outcome, None, answer.retry_after(), now);
            Err(failed(outcome, None))
        }
        outcome => Err(failed(outcome, Some(Fallback::of(attempt, answer.head.clone(), whole)))),
    }
}
