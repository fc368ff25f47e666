//! Signals: SIGHUP reloads, SIGTERM and SIGINT stop, SIGQUIT hands over to a new process.
//!
//! They are registered first thing in `main`, for a SIGHUP that nobody handles ends the process; what comes before the
//! gateway runs is kept and handled then.

use std::io;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Stop, StopHandle};
use crate::journal::AccessLogWriter;
use crate::live::Live;
use crate::reload::Reloader;

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

    /// Handles the signals in a thread of its own, those too that have come meanwhile.
    pub fn handle(self, live: Arc<Live>, reloader: Arc<Reloader>, log: AccessLogWriter, stop: StopHandle) {
        let mut signals = self.0;
        thread::spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGHUP => {
                        // what was wrong is in the log and in the status
                        let _ = reloader.reload();
                    }
                    _ if live.is_stopping() && signal != SIGQUIT => {
                        let cut = live.requests.value();
                        log::warn!("stopped by a second signal: {cut} requests are cut");
                        log.flush();
                        std::process::exit(1);
                    }
                    SIGQUIT => {
                        live.stop();
                        stop.stop(Stop::Upgrade);
                    }
                    _ => {
                        live.stop();
                        stop.stop(Stop::Drain);
                    }
                }
            }
        });
    }
}
