//! Signals: SIGHUP reloads, SIGTERM and SIGINT stop, SIGQUIT hands over to a new process.
//!
//! SIGTERM comes from a service manager or an orchestrator, behind whose balancers this process may still be: the listeners stay open
//! for `server.stop_delay`. SIGINT comes from a terminal, where nobody waits for that.
//!
//! Signals are registered first thing in `main`, because an unhandled SIGHUP would end the process. Signals
//! that arrive before the gateway runs are kept and handled then.

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

/// The time that idle connections stay open after a stop has closed the listeners: requests that clients sent
/// just before are still served.
const LINGER_STOP: Duration = Duration::from_millis(300);
/// The same after an upgrade, where nobody waits for the process to end.
const LINGER_UPGRADE: Duration = Duration::from_secs(10);
/// The time after SIGQUIT within which the new process must appear.
const SUCCESSOR_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The registered signals of this process.
pub struct Registered(Signals);

/// Replaces the system's default handling of the signals.
pub fn register() -> io::Result<Registered> {
    Signals::new([SIGHUP, SIGTERM, SIGINT, SIGQUIT]).map(Registered)
}

impl Registered {
    /// Calls `stop` in a separate thread for each signal of any kind, including those that have already
    /// arrived: for commands that have nothing to reload, drain or hand over.
    pub fn on_stop(self, mut stop: impl FnMut() + Send + 'static) {
        let mut signals = self.0;
        thread::spawn(move || signals.forever().for_each(|_| stop()));
    }

    /// Handles the signals in a separate thread, including those that have already arrived. Sockets are
    /// handed over at `upgrade_sock`.
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
                    // the problems are in the log and in the status already
                    let _ = reloader.reload();
                } else {
                    ending.signal(signal);
                }
            }
        });
    }
}

/// The progress of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// SIGQUIT has arrived, but not yet the new process.
    Awaiting,
    Upgrading,
    Draining,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Await,
    Drain,
    /// End at once, whatever is in flight.
    Cut,
    Nothing,
}

/// The action for a signal other than SIGHUP. A SIGTERM after an upgrade limits the rest to `drain_timeout`,
/// as a service manager that stops everything expects; a second one ends the process at once.
fn decide(stage: Stage, signal: i32) -> Action {
    match (stage, signal) {
        (Stage::Running, SIGQUIT) => Action::Await,
        (_, SIGQUIT) => Action::Nothing,
        (Stage::Draining, _) => Action::Cut,
        _ => Action::Drain,
    }
}

/// The time for which a stop leaves the listeners open. After an upgrade they are closed already.
fn leaves_after(stage: Stage, signal: i32, stop_delay: Duration) -> Duration {
    if signal == SIGTERM && stage != Stage::Upgrading { stop_delay } else { Duration::ZERO }
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
                let delay = leaves_after(*stage, signal, self.live.fleet().config.server.stop_delay);
                *stage = Stage::Draining;
                self.live.stop(LINGER_STOP);
                self.drain_after(delay);
            }
            Action::Cut => {
                let cut = self.live.requests.count();
                log::warn!("stopped by a second signal: {cut} requests are cut off");
                self.log.flush();
                log::logger().flush();
                std::process::exit(1);
            }
            Action::Nothing => log::info!("SIGQUIT ignored: the process is already shutting down"),
        }
    }

    fn drain_after(&self, delay: Duration) {
        if delay.is_zero() {
            self.stop.stop(Stop::Drain);
            return;
        }
        log::info!(
            "not ready any more: requests are taken for another {delay:?}, until those who send them know"
        );
        let stop = self.stop.clone();
        thread::spawn(move || {
            thread::sleep(delay);
            stop.stop(Stop::Drain);
        });
    }

    /// Hands over to a new process, if there is one. Pingora would close the listeners even if nobody had
    /// taken them over, and a mistaken SIGQUIT would be an outage. Here an error is logged and nothing
    /// changes.
    fn hand_over(&self) {
        let began = Instant::now();
        let mut awaited = upgrade::successor_waits(&self.upgrade_sock);
        while !awaited && began.elapsed() < SUCCESSOR_WITHIN && *self.stage.lock() == Stage::Awaiting {
            thread::sleep(LOOK_EVERY);
            awaited = upgrade::successor_waits(&self.upgrade_sock);
        }
        let mut stage = self.stage.lock();
        if *stage != Stage::Awaiting {
            return;
        }
        if awaited {
            *stage = Stage::Upgrading;
            self.live.stop(LINGER_UPGRADE);
            log::info!("a new process takes over: handing it the listening sockets");
            self.stop.stop(Stop::Upgrade);
        } else {
            *stage = Stage::Running;
            log::error!(
                "SIGQUIT hands over to a new process, but none is waiting at {}; this process keeps running. Start one with \
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
    fn a_signal_acts_by_stage() {
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

    #[test]
    fn only_sigterm_leaves_open_listeners_open() {
        let delay = Duration::from_secs(10);
        let table = [
            (Stage::Running, SIGTERM, delay),
            (Stage::Awaiting, SIGTERM, delay),
            (Stage::Upgrading, SIGTERM, Duration::ZERO),
            (Stage::Running, SIGINT, Duration::ZERO),
        ];
        for (stage, signal, want) in table {
            assert_eq!(leaves_after(stage, signal, delay), want, "{stage:?} {signal}");
        }
    }
}
