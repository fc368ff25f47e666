//! Time limits: for work that usually ends at once, and for the longest silence.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// The result of the work, or `None` if it has not ended within the limit. Work that ends at its first poll needs neither a
/// timer nor the clock.
pub(super) fn within<T>(
    limit: Duration,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> impl Future<Output = Option<T>> {
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(move |cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).map(|()| None)
    })
}

/// The longest silence. The timer is set once and moved when it fires, because most waits end long before.
pub(super) struct Silence {
    limit: Duration,
    since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    /// It begins now.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: Instant::now(), timer: None }
    }

    /// It begins anew.
    pub(super) fn restart(&mut self) {
        self.since = Instant::now();
    }

    /// The length of it so far.
    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// It has lasted too long.
    pub(super) fn is_over(&self) -> bool {
        self.elapsed() >= self.limit
    }

    /// Resolves once it has lasted too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = self.since + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
    }
}
