//! A connection whose other end says what it was told to say, and futures that run until they wait for more of it.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};

/// The near end. No runtime is needed: nothing happens in it by itself.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Mutex<State>>);

struct State {
    pieces: VecDeque<Vec<u8>>,
    /// The far end speaks only once it has been spoken to.
    waits: bool,
    is_closed: bool,
    reader: Option<Waker>,
}

impl Wire {
    /// The far end says these pieces, and keeps the connection open. `waits`: only once it has been spoken to.
    pub(crate) fn saying(pieces: &[&[u8]], waits: bool) -> Self {
        let pieces = pieces.iter().filter(|piece| !piece.is_empty()).map(|piece| piece.to_vec()).collect();
        Self(Arc::new(Mutex::new(State { pieces, waits, is_closed: false, reader: None })))
    }

    /// The far end closes the connection, after all that it says.
    pub(crate) fn close(&self) {
        self.change(|state| state.is_closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock().expect("no panic while it was held");
        change(&mut state);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().expect("no panic while it was held");
        let piece = if state.waits { None } else { state.pieces.pop_front() };
        match piece {
            Some(mut piece) => {
                let more = piece.split_off(piece.len().min(buffer.remaining()));
                buffer.put_slice(&piece);
                if !more.is_empty() {
                    state.pieces.push_front(more);
                }
                Poll::Ready(Ok(()))
            }
            None if state.is_closed => Poll::Ready(Ok(())),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.change(|state| state.waits = false);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls until the future is done, or waits for something that does not come by itself: then `None`.
pub(crate) fn settle<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    while woken.0.swap(false, Ordering::Relaxed) {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(done);
        }
    }
    None
}

/// A future that goes on beside others, and may end before them.
pub(crate) struct Background<'a, F>(Option<Pin<&'a mut F>>);

impl<'a, F: Future> Background<'a, F> {
    pub(crate) fn new(future: Pin<&'a mut F>) -> Self {
        Self(Some(future))
    }

    /// Polls both until `work` is done.
    pub(crate) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            if self.0.as_mut().is_some_and(|future| future.as_mut().poll(cx).is_ready()) {
                self.0 = None;
            }
            work.as_mut().poll(cx)
        })
        .await
    }
}
