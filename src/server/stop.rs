//! Stop requests: tell a running server to end, and how.

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::sync::watch;

/// The ways to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Stop accepting, finish what is in flight within `drain_timeout`.
    Drain,
    /// Hand the listening sockets to a new process, finish what is in flight without a limit.
    Upgrade,
    /// End at once.
    Now,
}

/// The sending side of a stop request.
#[derive(Clone, Debug)]
pub struct StopHandle(watch::Sender<Option<Stop>>);

/// The server's side of a stop request.
#[derive(Debug)]
pub struct Stopping(watch::Receiver<Option<Stop>>);

pub fn stop_handle() -> (StopHandle, Stopping) {
    let (sender, receiver) = watch::channel(None);
    (StopHandle(sender), Stopping(receiver))
}

impl StopHandle {
    pub fn stop(&self, stop: Stop) {
        self.0.send_replace(Some(stop));
    }
}

impl Stopping {
    /// Watches the requested kind of stop, now and later.
    pub(super) fn asked(&self) -> watch::Receiver<Option<Stop>> {
        self.0.clone()
    }
}

#[async_trait]
impl ShutdownSignalWatch for Stopping {
    async fn recv(&self) -> ShutdownSignal {
        let mut asked = self.0.clone();
        let stop = asked.wait_for(Option::is_some).await.ok().and_then(|stop| *stop);
        match stop {
            Some(Stop::Drain) => ShutdownSignal::GracefulTerminate,
            Some(Stop::Upgrade) => ShutdownSignal::GracefulUpgrade,
            // the handle was dropped: nobody is left to request a stop
            Some(Stop::Now) | None => ShutdownSignal::FastShutdown,
        }
    }
}
