//! Signals: SIGHUP reloads, SIGTERM and SIGINT stop, SIGQUIT hands over to a new process, SIGUSR2 starts that one first.
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
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use super::notify::Notifier;
use super::successor::Program;
use super::{Stop, StopHandle, upgrade};
use crate::journal::AccessLogWriter;
use crate::live::Live;
use crate::reload::Reloader;

/// The time that idle connections stay open after a stop has closed the listeners: requests that clients sent
/// just before are still served.
const LINGER_STOP: Duration = Duration::from_millis(300);
/// The same after an upgrade, where nobody waits for the process to end.
const LINGER_UPGRADE: Duration = Duration::from_secs(10);
/// The time after SIGQUIT or SIGUSR2 within which the new process must appear.
const SUCCESSOR_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The registered signals of this process.
pub struct Registered(Signals);

/// Replaces the system's default handling of the signals.
pub fn register() -> io::Result<Registered> {
    Signals::new([SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR2]).map(Registered)
}

impl Registered {
    /// Calls `stop` in a separate thread for each signal of any kind, including those that have already
    /// arrived: for commands that have nothing to reload, drain or hand over.
    pub fn on_stop(self, mut stop: impl FnMut() + Send + 'static) {
        let mut signals = self.0;
        thread::spawn(move || signals.forever().for_each(|_| stop()));
    }

    /// Handles the signals in a separate thread, including those that have already arrived.
    pub fn handle(self, process: Handled) {
        let mut signals = self.0;
        let Handled { live, reloader, log, notifier, stop, upgrade_sock } = process;
        let program = Program::of_this_process();
        let state = Shutdown {
            stage: Mutex::new(Stage::Running),
            live,
            log,
            notifier: notifier.clone(),
            stop,
            upgrade_sock,
            program,
        };
        let ending = Arc::new(state);
        thread::spawn(move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    // the problems are in the log and in the status already
                    let _ = notifier.reloading(|| reloader.reload());
                } else {
                    ending.signal(signal);
                }
            }
        });
    }
}

/// The parts of the running gateway that signals act on.
pub struct Handled {
    pub live: Arc<Live>,
    pub reloader: Arc<Reloader>,
    pub log: AccessLogWriter,
    pub notifier: Notifier,
    pub stop: StopHandle,
    /// The path at which sockets are handed over.
    pub upgrade_sock: PathBuf,
}

/// The progress of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// SIGQUIT or SIGUSR2 has arrived, but not yet the new process.
    Awaiting,
    Upgrading,
    Draining,
    /// The same after an upgrade.
    Leaving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Await,
    /// Start the new process and await it.
    Replace,
    Drain,
    /// Limit the rest of an upgrade.
    Leave,
    /// End at once, whatever is in flight.
    Cut,
    Nothing,
}

/// The action for a signal other than SIGHUP. A SIGTERM after an upgrade limits the rest to `drain_timeout`, as a service manager that stops
/// everything expects. A second one ends the process at once, unless it follows an upgrade: to a manager this process is a rest, and it sends
/// one more when the new process has ended, however soon.
fn decide(stage: Stage, signal: i32) -> Action {
    match (stage, signal) {
        (Stage::Running, SIGQUIT) => Action::Await,
        (Stage::Running, SIGUSR2) => Action::Replace,
        (_, SIGQUIT | SIGUSR2) | (Stage::Leaving, SIGTERM) => Action::Nothing,
        (Stage::Draining | Stage::Leaving, _) => Action::Cut,
        (Stage::Upgrading, _) => Action::Leave,
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
    notifier: Notifier,
    stop: StopHandle,
    upgrade_sock: PathBuf,
    program: io::Result<Program>,
}

impl Shutdown {
    fn signal(self: &Arc<Self>, signal: i32) {
        let mut stage = self.stage.lock();
        let action = decide(*stage, signal);
        match action {
            Action::Await => {
                *stage = Stage::Awaiting;
                let ending = Arc::clone(self);
                thread::spawn(move || ending.hand_over("SIGQUIT"));
            }
            Action::Replace => {
                *stage = Stage::Awaiting;
                let ending = Arc::clone(self);
                thread::spawn(move || ending.replace());
            }
            Action::Drain | Action::Leave => {
                let delay = leaves_after(*stage, signal, self.live.fleet().config.server.stop_delay);
                *stage = if action == Action::Leave { Stage::Leaving } else { Stage::Draining };
                self.notifier.stopping();
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
            Action::Nothing => {
                let name = signal_hook::low_level::signal_name(signal).unwrap_or("signal");
                log::info!("{name} ignored: the process is already shutting down");
            }
        }
    }

    /// Starts a new process and hands over to it.
    fn replace(&self) {
        let program = self.program.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()));
        match program.and_then(Program::start) {
            Ok(()) => self.hand_over("SIGUSR2"),
            Err(error) => {
                log::error!(
                    "SIGUSR2 starts a new process, but it cannot be started: {error}; this process keeps running"
                );
                self.go_on();
            }
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
    fn hand_over(&self, signal: &str) {
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
            self.notifier.handed_over();
            self.live.stop(LINGER_UPGRADE);
            log::info!("a new process takes over: handing it the listening sockets");
            self.stop.stop(Stop::Upgrade);
        } else {
            *stage = Stage::Running;
            let sock = self.upgrade_sock.display();
            let advice = if signal == "SIGUSR2" {
                "The new one has said why, if it has ended"
            } else {
                "Start one with `evenkeel run --upgrade` and the same config file, then send SIGQUIT again, or send SIGUSR2, \
                 which starts it"
            };
            log::error!(
                "{signal} hands over to a new process, but none is waiting at {sock}; this process keeps running. {advice}; \
                 SIGTERM stops"
            );
        }
    }

    /// No new process will come.
    fn go_on(&self) {
        let mut stage = self.stage.lock();
        if *stage == Stage::Awaiting {
            *stage = Stage::Running;
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
            (Stage::Running, SIGUSR2, Action::Replace),
            (Stage::Awaiting, SIGUSR2, Action::Nothing),
            (Stage::Upgrading, SIGTERM, Action::Leave),
            (Stage::Upgrading, SIGINT, Action::Leave),
            (Stage::Upgrading, SIGQUIT, Action::Nothing),
            (Stage::Upgrading, SIGUSR2, Action::Nothing),
            (Stage::Leaving, SIGTERM, Action::Nothing),
            (Stage::Leaving, SIGINT, Action::Cut),
            (Stage::Leaving, SIGQUIT, Action::Nothing),
            (Stage::Draining, SIGUSR2, Action::Nothing),
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
