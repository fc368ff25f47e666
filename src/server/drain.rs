//! Draining: ends the process once the last request has ended, or when `drain_timeout` expires.
//!
//! Pingora sleeps for its whole grace period even when nothing is in flight, and then cuts everything off. So
//! its grace period is set to practically for ever, and this thread ends the process.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pingora::server::ExecutionPhase;
use tokio::sync::{broadcast, watch};

use super::Stop;
use crate::cluster::Departure;
use crate::journal::AccessLogWriter;
use crate::live::Live;
use crate::tracer::Tracer;

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Pause between closing the listeners and the first look: a connection that was just accepted may not have
/// been counted yet.
const SETTLE: Duration = Duration::from_millis(100);
/// Extra time after the linger time, to close lingering connections.
const CLOSE_WITHIN: Duration = Duration::from_millis(200);
/// Pause after the last request, so that its response can leave the connection.
const QUIET: Duration = Duration::from_millis(100);

/// The most that the end of the process waits for Redis, so that the other gateways know at once.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// What is left to do after the last request.
pub(super) struct After {
    pub log: AccessLogWriter,
    pub tracer: Tracer,
    pub departure: Arc<Departure>,
}

/// Starts the thread that ends the process after a graceful stop.
pub(super) fn watch(
    mut phases: broadcast::Receiver<ExecutionPhase>,
    live: Arc<Live>,
    after: After,
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
        let code = wait(&live, &asked);
        if code == 0 {
            // else the nodes may still be at work for requests that are cut off
            after.departure.leave(LEAVE_WITHIN);
        }
        after.log.flush();
        after.tracer.stop();
        log::logger().flush();
        std::process::exit(code);
    });
}

fn wait(live: &Live, asked: &watch::Receiver<Option<Stop>>) -> i32 {
    let closed = Instant::now();
    // an upgrade has no time limit until a stop is requested as well
    let mut limited: Option<Instant> = None;
    let mut quiet: Option<Instant> = None;
    let limit = live.fleet().config.server.drain_timeout;
    if *asked.borrow() == Some(Stop::Upgrade) {
        log::info!(
            "upgraded: {} requests in flight finish here, without a time limit",
            live.requests.count()
        );
    }
    thread::sleep(SETTLE);
    loop {
        let left = live.requests.count();
        if limited.is_none() && *asked.borrow() != Some(Stop::Upgrade) {
            log::info!("stopping: {left} requests in flight have up to {limit:?} to finish");
            limited = Some(Instant::now());
        }
        quiet = if left == 0 { quiet.or_else(|| Some(Instant::now())) } else { None };
        let quiet_for = quiet.map(|since| since.elapsed());
        if is_over(quiet_for, live.connections.value(), closed.elapsed(), live.linger()) {
            log::info!("stopped: all requests have ended");
            return 0;
        }
        if left > 0 && limited.is_some_and(|since| since.elapsed() >= limit) {
            log::warn!("stopped: drain_timeout has expired, {left} requests are cut off");
            return 1;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Nothing is left to wait for. Idle connections may linger for a while, see [`Live::stop`], and are not
/// waited for beyond that.
fn is_over(quiet_for: Option<Duration>, connections: u64, closed_for: Duration, linger: Duration) -> bool {
    let Some(quiet_for) = quiet_for else { return false };
    connections == 0 || closed_for >= linger + CLOSE_WITHIN && quiet_for >= QUIET
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draining_ends_when_nothing_is_left_or_idle_connections_have_lingered() {
        let ms = Duration::from_millis;
        let over = |quiet: Option<u64>, connections, closed| {
            is_over(quiet.map(ms), connections, ms(closed), ms(300))
        };
        assert!(!over(None, 1, 10_000), "a request is in flight");
        assert!(over(Some(0), 0, 100), "nobody is connected");
        assert!(!over(Some(100), 1, 100), "an idle connection may still send something");
        assert!(over(Some(500), 1, 500), "the idle connection has lingered long enough");
        assert!(!over(Some(20), 1, 10_000), "the last response may be on its way");
    }
}
