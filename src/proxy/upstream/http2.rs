//! A request by HTTP/2 and its response, on a stream of a connection that others share.
//!
//! A client that is slow stops its own stream and no other: what has come of a body is acknowledged when it has gone on, and the
//! connection's own window has room for all of its streams.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::Response;

use super::super::limit::Silence;
use super::super::upload::{Next, Upload};
use super::ended::{ReadError, WriteError};
use super::multiplexed::Slot;
use super::outlet::Outlet;
use super::translate::{UNSAYABLE, request_of, response_of};
use crate::http1::ResponseHead;
use crate::live::Share;

/// Largest piece of a body that is handed over at a time, in bytes.
const PIECE_MAX: usize = 256 * 1024;

/// One exchange.
pub(crate) struct Http2 {
    sending: Option<SendStream<Bytes>>,
    response: Stage,
    /// So much of the body has been given out, and is acknowledged when the next piece is asked for.
    owed: usize,
    silence: Silence,
    /// The rest of a request whose body is not kept.
    rest: Option<Box<Rest>>,
    is_secure: bool,
    /// Last, so that the stream is gone when its place is given back.
    slot: Slot,
}

/// A body that goes out as it comes.
struct Rest {
    upload: Arc<Upload>,
    /// The piece that is being sent, with the share of `retry.body_total` that it has.
    piece: Bytes,
    share: Option<Share>,
    /// `timeouts.send`.
    silence: Silence,
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
        let silence = Silence::new(read_limit);
        Self { sending: None, response: Stage::Idle, owed: 0, silence, rest: None, is_secure, slot }
    }

    /// Sends the head; the body follows while the answer is waited for. An error shows as the end of that wait.
    pub(super) fn sending(mut self, outlet: Outlet) -> Self {
        let (head, upload, silence) = outlet.into_parts();
        if self.begin(&head, false).is_ok() {
            self.rest = Some(Box::new(Rest { upload, piece: Bytes::new(), share: None, silence }));
        }
        self
    }

    pub(super) fn is_sending(&self) -> bool {
        self.rest.is_some()
    }

    pub(super) fn stop_sending(&mut self) {
        if let Some(rest) = self.rest.take() {
            rest.upload.set_unwanted();
        }
    }

    pub(super) async fn send_rest(&mut self) {
        poll_fn(|cx| self.poll_rest(cx).map(drop)).await;
    }

    /// An error: the node has taken nothing for too long.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(Ok(())) };
        let Some(sending) = &mut self.sending else {
            self.stop_sending();
            return Poll::Ready(Ok(()));
        };
        match rest.poll(sending, cx) {
            Poll::Ready(Ok(())) => (self.rest, self.sending) = (None, None),
            Poll::Ready(Err(WriteError::Closed)) => self.stop_sending(),
            Poll::Ready(Err(WriteError::Answered)) => {}
            Poll::Pending => {
                ready!(rest.poll_stuck(cx));
                self.stop_sending();
                return Poll::Ready(Err(ReadError::Silent));
            }
        }
        // only now is it expected to answer
        self.silence.restart();
        Poll::Ready(Ok(()))
    }

    /// Sends the head, which is written as HTTP/1 has it. `ended`: there is no body.
    pub(crate) fn begin(&mut self, head: &[u8], ended: bool) -> Result<(), WriteError> {
        let request = request_of(head, self.is_secure).map_err(ReadError::Unsayable);
        let sent = request.and_then(|request| {
            self.slot.sender.send_request(request, ended).map_err(|error| self.unsent(&error))
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

    /// The reason for which the connection has not taken a request. An error of h2 that is neither the node's nor the
    /// connection's is that of the request.
    fn unsent(&mut self, error: &h2::Error) -> ReadError {
        if error.is_io() || error.is_remote() || error.reason().is_some() {
            return read_error(error);
        }
        let mut cx = Context::from_waker(Waker::noop());
        match self.slot.sender.poll_ready(&mut cx) {
            // it has no number for another stream
            Poll::Ready(Err(_)) => ReadError::Unprocessed,
            _ => ReadError::Unsayable(&UNSAYABLE),
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
                poll_fn(|cx| {
                    let sends = self.rest.is_some() && self.poll_rest(cx)?.is_pending();
                    match Pin::new(&mut response).poll(cx) {
                        Poll::Ready(response) => Poll::Ready(response.map_err(|error| read_error(&error))),
                        Poll::Pending if sends => Poll::Pending,
                        Poll::Pending => self.silence.poll(cx).map(|()| Err(ReadError::Silent)),
                    }
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
        if !matches!(self.response, Stage::Body(_)) {
            return Ok(Bytes::new());
        }
        // what was given out last has gone on
        let owed = std::mem::take(&mut self.owed);
        if let Stage::Body(body) = &mut self.response
            && owed > 0
        {
            // that fails only where the stream has ended, and then nobody counts
            let _ = body.flow_control().release_capacity(owed);
        }
        self.silence.restart();
        let (piece, ended) = poll_fn(|cx| {
            let sends = self.rest.is_some() && self.poll_rest(cx)?.is_pending();
            match self.poll_piece(cx) {
                Poll::Pending if sends => Poll::Pending,
                Poll::Pending => self.silence.poll(cx).map(|()| Err(ReadError::Silent)),
                piece => piece,
            }
        })
        .await?;
        self.owed = piece.len();
        if ended {
            self.response = Stage::Done;
        }
        Ok(piece)
    }
}

impl Http2 {
    /// The next piece, and whether it is the last.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Bytes, bool), ReadError>> {
        let Stage::Body(body) = &mut self.response else { return Poll::Ready(Ok((Bytes::new(), true))) };
        loop {
            match ready!(body.poll_data(cx)) {
                Some(Ok(piece)) if piece.is_empty() && !body.is_end_stream() => {}
                Some(Ok(piece)) => return Poll::Ready(Ok((piece, body.is_end_stream()))),
                Some(Err(error)) => return Poll::Ready(Err(after_head(&error))),
                None => return Poll::Ready(Ok((Bytes::new(), true))),
            }
        }
    }
}

impl Rest {
    /// Sends what is there. Resolves when the node has it all, or will not get it.
    fn poll(
        &mut self,
        sending: &mut SendStream<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WriteError>> {
        loop {
            while !self.piece.is_empty() {
                sending.reserve_capacity(self.piece.len().min(PIECE_MAX));
                while sending.capacity() == 0 {
                    let capacity = ready!(sending.poll_capacity(cx));
                    if !matches!(capacity, Some(Ok(_))) {
                        return Poll::Ready(Err(WriteError::Closed));
                    }
                }
                let part = self.piece.split_to(sending.capacity().min(self.piece.len()));
                sending.send_data(part, false).map_err(|_| WriteError::Closed)?;
                self.silence.restart();
            }
            self.share = None;
            match self.upload.take() {
                Next::Piece(piece, share) => {
                    (self.piece, self.share) = (piece, share);
                    // for the client's side: there is room again
                    cx.waker().wake_by_ref();
                }
                Next::End => {
                    let sent = sending.send_data(Bytes::new(), true).map_err(|_| WriteError::Closed);
                    self.upload.set_sent();
                    return Poll::Ready(sent);
                }
                Next::Nothing => {
                    self.silence.restart();
                    return Poll::Pending;
                }
            }
            self.silence.restart();
        }
    }

    /// Resolves once the node has taken nothing of a piece for too long.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.piece.is_empty() { Poll::Pending } else { self.silence.poll(cx) }
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
