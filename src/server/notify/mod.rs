//! The notes to a service manager (systemd's protocol sd_notify): ready, reloading, stopping, a line of status for people, and signs of life.
//!
//! They are sent by a thread of their own, because a manager that does not read its socket must hold up nobody. Without `NOTIFY_SOCKET` there
//! is no thread, and nothing is sent.

mod line;
mod watchdog;

use std::process;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::runtime::Handle;

use self::line::View;
use crate::live::Live;

/// The line of status is looked at so often, and sent if it is another one.
const STATUS_EVERY: Duration = Duration::from_secs(2);
/// The most notes that wait for a manager that does not read; further ones are dropped.
const WAITING_MAX: usize = 256;
/// The time beyond `drain_timeout` for which a manager is asked to wait for the end of the process.
const STOP_BEYOND: Duration = Duration::from_secs(30);

#[derive(Debug)]
enum Note {
    Ready,
    Reloading,
    /// The reload is over; [`Live::reload`] says how it went.
    Reloaded,
    Stopping,
    /// Another process has the listening sockets, and speaks for the service from now on.
    HandedOver,
    Alive,
}

/// Hands notes to the thread that sends them, if there is a manager.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Option<SyncSender<Note>>);

impl Notifier {
    /// Starts the thread, if the environment names a manager's socket.
    pub(super) fn start(live: Arc<Live>) -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self::default();
        }
        let (sender, notes) = sync_channel(WAITING_MAX);
        thread::spawn(move || run(&notes, &live));
        Self(Some(sender))
    }

    pub(super) fn has_manager(&self) -> bool {
        self.0.is_some()
    }

    /// The process listens on all its addresses, and these runtimes serve. From now on the manager's watchdog hears of them.
    pub(super) fn ready(&self, runtimes: Vec<Handle>) {
        self.tell(Note::Ready);
        if let Some(limit) = sd_notify::watchdog_enabled() {
            let notifier = self.clone();
            thread::spawn(move || watchdog::run(limit, &runtimes, || notifier.tell(Note::Alive)));
        }
    }

    /// Tells the manager of a reload, from its beginning to its end.
    pub(super) fn reloading<T>(&self, reload: impl FnOnce() -> T) -> T {
        self.tell(Note::Reloading);
        let result = reload();
        self.tell(Note::Reloaded);
        result
    }

    pub(super) fn stopping(&self) {
        self.tell(Note::Stopping);
    }

    /// To be called before the sockets are given away: a note of this process would be taken for one of the next.
    pub(super) fn handed_over(&self) {
        self.tell(Note::HandedOver);
    }

    /// `false`: nobody sends it any more.
    fn tell(&self, note: Note) -> bool {
        let Some(sender) = &self.0 else { return false };
        !matches!(sender.try_send(note), Err(TrySendError::Disconnected(_)))
    }
}

/// The time for which the line of status speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Serving,
    Stopping,
}

fn run(notes: &Receiver<Note>, live: &Live) {
    let (mut stage, mut told) = (Stage::Starting, String::new());
    loop {
        let fields = match notes.recv_timeout(STATUS_EVERY) {
            Ok(Note::Alive) => {
                send(&[NotifyState::Watchdog]);
                continue;
            }
            Ok(Note::Ready) => {
                stage = Stage::Serving;
                // after an upgrade the manager knows the process before this one
                vec![NotifyState::MainPid(process::id()), NotifyState::Ready]
            }
            Ok(Note::Reloading) => {
                // the time by which a manager knows that this answers its own order
                [Ok(NotifyState::Reloading), NotifyState::monotonic_usec_now()]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Ok(Note::Reloaded) => vec![NotifyState::Ready],
            Ok(Note::Stopping) => {
                stage = Stage::Stopping;
                let wait = live.fleet().config.server.drain_timeout + STOP_BEYOND;
                // a unit's own limit of a stop may be shorter than the config's
                send(&[NotifyState::Custom(&format!("EXTEND_TIMEOUT_USEC={}", wait.as_micros()))]);
                vec![NotifyState::Stopping]
            }
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Ok(Note::HandedOver) | Err(RecvTimeoutError::Disconnected) => return,
        };
        let line = status(stage, live);
        if !fields.is_empty() || line != told {
            let status = (stage != Stage::Starting).then_some(NotifyState::Status(&line));
            send(&fields.into_iter().chain(status).collect::<Vec<_>>());
            told = line;
        }
    }
}

fn status(stage: Stage, live: &Live) -> String {
    let requests = live.requests.count();
    match stage {
        Stage::Starting => String::new(),
        Stage::Serving => serving(live).line(),
        Stage::Stopping => line::stopping(requests),
    }
}

fn serving(live: &Live) -> View {
    let now = Instant::now();
    let refused = live.reload.lock().error.clone();
    let fleet = live.fleet();
    let nodes: Vec<_> = fleet.pools.iter().flat_map(|member| member.pool.snapshot(now).nodes).collect();
    View {
        generation: fleet.generation,
        pools: fleet.pools.len(),
        nodes: nodes.len(),
        up: nodes.iter().filter(|node| node.state.is_usable()).count(),
        refused,
    }
}

fn send(fields: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(fields) {
        log::debug!("the service manager gets no note: {error}");
    }
}
