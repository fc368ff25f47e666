//! The client's side of an upload: its pieces as they come, under the limits of `client`.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::super::limit::Silence;
use super::super::upload::Upload;
use super::body::{BELOW_MIN_RATE, BodyError, Limits, TOO_LARGE, TOO_SLOW, UNFRAMED, Unkept};
use crate::http1::Rejection;

/// A client that sends a body.
pub(crate) trait Source {
    /// The next piece, without its coding; `None` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>>;
    /// Resolves when the client has left. Reads nothing away.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The body that a client is sending.
pub(crate) struct Inlet {
    upload: Arc<Upload>,
    limits: Limits,
    /// The length that its head has told the node too.
    announced: Option<u64>,
    received: u64,
    /// The time for which the client was waited for.
    waited: Duration,
    /// Of the client, while it is waited for.
    silence: Silence,
    is_waiting: bool,
}

impl Inlet {
    /// The body of which this has been read.
    pub(crate) fn new(upload: &Arc<Upload>, read: &Unkept) -> Box<Self> {
        let Unkept { ref start, limits, announced, elapsed: waited, .. } = *read;
        let (upload, received) = (Arc::clone(upload), start.len() as u64);
        let silence = Silence::new(limits.silence);
        Box::new(Self { upload, limits, announced, received, waited, silence, is_waiting: false })
    }

    /// Passes on what the client sends, as long as there is room for it. Resolves when the client has left, or has sent what ends the
    /// request.
    pub(crate) fn poll(&mut self, client: &mut impl Source, cx: &mut Context<'_>) -> Poll<()> {
        while self.upload.has_room() {
            if !std::mem::replace(&mut self.is_waiting, true) {
                self.silence.restart();
            }
            match client.poll_piece(cx) {
                Poll::Pending => return self.silence.poll(cx).map(|()| self.upload.fail(TOO_SLOW.into())),
                // it says nothing, however often it comes
                Poll::Ready(Ok(Some(piece))) if piece.is_empty() => {
                    if self.silence.is_over() {
                        self.upload.fail(TOO_SLOW.into());
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(Ok(piece)) => {
                    if let Err(fault) = self.count(piece.as_ref().map(Bytes::len)) {
                        self.upload.fail(fault.into());
                        return Poll::Ready(());
                    }
                    self.upload.put(piece);
                    // for the node's side, which may have been asked before
                    cx.waker().wake_by_ref();
                }
                Poll::Ready(Err(BodyError::ClientGone)) => return Poll::Ready(()),
                Poll::Ready(Err(BodyError::Failed(failure))) => {
                    self.upload.fail(failure);
                    return Poll::Ready(());
                }
            }
        }
        client.poll_gone(cx)
    }

    /// So many bytes more have come, or the end. The time in which the node took none is not the client's.
    fn count(&mut self, more: Option<usize>) -> Result<(), Rejection> {
        self.is_waiting = false;
        self.waited += self.silence.elapsed();
        self.received += more.unwrap_or(0) as u64;
        let has_ended = more.is_none();
        if self.received > self.limits.max {
            Err(TOO_LARGE)
        } else if self.announced.is_some_and(|all| self.received > all || has_ended && self.received < all) {
            Err(UNFRAMED)
        } else if !has_ended && self.limits.is_too_slow(self.received, self.waited) {
            Err(BELOW_MIN_RATE)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use super::*;
    use crate::proxy::upload::Next;

    /// A client that sends these pieces at once, and its end or nothing more.
    struct Sends(VecDeque<Option<usize>>);

    impl Source for Sends {
        fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
            match self.0.pop_front() {
                Some(piece) => Poll::Ready(Ok(piece.map(|length| vec![b'x'; length].into()))),
                None => Poll::Pending,
            }
        }

        fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }

    /// Five bytes have been read before. Returns the bytes that went on, and the status that ended it.
    async fn passes(
        pieces: &[Option<usize>],
        limits: Limits,
        announced: Option<u64>,
    ) -> (usize, Option<u16>) {
        let (start, elapsed) = (Bytes::from_static(b"start"), limits.silence);
        let unkept = Unkept { start, share: None, too_large: true, announced, elapsed, limits };
        let upload = Arc::new(Upload::new(unkept.start.clone(), None));
        let (mut inlet, mut client) = (Inlet::new(&upload, &unkept), Sends(pieces.iter().copied().collect()));
        let (mut passed, mut cx) = (0, Context::from_waker(Waker::noop()));
        while inlet.poll(&mut client, &mut cx).is_pending() {
            match upload.take() {
                Next::Piece(piece, _) => passed += piece.len(),
                Next::End => return (passed, None),
                Next::Nothing => tokio::time::sleep(limits.silence / 4).await,
            }
        }
        (passed, upload.take_fault().map(|failure| failure.status))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_keeps_to_its_limits_to_its_end() {
        let silence = Duration::from_millis(40);
        let limits = Limits { max: 20, keep: 1, keep_total: 1, silence, min_rate: None };
        for (pieces, announced, want) in [
            (&[Some(5), Some(10), None][..], None, (20, None)),
            (&[Some(5), Some(10), None], Some(20), (20, None)),
            (&[Some(0), Some(5), Some(0), None], Some(10), (10, None)),
            (&[Some(16)], None, (5, Some(413))),
            (&[Some(10), Some(6)], None, (15, Some(413))),
            (&[Some(6)], Some(10), (5, Some(400))),
            (&[Some(4), None], Some(10), (9, Some(400))),
            (&[Some(4)], Some(10), (9, Some(408))),
        ] {
            assert_eq!(passes(pieces, limits, announced).await, want, "{pieces:?} of {announced:?}");
        }
    }

    /// A client that sends an empty piece whenever it is asked anew, and no other.
    struct Idles(bool);

    impl Source for Idles {
        fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
            self.0 = !self.0;
            if self.0 { Poll::Ready(Ok(Some(Bytes::new()))) } else { Poll::Pending }
        }

        fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn empty_pieces_are_silence() {
        let silence = Duration::from_millis(40);
        let limits = Limits { max: 20, keep: 1, keep_total: 1, silence, min_rate: None };
        let (start, elapsed) = (Bytes::from_static(b"start"), Duration::ZERO);
        let unkept = Unkept { start, share: None, too_large: true, announced: None, elapsed, limits };
        let upload = Arc::new(Upload::new(Bytes::new(), None));
        let (mut inlet, mut client) = (Inlet::new(&upload, &unkept), Idles(false));
        let (began, mut cx) = (tokio::time::Instant::now(), Context::from_waker(Waker::noop()));
        while inlet.poll(&mut client, &mut cx).is_pending() {
            assert!(began.elapsed() < 2 * silence);
            tokio::time::sleep(silence / 4).await;
        }
        assert_eq!(upload.take_fault().map(|failure| failure.status), Some(408));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_place_is_no_silence_of_the_client() {
        let silence = Duration::from_millis(20);
        let limits = Limits { max: 20, keep: 1, keep_total: 1, silence, min_rate: Some(u64::MAX) };
        let (start, elapsed) = (Bytes::from_static(b"start"), Duration::ZERO);
        let unkept = Unkept { start, share: None, too_large: true, announced: None, elapsed, limits };
        let upload = Arc::new(Upload::new(unkept.start.clone(), None));
        let (mut inlet, mut client) = (Inlet::new(&upload, &unkept), Sends([Some(1), None].into()));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(inlet.poll(&mut client, &mut cx).is_pending());
            tokio::time::sleep(2 * silence).await;
        }
        for want in [5, 1] {
            assert!(inlet.poll(&mut client, &mut cx).is_pending());
            assert!(matches!(upload.take(), Next::Piece(piece, _) if piece.len() == want));
        }
        assert!(inlet.poll(&mut client, &mut cx).is_pending());
        assert!(matches!(upload.take(), Next::End));
    }
}
