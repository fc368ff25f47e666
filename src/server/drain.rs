//! The end of the process: as soon as the last request has ended, and no later than `drain_timeout`.
//!
//! Pingora sleeps its whole grace period even when nothing is in flight, and then cuts everything. So its grace period
//! is set to for ever, and this thread ends the process.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pingora::server::ExecutionPhase;
use tokio::sync::{broadcast, watch};

use super::Stop;
use crate::journal::AccessLogWriter;
use crate::live::Live;

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Between closing the listeners and the first look: a connection that was just accepted may not have been counted.
const SETTLE: Duration = Duration::from_millis(100);

/// Starts the thread that ends the process after a graceful stop.
pub(super) fn watch(
    mut phases: broadcast::Receiver<ExecutionPhase>,
    live: Arc<Live>,
    log: AccessLogWriter,
    asked: watch::Receiver<Option<Stop>>,
) {
    thread::spawn(move || {
        loop {
            match phases.blocking_recv() {
                Ok(ExecutionPhase::ShutdownGracePeriod) => break,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
        let limit = match *asked.borrow() {
            Some(Stop::Upgrade) => None,
            _ => Some(live.fleet().config.server.drain_timeout),
        };
        let code = wait(&live, limit);
        log.flush();
        std::process::exit(code);
    });
}

fn wait(live: &Live, limit: Option<Duration>) -> i32 {
    let began = Instant::now();
    let first = live.requests.value();
    match limit {
        Some(limit) => log::info!("stopping: {first} requests in flight may go on for up to {limit:?}"),
        None => log::info!("upgraded: {first} requests in flight are finished here, without a limit"),
    }
    thread::sleep(SETTLE);
    loop {
        let left = live.requests.value();
        if left == 0 {
            log::info!("stopped: all requests have ended");
            return 0;
        }
        if limit.is_some_and(|limit| began.elapsed() >= limit) {
            log::warn!("stopped: drain_timeout is over, {left} requests are cut");
            return 1;
        }
        thread::sleep(LOOK_EVERY);
    }
}
