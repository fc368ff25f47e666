//! A request whose body is not kept: it is sent once, piece by piece, while its answer is waited for.
//!
//! A node may refuse a large body before it has read it (RFC 9112 section 9.5): then it gets no more, and the client gets the
//! answer. One that begins a good answer may go on to read, and the rest is sent beside that.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use pingora::http::RequestHeader;
use tokio::time::{Instant, Sleep, sleep};

use super::super::caller::Caller;
use super::super::downstream::body::Unkept;
use super::super::downstream::client::{First, Presence};
use super::super::downstream::inlet::Inlet;
use super::super::upload::{Stage, Upload};
use super::super::upstream::endpoint::Endpoint;
use super::super::upstream::exchange::Exchange;
use super::super::upstream::outlet::Outlet;
use super::super::upstream::stream::NodeStream;
use super::answer::Answer;
use super::attempt::{EARLY_ANSWER_WITHIN, final_head};
use super::request::{KeptBody, Request};
use crate::config::Timeouts;
use crate::fleet::Member;
use crate::http1::ResponseHead;
use crate::journey::Attempt;
use crate::outcome::Outcome;
use crate::route::Place;

impl Request {
    /// A request with the rest of its body, which is still to come.
    pub(crate) fn upload(
        caller: Caller,
        header: &RequestHeader,
        raw: Option<&[u8]>,
        member: Member,
        place: Place,
        mut unkept: Unkept,
    ) -> (Self, Box<Inlet>) {
        let start = unkept.start.clone();
        let upload = Arc::new(Upload::new(start.clone(), unkept.share.take()));
        let inlet = Inlet::new(&upload, &unkept);
        let body = KeptBody::Passing { upload, length: unkept.announced };
        (Self::with(caller, header, raw, member, place, (body, &start)), inlet)
    }
}

/// Sends the request, and reads the head of the response, whichever ends first.
pub(super) async fn exchange(
    outlet: Box<Outlet>,
    is_head: bool,
    attempt: &Attempt,
    (node, stream): (Endpoint, NodeStream),
    timeouts: &Timeouts,
) -> Result<(Exchange, ResponseHead), Outcome> {
    let upload = Arc::clone(outlet.upload());
    // it waits for its client
    attempt.pause_stall();
    let mut exchange = Exchange::new(node, stream, timeouts.read).sending(outlet);
    let head = {
        let mut reading = pin!(final_head(&mut exchange, &attempt.node().name, is_head));
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        let mut has_ended = false;
        let head = poll_fn(|cx| {
            if let Poll::Ready(head) = reading.as_mut().poll(cx) {
                return Poll::Ready(head);
            }
            let limit = match upload.stage() {
                Stage::Coming | Stage::Read => return Poll::Pending,
                Stage::Sent => timeouts.first_byte,
                Stage::Unwanted => Some(EARLY_ANSWER_WITHIN),
            };
            if !std::mem::replace(&mut has_ended, true) {
                attempt.resume_stall(Instant::now().into_std());
            }
            let Some(limit) = limit else { return Poll::Pending };
            let timer = timer.get_or_insert_with(|| Box::pin(sleep(limit)));
            timer.as_mut().poll(cx).map(|()| Err(Outcome::Timeout))
        });
        let refused = |outcome| outcome == Outcome::Connect && upload.has_begun();
        head.await.map_err(|outcome| if refused(outcome) { Outcome::Reset } else { outcome })?
    };
    if head.status >= 400 {
        exchange.stop_sending();
    }
    Ok((exchange, head))
}

/// Sends the rest of a request that has been answered before its end, as long as its client sends it and its node takes it.
pub(super) async fn send_rest(answer: &mut Answer, client: &mut impl Presence) {
    let sent = {
        let sending = pin!(answer.node.send_rest());
        client.attend(First::Node, sending).await
    };
    if sent.is_err() {
        answer.node.stop_sending();
    }
}
