//! The handle of a running load: its progress, and ways to end it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client;
use super::options::Load;
use super::progress::{Counts, Phase, Shared};
use super::report::Report;
use super::tally::Tally;

/// A running load. Dropping it cuts the load off.
#[derive(Debug)]
pub struct LoadHandle {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    clients: JoinSet<Report>,
}

impl Load {
    /// Starts the clients on the current tokio runtime.
    pub fn start(self) -> LoadHandle {
        LoadHandle::start(self)
    }
}

impl LoadHandle {
    fn start(load: Load) -> Self {
        let (phase, watched) = watch::channel(Phase::Asking);
        let concurrency = if load.targets.is_empty() { 0 } else { load.concurrency };
        let shared = Arc::new(Shared::new(load));
        let mut clients = JoinSet::new();
        for place in 0..concurrency {
            clients.spawn(client::run(Arc::clone(&shared), place, watched.clone()));
        }
        Self { shared, phase, clients }
    }

    pub fn counts(&self) -> Counts {
        self.shared.count.now()
    }

    /// The tally of its answers so far.
    pub fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    /// Starts no more requests; those in flight are finished.
    pub fn stop(&self) {
        self.phase.send_if_modified(|phase| {
            let asking = *phase == Phase::Asking;
            if asking {
                *phase = Phase::Ending;
            }
            asking
        });
    }

    /// Closes all connections at once.
    pub fn cut(&self) {
        self.phase.send_replace(Phase::Cut);
    }

    /// Waits until the last client has ended: by `count`, `duration`, [`Self::stop`] or [`Self::cut`].
    pub async fn finish(mut self) -> Report {
        let mut report = Report::default();
        while let Some(ended) = self.clients.join_next().await {
            match ended {
                Ok(client) => report.merge(client),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        report
    }
}
