//! A load that is being put on: how far it is, and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client;
use super::options::Load;
use super::report::Report;
use super::tally::Tally;

/// A load under way. Dropping it cuts it off.
#[derive(Debug)]
pub struct LoadHandle {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    clients: JoinSet<Report>,
}

/// How far a load is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that began.
    pub sent: u64,
    pub in_flight: u64,
    /// Requests that got what they asked for.
    pub done: u64,
    pub failed: u64,
    /// Requests that were under way when the load was cut off.
    pub cut: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Asking,
    /// No new requests.
    Ending,
    /// Not even the end of those under way.
    Cut,
}

/// What the clients share.
#[derive(Debug)]
pub(super) struct Shared {
    pub load: Load,
    pub began: Instant,
    pub count: Counters,
    pub tally: Tally,
    next: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    sent: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    cut: AtomicU64,
}

impl LoadHandle {
    pub(super) fn start(load: Load) -> Self {
        let (phase, watched) = watch::channel(Phase::Asking);
        let concurrency = if load.targets.is_empty() { 0 } else { load.concurrency };
        let (count, next) = (Counters::default(), AtomicU64::new(0));
        let shared = Arc::new(Shared { load, began: Instant::now(), count, tally: Tally::default(), next });
        let mut clients = JoinSet::new();
        for place in 0..concurrency {
            clients.spawn(client::run(Arc::clone(&shared), place, watched.clone()));
        }
        Self { shared, phase, clients }
    }

    pub fn counts(&self) -> Counts {
        self.shared.count.now()
    }

    /// What its streams have got so far.
    pub fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    /// No request begins any more; those under way are finished.
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

impl Shared {
    /// The number of the next request, if there is to be one.
    pub fn next(&self, phase: Phase) -> Option<u64> {
        let Load { count, duration, .. } = &self.load;
        let over = duration.is_some_and(|duration| self.began.elapsed() >= duration);
        if phase != Phase::Asking || over {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        count.is_none_or(|count| number < count).then_some(number)
    }
}

impl Counters {
    pub fn began(&self) {
        self.sent.fetch_add(1, Ordering::AcqRel);
    }

    pub fn ended(&self, well: bool) {
        let counter = if well { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::AcqRel);
    }

    pub fn cut(&self) {
        self.cut.fetch_add(1, Ordering::AcqRel);
    }

    fn now(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        // what has ended first, so that never more have ended than began
        let (done, failed, cut) = (read(&self.done), read(&self.failed), read(&self.cut));
        let sent = read(&self.sent);
        Counts { sent, in_flight: sent - done - failed - cut, done, failed, cut }
    }
}
