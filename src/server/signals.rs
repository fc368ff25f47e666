//! Signals: SIGHUP reloads, SIGTERM and SIGINT stop, SIGQUIT hands over to a new process.
//!
//! They are registered first thing in `main`, for a SIGHUP that nobody handles ends the process; what comes before the
//! gateway runs is kept and handled then.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Stop, StopHandle, upgrade};
use crate::journal::AccessLogWriter;
use crate::live::Live;
use crate::reload::Reloader;

/// How long connections that send nothing stay open after the listeners were closed by a stop: what a client had sent
/// just before is still served.
const LINGER_STOP: Duration = Duration::from_millis(300);
/// The same after an upgrade, where nobody waits for the end.
const LINGER_UPGRADE: Duration = Duration::from_secs(10);
/// How long after SIGQUIT the new process may come.
const SUCCESSOR_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The signals of this process, from the moment this exists.
pub struct Registered(Signals);

/// Takes the signals over from the system's defaults.
pub fn register() -> io::Result<Registered> {
    Signals::new([SIGHUP, SIGTERM, SIGINT, SIGQUIT]).map(Registered)
}

impl Registered {
    /// Calls `stop` in a thread of its own for each signal, whichever it is, those too that have come meanwhile: for
    /// commands that have nothing to reload, drain or hand over.
    pub fn on_stop(self, mut stop: impl FnMut() + Send + 'static) {
        let mut signals = self.0;
        thread::spawn(move || signals.forever().for_each(|_| stop()));
    }

    /// Handles the signals in a thread of its own, those too that have come meanwhile. Sockets are handed over at
    /// `upgrade_sock`.
    pub fn handle(
        self,
        live: Arc<Live>,
        reloader: Arc<Reloader>,
        log: AccessLogWriter,
        stop: StopHandle,
        upgrade_sock: PathBuf,
    ) {
        let mut signals = self.0;
        let ending = Arc::new(Shutdown { stage: Mutex::new(Stage::Running), live, log, stop, upgrade_sock });
        thread::spawn(move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    // what was wrong is in the log and in the status
                    let _ = reloader.reload();
                } else {
                    ending.signal(signal);
                }
            }
        });
    }
}

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// SIGQUIT has come, and the new process not yet.
    Awaiting,
    Upgrading,
    Draining,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Await,
    Drain,
    /// End now, whatever is in flight.
    Cut,
    Nothing,
}

/// What a signal other than SIGHUP means. A SIGTERM after an upgrade gives what is left `drain_timeout`, as a service
/// manager that stops everything expects; a second one ends at once.
fn decide(stage: Stage, signal: i32) -> Action {
    match (stage, signal) {
        (Stage::Running, SIGQUIT) => Action::Await,
        (_, SIGQUIT) => Action::Nothing,
        (Stage::Draining, _) => Action::Cut,
        _ => Action::Drain,
    }
}

struct Shutdown {
    stage: Mutex<Stage>,
    live: Arc<Live>,
    log: AccessLogWriter,
    stop: StopHandle,
    upgrade_sock: PathBuf,
}

impl Shutdown {
    fn signal(self: &Arc<Self>, signal: i32) {
        let mut stage = self.stage.lock();
        match decide(*stage, signal) {
            Action::Await => {
                *stage = Stage::Awaiting;
                let ending = Arc::clone(self);
                thread::spawn(move || ending.hand_over());
            }
            Action::Drain => {
                *stage = Stage::Draining;
                self.live.stop(LINGER_STOP);
                self.stop.stop(Stop::Drain);
            }
            Action::Cut => {
                let cut = self.live.requests.value();
                log::warn!("stopped by a second signal: {cut} requests are cut");
                self.log.flush();
                std::process::exit(1);
            }
            Action::Nothing => log::info!("SIGQUIT has no further effect: the process is ending already"),
        }
    }

    /// Hands over to a new process, if there is one. Pingora would close the listeners whether or not somebody has
    /// taken them, so that a SIGQUIT by mistake would be an outage; here it is said, and nothing changes.
    fn hand_over(&self) {
        let began = Instant::now();
        let mut awaited = upgrade::is_awaited(&self.upgrade_sock);
        while !awaited && began.elapsed() < SUCCESSOR_WITHIN && *self.stage.lock() == Stage::Awaiting {
            thread::sleep(LOOK_EVERY);
            awaited = upgrade::is_awaited(&self.upgrade_sock);
        }
        let mut stage = self.stage.lock();
        if *stage != Stage::Awaiting {
            return;
        }
        if awaited {
            *stage = Stage::Upgrading;
            log::info!("a new process takes over: the listening sockets go to it");
            self.live.stop(LINGER_UPGRADE);
            self.stop.stop(Stop::Upgrade);
        } else {
            *stage = Stage::Running;
            log::error!(
                "SIGQUIT hands over to a new process, but none waits at {}; this one goes on. Start one with \
                 `evenkeel run --upgrade` and the same config file, then send SIGQUIT again; SIGTERM stops",
                self.upgrade_sock.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_signals_mean() {
        let table = [
            (Stage::Running, SIGTERM, Action::Drain),
            (Stage::Running, SIGQUIT, Action::Await),
            (Stage::Awaiting, SIGQUIT, Action::Nothing),
            (Stage::Awaiting, SIGINT, Action::Drain),
            (Stage::Upgrading, SIGTERM, Action::Drain),
            (Stage::Upgrading, SIGQUIT, Action::Nothing),
            (Stage::Draining, SIGQUIT, Action::Nothing),
            (Stage::Draining, SIGTERM, Action::Cut),
            (Stage::Draining, SIGINT, Action::Cut),
        ];
        for (stage, signal, want) in table {
            assert_eq!(decide(stage, signal), want, "{stage:?} {signal}");
        }
    }
}
