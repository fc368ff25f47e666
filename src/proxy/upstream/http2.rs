//! A request by HTTP/2 and its response, on a stream of a connection that others share.
//!
//! A client that is slow stops its own stream and no other: what has come of a body is acknowledged when it has gone on, and the
//! connection's own window has room for all of its streams.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::Response;

use super::ended::{ReadError, SilenceTimer, WriteError};
use super::multiplexed::Slot;
use super::translate::{request_of, response_of};
use crate::http1::ResponseHead;

/// Largest piece of a body that is handed over at a time, in bytes.
const PIECE_MAX: usize = 256 * 1024;

/// One exchange.
pub(crate) struct Http2 {
    sending: Option<SendStream<Bytes>>,
    response: Stage,
    /// So much of the body has been given out, and is acknowledged when the next piece is asked for.
    owed: usize,
    silence: SilenceTimer,
    is_secure: bool,
    /// Last, so that the stream is gone when its place is given back.
    slot: Slot,
}

/// The progress of the response.
enum Stage {
    /// Nothing was sent.
    Idle,
    Awaited(ResponseFuture),
    /// It came, or failed, while the request was being sent.
    Early(Result<Response<RecvStream>, ReadError>),
    Body(RecvStream),
    Done,
}

impl Http2 {
    pub(super) fn new(slot: Slot, is_secure: bool, read_limit: Duration) -> Self {
        let silence = SilenceTimer::new(read_limit);
        Self { sending: None, response: Stage::Idle, owed: 0, silence, is_secure, slot }
    }

    /// Sends the head, which is written as HTTP/1 has it. `ended`: there is no body.
    pub(crate) fn begin(&mut self, head: &[u8], ended: bool) -> Result<(), WriteError> {
        let request = request_of(head, self.is_secure).ok_or(ReadError::Malformed);
        let sent = request.and_then(|request| {
            self.slot.sender.send_request(request, ended).map_err(|error| read_error(&error))
        });
        match sent {
            Ok((response, sending)) => {
                self.response = Stage::Awaited(response);
                self.sending = (!ended).then_some(sending);
                Ok(())
            }
            Err(error) => {
                self.response = Stage::Early(Err(error));
                Err(WriteError::Closed)
            }
        }
    }

    /// Sends some of this part of the body, and listens while it has to wait: a node may answer before it has read it all. `is_last`: no
    /// other part follows.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        part: &mut Bytes,
        is_last: bool,
    ) -> Poll<Result<(), WriteError>> {
        let Some(sending) = &mut self.sending else { return Poll::Ready(Err(WriteError::Closed)) };
        sending.reserve_capacity(part.len().min(PIECE_MAX));
        while sending.capacity() == 0 {
            match sending.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(Err(WriteError::Closed)),
                Poll::Pending => return self.poll_answer(cx).map(Err),
            }
        }
        let piece = part.split_to(sending.capacity().min(part.len()));
        let ended = is_last && part.is_empty();
        let sent = sending.send_data(piece, ended).map_err(|_| WriteError::Closed);
        if ended {
            self.sending = None;
        }
        Poll::Ready(sent)
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<WriteError> {
        let Stage::Awaited(response) = &mut self.response else { return Poll::Ready(WriteError::Answered) };
        let response = ready!(Pin::new(response).poll(cx));
        self.response = Stage::Early(response.map_err(|error| read_error(&error)));
        Poll::Ready(WriteError::Answered)
    }

    /// The head of the response; informational ones are left out.
    pub(super) async fn head(&mut self, is_head: bool) -> Result<ResponseHead, ReadError> {
        self.silence.restart();
        let response = match std::mem::replace(&mut self.response, Stage::Done) {
            Stage::Early(response) => response?,
            Stage::Awaited(mut response) => {
                let silence = &mut self.silence;
                poll_fn(|cx| match Pin::new(&mut response).poll(cx) {
                    Poll::Ready(response) => Poll::Ready(response.map_err(|error| read_error(&error))),
                    Poll::Pending => silence.poll(cx).map(|()| Err(ReadError::Silent)),
                })
                .await?
            }
            Stage::Idle | Stage::Body(_) | Stage::Done => return Err(ReadError::Closed),
        };
        let (parts, body) = response.into_parts();
        let head = response_of(&parts).ok_or(ReadError::Malformed)?;
        if !is_head && !body.is_end_stream() {
            self.response = Stage::Body(body);
        }
        Ok(head)
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.response, Stage::Done)
    }

    /// The next piece of the body, which is empty only at its end. Trailers are dropped. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Bytes, ReadError> {
        let Stage::Body(body) = &mut self.response else { return Ok(Bytes::new()) };
        // what was given out last has gone on
        let owed = std::mem::take(&mut self.owed);
        if owed > 0 {
            // that fails only where the stream has ended, and then nobody counts
            let _ = body.flow_control().release_capacity(owed);
        }
        self.silence.restart();
        let silence = &mut self.silence;
        let piece = poll_fn(|cx| {
            loop {
                match body.poll_data(cx) {
                    Poll::Ready(Some(Ok(piece))) if piece.is_empty() && !body.is_end_stream() => {}
                    Poll::Ready(piece) => {
                        return Poll::Ready(piece.transpose().map_err(|error| after_head(&error)));
                    }
                    Poll::Pending => return silence.poll(cx).map(|()| Err(ReadError::Silent)),
                }
            }
        })
        .await?;
        let piece = piece.unwrap_or_default();
        self.owed = piece.len();
        if body.is_end_stream() || piece.is_empty() {
            self.response = Stage::Done;
        }
        Ok(piece)
    }
}

/// The end of a stream before it has a response. A node that has not taken the request says so: by the code of a reset, or by a
/// GOAWAY, which h2 reports only for streams that it leaves out.
fn read_error(error: &h2::Error) -> ReadError {
    let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() && (is_refused || error.is_go_away()) {
        return ReadError::Unprocessed;
    }
    after_head(error)
}

fn after_head(error: &h2::Error) -> ReadError {
    if error.is_io() || error.is_remote() { ReadError::Broken } else { ReadError::Malformed }
}
